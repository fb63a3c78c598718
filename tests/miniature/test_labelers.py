"""Simulated labelers: ties, determinism, and the agreement they are made for."""

import random

from trivium.miniature import labelers

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


def test_same_generator_same_ranking() -> None:
    labeler = labelers.panel(0)[0]
    answers = [GOOD, WRONG, BAD]
    first = labelers.rank(labeler, PROMPT, answers, random.Random(9))
    assert first == labelers.rank(labeler, PROMPT, answers, random.Random(9))
