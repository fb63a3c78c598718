"""The small world: the same from the same seed, its parts apart, good in the mean."""

import statistics
from itertools import product, takewhile

import pytest

from trivium.miniature import gold, world
from trivium.miniature.world import World

pytestmark = pytest.mark.xdist_group("world")  # one worker builds it for all


@pytest.fixture(scope="module")
def small() -> World:
    return world.build(0)


def _texts(rows: list) -> list[str]:
    return [row.prompt[-1].content for row in rows]


def test_same_seed_same_world_other_seed_another(small: World) -> None:
    assert world.build(0) == small
    assert world.build(1) != small


def test_sizes(small: World) -> None:
    assert len(small.corpus) == world.CORPUS_DOCUMENTS
    assert len(small.heldout_corpus) == world.HELDOUT_DOCUMENTS
    assert len(small.demonstrations) == world.DEMONSTRATIONS
    assert len(small.prompts) == world.PROMPTS
    assert len(small.prompts_heldout) == world.HELDOUT_PROMPTS
    assert len(small.cloze) == world.CLOZES


def test_instructions_are_unique_and_the_sets_disjoint(small: World) -> None:
    texts = [_texts(rows) for rows in (small.demonstrations, small.prompts, small.prompts_heldout)]
    everything = [text.lower() for rows in texts for text in rows]
    assert len(set(everything)) == len(everything)
    ids = [row.id for row in (*small.demonstrations, *small.prompts, *small.prompts_heldout)]
    assert len(set(ids)) == len(ids)


def test_heldout_prompts_share_no_long_beginning_with_training(small: World) -> None:
    training = [*_texts(small.demonstrations), *_texts(small.prompts)]
    for one, other in product(_texts(small.prompts_heldout), training):
        if one[0].lower() == other[0].lower():
            pairs = zip(one.lower(), other.lower(), strict=False)
            shared = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
            assert shared < 0.8 * min(len(one), len(other)), (one, other)


def test_some_topics_are_heldout(small: World) -> None:
    trained = " ".join([*_texts(small.demonstrations), *_texts(small.prompts)]).lower()
    fresh = [text for text in _texts(small.prompts_heldout) if "opposite" in text]
    words = {word.strip(".,?") for text in fresh for word in text.lower().split()}
    assert any(f"is {word} the opposite" not in trained for word in words)


def test_heldout_pages_are_not_in_the_corpus(small: World) -> None:
    assert not set(small.heldout_corpus) & set(small.corpus)


def test_everything_is_plain_ascii(small: World) -> None:
    assert all(page.isascii() and page.strip() for page in small.corpus)
    assert all(one.completion.isascii() for one in small.demonstrations)


def test_demonstrations_are_good_but_not_perfect(small: World) -> None:
    scores = [gold.judge(one.prompt, one.completion).score for one in small.demonstrations]
    assert 0.5 < statistics.mean(scores) < 0.75
    assert 0.5 < statistics.mean(score < 0.9 for score in scores) < 0.7


def test_every_prompt_can_be_judged(small: World) -> None:
    for one in (*small.prompts, *small.prompts_heldout):
        assert gold.judge(one.prompt, "").score == 0.0


def test_cloze_options_hold_the_truth_once(small: World) -> None:
    truths = {
        "A hen eats": " corn.",
        "A cow eats": " grass.",
        "Every dog": " barks.",
        "The plum is": " purple.",
        "The opposite of hot is": " cold.",
        "Two plus two is": " four.",
    }
    asked = [one for one in small.cloze if one.prefix in truths]
    assert len(asked) >= 2
    for one in asked:
        assert one.options[one.answer] == truths[one.prefix]
    for one in small.cloze:
        assert len(set(one.options)) == 4
        assert 0 <= one.answer < 4
