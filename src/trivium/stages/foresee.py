"""What each stage of a recipe will do, counted before any of it is done.

The data are read by the stages' own code, so rows, splits and lengths are those of the run. What is
not known yet is guessed in one place: answers of a model are taken to be as long as the recipe's
demonstrations, cut at the limit, or as the limit where there are none. Loading, checkpoints and
reports are not counted.
"""

import math
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path

from torch import nn
from transformers import PreTrainedModel

from trivium import cost
from trivium.config import PPO, SFT, Collect, Evaluate, Pretrain, Reward, StageConfig
from trivium.cost import Reading
from trivium.models import Policy, RewardModel
from trivium.models.load import load_blank
from trivium.models.shape import shape_of
from trivium.rewards.model import TOKENS_AT_ONCE
from trivium.rewards.spec import is_function, parse_rewards
from trivium.stages import collect, evaluate, ppo_setup, pretrain, reward, sft
from trivium.stages.forecast import (
    Forecast,
    Work,
    answer_lengths,
    forecast,
    of_rankings,
    of_sequences,
    past_bytes,
    sampling_work,
    scoring_work,
    times,
    work,
)
from trivium.stages.ppo_learn import ptx_examples
from trivium.stages.rows import encode_prompts


def foresee(config: StageConfig, out: Path, answers: Sequence[int]) -> Forecast:
    """Count a stage.

    Args:
        config: of the stage; its files exist.
        out: where its model will be.
        answers: lengths in tokens that stand for those of a model's answers; empty: the limit.

    Raises:
        UserError: what the stage itself would raise about its data.
    """
    match config:
        case Pretrain():
            return _pretrain(config, load_blank(str(out)).model)
        case SFT():
            return _sft(config, answers)
        case Reward():
            return _reward(config)
        case PPO():
            return _ppo(config, answers)
        case Collect():
            return _collect(config, answers)
        case Evaluate():
            return _evaluate(config, answers)


def _pretrain(cfg: Pretrain, model: PreTrainedModel) -> Forecast:
    one = cost.tree(0, [cfg.context_tokens], predicted=cfg.context_tokens - 1)
    looks = math.ceil(cfg.num_steps / cfg.checkpoint_every) + 1
    works = (
        work("learn", model, cfg.num_steps, times(one, cfg.num_steps * cfg.sequences_per_step)),
        work("read", model, 2 * looks, times(one, looks * pretrain.HELDOUT_EXAMPLES)),
    )
    return forecast(cfg.num_steps, 0, works, trained=[model], frozen=[])


def _sft(cfg: SFT, answers: Sequence[int]) -> Forecast:
    policy = load_blank(cfg.model)
    data = sft.load_data(cfg, policy)
    updates = math.ceil(len(data.train) / cfg.examples_per_step) * cfg.num_epochs
    model, parts = policy.model, math.ceil(cfg.examples_per_step / cfg.examples_per_backward)
    learned = of_sequences(data.train, prompts_too=cfg.loss_on_prompts)
    works = [work("learn", model, updates * parts, times(learned, cfg.num_epochs))]
    if mix := sft.mix_examples(cfg):
        length = sft.mix_tokens(cfg)
        one = cost.tree(0, [length], predicted=length - 1)
        passes = updates * math.ceil(mix / cfg.examples_per_backward)
        works.append(work("learn", model, passes, times(one, updates * mix)))
    looks = [times(learned, min(len(data.train), 64) / len(data.train))]
    if data.heldout is not None:
        looks.append(of_sequences(data.heldout))
    seen = times(cost.total(looks), cfg.num_epochs)
    works.append(work("read", model, max(1, seen.tokens // 1024), seen))
    if cfg.select_by is not None:
        judge = load_blank(cfg.select_by).model
        prompts, _ = encode_prompts(
            data.heldout_rows[: cfg.select_samples], policy.codec, cfg.sampling
        )
        lengths = answer_lengths(cfg.sampling, answers, len(prompts))
        one = sampling_work(policy, list(map(len, prompts.tokens)), lengths, cfg.sampling, rounds=1)
        works += [
            work(w.kind, w.model, w.passes * cfg.num_epochs, times(w.reading, cfg.num_epochs))
            for w in [*one, scoring_work(judge, list(map(len, prompts.tokens)), lengths)]
        ]
    return forecast(updates, 0, works, trained=[model], frozen=[])


def _reward(cfg: Reward) -> Forecast:
    policy = load_blank(cfg.model)
    blank = RewardModel(
        model=policy.model,
        head=nn.Linear(1, 1, device="meta"),
        codec=policy.codec,
        name=policy.name,
    )
    data = reward.load_data(cfg, blank)
    steps = math.ceil(len(data.train) / cfg.prompts_per_step) * cfg.num_epochs
    parts = math.ceil(cfg.prompts_per_step / cfg.prompts_per_backward)
    learned = of_rankings(data.train)
    demonstrations = of_sequences(data.demonstrations, predicted=False)
    room = max(reward.CALIBRATION_TEXTS - len(data.demonstrations), len(data.demonstrations))
    calibrated = times(learned, min(1.0, room / max(1, len(data.train.sequences))))
    # Held-out rankings are scored at the end of each epoch and once more from the saved model.
    seen = cost.total(
        [
            times(of_rankings(data.heldout), cfg.num_epochs + 1),
            of_rankings(data.strangers),
            times(demonstrations, 2),
            calibrated,
        ]
    )
    passes = len(data.heldout) * (cfg.num_epochs + 1) + seen.tokens // TOKENS_AT_ONCE
    works = (
        work("learn", policy.model, steps * parts, times(learned, cfg.num_epochs)),
        work("read", policy.model, max(1, passes), seen),
    )
    return forecast(steps, 0, works, trained=[policy.model], frozen=[])


def _ppo(cfg: PPO, answers: Sequence[int]) -> Forecast:
    policy = load_blank(cfg.policy)
    data = ppo_setup.load_data(cfg, policy)
    g, episodes = cfg.samples_per_prompt, cfg.num_steps * cfg.episodes_per_step
    per_prompt = list(islice(cycle(map(len, data.prompts.tokens)), episodes // g))
    prompts = [p for p in per_prompt for _ in range(g)]
    lengths = answer_lengths(cfg.sampling, answers, episodes)
    pairs = list(zip(prompts, lengths, strict=True))
    alone = cost.total(cost.tree(p, [r], predicted=r) for p, r in pairs)
    valued = Reading(tokens=alone.tokens, pairs=alone.pairs, predicted=0)

    targets = [s.target for s in parse_rewards(cfg.reward) if not is_function(s.target)]
    judges = [load_blank(target).model for target in targets]
    critic = _critic(cfg, policy, judges)
    own = [critic] if critic is not None and critic is not policy.model else []
    step = ppo_setup.work_of_step(cfg, cfg.episodes_per_step)
    updates = cfg.num_steps * step["optimizer_updates"]
    passes = episodes / cfg.episodes_per_backward
    works = sampling_work(policy, prompts, lengths, cfg.sampling, rounds=cfg.num_steps)
    works += [scoring_work(judge, prompts, lengths, rounds=cfg.num_steps) for judge in judges]
    works.append(work("read", policy.model, passes, alone))  # the reference
    rounds = cfg.inner_epochs
    if cfg.loss == "trpo":
        # The gradient; a product is a pass forward with a tangent and one with a gradient. A step
        # of the line search reads the answers twice, and the first one mostly does.
        rounds = 1 + 2 * (cfg.trpo_cg_steps + 1) * cfg.trpo_fisher_share
        works.append(work("read", policy.model, 2 * passes, times(alone, 2)))
    works.append(work("learn", policy.model, passes * rounds, times(alone, rounds)))
    if critic is not None:
        works.append(work("read", critic, passes, valued))
    for model in own:
        works.append(
            work("learn", model, passes * cfg.inner_epochs, times(valued, cfg.inner_epochs))
        )
    if data.stream is not None:
        length, examples = cfg.ptx_tokens_per_example, updates * ptx_examples(cfg)
        one = cost.tree(0, [length], predicted=length - 1)
        at_once = min(ptx_examples(cfg), cfg.ptx_examples_per_backward)
        works.append(work("learn", policy.model, examples / at_once, times(one, examples)))
    looks = cfg.num_steps // cfg.heldout_every if cfg.heldout_every and len(data.heldout) else 0
    if looks:
        works += _looks(cfg, policy, judges, list(map(len, data.heldout.tokens)), answers, looks)
    return forecast(
        updates,
        episodes,
        works,
        trained=[policy.model, *own],
        frozen=[policy.model, *judges, *([policy.model] if cfg.save_weights == "ema" else [])],
        spare=_spare(cfg, policy.model, math.ceil(alone.predicted / passes)),
        past=past_bytes(policy, cfg.sampling, max(prompts), cfg.episodes_per_step),
    )


def _spare(cfg: PPO, model: PreTrainedModel, rows: int) -> int:
    """Bytes that learning holds besides weights, gradients, moments and activations."""
    if cfg.loss == "trpo":
        # Weights, gradient, solution, residual, direction and product as vectors, in the place of
        # two moments; logits, their tangent, and what Fisher makes of them.
        return 4 * (4 * model.num_parameters() + 4 * rows * shape_of(model).vocabulary)
    # Two copies of the gradient tell pretraining's part from PPO's.
    return 8 * model.num_parameters() if cfg.ptx_coef > 0 else 0


def _critic(cfg: PPO, policy: Policy, judges: Sequence[PreTrainedModel]) -> PreTrainedModel | None:
    if cfg.value == "none":
        return None
    if cfg.value == "shared":
        return policy.model
    if cfg.value_from is not None:
        return load_blank(cfg.value_from).model
    # Its own network even where the policy's shape serves: only the shape is read here.
    return judges[0] if judges else load_blank(cfg.policy).model


def _looks(
    cfg: PPO,
    policy: Policy,
    judges: Sequence[PreTrainedModel],
    prompts: list[int],
    answers: Sequence[int],
    looks: int,
) -> list[Work]:
    """Held-out prompts: sampled, scored, read by policy and reference."""
    prompts = prompts[: cfg.heldout_episodes]
    lengths = answer_lengths(cfg.sampling, answers, len(prompts))
    pairs = zip(prompts, lengths, strict=True)
    read = cost.total(cost.tree(p, [r], predicted=r) for p, r in pairs)
    once = sampling_work(policy, prompts, lengths, cfg.sampling, rounds=1)
    once += [scoring_work(judge, prompts, lengths) for judge in judges]
    once.append(
        work("read", policy.model, 2 * len(prompts) / cfg.episodes_per_backward, times(read, 2))
    )
    return [work(w.kind, w.model, w.passes * looks, times(w.reading, looks)) for w in once]


def _collect(cfg: Collect, answers: Sequence[int]) -> Forecast:
    first = load_blank(cfg.models[0])
    rows = collect.read_rows(cfg)
    prompts, _ = encode_prompts(rows, first.codec, cfg.sampling)
    counts = collect.draw_counts(cfg, len(prompts))
    wanted = [len(p) for p, k in zip(prompts.tokens, counts, strict=True) for _ in range(k)]
    works: list[Work] = []
    rounds = math.ceil(len(prompts) / collect.PROMPTS_AT_ONCE)
    for number, place in enumerate(cfg.models):
        policy = load_blank(place)
        share = wanted[number :: len(cfg.models)]
        lengths = answer_lengths(cfg.sampling, answers, len(share))
        works += sampling_work(policy, share, lengths, cfg.sampling, rounds=rounds)
    past = past_bytes(first, cfg.sampling, max(wanted), math.ceil(len(wanted) / rounds))
    return forecast(0, len(wanted), works, trained=[], frozen=[first.model], past=past)


def _evaluate(cfg: Evaluate, answers: Sequence[int]) -> Forecast:
    baseline = load_blank(cfg.models[cfg.baseline])
    prompts, _ = encode_prompts(evaluate.read_rows(cfg), baseline.codec, cfg.sampling)
    prompt_lengths = list(map(len, prompts.tokens))
    lengths = answer_lengths(cfg.sampling, answers, len(prompts))
    pairs = zip(prompt_lengths, lengths, strict=True)
    read = cost.total(cost.tree(p, [r], predicted=r) for p, r in pairs)
    works: list[Work] = []
    for place in cfg.models.values():
        policy = load_blank(place)
        works += sampling_work(policy, prompt_lengths, lengths, cfg.sampling, rounds=1)
        passes = math.ceil(len(prompts) / cfg.prompts_per_batch)
        works.append(work("read", policy.model, 2 * passes, times(read, 2)))
        if cfg.reward is not None:
            works.append(scoring_work(load_blank(cfg.reward).model, prompt_lengths, lengths))
        if cfg.pretraining is not None:
            texts = of_sequences(evaluate.pretraining_sequences(cfg, cfg.pretraining, policy))
            works.append(work("read", policy.model, cfg.pretraining_examples / 16, texts))
    frozen = [baseline.model] * (3 if cfg.reward is not None else 2)
    past = past_bytes(baseline, cfg.sampling, max(prompt_lengths), len(prompts))
    episodes = len(cfg.models) * len(prompts)
    return forecast(0, episodes, works, trained=[], frozen=frozen, past=past)
