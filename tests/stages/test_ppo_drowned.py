"""A warning when pretraining gradients leave nothing of PPO's."""

import pytest

from trivium.stages.ppo import warn_if_drowned


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
