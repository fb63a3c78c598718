"""Which plots a report shows: from a stage's metrics and figures to curves, dots and bins."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from trivium.runs.drawing import Axis, Bin, Dot, Reference, Series
from trivium.runs.pipeline_summary import StageRun, at, evaluation_baseline, interval, number
from trivium.runs.plots import (
    KL_AXIS,
    SCORE_AXIS,
    Plot,
    as_good_as,
    calibration_plot,
    color_of,
    curve_plot,
    dot_plot,
    kl_paths,
    metric_series,
    model_title,
    path_plot,
    win_rate_dots,
)

_STEP = Axis(label="step")
_EPOCH = Axis(label="epoch")
_COIN = Reference(value=0.5, label="coin")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One plot of a stage's metrics over its steps. `few` are metrics measured now and then."""

    title: str
    caption: str
    unit: str
    curves: tuple[tuple[str, str], ...]
    """(metric, what to call it)."""

    few: tuple[tuple[str, str], ...] = ()
    percent: bool = False


PANELS: dict[str, tuple[Panel, ...]] = {
    "pretrain": (
        Panel(
            title="Pretraining loss",
            caption="How surprised the base model is by the next token of ordinary text. "
            "Lower is better.",
            unit="nats per token",
            curves=(("pretrain/loss", "train"),),
            few=(("heldout/loss", "held out"),),
        ),
    ),
    "sft": (
        Panel(
            title="SFT loss",
            caption="How surprised the model is by the next token of a demonstration's answer; "
            "dots are demonstrations it never trains on.",
            unit="nats per token",
            curves=(("sft/loss", "train"),),
            few=(("heldout/loss", "held out"),),
        ),
    ),
    "reward": (
        Panel(
            title="Reward model loss",
            caption="Mean of \N{MINUS SIGN}log \N{GREEK SMALL LETTER SIGMA}(difference of the two "
            "scores) over ranked pairs; 0.693 is a coin.",
            unit="nats per pair",
            curves=(("reward/loss", "train"),),
            few=(("heldout/loss", "held out"),),
        ),
        Panel(
            title="Reward model accuracy",
            caption="Share of ranked pairs in which the preferred answer gets the higher score; "
            "50 % is a coin.",
            unit="of pairs",
            curves=(("reward/accuracy", "train"),),
            few=(("heldout/accuracy", "held out"),),
            percent=True,
        ),
    ),
    "ppo": (
        Panel(
            title="Score",
            caption="Mean score that the reward gives to the answers sampled at each step.",
            unit="reward units",
            curves=(("objective/score", "train"),),
            few=(("heldout/score", "held out"),),
        ),
        Panel(
            title="Divergence from SFT",
            caption="KL from the SFT model, summed over an answer. It starts at zero; "
            "the penalty keeps it from running away.",
            unit="nats per answer",
            curves=(("objective/kl_nats", "train"),),
            few=(("heldout/kl_nats", "held out"),),
        ),
        Panel(
            title="Answer length",
            caption="Mean length of the sampled answers.",
            unit="tokens",
            curves=(("episodes/response_tokens", "train"),),
            few=(("heldout/response_tokens", "held out"),),
        ),
        Panel(
            title="Truncated answers",
            caption="Share of answers cut off before they ended by themselves.",
            unit="of answers",
            curves=(("episodes/truncated_share", "train"),),
            few=(("heldout/truncated_share", "held out"),),
            percent=True,
        ),
        Panel(
            title="Pretraining loss during PPO-ptx",
            caption="Next-token loss on the ordinary text mixed into PPO-ptx.",
            unit="nats per token",
            curves=(("ptx/loss", "train"),),
        ),
        Panel(
            title="Entropy of the policy",
            caption="How undecided the policy is about each token; "
            "a fall to zero means that it always says the same.",
            unit="nats per token",
            curves=(("policy/entropy_nats", "policy"),),
        ),
        Panel(
            title="Clipped updates",
            caption="Share of tokens whose importance ratio left the clip range.",
            unit="of tokens",
            curves=(("policy/clip_share", "policy"), ("value/clip_share", "value")),
            percent=True,
        ),
        Panel(
            title="Length of TRPO's steps",
            caption="KL of the old from the new policy; at most trpo_max_kl; 0: no step.",
            unit="nats per token",
            curves=(("policy/trpo_kl", "policy"),),
        ),
        Panel(
            title="Explained variance of the value function",
            caption="1 means that the value function foresees the return; "
            "0, no better than a constant.",
            unit="share of variance",
            curves=(("value/explained_variance", "value"),),
        ),
        Panel(
            title="Gradient norms",
            caption="Global norm before clipping.",
            unit="norm",
            curves=(("policy/grad_norm", "policy"), ("value/grad_norm", "value")),
        ),
        Panel(
            title="Price of divergence",
            caption="beta: what one nat of KL costs, in reward units.",
            unit="reward units per nat",
            curves=(("objective/kl_coef", "beta"),),
        ),
        Panel(
            title="Time per step",
            caption="Where a step's time goes.",
            unit="seconds",
            curves=(
                ("seconds/sample", "sample"),
                ("seconds/judge", "judge"),
                ("seconds/learn", "learn"),
            ),
        ),
    ),
}

_CURVE_COLORS = ("blue", "vermillion", "green", "purple")


def stage_plots(run: StageRun) -> list[Plot]:
    """Learning curves of one stage, epochs and reward-model figures included."""
    panels: tuple[Panel, ...] = at(PANELS, run.kind) or ()
    plots = [plot for panel in panels if (plot := _panel_plot(run, panel))]
    if run.kind == "sft":
        plots += epoch_plots(run)
    if run.kind == "reward":
        plots += reward_plots(run)
    if run.kind == "ppo":
        plots += frontier_plots([run])
    if run.kind == "evaluate":
        plots += model_plots(_models(run), evaluation_baseline([run]))
    return plots


def learning_plots(runs: Sequence[StageRun]) -> list[Plot]:
    """Learning curves of a whole recipe; the PPO runs share their axes."""
    plots = []
    for run in runs:
        if run.kind in ("pretrain", "sft", "reward"):
            plots += [p for panel in PANELS[run.kind] if (p := _panel_plot(run, panel))]
        if run.kind == "sft":
            plots += epoch_plots(run)
    ppo = [run for run in runs if run.kind == "ppo"]
    return plots + [p for panel in PANELS["ppo"][:3] if (p := _shared_plot(ppo, panel))]


def epoch_plots(run: StageRun) -> list[Plot]:
    """Loss by epoch, and the reward model's score by epoch where it chose among them."""
    epochs = at(run.summary, "epochs")
    rows = epochs if isinstance(epochs, list) else []
    chosen = at(run.summary, "chosen_epoch")
    words = f" Epoch {chosen} was kept." if chosen is not None else ""
    plots = []
    losses = [
        _epoch_series(rows, "train_loss", "train", "blue"),
        _epoch_series(rows, "heldout_loss", "held out", "vermillion"),
    ]
    known = [one for one in losses if len(one.x) > 1]
    if known:
        plots.append(
            curve_plot(
                "SFT loss by epoch",
                f"Mean loss of each pass over the demonstrations.{words}",
                known,
                x=_EPOCH,
                y=Axis(label="nats per token"),
            )
        )
    scores = _epoch_series(rows, "rm_score", "score", "green")
    if scores.x:
        plots.append(
            curve_plot(
                "Reward model's score by epoch",
                f"Mean score of the model's own answers to held-out prompts; it may go on rising "
                f"after the held-out loss has turned.{words}",
                [scores],
                x=_EPOCH,
                y=SCORE_AXIS,
            )
        )
    return plots


def frontier_plots(runs: Sequence[StageRun]) -> list[Plot]:
    """Score against KL for every PPO run."""
    paths = kl_paths(runs)
    if not paths:
        return []
    caption = (
        "Each small dot is one training step, the line is the running mean. Training starts at the "
        "open circle and ends at the full one: how much score each nat of divergence bought."
    )
    return [path_plot("KL against reward", caption, paths, x=KL_AXIS, y=SCORE_AXIS)]


def model_plots(models: dict[str, dict[str, Any]], baseline: str) -> list[Plot]:
    """Win rates with their intervals."""
    dots, base = win_rate_dots(models, baseline), model_title(baseline)
    if not dots:
        return []
    caption = (
        "Share of held-out prompts on which the model's answer is preferred to the "
        f"{base} model's; a tie counts half. Bars are 95 % intervals over prompts. At the "
        "dashed line, 50 %, there is no difference."
    )
    axis = Axis(label="win rate", percent=True)
    reference = as_good_as(baseline)
    return [dot_plot(f"Win rate against {base}", caption, dots, x=axis, reference=reference)]


def tax_plots(models: dict[str, dict[str, Any]], baseline: str) -> list[Plot]:
    """What became of the skill learned in pretraining: loss and cloze accuracy by model."""
    loss = _model_dots(models, "pretraining_loss")
    cloze = _model_dots(models, "cloze_accuracy")
    plots = []
    if loss:
        caption = (
            "Next-token loss on held-out ordinary text. Left is better; a model right of "
            f"{model_title(baseline)} has forgotten some of what it knew."
        )
        axis = Axis(label="nats per token")
        plots.append(dot_plot("Pretraining loss by model", caption, loss, x=axis))
    if cloze:
        caption = "Share of fill-in questions answered rightly, by probability. Right is better."
        axis = Axis(label="of questions", percent=True)
        plots.append(dot_plot("Cloze accuracy by model", caption, cloze, x=axis))
    return plots


def reward_plots(run: StageRun) -> list[Plot]:
    """Reward model: agreement beside its yardsticks, by rank gap, and calibration."""
    plots = []
    agreement = _agreement_dots(run.summary)
    if agreement:
        caption = (
            "How often the higher score goes to the preferred answer, beside what people manage "
            "with one another and what counting words would give. Bars are 95 % intervals; "
            "the dashed line is a coin."
        )
        axis = Axis(label="of held-out pairs", percent=True)
        plots.append(
            dot_plot("Agreement with the labelers", caption, agreement, x=axis, reference=_COIN)
        )
    bins = _bins(run.summary)
    if bins:
        caption = (
            "When the reward model says that one answer is preferred with probability p, how often "
            "is it? On the dashed line its probabilities can be taken at their word. "
            "Numbers are pairs in each bin."
        )
        plots.append(calibration_plot("Calibration of the reward model", caption, bins))
    gaps = at(run.summary, "heldout", "by_rank_gap")
    dots = [
        _interval_dot(f"{at(row, 'gap')} apart", "blue", found)
        for row in (gaps if isinstance(gaps, list) else [])
        if (found := interval(row))
    ]
    if dots:
        caption = "Answers far apart in a labeler's ranking are easier to tell apart."
        axis = Axis(label="of held-out pairs", percent=True)
        plots.append(
            dot_plot("Accuracy by distance in rank", caption, dots, x=axis, reference=_COIN)
        )
    return plots


def _models(run: StageRun) -> dict[str, dict[str, Any]]:
    found = at(run.summary, "models")
    return found if isinstance(found, dict) else {}


def _panel_plot(run: StageRun, panel: Panel) -> Plot | None:
    series = []
    for index, (metric, label) in enumerate((*panel.curves, *panel.few)):
        xs, ys = metric_series(run, metric)
        if xs:
            color, dots = _CURVE_COLORS[index % 4], (metric, label) in panel.few
            series.append(Series(label=label, color=color, x=xs, y=ys, dots=dots))
    return _steps_plot(panel, series)


def _shared_plot(runs: Sequence[StageRun], panel: Panel) -> Plot | None:
    """The first metric of a panel, one curve per run."""
    series = []
    for run in runs:
        xs, ys = metric_series(run, panel.curves[0][0])
        if xs:
            color = color_of(run.name, [one.name for one in runs])
            series.append(Series(label=model_title(run.name), color=color, x=xs, y=ys))
    return _steps_plot(panel, series)


def _steps_plot(panel: Panel, series: list[Series]) -> Plot | None:
    if not series:
        return None
    y = Axis(label=panel.unit, percent=panel.percent)
    return curve_plot(panel.title, panel.caption, series, x=_STEP, y=y)


def _epoch_series(rows: list[Any], name: str, label: str, color: str) -> Series:
    pairs = [(number(row, "epoch"), number(row, name)) for row in rows]
    known = [(a, b) for a, b in pairs if a is not None and b is not None]
    xs, ys = tuple(a for a, _ in known), tuple(b for _, b in known)
    return Series(label=label, color=color, x=xs, y=ys, dots=True)


def _model_dots(models: dict[str, dict[str, Any]], figure: str) -> list[Dot]:
    return [
        Dot(label=model_title(name), color=color_of(name, tuple(models)), value=value)
        for name, figures in models.items()
        if (value := number(figures, figure)) is not None
    ]


def _interval_dot(label: str, color: str, found: dict[str, float]) -> Dot:
    return Dot(label=label, color=color, value=found["point"], low=found["low"], high=found["high"])


def _agreement_dots(summary: dict[str, Any]) -> list[Dot]:
    rulers = (
        ("Reward model", "blue", ("heldout", "accuracy")),
        ("on new labelers", "sky", ("heldout_labelers", "accuracy")),
        ("Labelers themselves", "green", ("labeler_agreement",)),
        ("Longer answer wins", "grey", ("heldout", "longer_wins")),
    )
    return [
        _interval_dot(label, color, found)
        for label, color, path in rulers
        if (found := interval(summary, *path))
    ]


def _bins(summary: dict[str, Any]) -> list[Bin]:
    rows = at(summary, "heldout", "calibration", "bins")
    bins = []
    for row in rows if isinstance(rows, list) else []:
        predicted, observed = number(row, "predicted"), number(row, "observed")
        pairs = number(row, "pairs")
        if predicted is not None and observed is not None and pairs:
            bins.append(Bin(predicted=predicted, observed=observed, pairs=int(pairs)))
    return bins
