"""One-step actor-critic: praise after every step, by asking the critic how the story goes on.

    delta  = r_t + gamma V(s_{t+1}) - V(s_t)                   (V = 0 once the episode has ended)
    theta <- theta + alpha   I delta grad log pi(a_t | s_t),   I = gamma^t
    w     <- w     + alpha_w   delta grad V(s_t)

    repeat
        each of N actors takes one step with pi
        one update of theta and w from these N steps

Low variance, since one random step stands in delta in place of a whole future, and biased as long
as V is wrong. I = gamma^t says that a step t steps into an episode counts less for the discounted
return from its start; it multiplies the policy's update alone.

Source: Sutton and Barto 2018, section 13.5, "one-step actor-critic (episodic)", here with N actors
and Adam.
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
    """Knobs of the one-step actor-critic."""

    num_actors: int = 64
    """N, steps per update."""

    lr: float = 0.001
    """alpha, Adam's step size for the policy."""

    critic_lr: float = 0.003
    """alpha_w, Adam's step size for the value network."""


def train(task: Task, settings: Settings, *, seed: int, watch: Watch) -> Agent:
    """Step, ask the critic, update, repeat until the budget is used up."""
    torch.manual_seed(seed)
    actors = Actors(task, settings.num_actors, seed=seed)
    policy, critic = learn.make_policy(task), learn.make_critic(task)
    agent = Agent(policy=policy, critic=critic)
    optimizer = learn.adam(settings.lr, policy)
    critic_optimizer = learn.adam(settings.critic_lr, critic)
    watch.look(0, agent)

    while actors.steps < task.num_steps:
        # Act: one step each
        batch = actors.steps_of(policy, 1)

        # Assign credit: delta is GAE with lambda 0, its target is r + gamma V(s')
        deltas, targets = learn.credit(task, batch, critic, lam=0.0)

        # Learn: the actor, then the critic
        learn.descend(optimizer, policy_loss(task, batch, agent, deltas))
        learn.descend(critic_optimizer, learn.value_loss(critic, batch, targets))
        watch.look(actors.steps, agent)

    watch.look(actors.steps, agent, last=True)
    return agent


def policy_loss(task: Task, batch: Batch, agent: Agent, deltas: Float[Tensor, "B T"]) -> Tensor:
    """-I delta log pi(a_t | s_t), mean over steps."""
    praise = maths.discounts(batch.times, gamma=task.gamma) * deltas
    logprobs = maths.token_logprobs(agent.policy(batch.states), batch.actions)
    return learn.per_step(maths.reinforce_loss(logprobs, praise), batch.mask)


def estimate(
    task: Task,
    settings: Settings,  # noqa: ARG001 (one signature on all rungs)
    actors: Actors,
    agent: Agent,
) -> Tensor:
    """The loss on fresh experience."""
    assert agent.critic is not None
    batch = actors.steps_of(agent.policy, 1)
    deltas, _ = learn.credit(task, batch, agent.critic, lam=0.0)
    return policy_loss(task, batch, agent, deltas)
