"""Simulated labelers: ties, determinism, and the agreement they are made for."""

import random
from itertools import combinations
from statistics import fmean, pvariance

import pytest

from trivium.miniature import labelers
from trivium.miniature.kinds import KINDS

PROMPT = "What colour does the plum have?"
GOOD, WRONG, BAD = "The plum is purple.", "The plum is green.", "Shut up."


def test_identical_answers_tie() -> None:
    rng = random.Random(0)
    for labeler in labelers.panel(0):
        for _ in range(20):
            ranks = labelers.rank(labeler, PROMPT, [GOOD, BAD, GOOD, f"{GOOD} ", WRONG], rng)
            assert ranks[0] == ranks[2] == ranks[3]


def test_ranks_begin_at_one_and_skip_none() -> None:
    rng = random.Random(1)
    for labeler in labelers.panel(0):
        ranks = labelers.rank(labeler, PROMPT, [GOOD, BAD, WRONG, "Purple.", ""], rng)
        assert set(ranks) == set(range(1, max(ranks) + 1))


def test_better_answers_win_most_of_the_time() -> None:
    rng = random.Random(2)
    panel = labelers.panel(0)
    rounds = [labelers.rank(rng.choice(panel), PROMPT, [GOOD, BAD], rng) for _ in range(300)]
    assert sum(a < b for a, b in rounds) > 0.9 * len(rounds)


def test_panel_is_of_its_seed_and_holds_some_out() -> None:
    panel = labelers.panel(4)
    assert panel == labelers.panel(4)
    assert panel != labelers.panel(5)
    assert sum(labeler.heldout for labeler in panel) == labelers.HELDOUT_LABELERS
    assert len({labeler.name for labeler in panel}) == len(panel)


def test_every_panel_and_either_group_is_as_noisy_and_as_spread() -> None:
    """Means and variances of a trait are those of its law, whatever the seed."""
    for seed in range(5):
        panel = labelers.panel(seed)
        for heldout in (False, True):
            group = [one for one in panel if one.heldout == heldout]
            assert fmean(one.noise for one in group) == pytest.approx(labelers.NOISE)
            assert fmean(one.following for one in group) == pytest.approx(0.7)
            wanted = (labelers.TASTE * labelers.NOISE) ** 2
            assert pvariance(one.noise for one in group) == pytest.approx(wanted)
    noises = [tuple(one.noise for one in labelers.panel(seed)) for seed in range(5)]
    assert len(set(noises)) == 5


def test_same_generator_same_ranking() -> None:
    labeler = labelers.panel(0)[0]
    answers = [GOOD, WRONG, BAD]
    first = labelers.rank(labeler, PROMPT, answers, random.Random(9))
    assert first == labelers.rank(labeler, PROMPT, answers, random.Random(9))


def _mixed_answers(count: int, k: int) -> list[tuple[str, list[str]]]:
    """Instructions with K answers each: good ones, ones to a neighbouring task, ones to another."""
    rng = random.Random(6)
    cases: list[tuple[str, list[str]]] = []
    for number in range(count):
        kind = KINDS[number % len(KINDS)]
        task = kind.draw(rng)
        writers = rng.choices((task, None), weights=(0.35, 0.65), k=k)
        answers = [kind.demonstrate(one or kind.draw(rng), rng) for one in writers]
        cases.append((kind.instruct(task, rng), answers))
    return cases


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_two_labelers_agree_as_often_as_people_do(seed: int) -> None:
    rng = random.Random(seed)
    panel = labelers.panel(seed)
    agreed = untied = 0
    for text, answers in _mixed_answers(600, 5):
        first, second = (labelers.rank(one, text, answers, rng) for one in rng.sample(panel, 2))
        for i, j in combinations(range(len(answers)), 2):
            if first[i] != first[j] and second[i] != second[j]:
                untied += 1
                agreed += (first[i] < first[j]) == (second[i] < second[j])
    # Aimed at is 0.73 on a model's answers; these are further apart, hence easier to agree on.
    assert 0.70 < agreed / untied < 0.80
