"""PPO with the clip: several updates from the same steps, none of them worth going too far.

    rho_t = pi(a_t | s_t) / pi_old(a_t | s_t)
    L     = E[ min(rho A, clip(rho, 1 - c, 1 + c) A) - c_v (V - G)^2 / 2 + c_e H(pi) ]

    repeat
        each of N actors takes T steps with pi_old
        A and G by GAE
        K epochs: shuffle the rows into minibatches; for each, a step up the gradient of L
        pi_old <- pi

The min keeps the worse of the two: a step that already helped beyond the clip gets no more credit,
and a step that hurts is always felt. Row is what ``Batch`` calls the part of an episode that fell
into the rollout.

Source: Schulman et al. 2017, arXiv:1707.06347, algorithm 1 and eq. 7 and 9; Huang et al. 2022, "The
37 implementation details of PPO", core details 2 to 12.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from trivium import maths
from trivium.classic import learn
from trivium.classic.learn import Agent, Watch
from trivium.classic.networks import Policy
from trivium.classic.rollouts import Actors, Batch
from trivium.classic.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Knobs of PPO with the clip."""

    num_actors: int = 64
    """N."""

    num_steps: int = 32
    """T, steps of each actor between two updates."""

    epochs: int = 4
    """K, passes over each batch."""

    minibatches: int = 4
    """Parts of a batch, one optimizer step each."""

    clip: float = 0.2
    """c."""

    lam: float = 0.95
    """lambda of GAE."""

    entropy_coef: float = 0.01
    """c_e, advantage units (standard deviations) per nat; annealed to 0 with the step size."""

    value_coef: float = 1.0
    """c_v; matters where the networks are shared or the gradient is clipped."""

    shared: bool = False
    """Policy and value function share the hidden layer."""

    lr: float = 0.005
    """Adam's step size, annealed to 0 over the run."""

    max_grad_norm: float = 0.5
    """The gradient is scaled down to this."""


def train(task: Task, settings: Settings, *, seed: int, watch: Watch) -> Agent:
    """Act, assign credit, learn in epochs, repeat until the budget is used up."""
    torch.manual_seed(seed)
    actors = Actors(task, settings.num_actors, seed=seed)
    policy, critic = learn.make_both(task, shared=settings.shared)
    agent = Agent(policy=policy, critic=critic)
    optimizer = learn.adam(settings.lr, policy, critic)
    watch.look(0, agent)

    while actors.steps < task.num_steps:
        left = 1 - actors.steps / task.num_steps
        learn.anneal(optimizer, settings.lr * left)

        # Act: T steps each
        batch = actors.steps_of(policy, settings.num_steps)

        # Assign credit
        advantages, returns = learn.credit(task, batch, critic, lam=settings.lam)

        # Learn: K epochs of minibatches, whitened one by one
        for chosen in learn.minibatches(batch, settings.epochs, settings.minibatches):
            part = batch.rows(chosen)
            whitened = maths.whiten(advantages[chosen], part.mask)
            loss = policy_loss(settings, policy, part, whitened)
            loss += settings.value_coef * learn.value_loss(critic, part, returns[chosen])
            loss -= left * settings.entropy_coef * learn.mean_entropy(policy, part)
            learn.descend(optimizer, loss, max_grad_norm=settings.max_grad_norm)
        watch.look(actors.steps, agent)

    watch.look(actors.steps, agent, last=True)
    return agent


def policy_loss(
    settings: Settings, policy: Policy, part: Batch, advantages: Float[Tensor, "B T"]
) -> Tensor:
    """The clipped surrogate, negated, mean over steps."""
    logprobs = maths.token_logprobs(policy(part.states), part.actions)
    losses = maths.ppo_clip_loss(logprobs, part.logprobs, advantages, clip=settings.clip)
    return learn.per_step(losses, part.mask)


def estimate(task: Task, settings: Settings, actors: Actors, agent: Agent) -> Tensor:
    """The surrogate on fresh experience: at ratio 1 its gradient is the policy gradient."""
    assert agent.critic is not None
    batch = actors.steps_of(agent.policy, settings.num_steps)
    advantages, _ = learn.credit(task, batch, agent.critic, lam=settings.lam)
    return policy_loss(settings, agent.policy, batch, advantages)
