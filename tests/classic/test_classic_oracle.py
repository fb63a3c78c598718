"""The oracle: grids solved by hand, two algorithms that must agree, and episodes played out."""

import gymnasium
import numpy as np
import pytest

from trivium.classic import grid, oracle

UP, RIGHT, DOWN, LEFT = range(4)


def test_a_corridor_by_hand():
    world = grid.parse("C.M", drunkenness=0.0)
    values, moves = oracle.policy_iteration(world, gamma=0.9)
    np.testing.assert_allclose(values, [90, 100, 0])
    assert list(moves[:2]) == [RIGHT, RIGHT]


def test_a_drunk_step_by_hand():
    # Right succeeds with 1 - p + p / 4, else the cat stays: V = q 100 + (1 - q) gamma V.
    world = grid.parse("CM", drunkenness=0.4)
    success = 0.7
    expected = success * 100 / (1 - (1 - success) * 0.9)
    assert oracle.value_iteration(world, gamma=0.9)[0] == pytest.approx(expected)


def test_the_way_round_the_bathtub_by_hand():
    # Straight on: -10 at once. Round it, four moves: 100 gamma^3. Over the broom costs -1.
    world = grid.parse("B..\nCTM", drunkenness=0.0)
    values = oracle.value_iteration(world, gamma=0.5)
    assert values[world.start] == pytest.approx(-1 + 100 * 0.5**3)


@pytest.mark.parametrize("drunkenness", [0.0, 0.1, 0.5, 1.0])
def test_value_and_policy_iteration_agree(drunkenness):
    world = grid.parse(drunkenness=drunkenness)
    values, moves = oracle.policy_iteration(world, gamma=0.95)
    np.testing.assert_allclose(oracle.value_iteration(world, gamma=0.95), values, atol=1e-9)
    greedy = oracle.policy_values(world, np.eye(4)[moves], gamma=0.95)
    np.testing.assert_allclose(greedy, values, atol=1e-9)


def test_no_policy_beats_the_optimum():
    world = grid.parse()
    best = oracle.value_iteration(world, gamma=0.95)
    random = np.random.default_rng(0)
    for _ in range(50):
        policy = random.dirichlet(np.full(4, 0.3), size=world.num_cells)
        assert (oracle.policy_values(world, policy, gamma=0.95) <= best + 1e-9).all()


def test_the_value_of_a_policy_is_what_episodes_earn():
    world, num, gamma = grid.parse(), 20_000, 0.95
    policy = np.tile([0.4, 0.4, 0.1, 0.1], (world.num_cells, 1))
    envs = gymnasium.make_vec("trivium/Cat-v0", num_envs=num, max_episode_steps=400)
    cells, _ = envs.reset(seed=0)
    random = np.random.default_rng(0)
    earned, alive, factor = np.zeros(num), np.ones(num, dtype=bool), 1.0
    while alive.any() and factor > 1e-4:
        moves = (random.random((num, 1)) > policy[cells].cumsum(axis=1)).sum(axis=1).clip(max=3)
        cells, rewards, terminated, *_ = envs.step(moves)
        earned += alive * factor * rewards
        alive &= ~terminated
        factor *= gamma
    error = earned.std() / num**0.5
    expected = oracle.policy_values(world, policy, gamma=gamma)[world.start]
    assert earned.mean() == pytest.approx(expected, abs=4 * error)


def test_advantages_sum_to_nothing_under_their_policy():
    world = grid.parse()
    policy = np.random.default_rng(0).dirichlet(np.ones(4), size=world.num_cells)
    advantages = oracle.policy_advantages(world, policy, gamma=0.95)
    np.testing.assert_allclose((policy * advantages).sum(axis=1), 0, atol=1e-9)


def test_a_drunker_cat_keeps_away_from_the_bathtub():
    start_moves = {
        p: oracle.policy_iteration(grid.parse("...\nC.M\n.T.", drunkenness=p), gamma=0.99)[1]
        for p in (0.0, 0.6)
    }
    assert start_moves[0.0][3] == RIGHT
    assert start_moves[0.6][3] == UP
