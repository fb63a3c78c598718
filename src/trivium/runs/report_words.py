"""A report's sentences: figures said so that they need no explanation."""

from collections.abc import Mapping, Sequence
from typing import Any

from trivium.runs.drawing import format_number
from trivium.runs.pipeline_summary import (
    StageRun,
    at,
    evaluation_baseline,
    interval,
    last_of,
    number,
)
from trivium.runs.plots import metric_series, model_title


def percent(value: float | None) -> str:
    """A share in prose, to the whole percent."""
    return "\N{EN DASH}" if value is None else f"{100 * value:.0f}\N{NO-BREAK SPACE}%"


def percent_with_interval(found: Mapping[str, float]) -> str:
    """A share and its interval in prose."""
    low, high = 100 * found["low"], 100 * found["high"]
    return (
        f"{100 * found['point']:.1f}\N{NO-BREAK SPACE}% (95\N{NO-BREAK SPACE}% interval "
        f"{low:.1f} to {high:.1f})"
    )


def duration(seconds: float | None) -> str:
    """Seconds as people say them."""
    if seconds is None:
        return "\N{EN DASH}"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def abstract(
    runs: Sequence[StageRun], judge: str | None, prompts: int | None, baseline: str
) -> str:
    """What the recipe did, for a reader who has never seen RLHF; only the stages that are there."""
    kinds = [run.kind for run in runs]
    words = [
        "This page reports one run of reinforcement learning from human feedback, the recipe that "
        "turned a text predictor into an assistant in InstructGPT (Ouyang et al., 2022)."
    ]
    if "pretrain" in kinds:
        words.append(
            "A small language model first learned to predict the next word of ordinary text "
            "(Base): it can go on writing, but does not do what it is told."
        )
    if "sft" in kinds:
        words.append("The model then imitated example answers (SFT, supervised fine-tuning).")
    if "reward" in kinds:
        words.append(
            f"{_labelers(runs)} ranked several answers to each instruction from best to worst, and "
            "a reward model learned to score an answer so that preferred answers score higher."
        )
    if "ppo" in kinds:
        scorer = "the reward model" if "reward" in kinds else "a reward"
        words.append(
            f"Then the SFT model practised: it wrote answers, {scorer} scored them, and PPO, a "
            "form of reinforcement learning, made high-scoring answers more likely, while a "
            "penalty on divergence (KL) kept it near where it began."
        )
    if any((number(run.config, "ptx_coef") or 0) > 0 for run in runs if run.kind == "ppo"):
        words.append(
            "PPO-ptx does the same with ordinary text mixed into the training, so that less is "
            "forgotten of what the model knew."
        )
    if "evaluate" in kinds and judge is not None:
        count = f"{prompts:,} instructions" if prompts else "instructions"
        decider = {
            "gold": "the known truth of this small world (gold)",
            "reward": "the reward model",
        }
        who = at(decider, judge) or judge
        words.append(
            f"Finally every model answered {count} that none had trained on, and {who} judged each "
            f"answer against the {model_title(baseline)} model's."
        )
    return " ".join(words)


def _labelers(runs: Sequence[StageRun]) -> str:
    simulated = any(at(run.config, "labelers") for run in runs if run.kind == "collect")
    return "Simulated labelers, with noise and taste of their own," if simulated else "People"


def findings(
    models: Mapping[str, dict[str, Any]], runs: Sequence[StageRun], baseline: str
) -> list[str]:
    """What came of it, one sentence each."""
    words = []
    for name in reversed(list(models)):
        rate = interval(models[name], "win_rate_vs_sft")
        if rate and name != baseline:
            words.append(
                f"{model_title(name)}'s answers were preferred to {model_title(baseline)}'s in "
                f"{percent_with_interval(rate)} of cases{_verdict(rate)}."
            )
    words += _tax_words(models, baseline)
    reward = last_of(runs, "reward")
    if reward:
        words += stage_words(reward)[:1]
    return words


def _verdict(rate: Mapping[str, float]) -> str:
    if rate["low"] > 0.5:
        return ", clearly more than half"
    if rate["high"] < 0.5:
        return ", clearly less than half"
    return ", which is not told apart from half"


def _tax_words(models: Mapping[str, dict[str, Any]], baseline: str) -> list[str]:
    loss = {name: number(figures, "pretraining_loss") for name, figures in models.items()}
    base, ppo, ptx = (at(loss, name) for name in (baseline, "ppo", "ppo_ptx"))
    if base is None or ppo is None or baseline == "ppo":
        return []
    change = ppo - base
    if change <= 0:
        return [
            f"PPO did not raise the loss on ordinary text ({format_number(base)} to "
            f"{format_number(ppo)} nats per token): no alignment tax is seen here."
        ]
    words = (
        f"PPO raised the loss on ordinary text from {format_number(base)} to {format_number(ppo)} "
        "nats per token, the alignment tax"
    )
    if ptx is None:
        return [f"{words}."]
    if ptx > ppo:
        return [f"{words}; PPO-ptx ({format_number(ptx)}) did not lower it."]
    share = "all of it" if ptx <= base else percent((ppo - ptx) / change)
    return [f"{words}; PPO-ptx ({format_number(ptx)}) won back {share}."]


def stage_words(run: StageRun) -> list[str]:
    """One stage's headline figures in sentences; empty where there are none yet."""
    writers = {
        "pretrain": _pretrain_words,
        "sft": _sft_words,
        "reward": _reward_words,
        "ppo": _ppo_words,
        "evaluate": _evaluate_words,
    }
    return writers[run.kind](run) if run.kind in writers else []


def _pretrain_words(run: StageRun) -> list[str]:
    steps, losses = metric_series(run, "pretrain/loss")
    if not losses:
        return []
    words = (
        f"In {len(steps):,} steps the loss on ordinary text went from "
        f"{format_number(losses[0])} to {format_number(losses[-1])} nats per token"
    )
    heldout = number(run.summary, "heldout_loss")
    if heldout is None:
        return [f"{words}."]
    return [f"{words}; on held-out text it is {format_number(heldout)}."]


def _sft_words(run: StageRun) -> list[str]:
    loss = number(run.summary, "heldout_loss")
    epochs, chosen = at(run.summary, "epochs"), at(run.summary, "chosen_epoch")
    words = []
    if loss is not None:
        words.append(
            f"On held-out demonstrations the loss is {format_number(loss)} nats per token."
        )
    if isinstance(epochs, list) and chosen is not None:
        words.append(f"Of {len(epochs)} epochs, epoch {chosen} was kept.")
    return words


def _reward_words(run: StageRun) -> list[str]:
    accuracy = interval(run.summary, "heldout", "accuracy")
    words = []
    if accuracy:
        pairs = number(run.summary, "heldout", "pairs")
        prompts = number(run.summary, "heldout", "prompts")
        count = f"{pairs:,.0f} held-out pairs" if pairs else "held-out pairs"
        count += f" from {prompts:,.0f} prompts" if prompts else ""
        sentence = (
            f"The reward model sides with the labelers in {percent_with_interval(accuracy)} "
            f"of {count}"
        )
        rulers = []
        if longer := interval(run.summary, "heldout", "longer_wins"):
            rulers.append(f"always taking the longer answer would give {percent(longer['point'])}")
        if people := interval(run.summary, "labeler_agreement"):
            rulers.append(f"labelers agree with one another in {percent(people['point'])}")
        words.append("; ".join([sentence, *rulers]) + ".")
    if new := interval(run.summary, "heldout_labelers", "accuracy"):
        words.append(
            f"With labelers whose rankings it never saw it agrees in {percent_with_interval(new)}."
        )
    correlation = number(run.summary, "heldout", "score_length_correlation")
    if correlation is not None:
        words.append(f"Its score correlates {format_number(correlation)} with answer length.")
    error = number(run.summary, "heldout", "calibration", "ece")
    if error is not None:
        words.append(
            f"Its probabilities are off by {format_number(error, percent=True)} on average."
        )
    mean = number(run.summary, "demonstration_mean")
    if mean is not None:
        words.append(f"Demonstrations score {abs(mean):.3f} on average, where 0 is the aim.")
    return words


def _ppo_words(run: StageRun) -> list[str]:
    first, last = number(run.summary, "score_first"), number(run.summary, "score_last")
    kl, tokens = number(run.summary, "kl_nats_last"), number(run.summary, "response_tokens_last")
    words = []
    if first is not None and last is not None:
        words.append(f"The mean score went from {format_number(first)} to {format_number(last)}.")
    if kl is not None:
        words.append(
            f"At the end the policy is {format_number(kl)} nats per answer away from the SFT model."
        )
    if tokens is not None:
        words.append(f"Its answers are {format_number(tokens)} tokens long on average.")
    return words


def _evaluate_words(run: StageRun) -> list[str]:
    models = at(run.summary, "models")
    base = evaluation_baseline([run])
    words = findings(models, [], base) if isinstance(models, dict) else []
    prompts = number(run.summary, "prompts")
    return [*words, f"Every model answered {prompts:,.0f} held-out prompts."] if prompts else words
