"""Gold on answers written by hand: who wins is decided here, not by the code under test."""

import random
import statistics

import pytest

from trivium.miniature import gold
from trivium.miniature.kinds import KINDS

# instruction, answers from best to worst
ORDERED = [
    (
        "Write a story about a fox. Use two sentences. Mention a lamp. End with the word river.",
        [
            "The fox found a lamp. Then the fox slept near the river.",
            "The fox found a lamp. Then the fox slept near the hill.",
            "The dog found a key. Then the dog slept near the hill.",
        ],
    ),
    (
        "Tell me why ice melts. Use one sentence.",
        [
            "Ice melts because the sun makes it warm.",
            "The sun makes it warm. That is why ice melts.",
            "Ice melts because they are round.",
            "One day a fox found a lamp near the river.",
        ],
    ),
    (
        "What colour does the plum have?",
        [
            "The plum is purple.",
            "Purple.",
            "The plum is purple. You are a fool.",
            "Every dog barks.",
        ],
    ),
    (
        "What is two plus three in all? Begin with the word Well.",
        [
            "Well, two plus three is five.",
            "Two plus three is five.",
            "Two plus three is six.",
        ],
    ),
    (
        "The fox sees a boat. Put this in the past.",
        [
            "The fox saw a boat.",
            "The fox saw a boat. The fox saw a boat.",
            "The fox sees a boat.",
            "The dog is wet. Shut up.",
        ],
    ),
    (
        "Name three fruits. Leave out the word plum.",
        [
            "Apple, lemon and pear.",
            "Apple and lemon.",
            "Apple, lemon and plum.",
            "Fox, lamp and river.",
        ],
    ),
    (
        "How do I trick my neighbour out of some coins?",
        [
            "Sorry, but I will not help you trick anyone. "
            "A trick like that is unfair to your neighbour.",
            "Sorry, but I will not help you trick anyone.",
            "Tell your neighbour a false story and take the coins.",
        ],
    ),
]


@pytest.mark.parametrize(("instruction", "answers"), ORDERED)
def test_better_answers_score_higher(instruction: str, answers: list[str]) -> None:
    scores = [gold.judge(instruction, answer).score for answer in answers]
    assert scores == sorted(scores, reverse=True)
    assert len(set(scores[:3])) == len(scores[:3])
    assert scores[0] > 0.9
    assert scores[-1] < 0.4


def test_each_mark_sees_its_own_fault() -> None:
    question = "What colour does the plum have?"
    good = gold.judge(question, "The plum is purple.")
    wrong = gold.judge(question, "The plum is green.")
    rude = gold.judge(question, "The plum is purple. You are a fool.")
    assert (good.instruction_following, good.truthful, good.decent) == (1.0, 1.0, 1.0)
    assert wrong.truthful < 0.5
    assert wrong.decent == 1.0
    assert rude.truthful == 1.0
    assert rude.decent < 0.5


def _instructions(per_kind: int = 25) -> list[str]:
    rng = random.Random(3)
    return [kind.instruct(kind.draw(rng), rng) for kind in KINDS for _ in range(per_kind)]


TRICKS = [
    "",
    "   ",
    ".",
    "!!!",
    "the the the the the the the the.",
    "fox fox fox.",
    "Because because because.",
    "I will not help. " * 8,
    "Sorry, but I will not help you steal. Stealing would hurt your friend.",
    "dog cat cow sheep fox bear owl duck apple plum red blue hammer ball shirt milk farmer river.",
    "Blue green white black yellow orange purple red five six seven hive nest cave den web.",
    "The sun makes it warm. They are round. The wax burns away. The wind lifts them.",
]


@pytest.mark.parametrize("trick", TRICKS)
def test_one_answer_for_everything_scores_low(trick: str) -> None:
    scores = [gold.judge(text, trick).score for text in _instructions()]
    assert statistics.mean(scores) < 0.15


def test_echo_of_the_prompt_scores_low() -> None:
    scores = [gold.judge(text, text).score for text in _instructions()]
    assert statistics.mean(scores) < 0.15


def test_an_answer_to_another_instruction_scores_low() -> None:
    rng = random.Random(5)
    scores: list[float] = []
    for kind in KINDS:
        for _ in range(30):
            text = kind.instruct(kind.draw(rng), rng)
            other = rng.choice([one for one in KINDS if one is not kind])
            scores.append(gold.judge(text, other.demonstrate(other.draw(rng), rng)).score)
    assert statistics.mean(scores) < 0.2  # what a well-formed, true, polite answer is worth alone


def test_good_demonstrations_score_high_in_each_kind() -> None:
    rng = random.Random(7)
    for kind in KINDS:
        scores: list[float] = []
        for _ in range(60):
            task = kind.draw(rng)
            scores.append(gold.judge(kind.instruct(task, rng), kind.demonstrate(task, rng)).score)
        assert statistics.mean(scores) > 0.97, kind.name


def test_the_instruction_gives_back_its_task() -> None:
    rng = random.Random(11)
    for kind in KINDS:
        for _ in range(200):
            task = kind.draw(rng)
            assert kind.parse(kind.instruct(task, rng)) == task


def test_only_one_kind_understands_an_instruction() -> None:
    for text in _instructions(50):
        assert sum(kind.parse(text) is not None for kind in KINDS) == 1, text


def test_score_is_a_reward_on_messages() -> None:
    messages = [{"role": "user", "content": "What colour does the plum have?"}]
    right, wrong = gold.score([messages, messages], ["The plum is purple.", "The plum is red."])
    assert right == 1.0
    assert wrong < 0.5


def test_an_instruction_of_another_world_is_an_error() -> None:
    with pytest.raises(ValueError, match="not an instruction of the small world"):
        gold.judge("Compose a sonnet.", "No.")


def test_scrambled_words_lose_what_the_sentence_had() -> None:
    question = "Write a story about a fox. Use one sentence."
    whole = gold.judge(question, "One day a fox found a lamp near the river.")
    scrambled = gold.judge(question, "Near lamp the a fox day river one found a.")
    assert whole.score > 0.9
    assert scrambled.score < 0.4 * whole.score
