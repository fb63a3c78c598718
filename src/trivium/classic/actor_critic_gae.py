"""Actor-critic with GAE: look T steps ahead, and trust the critic more the further away.

    delta_t = r_t + gamma V(s_{t+1}) - V(s_t)
    A_t     = sum_l (gamma lambda)^l delta_{t+l}
    G_t     = A_t + V(s_t)

    repeat
        each of N actors takes T steps with pi
        A, G from the critic as it is
        theta <- theta + alpha   mean of A_t grad log pi(a_t | s_t)
        K times: w <- w - alpha_w gradient of the mean of (V(s_t) - G_t)^2 / 2

lambda = 0 is the one-step actor-critic's delta (bias of V, little variance), lambda = 1 the reward
to go against a baseline (no bias but where a row was cut, much variance). From here on gamma^t is
left out, as in all of the literature that follows: states count as often as they are visited.

Source: Schulman et al. 2016, arXiv:1506.02438.
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
    """Knobs of the actor-critic with GAE."""

    num_actors: int = 32
    """N."""

    num_steps: int = 32
    """T, steps of each actor between two updates."""

    lam: float = 0.95
    """lambda."""

    lr: float = 0.01
    """alpha, Adam's step size for the policy."""

    critic_lr: float = 0.01
    """alpha_w, Adam's step size for the value network."""

    critic_updates: int = 4
    """K, steps of the critic on each batch; the actor takes one."""


def train(task: Task, settings: Settings, *, seed: int, watch: Watch) -> Agent:
    """Act, assign credit, learn, repeat until the budget is used up."""
    torch.manual_seed(seed)
    actors = Actors(task, settings.num_actors, seed=seed)
    policy, critic = learn.make_policy(task), learn.make_critic(task)
    agent = Agent(policy=policy, critic=critic)
    optimizer = learn.adam(settings.lr, policy)
    critic_optimizer = learn.adam(settings.critic_lr, critic)
    watch.look(0, agent)

    while actors.steps < task.num_steps:
        # Act: T steps each
        batch = actors.steps_of(policy, settings.num_steps)

        # Assign credit
        advantages, returns = learn.credit(task, batch, critic, lam=settings.lam)

        # Learn: one step of the actor, K of the critic
        learn.descend(optimizer, policy_loss(batch, agent, advantages))
        for _ in range(settings.critic_updates):
            learn.descend(critic_optimizer, learn.value_loss(critic, batch, returns))
        watch.look(actors.steps, agent)

    watch.look(actors.steps, agent, last=True)
    return agent


def policy_loss(batch: Batch, agent: Agent, advantages: Float[Tensor, "B T"]) -> Tensor:
    """-A_t log pi(a_t | s_t), mean over steps."""
    logprobs = maths.token_logprobs(agent.policy(batch.states), batch.actions)
    return learn.per_step(maths.reinforce_loss(logprobs, advantages), batch.mask)


def estimate(task: Task, settings: Settings, actors: Actors, agent: Agent) -> Tensor:
    """The loss on fresh experience."""
    assert agent.critic is not None
    batch = actors.steps_of(agent.policy, settings.num_steps)
    advantages, _ = learn.credit(task, batch, agent.critic, lam=settings.lam)
    return policy_loss(batch, agent, advantages)
