"""The skeleton that the algorithms share: networks, one step downhill, credit, and the watch.

Each algorithm is a file with the same four parts: ``Settings``, ``train`` (the loop of the
pseudo-code: act, assign credit, learn, watch), its loss, and ``estimate`` (the loss on fresh
experience, whose gradient is one estimate of minus the policy gradient).
"""

import copy
from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from trivium import maths
from trivium.classic.networks import Critic, Policy, Trunk
from trivium.classic.rollouts import Batch
from trivium.classic.tasks import Task

ADAM_EPS = 1e-5
"""Huang et al. 2022, core detail 3."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """Who acts, and who says how well it goes."""

    policy: Policy
    critic: Critic | None = None
    """V, in scaled reward units; None: the algorithm has none."""


def make_policy(task: Task) -> Policy:
    """A policy that is nearly uniform."""
    return Policy(Trunk(task.observations, task.hidden), task.num_actions)


def make_critic(task: Task) -> Critic:
    """A value function with a network of its own."""
    return Critic(Trunk(task.observations, task.hidden))


def make_both(task: Task, *, shared: bool) -> tuple[Policy, Critic]:
    """Policy and value function, as two heads on one trunk or with a trunk each."""
    policy = make_policy(task)
    return policy, Critic(policy.trunk) if shared else make_critic(task)


def adam(lr: float, *modules: nn.Module) -> torch.optim.Adam:
    """Adam over the modules' weights, shared ones once."""
    weights = list(nn.ModuleList(modules).parameters())
    return torch.optim.Adam(weights, lr=lr, eps=ADAM_EPS, fused=True)


def descend(
    optimizer: torch.optim.Optimizer, loss: Tensor, *, max_grad_norm: float | None = None
) -> None:
    """One step against the gradient of ``loss``."""
    optimizer.zero_grad(set_to_none=True)
    loss.backward()
    if max_grad_norm is not None:
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        nn.utils.clip_grad_norm_(weights, max_grad_norm)
    optimizer.step()


def anneal(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Set the step size of what follows."""
    for group in optimizer.param_groups:
        group["lr"] = lr


def minibatches(batch: Batch, epochs: int, parts: int) -> Iterator[Int[Tensor, " b"]]:
    """Rows of the batch, shuffled anew in each epoch and dealt into ``parts``."""
    for _ in range(epochs):
        yield from torch.randperm(len(batch)).chunk(parts)


def per_episode(losses: Float[Tensor, "B T"], batch: Batch) -> Tensor:
    """Sum over steps, mean over rows: E over trajectories of a sum over t."""
    return maths.masked_sum(losses, batch.mask)[0] / len(batch)


def per_step(losses: Float[Tensor, "B T"], mask: Bool[Tensor, "B T"]) -> Tensor:
    """Mean over the steps that happened."""
    total, count = maths.masked_sum(losses, mask)
    return total / count


def value_loss(critic: Critic, batch: Batch, returns: Float[Tensor, "B T"]) -> Tensor:
    """Mean of (V - G)^2 / 2 over the steps."""
    errors = F.mse_loss(critic(batch.states), returns, reduction="none")
    return per_step(0.5 * errors, batch.mask)


def mean_entropy(policy: Policy, batch: Batch) -> Tensor:
    """H(pi(. | s)), nats, mean over the steps."""
    return per_step(maths.entropy(policy(batch.states)), batch.mask)


def credit(
    task: Task, batch: Batch, critic: Critic, *, lam: float
) -> tuple[Float[Tensor, "B T"], Float[Tensor, "B T"]]:
    """Advantages and returns by GAE; rows that were cut go on with the critic's opinion."""
    with torch.no_grad():
        values, next_values = critic(batch.states), critic(batch.next_states)
    rewards = maths.bootstrap_rewards(
        batch.rewards, batch.mask, next_values, batch.ended, gamma=task.gamma
    )
    return maths.gae(rewards, values, batch.mask, gamma=task.gamma, lam=lam)


@dataclass(slots=True, kw_only=True)
class Watch:
    """Looks at a run from outside: scores it now and then, keeps it as it was half-way up."""

    task: Task

    every: int
    """Environment steps between two scores."""

    steps: list[int] = field(default_factory=list)
    """Environment steps taken when each score was taken."""

    scores: list[float] = field(default_factory=list)
    """The policy's score, in the environment's reward units."""

    halfway: Agent | None = None
    """A copy from when the score first reached half of the optimum."""

    def look(self, steps: int, agent: Agent, *, last: bool = False) -> None:
        """Score the agent, if it is time."""
        if self.steps and steps - self.steps[-1] < self.every and not last:
            return
        self.steps.append(steps)
        self.scores.append(self.task.score(agent.policy))
        if self.halfway is None and self.scores[-1] >= 0.5 * self.task.optimum:
            self.halfway = copy.deepcopy(agent)

    def steps_to(self, share: float) -> int | None:
        """Environment steps until a score first reached that share of the optimum."""
        wanted = share * self.task.optimum
        reached = (s for s, score in zip(self.steps, self.scores, strict=True) if score >= wanted)
        return next(reached, None)
