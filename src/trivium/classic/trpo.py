"""TRPO: the largest step that does not change the policy by more than delta nats.

    maximise   L(theta) = E[ pi(a | s) / pi_old(a | s)  A(s, a) ]
    subject to E[ KL(pi_old(. | s) || pi(. | s)) ] <= delta

    repeat
        each of N actors takes T steps; A by GAE
        g <- gradient of L at theta_old
        x <- F^-1 g by conjugate gradient, with F v = grad (grad KL . v)
        step <- sqrt(2 delta / (x . F x)) x
        for j = 0, 1, 2, ...: try theta_old + step / 2^j,
            take the first with L better than before and KL <= delta
        fit V to the returns

The distance is measured in what the policy does, not in its weights; so the step size needs no
tuning to the network. The line search makes up for the quadratic model of the KL being a model.

Source: Schulman et al. 2015, arXiv:1502.05477, with the advantages of arXiv:1506.02438.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.utils import parameters_to_vector, vector_to_parameters

from trivium import maths
from trivium.classic import learn
from trivium.classic.learn import Agent, Watch
from trivium.classic.networks import Policy
from trivium.classic.rollouts import Actors, Batch
from trivium.classic.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Knobs of TRPO."""

    num_actors: int = 32
    """N."""

    num_steps: int = 32
    """T, steps of each actor between two updates."""

    lam: float = 0.95
    """lambda of GAE."""

    max_kl: float = 0.02
    """delta, nats per state."""

    cg_steps: int = 10
    """Products with F for each direction."""

    damping: float = 0.01
    """Added to the eigenvalues of F."""

    backtracks: int = 10
    """Halvings of the step before an update is given up."""

    critic_lr: float = 0.01
    """Adam's step size for the value network."""

    critic_updates: int = 8
    """Steps of the critic on each batch."""


def train(task: Task, settings: Settings, *, seed: int, watch: Watch) -> Agent:
    """Act, assign credit, step to the edge of the trust region, repeat."""
    torch.manual_seed(seed)
    actors = Actors(task, settings.num_actors, seed=seed)
    policy, critic = learn.make_policy(task), learn.make_critic(task)
    agent = Agent(policy=policy, critic=critic)
    critic_optimizer = learn.adam(settings.critic_lr, critic)
    watch.look(0, agent)

    while actors.steps < task.num_steps:
        # Act: T steps each
        batch = actors.steps_of(policy, settings.num_steps)

        # Assign credit
        advantages, returns = learn.credit(task, batch, critic, lam=settings.lam)
        advantages = maths.whiten(advantages, batch.mask)

        # Learn: one step of the policy, several of the critic
        improve(settings, policy, batch, advantages)
        for _ in range(settings.critic_updates):
            learn.descend(critic_optimizer, learn.value_loss(critic, batch, returns))
        watch.look(actors.steps, agent)

    watch.look(actors.steps, agent, last=True)
    return agent


def improve(
    settings: Settings, policy: Policy, batch: Batch, advantages: Float[Tensor, "B T"]
) -> float:
    """One step within the trust region; the KL it took, 0 when no step was good enough."""
    weights = list(policy.parameters())
    before = parameters_to_vector(weights).detach()
    old_logits = policy(batch.states).detach()

    # Direction: the gradient of the surrogate, turned by the inverse of the Fisher matrix
    loss = policy_loss(policy, batch, advantages)
    gradient = maths.flatten(torch.autograd.grad(loss, weights))
    product = maths.fisher_vector_product(
        mean_kl(policy, old_logits, batch), weights, damping=settings.damping
    )
    direction = maths.conjugate_gradient(product, -gradient, num_steps=settings.cg_steps)
    step = maths.trust_region_step(direction, product, max_kl=settings.max_kl)

    # Line search: half as far each time, until it is an improvement that stays in the region
    for _ in range(settings.backtracks):
        vector_to_parameters(before + step, weights)
        with torch.no_grad():
            kl = float(mean_kl(policy, old_logits, batch))
            if kl <= settings.max_kl and policy_loss(policy, batch, advantages) < loss:
                return kl
        step = step / 2
    vector_to_parameters(before, weights)
    return 0.0


def policy_loss(policy: Policy, batch: Batch, advantages: Float[Tensor, "B T"]) -> Tensor:
    """-ratio times A_t, mean over steps: PPO's surrogate with a clip that never bites."""
    logprobs = maths.token_logprobs(policy(batch.states), batch.actions)
    losses = maths.ppo_clip_loss(logprobs, batch.logprobs, advantages, clip=torch.inf)
    return learn.per_step(losses, batch.mask)


def mean_kl(policy: Policy, old_logits: Tensor, batch: Batch) -> Tensor:
    """KL(pi_old || pi), mean over the states visited."""
    return learn.per_step(maths.categorical_kl(old_logits, policy(batch.states)), batch.mask)


def estimate(task: Task, settings: Settings, actors: Actors, agent: Agent) -> Tensor:
    """The surrogate on fresh experience: at ratio 1 its gradient is the policy gradient."""
    assert agent.critic is not None
    batch = actors.steps_of(agent.policy, settings.num_steps)
    advantages, _ = learn.credit(task, batch, agent.critic, lam=settings.lam)
    return policy_loss(agent.policy, batch, advantages)
