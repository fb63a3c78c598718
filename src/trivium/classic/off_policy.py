"""Off-policy policy gradient: learn about one policy from what another one did.

    w_t    = prod_{u <= t} pi(a_u | s_u) / b(a_u | s_u)
    D_t    = sum_{k >= t} gamma^(k-t) w_k r_k - w_t V(s_t)
    grad J = E_b[ sum_t gamma^t D_t grad log pi(a_t | s_t) ]

    repeat
        b <- (1 - epsilon) pi + epsilon uniform, and play N episodes with b
        K times
            w from pi as it is now and b as it was
            theta <- theta + alpha mean over episodes of sum_t gamma^t D_t grad log pi(a_t | s_t)
            a step of V towards what the episodes returned

The weight of a reward is the ratio of the probabilities, under pi and under b, of all moves that
led to it. It corrects for both reasons why b is not pi: the random moves mixed in, and the updates
made since. It is a product, so it can grow large; it is capped: less variance, some bias.

Source: Precup, Sutton and Singh 2000, "Eligibility traces for off-policy policy evaluation" (the
weights of each reward); Sutton and Barto 2018, sections 5.5, 5.9 and 13.4.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from trivium import maths
from trivium.classic import learn
from trivium.classic.learn import Agent, Watch
from trivium.classic.networks import Policy
from trivium.classic.rollouts import Actors, Batch, Logits
from trivium.classic.tasks import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Knobs of the off-policy policy gradient."""

    num_actors: int = 32
    """N, episodes per batch."""

    epsilon: float = 0.1
    """Share of random moves of the policy that acts."""

    updates: int = 2
    """K, steps of the policy, and of V, on each batch."""

    weight_cap: float | None = 5.0
    """Largest importance weight; None: unbiased."""

    lr: float = 0.005
    """alpha, Adam's step size for the policy."""

    critic_lr: float = 0.01
    """Adam's step size for V."""


def train(task: Task, settings: Settings, *, seed: int, watch: Watch) -> Agent:
    """Watch somebody else play, correct for it, repeat until the budget is used up."""
    torch.manual_seed(seed)
    actors = Actors(task, settings.num_actors, seed=seed)
    policy, critic = learn.make_policy(task), learn.make_critic(task)
    agent = Agent(policy=policy, critic=critic)
    optimizer = learn.adam(settings.lr, policy)
    critic_optimizer = learn.adam(settings.critic_lr, critic)
    watch.look(0, agent)

    while actors.steps < task.num_steps:
        # Act: N whole episodes of the behaviour policy
        batch = actors.episodes(behaviour(policy, settings.epsilon))

        # Learn: several steps, each corrected for how far pi has moved away from b
        to_go = maths.rewards_to_go(batch.rewards, batch.mask, gamma=task.gamma)
        for _ in range(settings.updates):
            learn.descend(optimizer, policy_loss(task, settings, batch, agent))
            learn.descend(critic_optimizer, learn.value_loss(critic, batch, to_go))
        watch.look(actors.steps, agent)

    watch.look(actors.steps, agent, last=True)
    return agent


def behaviour(policy: Policy, epsilon: float) -> Logits:
    """b = (1 - epsilon) pi + epsilon uniform, as logits."""

    def logits(states: Tensor) -> Tensor:
        law = policy(states).softmax(-1)
        return ((1 - epsilon) * law + epsilon / law.shape[-1]).log()

    return logits


def policy_loss(task: Task, settings: Settings, batch: Batch, agent: Agent) -> Tensor:
    """-gamma^t D_t log pi(a_t | s_t), summed over steps, mean over episodes."""
    assert agent.critic is not None
    logprobs = maths.token_logprobs(agent.policy(batch.states), batch.actions)
    weights = maths.importance_weights(
        logprobs.detach(), batch.logprobs, batch.mask, cap=settings.weight_cap
    )
    to_go = maths.rewards_to_go(weights * batch.rewards, batch.mask, gamma=task.gamma)
    with torch.no_grad():
        surprise = to_go - weights * agent.critic(batch.states)
    praise = maths.discounts(batch.times, gamma=task.gamma) * surprise
    return learn.per_episode(maths.reinforce_loss(logprobs, praise), batch)


def estimate(task: Task, settings: Settings, actors: Actors, agent: Agent) -> Tensor:
    """The loss on fresh experience of the behaviour policy."""
    batch = actors.episodes(behaviour(agent.policy, settings.epsilon))
    return policy_loss(task, settings, batch, agent)
