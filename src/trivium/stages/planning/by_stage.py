"""What each stage of a recipe will do, counted before any of it is done.

The data are read by the stages' own code, so rows, splits and lengths are those of the run. What is
not known yet is guessed in one place: answers of a model are taken to be as long as the recipe's
demonstrations, cut at the limit, or as the limit where there are none. Loading, checkpoints and
reports are not counted.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle, islice
from pathlib import Path

import torch
from torch import nn
from transformers import PreTrainedModel

from trivium import cost
from trivium.config import PPO, SFT, Collect, Evaluate, Pretrain, Reward, StageConfig
from trivium.models import Compute, Policy, RewardModel, compute_for
from trivium.models.load import load_blank
from trivium.models.shape import shape_of
from trivium.rewards.spec import is_function, parse_rewards
from trivium.stages import collect, evaluate, ppo_setup, pretrain, reward, sft
from trivium.stages.planning.forecast import (
    Forecast,
    Work,
    answer_lengths,
    episodes,
    equal_rows,
    forecast,
    kept,
    large,
    large_rows,
    learned_parameters,
    of_rankings,
    of_sequences,
    repeated,
    sampling_work,
    scoring_rankings,
    scoring_work,
    times,
    tree_of,
    typical,
    typical_rows,
    work,
    writing_bytes,
)
from trivium.stages.ppo_learn import ptx_examples
from trivium.stages.rows import Rankings, encode_prompts
from trivium.text import Sequences


def foresee(config: StageConfig, out: Path, answers: Sequence[int]) -> Forecast:
    """Count a stage.

    Args:
        config: of the stage; its files exist.
        out: where its model will be.
        answers: lengths in tokens that stand for those of a model's answers; empty: the limit.

    Raises:
        UserError: what the stage itself would raise about its data.
    """
    compute = compute_for(config.compute_dtype)
    match config:
        case Pretrain():
            return _pretrain(config, load_blank(str(out)).model, compute)
        case SFT():
            return _sft(config, answers, compute)
        case Reward():
            return _reward(config, compute)
        case PPO():
            return _ppo(config, answers, compute)
        case Collect():
            return _collect(config, answers, compute)
        case Evaluate():
            return _evaluate(config, answers, compute)


def _pretrain(cfg: Pretrain, model: PreTrainedModel, compute: Compute) -> Forecast:
    batch = equal_rows(cfg.sequences_per_step, cfg.context_tokens)
    looks = math.ceil(cfg.num_steps / cfg.checkpoint_every) + 1
    heldout = equal_rows(pretrain.HELDOUT_EXAMPLES, cfg.context_tokens)
    works = (
        work("learn", model, cfg.num_steps, times(of_sequences(batch), cfg.num_steps), batch),
        work("read", model, looks, times(of_sequences(heldout), looks), heldout),
    )
    return forecast(cfg.num_steps, 0, works, trained=[model], frozen=[], compute=compute)


def _sft(cfg: SFT, answers: Sequence[int], compute: Compute) -> Forecast:
    policy = load_blank(cfg.model)
    data = sft.load_data(cfg, policy)
    updates = math.ceil(len(data.train) / cfg.examples_per_step) * cfg.num_epochs
    model, parts = policy.model, math.ceil(cfg.examples_per_step / cfg.examples_per_backward)
    train = data.train
    if cfg.loss_on_prompts:
        train = replace(train, prompt_lengths=torch.zeros_like(train.prompt_lengths))
    learned, at_once = of_sequences(train), cfg.examples_per_backward
    largest = of_sequences(large_rows(train, at_once, passes=updates * parts))
    works = [
        work(
            "learn",
            model,
            updates * parts,
            times(learned, cfg.num_epochs),
            typical_rows(train, at_once),
            largest=largest,
        )
    ]
    if mix := sft.mix_examples(cfg):
        batch = equal_rows(min(mix, at_once), sft.mix_tokens(cfg))
        passes = updates * mix / len(batch)
        works.append(work("learn", model, passes, times(of_sequences(batch), passes), batch))
    looks = [times(learned, min(len(train), 64) / len(train))]
    if data.heldout is not None:
        looks.append(of_sequences(data.heldout))
    seen = times(cost.total(looks), cfg.num_epochs)
    writing = 0, 0
    works.append(work("read", model, max(1, seen.tokens // 1024), seen, typical_rows(train, 16)))
    if cfg.select_by is not None:
        judge = load_blank(cfg.select_by).model
        prompts, _ = encode_prompts(
            data.heldout_rows[: cfg.select_samples], policy.codec, cfg.sampling
        )
        lengths = answer_lengths(cfg.sampling, answers, len(prompts))
        one = sampling_work(policy, prompts.tokens, lengths, cfg.sampling, compute, rounds=1)
        one.append(scoring_work(judge, episodes(prompts.tokens, lengths)))
        works += repeated(one, cfg.num_epochs)
        longest = max(map(len, prompts.tokens))
        writing = writing_bytes(policy, cfg.sampling, longest, len(prompts), compute)
    return forecast(
        updates,
        0,
        works,
        trained=[model],
        frozen=[model] if cfg.lora.rank else [],
        compute=compute,
        lora=cfg.lora,
        writing=writing,
    )


def _reward(cfg: Reward, compute: Compute) -> Forecast:
    policy = load_blank(cfg.model)
    blank = RewardModel(
        model=policy.model,
        head=nn.Linear(1, 1, device="meta"),
        codec=policy.codec,
        name=policy.name,
    )
    data = reward.load_data(cfg, blank)
    model, at_once = policy.model, cfg.prompts_per_backward
    steps = math.ceil(data.train.num_prompts / cfg.prompts_per_step) * cfg.num_epochs
    parts = math.ceil(cfg.prompts_per_step / at_once)
    sizes = [tree_of(data.train, i).tokens for i in range(data.train.num_prompts)]
    learned = times(of_rankings(data.train), cfg.num_epochs)
    some, most = typical(sizes, at_once), large(sizes, at_once, passes=steps * parts)
    works = [
        work(
            "learn",
            model,
            steps * parts,
            learned,
            reward.completions_of(data.train, some),
            once=cost.total(tree_of(data.train, i) for i in some),
            largest=cost.total(tree_of(data.train, i) for i in most),
        )
    ]
    if len(data.heldout):
        works += _heldout(cfg, model, data.heldout)
    if len(data.strangers):
        works.append(scoring_rankings(model, data.strangers))
    # Demonstrations and as many answers for the bias, demonstrations again from the saved model.
    texts, known = data.train.sequences, data.demonstrations
    room = max(reward.CALIBRATION_TEXTS - len(known), len(known))
    works.append(scoring_work(model, known, times_over=2))
    works.append(scoring_work(model, texts, times_over=min(1.0, room / len(texts))))
    frozen = [model] if cfg.lora.rank else []
    return forecast(steps, 0, works, trained=[model], frozen=frozen, compute=compute, lora=cfg.lora)


def _heldout(cfg: Reward, model: PreTrainedModel, rankings: Rankings) -> list[Work]:
    """One by one at the end of each epoch, all once more from the saved model."""
    sizes = [tree_of(rankings, i).tokens for i in range(rankings.num_prompts)]
    one = typical(sizes, 1)
    alone = work(
        "read",
        model,
        rankings.num_prompts * cfg.num_epochs,
        times(of_rankings(rankings), cfg.num_epochs),
        reward.completions_of(rankings, one),
        once=tree_of(rankings, one[0]),
    )
    return [alone, scoring_rankings(model, rankings)]


def _ppo(cfg: PPO, answers: Sequence[int], compute: Compute) -> Forecast:
    policy = load_blank(cfg.policy)
    data = ppo_setup.load_data(cfg, policy)
    g, total = cfg.samples_per_prompt, cfg.num_steps * cfg.episodes_per_step
    chosen = islice(cycle(data.prompts.tokens), total // g)
    prompts = [p for p in chosen for _ in range(g)]
    lengths = answer_lengths(cfg.sampling, answers, total)
    rows = episodes(prompts, lengths)

    targets = [s.target for s in parse_rewards(cfg.reward) if not is_function(s.target)]
    judges = [load_blank(target).model for target in targets]
    critic = _critic(cfg, policy, judges)
    own = [critic] if critic is not None and critic is not policy.model else []
    a_round = episodes(prompts[: cfg.episodes_per_step], lengths[: cfg.episodes_per_step])
    acting = sampling_work(policy, prompts, lengths, cfg.sampling, compute, rounds=cfg.num_steps)
    acting += [scoring_work(judge, a_round, times_over=cfg.num_steps) for judge in judges]
    learning = _learning(cfg, policy, critic, own, rows, compute)
    works = [*acting, *learning]
    updates = (
        cfg.num_steps * ppo_setup.work_of_step(cfg, cfg.episodes_per_step)["optimizer_updates"]
    )
    size = learned_parameters(policy.model, cfg.lora)
    activations = max(kept(w, compute.dtype) for w in learning if w.kind == "learn")
    if data.stream is not None:
        examples = updates * ptx_examples(cfg)
        at_once = min(ptx_examples(cfg), cfg.ptx_examples_per_backward)
        batch = equal_rows(at_once, cfg.ptx_tokens_per_example)
        passes = examples / at_once
        ptx = work("learn", policy.model, passes, times(of_sequences(batch), passes), batch)
        works.append(ptx)
        # A copy of the gradient tells pretraining's part from PPO's.
        activations = max(activations, kept(ptx, compute.dtype) + 4 * size)
    looks = cfg.num_steps // cfg.heldout_every if cfg.heldout_every and len(data.heldout) else 0
    if looks:
        # Sampled, scored, read by policy and reference: as in a step, in part.
        part = looks * min(cfg.heldout_episodes, len(data.heldout)) / total
        works += repeated([*acting, learning[0], learning[0]], part)
    return forecast(
        updates,
        total,
        works,
        trained=[policy.model, *own],
        frozen=[policy.model, *judges, *_held_besides(cfg, policy, own)],
        compute=compute,
        lora=cfg.lora,
        activations=activations,
        update=_update_bytes(cfg, policy.model, learning[0].largest.predicted),
        writing=writing_bytes(
            policy, cfg.sampling, max(map(len, prompts)), cfg.episodes_per_step, compute
        ),
    )


def _learning(
    cfg: PPO,
    policy: Policy,
    critic: PreTrainedModel | None,
    own: Sequence[PreTrainedModel],
    rows: Sequences,
    compute: Compute,
) -> list[Work]:
    """Reference, policy and critic read all episodes; policy and critic learn from them."""
    at_once, rounds = cfg.episodes_per_backward, float(cfg.inner_epochs)
    if cfg.loss == "trpo":
        # The gradient; a product is a pass forward with a tangent and one with a gradient.
        rounds = 1 + 2 * (cfg.trpo_cg_steps + 1) * cfg.trpo_fisher_share
    passes = len(rows) / at_once
    batch = typical_rows(rows, at_once)
    largest = large_rows(rows, at_once, passes=passes)
    alone, valued = of_sequences(rows), of_sequences(rows, predicted=False)
    works = [
        work("read", policy.model, passes, alone, batch),
        work(
            "learn",
            policy.model,
            passes * rounds,
            times(alone, rounds),
            batch,
            largest=of_sequences(largest),
        ),
    ]
    if compute.dtype is not torch.float32:
        works.append(work("read", policy.model, passes, alone, batch))  # see `evaluate_tokens`
    if cfg.loss == "trpo":  # a step of the line search reads twice, and the first mostly does
        works.append(work("read", policy.model, 2 * passes, times(alone, 2), batch))
    if critic is not None:
        works.append(work("read", critic, passes, valued, batch))
    works += [
        work(
            "learn",
            model,
            passes * cfg.inner_epochs,
            times(valued, cfg.inner_epochs),
            batch,
            largest=of_sequences(largest, predicted=False),
        )
        for model in own
    ]
    return works


def _held_besides(
    cfg: PPO, policy: Policy, own: Sequence[PreTrainedModel]
) -> Sequence[PreTrainedModel]:
    """The average of the weights; with LoRA a critic's trunk that no other network reads."""
    if cfg.lora.rank:  # the average is as small as an adapter
        return own if cfg.value_from is not None else []
    return [policy.model] if cfg.save_weights == "ema" else []


def _update_bytes(cfg: PPO, model: PreTrainedModel, rows: int) -> int:
    """Bytes that an update of the policy holds besides weights, gradients and moments."""
    size = learned_parameters(model, cfg.lora)
    if cfg.loss == "trpo":
        # Weights, gradient, solution, residual, direction and product as vectors, in the place of
        # two moments; logits, their tangent, and what Fisher makes of them.
        return 4 * (4 * size + 4 * rows * shape_of(model).vocabulary)
    # A copy of the gradient tells pretraining's part from PPO's.
    return 4 * size if cfg.ptx_coef > 0 else 0


def _critic(cfg: PPO, policy: Policy, judges: Sequence[PreTrainedModel]) -> PreTrainedModel | None:
    if cfg.value == "none":
        return None
    if cfg.value == "shared":
        return policy.model
    if cfg.value_from is not None:
        return load_blank(cfg.value_from).model
    # Its own network even where the policy's shape serves: only the shape is read here.
    return judges[0] if judges else load_blank(cfg.policy).model


def _collect(cfg: Collect, answers: Sequence[int], compute: Compute) -> Forecast:
    first = load_blank(cfg.models[0])
    rows = collect.read_rows(cfg)
    prompts, _ = encode_prompts(rows, first.codec, cfg.sampling)
    counts = collect.draw_counts(cfg, len(prompts))
    wanted = [p for p, k in zip(prompts.tokens, counts, strict=True) for _ in range(k)]
    works: list[Work] = []
    rounds = math.ceil(len(prompts) / collect.PROMPTS_AT_ONCE)
    for number, place in enumerate(cfg.models):
        policy = load_blank(place)
        share = wanted[number :: len(cfg.models)]
        lengths = answer_lengths(cfg.sampling, answers, len(share))
        works += sampling_work(policy, share, lengths, cfg.sampling, compute, rounds=rounds)
    at_once = math.ceil(len(wanted) / rounds)
    return forecast(
        0,
        len(wanted),
        works,
        trained=[],
        frozen=[first.model],
        compute=compute,
        writing=writing_bytes(first, cfg.sampling, max(map(len, wanted)), at_once, compute),
    )


def _evaluate(cfg: Evaluate, answers: Sequence[int], compute: Compute) -> Forecast:
    baseline = load_blank(cfg.models[cfg.baseline])
    prompts, _ = encode_prompts(evaluate.read_rows(cfg), baseline.codec, cfg.sampling)
    lengths = answer_lengths(cfg.sampling, answers, len(prompts))
    rows = episodes(prompts.tokens, lengths)
    read, batch = of_sequences(rows), typical_rows(rows, cfg.prompts_per_batch)
    works: list[Work] = []
    for place in cfg.models.values():
        policy = load_blank(place)
        works += sampling_work(policy, prompts.tokens, lengths, cfg.sampling, compute, rounds=1)
        passes = math.ceil(len(prompts) / cfg.prompts_per_batch)
        works.append(work("read", policy.model, 2 * passes, times(read, 2), batch))
        if cfg.reward is not None:
            works.append(scoring_work(load_blank(cfg.reward).model, rows))
        if cfg.pretraining is not None:
            texts = evaluate.pretraining_sequences(cfg, cfg.pretraining, policy)
            passes = len(texts) / 16
            reading = of_sequences(texts)
            works.append(work("read", policy.model, passes, reading, typical_rows(texts, 16)))
    frozen = [baseline.model] * (3 if cfg.reward is not None else 2)
    longest = max(map(len, prompts.tokens))
    return forecast(
        0,
        len(cfg.models) * len(prompts),
        works,
        trained=[],
        frozen=frozen,
        compute=compute,
        writing=writing_bytes(baseline, cfg.sampling, longest, len(prompts), compute),
    )
