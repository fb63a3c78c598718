"""Warnings: pretraining gradients that leave nothing of PPO's, rewards that measure length."""

import json

import pytest

from trivium.config import PPO, Reward
from trivium.runs import config_file
from trivium.stages.ppo import warn_if_drowned, warn_of_weak_rewards


class Said:
    """What a run would print."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


@pytest.mark.parametrize(
    ("metrics", "warned"),
    [
        ({"policy/ppo_grad_norm": 2.2, "policy/ptx_grad_norm": 104.0}, True),
        ({"policy/ppo_grad_norm": 2.2, "policy/ptx_grad_norm": 3.7}, False),
        ({"policy/ppo_grad_norm": 0.0, "policy/ptx_grad_norm": 1.0}, True),
        ({"policy/ppo_grad_norm": 2.2}, False),
    ],
)
def test_the_warning_names_the_share_and_the_knob(metrics, warned):
    run = Said()
    warn_if_drowned(metrics, run)
    assert bool(run.lines) == warned
    if warned:
        assert "ptx_coef" in run.lines[0]
    if metrics.get("policy/ptx_grad_norm") == 104.0:
        assert "47 times" in run.lines[0]


@pytest.mark.parametrize(("low", "warned"), [(0.62, False), (0.60, True), (0.55, True)])
def test_a_reward_model_that_may_be_a_ruler_is_named(tmp_path, low, warned):
    config = Reward(model="m", rankings="r", demonstrations="d")
    folder = tmp_path / "reward"
    folder.mkdir()
    config_file.save(folder / "config.yaml", "reward", config)
    accuracy = {"point": 0.66, "low": low, "high": 0.7}
    heldout = {"accuracy": accuracy, "longer_wins": {"point": 0.60, "low": 0.5, "high": 0.7}}
    (folder / "summary.json").write_text(json.dumps({"heldout": heldout}))
    run = Said()
    rewards = (f"rm=1*{folder}", "len=1*pkg.module:function", "owner/name", str(tmp_path / "none"))
    warn_of_weak_rewards(PPO(policy="p", reward=rewards, prompts="x"), run)
    assert len(run.lines) == warned
    if warned:
        assert str(folder) in run.lines[0]
        assert "66.0%" in run.lines[0]
        assert "60.0%" in run.lines[0]
    (folder / "summary.json").write_text(json.dumps({"heldout": None}))
    warn_of_weak_rewards(PPO(policy="p", reward=rewards, prompts="x"), run)
    assert len(run.lines) == warned
