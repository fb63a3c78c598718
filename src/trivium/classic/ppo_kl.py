"""PPO with a KL penalty: no clip, but a price for every nat the policy moves away.

    rho_t = pi(a_t | s_t) / pi_old(a_t | s_t)
    L     = E[ rho A - beta KL(pi_old || pi) - c_v (V - G)^2 / 2 + c_e H(pi) ]

    repeat
        each of N actors takes T steps with pi_old
        A and G by GAE
        K epochs: shuffle the rows into minibatches; for each, a step up the gradient of L
        adaptive: d <- mean KL(pi_old || pi)
            beta <- 2 beta if d > 1.5 d_target, beta / 2 if d < d_target / 1.5
        pi_old <- pi

This KL is between two policies one update apart. The KL of RLHF, to the model before any of it, is
another one, and stands in the reward.

Source: Schulman et al. 2017, arXiv:1707.06347, section 4 and eq. 8.
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
    """Knobs of PPO with a KL penalty."""

    num_actors: int = 64
    """N."""

    num_steps: int = 32
    """T, steps of each actor between two updates."""

    epochs: int = 4
    """K, passes over each batch."""

    minibatches: int = 4
    """Parts of a batch, one optimizer step each."""

    beta: float = 1.0
    """Price of a nat, in advantage units (standard deviations); adaptive: where it starts."""

    kl_target: float | None = 0.01
    """d_target, nats per step and update; None: beta is fixed."""

    lam: float = 0.95
    """lambda of GAE."""

    entropy_coef: float = 0.01
    """c_e, advantage units per nat; annealed to 0 with the step size."""

    value_coef: float = 1.0
    """c_v; matters where the networks are shared or the gradient is clipped."""

    shared: bool = False
    """Policy and value function share the hidden layer."""

    lr: float = 0.005
    """Adam's step size, annealed to 0 over the run."""

    max_grad_norm: float = 0.5
    """The gradient is scaled down to this."""


def train(task: Task, settings: Settings, *, seed: int, watch: Watch) -> Agent:
    """Act, assign credit, learn in epochs, set the price, repeat."""
    torch.manual_seed(seed)
    actors = Actors(task, settings.num_actors, seed=seed)
    policy, critic = learn.make_both(task, shared=settings.shared)
    agent = Agent(policy=policy, critic=critic)
    optimizer = learn.adam(settings.lr, policy, critic)
    beta = settings.beta
    watch.look(0, agent)

    while actors.steps < task.num_steps:
        left = 1 - actors.steps / task.num_steps
        learn.anneal(optimizer, settings.lr * left)

        # Act: T steps each
        batch = actors.steps_of(policy, settings.num_steps)
        with torch.no_grad():
            old_logits = policy(batch.states)

        # Assign credit
        advantages, returns = learn.credit(task, batch, critic, lam=settings.lam)

        # Learn: K epochs of minibatches, whitened one by one
        for chosen in learn.minibatches(batch, settings.epochs, settings.minibatches):
            part = batch.rows(chosen)
            whitened = maths.whiten(advantages[chosen], part.mask)
            loss = policy_loss(policy, part, whitened, beta=beta)
            loss += settings.value_coef * learn.value_loss(critic, part, returns[chosen])
            loss -= left * settings.entropy_coef * learn.mean_entropy(policy, part)
            learn.descend(optimizer, loss, max_grad_norm=settings.max_grad_norm)

        # Set the price of the next update by how far this one went
        if settings.kl_target is not None:
            with torch.no_grad():
                kl = maths.categorical_kl(old_logits, policy(batch.states))
            moved = float(learn.per_step(kl, batch.mask))
            beta = maths.adaptive_klpen_coef(beta, moved, settings.kl_target)
        watch.look(actors.steps, agent)

    watch.look(actors.steps, agent, last=True)
    return agent


def policy_loss(
    policy: Policy, part: Batch, advantages: Float[Tensor, "B T"], *, beta: float
) -> Tensor:
    """The penalised surrogate, negated, mean over steps."""
    logprobs = maths.token_logprobs(policy(part.states), part.actions)
    losses = maths.ppo_klpen_loss(logprobs, part.logprobs, advantages, kl_coef=beta)
    return learn.per_step(losses, part.mask)


def estimate(task: Task, settings: Settings, actors: Actors, agent: Agent) -> Tensor:
    """The surrogate on fresh experience: at ratio 1 the KL is at rest."""
    assert agent.critic is not None
    batch = actors.steps_of(agent.policy, settings.num_steps)
    advantages, _ = learn.credit(task, batch, agent.critic, lam=settings.lam)
    return policy_loss(agent.policy, batch, advantages, beta=settings.beta)
