"""Experience as batches: what a row is, where it begins, and how it ends."""

import pytest
import torch

from trivium.classic import tasks
from trivium.classic.rollouts import Actors

UP, RIGHT, DOWN, LEFT = range(4)


def always(move: int):
    """A policy that knows only one move."""
    logits = torch.full((4,), -1e9)
    logits[move] = 0.0
    return lambda states: logits.expand(*states.shape, 4)


def corridor(**options) -> tasks.Task:
    return tasks.cat("C..M", drunkenness=0.0, **options)


def test_a_whole_episode_by_hand():
    batch = Actors(corridor(), 2, seed=0).episodes(always(RIGHT))
    assert batch.states.tolist() == [[0, 1, 2]] * 2
    assert batch.actions.tolist() == [[RIGHT] * 3] * 2
    torch.testing.assert_close(batch.rewards, torch.tensor([[0.0, 0.0, 1.0]] * 2))  # 100 x 0.01
    assert batch.times.tolist() == [[0, 1, 2]] * 2
    assert batch.next_states.tolist() == [3, 3]
    assert batch.ended.all()
    assert batch.mask.all()


def test_a_rollout_is_cut_into_rows_of_one_episode_each():
    # Three steps, then one to wake up: eight steps hold two episodes and no third.
    actors = Actors(corridor(), 1, seed=0)
    batch = actors.steps_of(always(RIGHT), 6)
    assert batch.states.tolist() == [[0, 1, 2], [0, 1, 0]]
    assert batch.mask.tolist() == [[True] * 3, [True, True, False]]
    assert batch.ended.tolist() == [True, False]
    assert batch.next_states.tolist() == [3, 2]
    assert actors.steps == 5
    # The next rollout goes on where this one was cut.
    batch = actors.steps_of(always(RIGHT), 2)
    assert batch.states.tolist() == [[2]]
    assert batch.times.tolist() == [[2]]
    assert batch.ended.tolist() == [True]


def test_a_time_limit_cuts_and_does_not_end():
    actors = Actors(corridor(), 1, seed=0)
    batch = actors.episodes(always(LEFT))
    assert batch.mask.sum() == 100
    assert not batch.ended.any()
    assert batch.next_states.tolist() == [0]


def test_when_everybody_wakes_up_a_rollout_waits():
    actors = Actors(corridor(), 3, seed=0)
    actors.steps_of(always(RIGHT), 3)
    batch = actors.steps_of(always(RIGHT), 1)
    assert batch.times.tolist() == [[0]] * 3


def test_each_actor_plays_one_episode_however_long():
    task = tasks.cat()
    batch = Actors(task, 300, seed=0).episodes(lambda s: torch.zeros(*s.shape, 4))
    assert len(batch) == 300
    assert (batch.times[:, 0] == 0).all()
    lengths = batch.mask.sum(1)
    assert (batch.ended | (lengths == 100)).all()


def test_log_probabilities_are_those_of_the_policy_that_acted():
    law = torch.tensor([0.1, 0.2, 0.3, 0.4])
    batch = Actors(tasks.cat(), 50, seed=0).steps_of(lambda s: law.log().expand(*s.shape, 4), 20)
    expected = law.log()[batch.actions][batch.mask]
    torch.testing.assert_close(batch.logprobs[batch.mask], expected)
    shares = torch.bincount(batch.actions[batch.mask], minlength=4) / batch.mask.sum()
    torch.testing.assert_close(shares, law, atol=0.08, rtol=0)


def test_the_same_seed_is_the_same_experience():
    pairs = [
        Actors(tasks.cat(), 4, seed=s).steps_of(lambda s: torch.zeros(4, 4), 30) for s in (1, 1, 2)
    ]
    assert torch.equal(pairs[0].rewards, pairs[1].rewards)
    assert not torch.equal(pairs[0].actions, pairs[2].actions)


def test_cart_pole_is_a_task_like_the_cat():
    task = tasks.cart_pole()
    batch = Actors(task, 5, seed=0).episodes(lambda s: torch.zeros(len(s), 2))
    assert batch.states.shape == (5, batch.mask.shape[1], 4)
    assert batch.ended.all()  # a random policy drops the pole long before 500 steps
    torch.testing.assert_close(batch.rewards, 0.01 * batch.mask)


def test_the_score_of_the_cat_is_the_oracles():
    assert tasks.cat("C.M", drunkenness=0.0).optimum == pytest.approx(95)
    assert tasks.cat("CM", drunkenness=0.0).score(always(RIGHT)) == pytest.approx(100)
    assert tasks.cat("CM", drunkenness=0.0).score(always(UP)) == pytest.approx(0)


def test_the_score_of_cart_pole_is_the_mean_length():
    # Pushing one way only drops the pole after 8 to 11 steps.
    assert (
        8 <= tasks.cart_pole().score(lambda s: torch.tensor([[9.0, -9.0]]).expand(len(s), 2)) <= 11
    )
