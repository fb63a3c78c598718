"""Checkpoints: whole, in order, and exact."""

import json

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from trivium.errors import UserError
from trivium.runs import checkpoint
from trivium.runs.checkpoint import (
    generator_state,
    global_generators,
    latest,
    load_generator,
    load_global_generators,
    load_optimizer,
    optimizer_tensors,
    tidy,
)


@pytest.fixture
def run_dir(tmp_path):
    for name in checkpoint.LOGS:
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def save(run_dir, step, *, keep=False, write_models=lambda folder: None, tensors=None):
    return checkpoint.save(
        run_dir,
        step,
        write_models=write_models,
        tensors={} if tensors is None else tensors,
        state={"cursor": step, "name": "é"},
        keep=keep,
    )


def steps(run_dir) -> list[str]:
    return sorted(path.name for path in (run_dir / "checkpoints").iterdir())


def test_what_is_saved_comes_back(run_dir):
    (run_dir / "metrics.jsonl").write_bytes(b"12345")
    tensors = {
        "a": torch.randn(3, 4).t(),  # not contiguous
        "b": torch.tensor(2.5, dtype=torch.bfloat16),
        "c": torch.arange(3, dtype=torch.uint8),
        "d": torch.randn(2, requires_grad=True),
    }
    save(run_dir, 10, write_models=lambda f: (f / "model.bin").write_text("m"), tensors=tensors)
    got = latest(run_dir)
    assert (got.step, got.path) == (10, run_dir / "checkpoints" / "step-000010")
    assert got.state == {"cursor": 10, "name": "é"}
    assert got.offsets == {"metrics.jsonl": 5, "samples.jsonl": 0}
    assert (got.path / "model.bin").read_text() == "m"
    back = got.tensors()
    assert back.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert torch.equal(back[name], tensor)
        assert back[name].dtype == tensor.dtype


def test_nothing_yet(run_dir):
    assert latest(run_dir) is None
    tidy(run_dir)


def test_older_ones_go_unless_kept(run_dir):
    for step, keep in ((5, False), (10, True), (15, False), (1_000_000, False), (1_000_001, False)):
        save(run_dir, step, keep=keep)
    assert steps(run_dir) == ["step-000010", "step-1000001"]
    assert latest(run_dir).step == 1_000_001


def test_the_older_one_is_there_until_the_newer_is_whole(run_dir):
    save(run_dir, 5)
    save(run_dir, 10, write_models=lambda f: steps(run_dir) == ["x"])
    seen = []
    save(run_dir, 15, write_models=lambda folder: seen.extend(steps(run_dir)))
    assert seen == [".tmp-step-000015", "step-000010"]


def test_a_failing_writer_leaves_the_older_one(run_dir):
    save(run_dir, 5)

    def fail(folder):
        (folder / "model.bin").write_text("half")
        raise ValueError("reloaded logits differ")

    with pytest.raises(ValueError, match="reloaded logits differ"):
        save(run_dir, 10, write_models=fail)
    assert steps(run_dir) == ["step-000005"]


def test_half_written_ones_are_ignored_and_cleared(run_dir):
    save(run_dir, 5)
    folder = run_dir / "checkpoints"
    (folder / ".tmp-step-000010").mkdir()
    (folder / ".tmp-step-000010" / "trainer.json").write_text("{")
    (folder / "step-000020").mkdir()  # someone's copy, without its trainer.json
    assert latest(run_dir).step == 5
    tidy(run_dir)
    assert steps(run_dir) == ["step-000005", "step-000020"]


def test_a_checkpoint_stepped_aside_is_brought_back(run_dir):
    save(run_dir, 5)
    folder = run_dir / "checkpoints"
    (folder / "step-000005").rename(folder / ".old-step-000005")
    tidy(run_dir)
    assert latest(run_dir).step == 5


def test_saving_a_step_again_replaces_it(run_dir):
    save(run_dir, 5, tensors={"a": torch.zeros(1)})
    save(run_dir, 5, tensors={"a": torch.ones(1)}, keep=True)
    assert latest(run_dir).tensors()["a"].item() == 1
    assert latest(run_dir).keep
    assert steps(run_dir) == ["step-000005"]


def test_a_damaged_one_is_named(run_dir):
    path = save(run_dir, 5).path / "trainer.json"
    path.write_text("{")
    with pytest.raises(UserError, match=r"trainer\.json: damaged"):
        latest(run_dir)


def test_there_is_no_pickle(run_dir):
    optimizer = trained(0)[1]
    path = save(run_dir, 5, tensors=optimizer_tensors(optimizer, "adam")).path
    assert sorted(p.suffix for p in path.iterdir()) == [".json", ".safetensors"]
    json.loads((path / "trainer.json").read_text())


def trained(num_steps: int, optimizer_class=torch.optim.AdamW):
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.Linear(4, 1))
    groups = [
        {"params": model[0].parameters(), "lr": 0.1},
        {"params": model[1].parameters(), "lr": 1 / 3, "weight_decay": 0.1},
    ]
    optimizer = optimizer_class(groups)
    learn(model, optimizer, num_steps)
    return model, optimizer


def learn(model, optimizer, num_steps):
    for step in range(num_steps):
        x = torch.randn(5, 3, generator=torch.Generator().manual_seed(step))
        optimizer.zero_grad()
        model(x).square().sum().backward()
        optimizer.step()


@pytest.mark.parametrize("optimizer_class", [torch.optim.AdamW, torch.optim.Adam, torch.optim.SGD])
@pytest.mark.parametrize("num_steps", [0, 3])
def test_an_optimizer_goes_on_exactly(run_dir, optimizer_class, num_steps):
    model, optimizer = trained(num_steps, optimizer_class)
    optimizer.param_groups[0]["lr"] = 0.1 * 0.97**7  # a schedule was at work
    save(run_dir, 5, tensors=optimizer_tensors(optimizer, "adam") | {"adamant.0": torch.ones(1)})
    fresh_model, fresh = trained(0, optimizer_class)
    fresh_model.load_state_dict(model.state_dict())
    load_optimizer(fresh, latest(run_dir).tensors(), "adam")
    assert fresh.state_dict()["param_groups"] == optimizer.state_dict()["param_groups"]
    learn(model, optimizer, 4)
    learn(fresh_model, fresh, 4)
    for a, b in zip(model.parameters(), fresh_model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_an_optimizer_of_other_parameters_is_refused():
    tensors = optimizer_tensors(trained(1)[1], "adam")
    other = torch.nn.Linear(4, 3)
    with pytest.raises(ValueError, match="argument"):  # one group, where two were saved
        load_optimizer(torch.optim.AdamW(other.parameters()), tensors, "adam")
    groups = [
        {"params": [other.weight, other.bias]},
        {"params": [*torch.nn.Linear(4, 1).parameters()]},
    ]
    with pytest.raises(
        ValueError, match=r"adam\.0\.exp_avg: shape \(4, 3\), parameter has \(3, 4\)"
    ):
        load_optimizer(torch.optim.AdamW(groups), tensors, "adam")


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**40), st.integers(0, 50))
def test_a_generator_goes_on_exactly(seed, draws):
    generator = torch.Generator().manual_seed(seed)
    torch.randn(draws, generator=generator)
    state = generator_state(generator).clone()
    expected = torch.randn(9, generator=generator)
    other = torch.Generator()
    load_generator(other, state)
    assert torch.equal(torch.randn(9, generator=other), expected)


def test_the_generators_that_dropout_draws_on_go_on(run_dir):
    """The CPU's and each GPU's, through a file. On a machine without a GPU there is one of them."""
    devices = ["cpu", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    torch.manual_seed(7)
    tensors = global_generators()
    assert len(tensors) == len(devices)
    expected = [torch.rand(5, device=device) for device in devices]
    save(run_dir, 1, tensors=tensors)
    torch.manual_seed(8)
    assert not any(
        torch.rand(5, device=device).equal(old)
        for device, old in zip(devices, expected, strict=True)
    )
    load_global_generators(latest(run_dir).tensors())
    for device, old in zip(devices, expected, strict=True):
        assert torch.rand(5, device=device).equal(old)
