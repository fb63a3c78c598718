"""The example that people copy."""

from pathlib import Path

import pytest

from trivium.rewards.functions import call, load_function
from trivium.rewards.spec import parse_rewards

ROOT = Path(__file__).parents[2]


def test_example_runs_as_its_own_text_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    text = (ROOT / "examples" / "reward_function.py").read_text()
    assert len(text.splitlines()) <= 30
    [spec] = parse_rewards([word for word in text.split() if word.startswith("brief=")])
    assert (spec.name, spec.weight) == ("brief", 0.5)

    prompts = [[{"role": "user", "content": "Which planet is the largest?"}]] * 3
    # Long words of the question: which, planet, largest.
    responses = [
        "Jupiter is the largest planet.",  # 2 of 3, 5 words
        "",  # 0 of 3
        "Which? " + "so " * 49,  # 1 of 3, 50 words: 10 over 40 cost 0.1
    ]
    function = load_function(spec.target)
    scores = call(function, prompts, responses, name=spec.name, timeout_seconds=30)
    assert scores == pytest.approx([2 / 3, 0.0, 1 / 3 - 0.1])
