"""Every algorithm's policy gradient, advantages and values against the exact ones.

The policy is a table with random logits on a small grid; the exact gradient of J = V(start) comes
from autograd through the linear system of the Bellman equation, in float64.
"""

from dataclasses import replace

import numpy as np
import pytest
import torch

from trivium import maths
from trivium.classic import (
    actor_critic,
    actor_critic_gae,
    grid,
    ladder,
    learn,
    off_policy,
    oracle,
    ppo_clip,
    ppo_kl,
    reinforce,
    reinforce_baseline,
    reinforce_to_go,
    tasks,
    trpo,
)
from trivium.classic.learn import Agent
from trivium.classic.rollouts import Actors

LAYOUT = "CB.\n.TM"
GAMMA, SCALE = 0.7, 0.01  # far from 1, so that gamma^t can be told from 1
WORLD = grid.parse(LAYOUT, drunkenness=0.2)
ACTORS = 800


@pytest.fixture(scope="module")
def task():
    return replace(tasks.cat(LAYOUT, drunkenness=0.2, hidden=None), gamma=GAMMA)


@pytest.fixture(scope="module")
def agent(task):
    """A table with random logits, and a critic that knows the exact values."""
    torch.manual_seed(3)
    policy, critic = learn.make_policy(task), learn.make_critic(task)
    with torch.no_grad():
        policy.head.weight.normal_(std=0.7)
        critic.head.weight[0] = torch.from_numpy(SCALE * exact_values(policy)).float()
        critic.head.weight[0, torch.from_numpy(WORLD.ends)] = 0.5  # nobody may ask there
    return Agent(policy=policy, critic=critic)


def law_of(policy) -> np.ndarray:
    return tasks.probabilities(policy, WORLD)


def exact_values(policy) -> np.ndarray:
    return oracle.policy_values(WORLD, law_of(policy), gamma=GAMMA)


def exact_gradient(policy, *, discounted_states: bool) -> torch.Tensor:
    """Gradient of the scaled return with respect to the logits table, (A, S).

    Without discounted states: of sum_s d(s) sum_a pi(a | s) A(s, a), the advantages and the visits
    d(s) per episode held fixed; what is left when gamma^t is dropped.
    """
    logits = policy.head.weight.detach().double().requires_grad_()
    law = logits.T.softmax(-1)
    transitions, rewards = torch.from_numpy(WORLD.transitions), torch.from_numpy(WORLD.rewards)
    moved = torch.einsum("sa,sat->st", law, transitions)
    if discounted_states:
        system = torch.eye(WORLD.num_cells) - GAMMA * moved
        loss = torch.linalg.solve(system, (law * rewards).sum(1))[WORLD.start]
    else:
        start = torch.eye(WORLD.num_cells).double()[WORLD.start]
        visits = torch.linalg.solve((torch.eye(WORLD.num_cells) - moved).T, start).detach()
        advantages = oracle.policy_advantages(WORLD, law_of(policy), gamma=GAMMA)
        loss = (visits[:, None] * law * torch.from_numpy(advantages)).sum()
    return SCALE * torch.autograd.grad(loss, logits)[0]


def estimates(module, settings, task, agent, *, count: int) -> torch.Tensor:
    """(K, A, S): independent estimates of the gradient."""
    actors = Actors(task, ACTORS, seed=0)
    actors.steps_of(agent.policy, 30)
    weight = agent.policy.head.weight
    losses = (module.estimate(task, settings, actors, agent) for _ in range(count))
    return -torch.stack([torch.autograd.grad(loss, [weight])[0] for loss in losses])


WHOLE = {
    "reinforce": (reinforce, reinforce.Settings()),
    "reinforce_to_go": (reinforce_to_go, reinforce_to_go.Settings()),
    "reinforce_baseline": (reinforce_baseline, reinforce_baseline.Settings()),
    "off_policy": (off_policy, off_policy.Settings(weight_cap=None, epsilon=0.3)),
}


@pytest.mark.parametrize("name", list(WHOLE))
def test_estimates_from_whole_episodes_average_to_the_exact_gradient(name, task, agent):
    module, settings = WHOLE[name]
    got = estimates(module, settings, task, agent, count=12)
    exact = exact_gradient(agent.policy, discounted_states=True)
    error = got.std(0) / len(got) ** 0.5
    assert ((got.mean(0) - exact).abs() <= 5 * error + 1e-6).all()
    assert cosine(got.mean(0), exact) > 0.99


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.cosine_similarity(a.flatten().double(), b.flatten().double(), dim=0))


def test_the_baseline_may_be_anything(task, agent):
    wrong = learn.make_critic(task)
    with torch.no_grad():
        wrong.head.weight.normal_()
    misled = Agent(policy=agent.policy, critic=wrong)
    got = estimates(*WHOLE["reinforce_baseline"], task, misled, count=12)
    exact = exact_gradient(agent.policy, discounted_states=True)
    error = got.std(0) / len(got) ** 0.5
    assert ((got.mean(0) - exact).abs() <= 5 * error + 1e-6).all()


STREAMS = {
    "actor_critic": (actor_critic, actor_critic.Settings(), True, 300),
    "actor_critic_gae": (actor_critic_gae, actor_critic_gae.Settings(), False, 12),
    "trpo": (trpo, trpo.Settings(), False, 12),
    "ppo_clip": (ppo_clip, ppo_clip.Settings(), False, 12),
    "ppo_kl": (ppo_kl, ppo_kl.Settings(), False, 12),
}


@pytest.mark.parametrize("name", list(STREAMS))
def test_estimates_from_streams_of_steps_point_along_the_exact_gradient(name, task, agent):
    # Means per step, not per episode: the length of the gradient differs, not its direction.
    module, settings, discounted, count = STREAMS[name]
    got = estimates(module, settings, task, agent, count=count).mean(0)
    assert cosine(got, exact_gradient(agent.policy, discounted_states=discounted)) > 0.99


def test_the_factor_gamma_to_the_t_can_be_told(task, agent):
    # The negative control of the two kinds of gradient above.
    both = (exact_gradient(agent.policy, discounted_states=kind) for kind in (True, False))
    assert cosine(*both) < 0.97


def test_at_ratio_one_the_surrogates_are_the_policy_gradient(task, agent):
    def first(module, settings):
        actors = Actors(task, 50, seed=5)
        loss = module.estimate(task, settings, actors, agent)
        return torch.autograd.grad(loss, [agent.policy.head.weight])[0]

    plain = first(actor_critic_gae, actor_critic_gae.Settings())
    for module, settings in ((trpo, trpo.Settings()), (ppo_clip, ppo_clip.Settings())):
        torch.testing.assert_close(first(module, settings), plain)
    torch.testing.assert_close(first(ppo_kl, ppo_kl.Settings(beta=7.0)), plain)


@pytest.mark.parametrize("lam", [0.0, 0.9, 1.0])
def test_gae_with_the_exact_critic_averages_to_the_exact_advantages(lam, task, agent):
    actors = Actors(task, ACTORS, seed=1)
    batch = actors.steps_of(agent.policy, 40)
    got, _ = learn.credit(task, batch, agent.critic, lam=lam)
    exact = SCALE * oracle.policy_advantages(WORLD, law_of(agent.policy), gamma=GAMMA)
    compare_by_move(got, batch, exact)


def test_reward_to_go_averages_to_the_exact_action_values(task, agent):
    batch = Actors(task, 4 * ACTORS, seed=1).episodes(agent.policy)
    got = maths.rewards_to_go(batch.rewards, batch.mask, gamma=GAMMA)
    values = exact_values(agent.policy)
    compare_by_move(got, batch, SCALE * oracle.action_values(WORLD, values, gamma=GAMMA))


def compare_by_move(got, batch, exact):
    """Means of (B, T) numbers by cell and move, within five standard errors of (S, A) ones."""
    compared = 0
    for cell in range(WORLD.num_cells):
        for move in range(4):
            here = batch.mask & (batch.states == cell) & (batch.actions == move)
            if (count := int(here.sum())) < 100:
                continue
            compared += 1
            error = float(got[here].std()) / count**0.5
            assert float(got[here].mean()) == pytest.approx(exact[cell, move], abs=5 * error + 1e-5)
    assert compared >= 12


@pytest.mark.parametrize("lam", [0.0, 0.95])
def test_a_critic_of_a_fixed_policy_learns_its_exact_values(lam, task, agent):
    torch.manual_seed(0)
    critic = learn.make_critic(task)
    optimizer = learn.adam(0.02, critic)
    actors = Actors(task, 200, seed=0)
    for update in range(300):
        learn.anneal(optimizer, 0.02 * (1 - update / 300))
        batch = actors.steps_of(agent.policy, 8)
        _, returns = learn.credit(task, batch, critic, lam=lam)
        learn.descend(optimizer, learn.value_loss(critic, batch, returns))
    visited = [cell for cell in range(WORLD.num_cells) if not WORLD.ends[cell]]
    got = critic(torch.tensor(visited)).detach().numpy() / SCALE
    np.testing.assert_allclose(got, exact_values(agent.policy)[visited], atol=2.5)  # of up to 80


def test_a_baseline_and_a_critic_lower_the_noise(task, agent):
    def noise(name):
        return ladder.noise_steps(ladder.algorithms()[name], task, agent, seed=0)

    without = min(noise("reinforce"), noise("reinforce_to_go"))
    assert without > 1.2 * noise("reinforce_baseline")
    assert noise("reinforce_baseline") > 1.2 * noise("actor_critic_gae")


@pytest.mark.parametrize("max_kl", [0.01, 0.1, 0.5])
def test_trpo_stays_in_its_region_and_improves(max_kl, task, agent):
    torch.manual_seed(0)
    policy = learn.make_policy(task)
    batch = Actors(task, 200, seed=0).steps_of(policy, 20)
    advantages, _ = learn.credit(task, batch, agent.critic, lam=0.9)
    before = policy(batch.states).detach()
    settings = trpo.Settings(max_kl=max_kl)
    first = trpo.policy_loss(policy, batch, advantages).item()
    kl = trpo.improve(settings, policy, batch, advantages)
    # the same KL by another library
    after = policy(batch.states).detach()
    laws = [torch.distributions.Categorical(logits=x) for x in (before, after)]
    measured = torch.distributions.kl_divergence(*laws)[batch.mask].mean()
    assert kl == pytest.approx(float(measured), rel=1e-4)
    assert 0.2 * max_kl < kl <= max_kl
    assert trpo.policy_loss(policy, batch, advantages).item() < first


def test_trpo_gives_up_where_nothing_improves(task):
    policy = learn.make_policy(task)
    before = maths.flatten(list(policy.parameters())).clone()
    batch = Actors(task, 20, seed=0).steps_of(policy, 5)
    assert trpo.improve(trpo.Settings(), policy, batch, torch.zeros_like(batch.rewards)) == 0
    torch.testing.assert_close(maths.flatten(list(policy.parameters())), before)


def test_shared_networks_share_one_trunk():
    task = tasks.cat()
    policy, critic = learn.make_both(task, shared=True)
    assert policy.trunk is critic.trunk
    policy, critic = learn.make_both(task, shared=False)
    assert policy.trunk is not critic.trunk


def test_minibatches_deal_every_row_once_an_epoch(task, agent):
    batch = Actors(task, 10, seed=0).steps_of(agent.policy, 1)
    dealt = list(learn.minibatches(batch, 2, 4))
    assert len(dealt) == 8
    for epoch in (dealt[:4], dealt[4:]):
        assert sorted(torch.cat(epoch).tolist()) == list(range(10))
