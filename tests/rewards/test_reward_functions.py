"""Finding a reward function, calling it, and refusing what is not a score."""

import asyncio
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch

from trivium.errors import UserError
from trivium.rewards.functions import RewardFunction, call, load_function

PROMPTS = [
    [{"role": "user", "content": "Name a sea"}],
    [{"role": "system", "content": "Be kind"}, {"role": "user", "content": "Say hello"}],
    [{"role": "user", "content": "Count to two"}],
]
RESPONSES = ["The North Sea", "", "One, two"]


def lengths(prompts: list, responses: list[str]) -> list[float]:
    return [float(len(response)) for response in responses]


def run(function: RewardFunction, timeout_seconds: float = 30.0) -> list[float]:
    return call(function, PROMPTS, RESPONSES, name="mine", timeout_seconds=timeout_seconds)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty current directory; imports made from it are forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [p for p in sys.path if p])
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        del sys.modules[name]


# --- load_function


def test_current_directory_and_packages_in_it_are_importable(here: Path) -> None:
    (here / "kit_a").mkdir()
    (here / "kit_a" / "helper.py").write_text("FACTOR = 3.0\n")
    (here / "kit_a" / "judge.py").write_text(
        "def score(prompts, responses):\n"
        "    from kit_a.helper import FACTOR\n"  # a late import works too
        "    return [FACTOR * len(r) for r in responses]\n"
        "class Judge:\n"
        "    score = staticmethod(score)\n"
    )
    for target in ("kit_a.judge:score", "kit_a.judge:Judge.score"):
        assert run(load_function(target)) == [39.0, 0.0, 24.0]


def test_installed_module() -> None:
    import json

    assert load_function("json:dumps") is json.dumps


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("kit_absent:score", "no module 'kit_absent' in"),
        ("kit_b.absent:score", "no module 'kit_b.absent'"),
        ("kit_b:absent", "module kit_b has no 'absent'"),
        ("kit_b:LIMIT", "'LIMIT' is a int"),
        ("kit_needs:score", "importing kit_needs failed, it needs 'kit_missing'"),
        ("kit_broken:score", "importing kit_broken raised SyntaxError"),
        ("kit_raises:score", "importing kit_raises raised KeyError: 'API_KEY'"),
        ("kit_exits:score", "importing kit_exits raised SystemExit"),
    ],
)
def test_targets_that_cannot_be_had(here: Path, target: str, said: str) -> None:
    (here / "kit_b.py").write_text("LIMIT = 3\n")
    (here / "kit_needs.py").write_text("import kit_missing\n")
    (here / "kit_broken.py").write_text("def score(:\n")
    (here / "kit_raises.py").write_text("import os\nos.environ['API_KEY']\n")
    (here / "kit_exits.py").write_text("raise SystemExit(0)\n")
    with pytest.raises(UserError) as caught:
        load_function(target)
    assert said in str(caught.value)
    assert target in str(caught.value)
    assert "\n" not in str(caught.value)


# --- call: what is accepted


async def async_lengths(prompts: list, responses: list[str]) -> list[float]:
    await asyncio.sleep(0.001)
    return lengths(prompts, responses)


def promised_lengths(prompts: list, responses: list[str]) -> Awaitable[list[float]]:
    return async_lengths(prompts, responses)


class AsyncJudge:
    async def __call__(self, prompts: list, responses: list[str]) -> list[float]:
        return await asyncio.gather(*(self.one(r) for r in responses))

    async def one(self, response: str) -> float:
        await asyncio.sleep(0)
        return float(len(response))


@pytest.mark.parametrize("function", [lengths, async_lengths, promised_lengths, AsyncJudge()])
def test_plain_async_and_awaitable(function: RewardFunction) -> None:
    assert run(function) == [13.0, 0.0, 8.0]


@pytest.mark.parametrize(
    "returned",
    [
        [1, 0.0, -2.5],
        (1.0, 0.0, -2.5),
        iter([1.0, 0.0, -2.5]),
        np.array([1.0, 0.0, -2.5]),
        list(np.array([1.0, 0.0, -2.5], dtype=np.float32)),
        torch.tensor([1.0, 0.0, -2.5], dtype=torch.bfloat16, requires_grad=True),
        [torch.tensor(1.0), torch.tensor([0.0]), -2.5],
        [True, np.False_, Fraction(-5, 2)],
    ],
    ids=lambda r: type(r).__name__,
)
def test_any_list_of_numbers(returned: object) -> None:
    scores = run(lambda p, r: returned)
    assert scores == [1.0, 0.0, -2.5]
    assert [type(score) for score in scores] == [float, float, float]


def test_the_function_sees_messages_and_text_and_cannot_change_them() -> None:
    seen: list[object] = []

    def vandal(prompts: list, responses: list[str]) -> list[float]:
        seen.append(([[dict(m) for m in p] for p in prompts], list(responses)))
        scores = lengths(prompts, responses)
        prompts[0][0]["content"] = "changed"
        prompts.clear()
        responses.reverse()
        return scores

    prompts = [[dict(m) for m in p] for p in PROMPTS]
    responses = list(RESPONSES)
    assert call(vandal, prompts, responses, name="v", timeout_seconds=30) == [13.0, 0.0, 8.0]
    assert (prompts, responses) == (PROMPTS, RESPONSES)
    assert seen == [(PROMPTS, RESPONSES)]


def test_an_empty_batch_needs_no_call() -> None:
    assert call(lambda p, r: 1 / 0, [], [], name="none", timeout_seconds=1) == []


def test_no_limit() -> None:
    assert run(lengths, float("inf")) == [13.0, 0.0, 8.0]


# --- call: what is refused


def raises_value_error(prompts: list, responses: list[str]) -> list[float]:
    raise ValueError("no such\nmodel 'judge-7'")


async def raises_async(prompts: list, responses: list[str]) -> list[float]:
    raise ConnectionError("refused")


def raises_late(prompts: list, responses: list[str]) -> Iterator[float]:
    yield 1.0
    raise RuntimeError("half way")


def exits(prompts: list, responses: list[str]) -> list[float]:
    sys.exit("bye")


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (raises_value_error, "ValueError: no such model 'judge-7'"),
        (raises_async, "ConnectionError: refused"),
        (raises_late, "RuntimeError: half way"),
        (exits, "SystemExit: bye"),
        (lambda prompts: [1.0], "TypeError"),
    ],
)
def test_exceptions_name_function_type_message_and_prompt(function: Callable, said: str) -> None:
    with pytest.raises(UserError) as caught:
        run(function)
    message = str(caught.value)
    assert message.startswith("reward 'mine': the function raised")
    assert said in message
    assert "'Name a sea'" in message
    assert "\n" not in message
    assert caught.value.__cause__ is not None


def test_last_message_of_a_long_first_prompt_is_shortened() -> None:
    prompt = [
        {"role": "system", "content": "SYSTEM"},
        {"role": "user", "content": "word " * 100},
    ]
    with pytest.raises(UserError) as caught:
        call(raises_value_error, [prompt], ["x"], name="mine", timeout_seconds=30)
    assert "SYSTEM" not in str(caught.value)
    assert "word word" in str(caught.value)
    assert len(str(caught.value)) < 250


@pytest.mark.parametrize("kind", ["plain", "async", "generator"])
def test_hanging_functions_stop_at_the_limit(kind: str) -> None:
    release = threading.Event()

    def plain(prompts: list, responses: list[str]) -> list[float]:
        release.wait(20)
        return lengths(prompts, responses)

    async def asynchronous(prompts: list, responses: list[str]) -> list[float]:
        while not release.is_set():
            await asyncio.sleep(0.01)
        return lengths(prompts, responses)

    def generator(prompts: list, responses: list[str]) -> Iterator[float]:
        release.wait(20)
        yield from lengths(prompts, responses)

    function = {"plain": plain, "async": asynchronous, "generator": generator}[kind]
    start = time.monotonic()
    try:
        with pytest.raises(UserError, match=r"within 0\.2 seconds for 3 .*cannot be stopped"):
            run(function, timeout_seconds=0.2)
        assert time.monotonic() - start < 5
        assert all(t.daemon for t in threading.enumerate() if t.name == "reward")
    finally:
        release.set()


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        ([1.0, 2.0], "list of 3 numbers, one per response, got 2"),
        ([1.0] * 4, "list of 3 numbers, one per response, got 4"),
        ([], "list of 3 numbers, one per response, got 0"),
        (None, "got NoneType"),
        (1.5, "got float"),
        ("abc", "got str"),
        ({0: 1.0, 1: 2.0, 2: 3.0}, "got dict"),
        ({1.0, 2.0, 3.0}, "got set"),
        ([1.0, float("nan"), 2.0], "got nan at index 1 (response: '')"),
        ([1.0, 2.0, float("-inf")], "got -inf at index 2 (response: 'One, two')"),
        ([1.0, None, 2.0], "got None at index 1"),
        (["1.0", 2.0, 3.0], "got '1.0' at index 0"),
        ([1.0, 2j, 3.0], "got 2j at index 1"),
        ([1.0, 10**400, 3.0], "at index 1"),
        (np.array([1.0, np.nan, 2.0]), "nan) at index 1"),
        (np.ones((3, 2)), "at index 0"),
        (torch.ones(3, 2), "at index 0"),
    ],
)
def test_anything_but_one_finite_number_each_is_refused(returned: object, said: str) -> None:
    with pytest.raises(UserError) as caught:
        run(lambda p, r: returned)
    assert said in str(caught.value)
    assert str(caught.value).startswith("reward 'mine': expected a")
    assert "\n" not in str(caught.value)
