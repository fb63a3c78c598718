"""The cat's environment: by hand, by Gymnasium's own checker, by its tables, and in pictures."""

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from trivium.classic import drawing, grid
from trivium.errors import UserError

UP, RIGHT, DOWN, LEFT = range(4)
SMALL = """
CB#
.TM
"""


def sober(layout: str = SMALL):
    env = gymnasium.make("trivium/Cat-v0", layout=layout, drunkenness=0.0)
    env.reset(seed=0)
    return env


def test_gymnasium_finds_nothing_wrong():
    for mode in (None, "ansi", "rgb_array"):
        env = gymnasium.make("trivium/Cat-v0", render_mode=mode)
        check_env(env.unwrapped, skip_render_check=mode is None)


@pytest.mark.parametrize(
    ("moves", "cell", "reward", "ended"),
    [
        ([RIGHT], 1, -1, False),  # the broom
        ([DOWN], 3, 0, False),  # an empty cell
        ([UP], 0, 0, False),  # over the edge
        ([RIGHT, RIGHT], 1, -1, False),  # against the wall, and the broom again
        ([DOWN, RIGHT], 4, -10, True),  # the bathtub
        ([RIGHT, DOWN], 4, -10, True),
    ],
)
def test_moves_by_hand(moves, cell, reward, ended):
    env = sober()
    for move in moves:
        got = env.step(move)
    assert got[:4] == (cell, reward, ended, False)


def test_meat_by_hand():
    assert sober("CM").step(RIGHT)[:3] == (1, 100, True)


def test_an_episode_is_cut_after_a_hundred_steps():
    env = sober()
    cut = [env.step(UP)[3] for _ in range(100)]
    assert cut == [False] * 99 + [True]


def test_a_drunk_cat_moves_at_random():
    env = gymnasium.make("trivium/Cat-v0", layout="...\n.C.\n..M", drunkenness=0.4).unwrapped
    env.reset(seed=0)
    landed = np.zeros(9)
    for _ in range(20_000):
        env.reset()
        landed[env.step(UP)[0]] += 1
    # 0.6 + 0.4 / 4 up, 0.4 / 4 each of the others; five standard errors are 0.016
    for cell, chance in {1: 0.7, 3: 0.1, 5: 0.1, 7: 0.1}.items():
        assert landed[cell] / 20_000 == pytest.approx(chance, abs=0.016)


def test_the_tables_are_laws():
    world = grid.parse()
    sums = world.transitions.sum(axis=2)
    np.testing.assert_allclose(sums[~world.ends], 1)
    assert not sums[world.ends].any()


def test_many_cats_move_as_the_tables_say():
    num = 40_000
    envs = gymnasium.make_vec("trivium/Cat-v0", num_envs=num, drunkenness=0.3)
    world = grid.parse(drunkenness=0.3)
    cells, _ = envs.reset(seed=0)
    assert (cells == world.start).all()
    for move in (UP, RIGHT, RIGHT):
        before = cells
        cells, rewards, terminated, truncated, _ = envs.step(np.full(num, move))
        moving = ~world.ends[before]
        np.testing.assert_array_equal(terminated[moving], world.ends[cells[moving]])
        np.testing.assert_array_equal(rewards[moving], world.entering[cells[moving]])
        assert not truncated.any()
    law = np.eye(world.num_cells)[world.start]
    for move in (UP, RIGHT, RIGHT):
        law = law @ world.transitions[:, move]
    # The third step of a cat that ended after two wakes it up; such cats are not in the law.
    ended = 1 - law.sum()
    seen = np.bincount(cells, minlength=world.num_cells) / num
    law[world.start] += ended
    np.testing.assert_allclose(seen, law, atol=0.013)  # five standard errors


def test_many_cats_wake_up_in_the_step_after_an_end():
    envs = gymnasium.make_vec("trivium/Cat-v0", num_envs=2, layout="CM", drunkenness=0.0)
    envs.reset(seed=0)
    both = [envs.step(np.array([RIGHT, LEFT])) for _ in range(3)]
    assert [list(step[0]) for step in both] == [[1, 0], [0, 0], [1, 0]]
    assert [list(step[1]) for step in both] == [[100, 0], [0, 0], [100, 0]]
    assert [list(step[2]) for step in both] == [[True, False], [False, False], [True, False]]


def test_many_cats_are_cut_after_a_hundred_steps():
    envs = gymnasium.make_vec("trivium/Cat-v0", num_envs=1, layout="CM", drunkenness=0.0)
    envs.reset(seed=0)
    cut = [bool(envs.step(np.array([LEFT]))[3][0]) for _ in range(202)]
    assert [step for step, is_cut in enumerate(cut, start=1) if is_cut] == [100, 201]


def test_letters():
    env = gymnasium.make("trivium/Cat-v0", layout=SMALL, render_mode="ansi")
    env.reset(seed=0)
    assert env.render() == f"{drawing.REVERSE}C{drawing.RESET}B#\n.TM\n"


def test_pixels():
    env = gymnasium.make("trivium/Cat-v0", layout=SMALL, render_mode="rgb_array", drunkenness=0.0)
    env.reset(seed=0)
    before = env.render()
    assert before.shape == (2 * drawing.CELL + 1, 3 * drawing.CELL + 1, 3)
    assert before.dtype == np.uint8
    env.step(DOWN)
    after = env.render()
    changed = (before != after).any(axis=2)
    # only the two cells of the first column, which the cat left and entered
    assert changed[: drawing.CELL].any()
    assert changed[drawing.CELL :].any()
    assert not changed[:, drawing.CELL + 1 :].any()


@pytest.mark.parametrize(
    ("layout", "says"),
    [
        ("C.\nM", "one length"),
        ("", "one length"),
        ("CxM", "'x' is unknown"),
        ("CCM", "exactly one C"),
        ("C..", "at least one M"),
    ],
)
def test_a_bad_layout_is_explained(layout, says):
    with pytest.raises(UserError, match=says):
        grid.parse(layout)


def test_a_bad_probability_is_explained():
    with pytest.raises(UserError, match=r"drunkenness is 1\.5"):
        grid.parse(drunkenness=1.5)


def test_the_straight_way_of_the_default_grid_leads_into_the_bathtub():
    env = gymnasium.make("trivium/Cat-v0", drunkenness=0.0)
    env.reset(seed=0)
    steps = [env.step(RIGHT) for _ in range(2)]
    assert [step[1] for step in steps] == [0, -10]
