"""An optimizer step is taken whole or not at all, and against definitions written out."""

import json

import pytest
import torch
from safetensors.torch import load_file

from trivium.config import SFT, Adam
from trivium.errors import UserError
from trivium.runs.directory import open_run
from trivium.stages.optimise import Learner, adamw, update
from trivium.text import from_lists

BATCH = from_lists([[1, 2], [3]], [[4], [5, 6]])


@pytest.fixture
def run(tmp_path):
    config = SFT(model="m", demonstrations="d")
    with open_run(tmp_path / "run", stage="sft", config=config) as opened:
        yield opened
        opened.finish({})


def learner(name: str, gradient: list[float], lr: float) -> Learner:
    weight = torch.nn.Parameter(torch.ones(len(gradient)))
    weight.grad = torch.tensor(gradient)
    return Learner(adamw([weight], Adam(), lr=1.0), lr, name)


def test_both_learners_step_with_their_own_rate_and_clip(run):
    """Adam's first step is the rate times the sign, whatever the size of the gradient."""
    policy, critic = learner("policy", [3.0, -4.0], 0.1), learner("critic", [0.0, 0.25], 0.01)
    norms = update([policy, critic], max_grad_norm=1.0, run=run, step=3, batch=BATCH)
    assert norms == pytest.approx([5.0, 0.25])
    torch.testing.assert_close(policy.parameters()[0].data, torch.tensor([0.9, 1.1]))
    torch.testing.assert_close(critic.parameters()[0].data, torch.tensor([1.0, 0.99]))
    moments = policy.optimizer.state_dict()["state"][0]["exp_avg"]
    torch.testing.assert_close(moments, 0.1 * torch.tensor([0.6, -0.8]))  # clipped to norm 1
    assert policy.parameters()[0].grad is None


@pytest.mark.parametrize("broken", ["policy", "critic"])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_gradient_that_is_not_finite_leaves_every_weight_alone(run, broken, value):
    gradients = {"policy": [1.0, 1.0], "critic": [1.0]} | {broken: [value]}
    learners = [learner(name, gradient, 0.1) for name, gradient in gradients.items()]
    with pytest.raises(UserError, match=f"of the {broken} is .* no weight") as error:
        update(learners, max_grad_norm=1.0, run=run, step=3, batch=BATCH)
    assert "\n" not in str(error.value)
    for one in learners:
        assert one.parameters()[0].eq(1).all()
        assert not one.optimizer.state_dict()["state"]
    kept = load_file(run.dir / "replay" / "step-3.safetensors")
    assert kept["tokens"].equal(BATCH.tokens)
    note = json.loads((run.dir / "replay" / "step-3.json").read_text())["note"]
    assert broken in note
