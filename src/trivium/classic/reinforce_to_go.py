"""REINFORCE with the reward to go: a move is praised only for what came after it.

    G_t    = sum_{k >= t} gamma^(k-t) r_k
    grad J = E_tau[ sum_t gamma^t G_t grad log pi(a_t | s_t) ]

    repeat
        play N episodes with pi
        theta <- theta + alpha mean over episodes of sum_t gamma^t G_t grad log pi(a_t | s_t)

The past drops out because E[grad log pi(a_t | s_t)] = 0 given all that came before t: whatever was
earned by then multiplies a zero. gamma^t is part of the gradient of a discounted return from the
start; many implementations drop it, and this one does not.

Source: Sutton and Barto 2018, section 13.3.
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
    """Knobs of REINFORCE with the reward to go."""

    num_actors: int = 32
    """N, episodes per update."""

    lr: float = 0.01
    """alpha, Adam's step size."""


def train(task: Task, settings: Settings, *, seed: int, watch: Watch) -> Agent:
    """Play, praise each move for its future, repeat until the budget is used up."""
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
    """-gamma^t G_t log pi(a_t | s_t), summed over steps, mean over episodes."""
    to_go = maths.rewards_to_go(batch.rewards, batch.mask, gamma=task.gamma)
    praise = maths.discounts(batch.times, gamma=task.gamma) * to_go
    logprobs = maths.token_logprobs(policy(batch.states), batch.actions)
    return learn.per_episode(maths.reinforce_loss(logprobs, praise), batch)


def estimate(
    task: Task,
    settings: Settings,  # noqa: ARG001 (one signature on all rungs)
    actors: Actors,
    agent: Agent,
) -> Tensor:
    """The loss on fresh experience."""
    return policy_loss(task, actors.episodes(agent.policy), agent.policy)
