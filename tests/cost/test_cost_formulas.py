"""The formulas of `trivium.cost`, worked out by hand on a model one can count on one's fingers."""

import pytest

from trivium import cost
from trivium.cost import Flops, Reading, Shape

# One layer, d = 2, one head of size 2, feed-forward 3, five words.
# Matrices: q k v o are 2 x 2 each (16), gate up down 2 x 3 each (18): N = 34.
# All weights: those, the embedding 5 x 2 (tied to the head), three norms of 2: 34 + 10 + 6 = 50.
TINY = Shape(
    layers=1,
    hidden=2,
    query_width=2,
    key_width=2,
    inner=3,
    vocabulary=5,
    matrices=34,
    parameters=50,
)


def test_a_tree_reads_its_prompt_once():
    # Prompt a b; answers c, and d e. Tokens a b c d e. a sees a; b sees a b; c sees a b c;
    # d sees a b d; e sees a b d e: 1 + 2 + 3 + 3 + 4 pairs.
    assert cost.tree(2, [1, 2], predicted=3) == Reading(tokens=5, pairs=13, predicted=3)


def test_a_sequence_of_its_own_sees_a_triangle():
    assert cost.tree(0, [4]).pairs == 1 + 2 + 3 + 4
    assert cost.tree(3, []) == Reading(tokens=3, pairs=6, predicted=0)


def test_the_last_token_of_an_answer_is_written_and_never_read():
    # a b -> c d e: read a b, then c, then d; e comes out of d. d looks at a b c d.
    assert cost.sampled(2, [3]) == Reading(tokens=4, pairs=1 + 2 + 3 + 4, predicted=3)
    assert cost.sampled(2, [0]) == cost.tree(2, [])


def test_total_adds():
    parts = [cost.tree(1, [1], predicted=1), cost.tree(0, [2])]
    assert cost.total(parts) == Reading(tokens=4, pairs=3 + 3, predicted=1)
    assert cost.total([]) == Reading(tokens=0, pairs=0, predicted=0)


def test_flops_of_five_tokens():
    got = cost.forward_flops(TINY, Reading(tokens=5, pairs=13, predicted=3))
    # 34 multiply-adds a token; a pair: 2 for the score, 2 for the value; a logit: 5 x 2.
    assert got == Flops(layers=2 * 34 * 5, attention=2 * (2 + 2) * 13, head=2 * 10 * 3)
    assert got.total == 340 + 104 + 60
    assert cost.training_flops(TINY, Reading(tokens=5, pairs=13, predicted=3)).total == 3 * 504


@pytest.mark.parametrize(
    ("lengths", "slots", "steps"),
    # all at once: the longest decides; two at a time: 9 tokens in 5 steps; one by one: all 9
    [([5, 2, 1, 5], 4, 4), ([5, 2, 1, 5], 2, 5), ([5, 2, 1, 5], 1, 9), ([1, 1], 2, 0), ([], 3, 0)],
)
def test_steps_of_decoding(lengths, slots, steps):
    assert cost.decode_steps(lengths, slots=slots) == steps


def test_bytes_of_decoding():
    # a b -> c d e and f -> g h: two steps together. Fed: c (sees 3), d (4), g (2).
    got = cost.decode_bytes(TINY, [2, 1], [3, 2], slots=2, number_bytes=4)
    weights = 2 * (34 + 10)
    past = (3 + 4 + 2) * (2 + 2)  # a key of 2 and a value of 2 for each
    assert got == 4 * (weights + past)


def test_bytes_held():
    assert cost.static_bytes(50, trained=True) == 50 * (4 + 4 + 4 + 4)
    assert cost.static_bytes(50, trained=False) == 200
    assert cost.memory_bytes(TINY, slots=3, capacity=7, number_bytes=4) == 3 * 7 * (2 + 2) * 4
    # each of the five tokens: 6 x 2 around norms, 3 x 2 + 2 x 2 in attention, 4 x 3 behind it
    assert cost.activation_bytes(TINY, 5, number_bytes=2) == 2 * 5 * (12 + 10 + 12)


def test_logits_stop_growing_at_the_chunk():
    assert cost.logit_bytes(TINY, 3, most=100) == 4 * 15
    assert cost.logit_bytes(TINY, 3000, most=100) == 4 * 100
    assert cost.logit_bytes(TINY, 3000, most=1) == 4 * 5  # one row at least


def test_bytes_of_an_update():
    # read weight, gradient, two moments; write weight and moments: 7 numbers of 4 bytes; the clip
    # reads the gradient, reads it again, writes it: 3 more
    assert cost.update_bytes(50) == 50 * 4 * (7 + 3)
