"""REINFORCE with the whole return: every move is praised for all that happened in its episode.

    grad J = E_tau[ R(tau) sum_t grad log pi(a_t | s_t) ],    R(tau) = sum_t gamma^t r_t

    repeat
        play N episodes with pi
        theta <- theta + alpha mean over episodes of R(tau) sum_t grad log pi(a_t | s_t)

Unbiased: R(tau) holds rewards of before t too, whose expected product with grad log pi(a_t | s_t)
is 0, but which add their variance. ``reinforce_to_go`` leaves them out.

Source: Williams 1992, "Simple statistical gradient-following algorithms".
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trivium import maths
from trivium.classic import learn
from trivium.classic.learn import Agent, Watch
from trivium.classic.networks import Policy
from trivium.classic.rollouts import Actors, Batch
from trivium.classic.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Knobs of REINFORCE."""

    num_actors: int = 32
    """N, episodes per update."""

    lr: float = 0.01
    """alpha, Adam's step size."""


def train(task: Task, settings: Settings, *, seed: int, watch: Watch) -> Agent:
    """Play, praise whole episodes, repeat until the budget is used up."""
    torch.manual_seed(seed)
    actors = Actors(task, settings.num_actors, seed=seed)
    agent = Agent(policy=learn.make_policy(task))
    optimizer = learn.adam(settings.lr, agent.policy)
    watch.look(0, agent)

    while actors.steps < task.num_steps:
        # Act: N whole episodes
        batch = actors.episodes(agent.policy)

        # Learn: one step along the policy gradient
        learn.descend(optimizer, policy_loss(task, batch, agent.policy))
        watch.look(actors.steps, agent)

    watch.look(actors.steps, agent, last=True)
    return agent


def policy_loss(task: Task, batch: Batch, policy: Policy) -> Tensor:
    """-R(tau) log pi(a_t | s_t), summed over steps, mean over episodes."""
    to_go = maths.rewards_to_go(batch.rewards, batch.mask, gamma=task.gamma)
    whole = maths.broadcast_to_tokens(to_go[:, 0], batch.mask)  # what is to go at t = 0 is R(tau)
    logprobs = maths.token_logprobs(policy(batch.states), batch.actions)
    return learn.per_episode(maths.reinforce_loss(logprobs, whole), batch)


def estimate(
    task: Task,
    settings: Settings,  # noqa: ARG001 (one signature on all rungs)
    actors: Actors,
    agent: Agent,
) -> Tensor:
    """The loss on fresh experience."""
    return policy_loss(task, actors.episodes(agent.policy), agent.policy)
