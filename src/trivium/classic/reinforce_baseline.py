"""REINFORCE with a baseline: a move is praised for doing better than was expected of its state.

    grad J = E_tau[ sum_t gamma^t (G_t - b(s_t)) grad log pi(a_t | s_t) ]

    repeat
        play N episodes with pi
        theta <- theta + alpha   mean of sum_t gamma^t (G_t - b(s_t)) grad log pi(a_t | s_t)
        w     <- w     - alpha_b gradient of the mean of (b(s_t) - G_t)^2 / 2

Any b that does not look at a_t is free: E[b(s_t) grad log pi(a_t | s_t)] = 0. The expected return
of the state is the b that pays, so a value network learns it, with a step size of its own. It does
not bootstrap: a wrong b costs variance, never bias.

Source: Sutton and Barto 2018, section 13.4.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trivium import maths
from trivium.classic import learn
from trivium.classic.learn import Agent, Watch
from trivium.classic.rollouts import Actors, Batch
from trivium.classic.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Knobs of REINFORCE with a baseline."""

    num_actors: int = 32
    """N, episodes per update."""

    lr: float = 0.01
    """alpha, Adam's step size for the policy."""

    baseline_lr: float = 0.01
    """alpha_b, Adam's step size for the value network."""


def train(task: Task, settings: Settings, *, seed: int, watch: Watch) -> Agent:
    """Play, compare with what was expected, repeat until the budget is used up."""
    torch.manual_seed(seed)
    actors = Actors(task, settings.num_actors, seed=seed)
    policy, baseline = learn.make_policy(task), learn.make_critic(task)
    agent = Agent(policy=policy, critic=baseline)
    optimizer = learn.adam(settings.lr, policy)
    baseline_optimizer = learn.adam(settings.baseline_lr, baseline)
    watch.look(0, agent)

    while actors.steps < task.num_steps:
        # Act: N whole episodes
        batch = actors.episodes(policy)

        # Learn: the policy against the baseline as it was, then the baseline
        to_go = maths.rewards_to_go(batch.rewards, batch.mask, gamma=task.gamma)
        learn.descend(optimizer, policy_loss(task, batch, agent, to_go))
        learn.descend(baseline_optimizer, learn.value_loss(baseline, batch, to_go))
        watch.look(actors.steps, agent)

    watch.look(actors.steps, agent, last=True)
    return agent


def policy_loss(task: Task, batch: Batch, agent: Agent, to_go: Float[Tensor, "B T"]) -> Tensor:
    """-gamma^t (G_t - b(s_t)) log pi(a_t | s_t), summed over steps, mean over episodes."""
    assert agent.critic is not None
    with torch.no_grad():
        surprise = to_go - agent.critic(batch.states)
    praise = maths.discounts(batch.times, gamma=task.gamma) * surprise
    logprobs = maths.token_logprobs(agent.policy(batch.states), batch.actions)
    return learn.per_episode(maths.reinforce_loss(logprobs, praise), batch)


def estimate(
    task: Task,
    settings: Settings,  # noqa: ARG001 (one signature on all rungs)
    actors: Actors,
    agent: Agent,
) -> Tensor:
    """The loss on fresh experience."""
    batch = actors.episodes(agent.policy)
    to_go = maths.rewards_to_go(batch.rewards, batch.mask, gamma=task.gamma)
    return policy_loss(task, batch, agent, to_go)
