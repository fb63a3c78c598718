"""What PPO has before its first episode: data, optimizers, the plan, the scale of its rewards."""

from dataclasses import dataclass, replace

import torch
from torch import nn

from trivium.config import PPO
from trivium.data import DataReport, read_prompts, require_acceptable
from trivium.errors import UserError
from trivium.models import Compute, Policy, trained
from trivium.stages import preflight
from trivium.stages.optimise import adamw, static_bytes
from trivium.stages.ppo_experience import RewardScale, act
from trivium.stages.ppo_learn import Optimizers, ptx_examples
from trivium.stages.ppo_models import Networks, judge_texts
from trivium.stages.rows import Prompts, encode_prompts
from trivium.stages.webtext import WebText, open_text
from trivium.text import TextStream, decode_response


@dataclass(frozen=True, slots=True)
class Data:
    """What PPO reads.

    Attributes:
        prompts: what the episodes answer.
        heldout: prompts that are looked at now and then.
        web: pretraining text of PPO-ptx; None: plain PPO.
        report: what became of the prompts.
        heldout_report: what became of the held-out ones.
    """

    prompts: Prompts
    heldout: Prompts
    web: WebText | None
    report: DataReport
    heldout_report: DataReport

    @property
    def stream(self) -> TextStream | None:
        """The examples of `web`."""
        return None if self.web is None else self.web.stream

    def parts(self) -> dict[str, DataReport]:
        """The account of what is not prompts of episodes."""
        web = {} if self.web is None else {"pretraining": self.web.report()}
        return {"heldout": self.heldout_report} | web


def load_data(cfg: PPO, policy: Policy) -> Data:
    """Read, split, encode and check everything before the first episode."""
    heldout = None if cfg.heldout is None else list(read_prompts(cfg.heldout))
    rows, heldout_rows, left_out = preflight.split_or_check(
        list(read_prompts(cfg.prompts)),
        heldout,
        cfg.split,
        names=(cfg.prompts, cfg.heldout or "the held-out part"),
    )
    prompts, report = encode_prompts(rows, policy.codec, cfg.sampling)
    require_acceptable(report, stage="ppo", accept=cfg.accept_affected)
    if not len(prompts):
        raise UserError(
            f"{cfg.prompts}: every prompt is longer than sampling.max_prompt_tokens = "
            f"{cfg.sampling.max_prompt_tokens}; raise it"
        )
    preflight.check_bos(policy.codec, prompts.messages[0])
    web = None
    if cfg.ptx_coef > 0 and cfg.pretraining is not None:
        tokens = cfg.ptx_tokens_per_example
        context = policy.model.config.get_text_config().max_position_embeddings
        if tokens > context:
            raise UserError(
                f"ptx_tokens_per_example: expected at most the policy's context of {context} "
                f"tokens, got {tokens}"
            )
        web = open_text(cfg.pretraining, policy.codec, heldout=heldout_rows, example_tokens=tokens)
    measured, heldout_report = encode_prompts(heldout_rows, policy.codec, cfg.sampling)
    return Data(
        prompts=prompts,
        heldout=measured,
        web=web,
        report=replace(report, left_out=left_out),
        heldout_report=heldout_report,
    )


def make_optimizers(cfg: PPO, networks: Networks) -> Optimizers:
    """A head on the policy's trunk learns with the policy; a critic of its own has its own."""
    policy, critic = trained(networks.policy.model), networks.critic
    if critic is not None and critic.shared:
        policy += critic.parameters()
    own = critic is not None and not critic.shared
    return Optimizers(
        policy=adamw(policy, cfg.adam, lr=cfg.lr),
        critic=adamw(critic.parameters(), cfg.adam, lr=cfg.value_lr) if own and critic else None,
    )


def work_of_step(cfg: PPO, num_episodes: int) -> dict[str, int]:
    """What a step of so many episodes does. With TRPO the optimizer's updates are the critic's."""
    updates = cfg.inner_epochs * (num_episodes // cfg.episodes_per_minibatch)
    if cfg.loss == "trpo" and cfg.value == "none":
        updates = 0
    work = {
        "steps": 1,
        "episodes": num_episodes,
        "optimizer_updates": updates,
        "pretraining_examples": updates * ptx_examples(cfg) if cfg.ptx_coef > 0 else 0,
    }
    return work | ({"trust_region_steps": 1} if cfg.loss == "trpo" else {})


def plan(cfg: PPO, networks: Networks) -> dict[str, int]:
    """What will be done, in numbers; `run.executed` must give the same at the end."""
    models: list[nn.Module] = [networks.policy.model, networks.reference.model]
    models += [judge.model for judge in networks.judge.models.values()]
    learned = trained(networks.policy.model)
    if networks.critic is not None:
        models += [networks.critic.trunk, networks.critic.head]
        learned += networks.critic.parameters()
    step = work_of_step(cfg, cfg.episodes_per_step)
    return {name: cfg.num_steps * count for name, count in step.items()} | {
        "response_tokens_at_most": (
            cfg.num_steps * cfg.episodes_per_step * cfg.sampling.max_response_tokens
        ),
        "parameters": networks.policy.model.num_parameters(),
        "trained_parameters": sum(p.numel() for p in learned),
        "static_bytes": static_bytes(models, learned),
    }


def measure_scale(cfg: PPO, networks: Networks, prompts: Prompts, compute: Compute) -> RewardScale:
    """Mean and deviation of the reward on the SFT model's own answers, where asked for."""
    if not cfg.scale_rewards:
        return RewardScale(mean=0.0, std=1.0)
    chosen = [i % len(prompts) for i in range(cfg.scale_rewards_episodes)]
    episodes = act(
        replace(cfg, samples_per_prompt=1, estimator="bandit"),
        networks.reference,
        prompts,
        chosen,
        compute=compute,
        generator=torch.Generator().manual_seed(cfg.seed + 1),
    )
    texts = [decode_response(networks.policy.codec, r) for r in episodes.responses()]
    messages = [prompts.messages[i] for i in chosen]
    scores = torch.tensor(judge_texts(networks.judge, messages, texts, compute)[0])
    scale = RewardScale(mean=float(scores.mean()), std=float(scores.std(correction=0)))
    if scale.std == 0:
        raise UserError(
            "scale_rewards: every answer of the SFT model scores the same, so there is no scale "
            "and nothing to learn from; look at the reward"
        )
    if networks.critic is not None:
        # The critic starts as the reward model, so it must speak in the same units.
        head = networks.critic.head
        with torch.no_grad():
            if bool(head.weight.any()):  # it came from the reward model; a fresh head stays at 0
                head.weight.div_(scale.std)
                head.bias.sub_(scale.mean).div_(scale.std)
    return scale
