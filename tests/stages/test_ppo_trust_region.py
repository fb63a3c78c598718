"""TRPO's step on a small transformer, against its definition in float64 by transformers."""

import copy
import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.nn.utils import parameters_to_vector

from trivium.config import PPO, Sampling
from trivium.errors import UserError
from trivium.models import Policy, load_policy
from trivium.models.functional import put_weights, weights_of
from trivium.runs.directory import open_run
from trivium.runs.metrics import is_timing
from trivium.stages import ppo
from trivium.stages.ppo_losses import Minibatch, only
from trivium.stages.ppo_models import Judge, Networks
from trivium.stages.ppo_setup import work_of_step
from trivium.stages.ppo_trust_region import fisher, improve
from trivium.text import from_lists

PROMPTS = [[1, 2], [1, 2], [3], [4, 4, 4]]
RESPONSES = [[2, 0], [3, 2, 1, 0], [0], [3]]
VOCABULARY, TEMPERATURE = 5, 0.8
STATES = [(p + r[:t], r[t]) for p, r in zip(PROMPTS, RESPONSES, strict=True) for t in range(len(r))]
"""What stood before each answer token, and the token: eight of them."""
ADVANTAGES = [0.5, -1.0, 2.0, 0.3, -0.7, 1.1, -0.2, -1.5]


@pytest.fixture(scope="module")
def loaded(model_folder, cpu) -> Policy:
    return load_policy(str(model_folder()), cpu)


@pytest.fixture
def networks(tiny_model, loaded) -> Networks:
    policy = replace(loaded, model=tiny_model("llama", VOCABULARY, seed=1))
    judge = Judge(specs=(), models={}, functions={}, timeout_seconds=1.0)
    return Networks(policy=policy, reference=policy, critic=None, judge=judge, average=None)


@pytest.fixture
def settings() -> PPO:
    return PPO(
        policy="unused",
        reward=("unused",),
        prompts="unused",
        loss="trpo",
        episodes_per_step=4,
        episodes_per_minibatch=4,
        episodes_per_backward=4,
        sampling=Sampling(temperature=TEMPERATURE),
        trpo_cg_steps=5,
        trpo_fisher_share=1.0,
    )


@pytest.fixture
def run(settings, tmp_path):
    with open_run(tmp_path / "run", stage="ppo", config=settings) as opened:
        yield opened
        opened.finish({})


def laws(model) -> Tensor:
    """(8, V) log-probabilities in float64, each state read by itself."""
    rows = [model(input_ids=torch.tensor([before])).logits[0, -1] for before, _ in STATES]
    return (torch.stack(rows) / TEMPERATURE).log_softmax(-1)


def exact(networks: Networks):
    return copy.deepcopy(networks.policy.model).double()


def batch_of(networks: Networks, advantages: list[float]) -> Minibatch:
    """The episodes, with the log-probabilities they have under the policy as it is."""
    sequences = from_lists(PROMPTS, RESPONSES)
    with torch.no_grad():
        found = laws(exact(networks)).float()
    chosen = iter(found[range(len(STATES)), [token for _, token in STATES]].tolist())
    given = iter(advantages)
    mask = torch.arange(4) < sequences.response_lengths[:, None]
    old, credit = torch.zeros(4, 4), torch.zeros(4, 4)
    for row, length in enumerate(sequences.response_lengths.tolist()):
        for t in range(length):
            old[row, t], credit[row, t] = next(chosen), next(given)
    return Minibatch(
        sequences=sequences,
        mask=mask,
        old_logprobs=old,
        old_values=torch.zeros(4, 4),
        advantages=credit,
        returns=torch.zeros(4, 4),
    )


@pytest.fixture(scope="module")
def scores(tiny_model) -> tuple[Tensor, Tensor]:
    """(8 V, N) grad log pi(a | s) of every state and token, and (8 V,) pi(a | s) / 8."""
    model = tiny_model("llama", VOCABULARY, seed=1).double()
    found = laws(model)
    rows = [
        parameters_to_vector(torch.autograd.grad(one, list(model.parameters()), retain_graph=True))
        for one in found.flatten()
    ]
    return torch.stack(rows), found.detach().exp().flatten() / len(STATES)


def kl_and_gain(networks: Networks, before) -> tuple[float, float]:
    """KL(old || new) and the rise of the mean of ratio times advantage, by definition."""
    with torch.no_grad():
        old, new = laws(before), laws(exact(networks))
    kl = (old.exp() * (old - new)).sum(-1).mean()
    tokens = [token for _, token in STATES]
    ratio = (new - old)[range(len(STATES)), tokens].exp()
    return float(kl), float(((ratio - 1) * torch.tensor(ADVANTAGES)).mean())


def test_products_are_those_of_the_fisher_matrix(networks, scores, settings, cpu):
    """E over the policy's own tokens of grad log pi grad log pi^T; with damping."""
    scores, weights = scores
    at = weights_of(networks.policy.model)
    vector = torch.randn(len(at), generator=torch.Generator().manual_seed(0))
    batch = batch_of(networks, ADVANTAGES)
    got = fisher(settings, networks.policy, batch, at, cpu)(vector).double()
    damped = settings.trpo_damping * vector.double()
    expected = scores.T @ (weights * (scores @ vector.double()))
    torch.testing.assert_close(got - damped, expected, rtol=1e-3, atol=1e-5)
    # control: the tokens that were taken in place of all that might have been
    taken = [VOCABULARY * row + token for row, (_, token) in enumerate(STATES)]
    other = scores[taken].T @ (scores[taken] @ vector.double()) / len(STATES)
    assert float((other - expected).norm() / expected.norm()) > 0.1


def test_the_step_is_the_natural_gradient_to_the_edge(networks, scores, settings, run, cpu):
    """In a small region nothing is halved: x = (F + damping)^-1 g, sqrt(2 delta / x.(F + d)x) x."""
    scores, weights = scores
    model = exact(networks)
    tokens = [token for _, token in STATES]
    surrogate = (laws(model)[range(len(STATES)), tokens] * torch.tensor(ADVANTAGES)).mean()
    g = parameters_to_vector(torch.autograd.grad(surrogate, list(model.parameters())))
    # Woodbury: F has rank 32 at most, so a matrix of 40 by 40 is all there is to solve
    root, damping = scores * weights.sqrt()[:, None], 1.0
    inner = damping * torch.eye(len(root), dtype=torch.float64) + root @ root.T
    x = (g - root.T @ torch.linalg.solve(inner, root @ g)) / damping
    expected = (2 * 1e-4 / (x @ g)).sqrt() * x  # x . (F + damping) x is x . g

    before = weights_of(networks.policy.model).double()
    cfg = replace(settings, trpo_max_kl=1e-4, trpo_damping=damping, trpo_cg_steps=20)
    metrics = improve(cfg, networks, batch_of(networks, ADVANTAGES), run, step=0, compute=cpu)
    moved = weights_of(networks.policy.model).double() - before
    assert metrics["policy/trpo_backtracks"] == 0
    assert float((moved - expected).norm() / expected.norm()) < 0.01
    plain = expected.norm() * g / g.norm()  # control: the gradient itself points elsewhere
    assert float((moved - plain).norm() / expected.norm()) > 0.3


@pytest.mark.parametrize("max_kl", [0.003, 0.3])
def test_the_step_stays_in_its_region_and_improves(max_kl, networks, settings, run, cpu):
    before = exact(networks)
    cfg = replace(settings, trpo_max_kl=max_kl)
    metrics = improve(cfg, networks, batch_of(networks, ADVANTAGES), run, step=0, compute=cpu)
    kl, gain = kl_and_gain(networks, before)
    assert metrics["policy/trpo_kl"] == pytest.approx(kl, rel=1e-3)
    assert metrics["policy/trpo_gain"] == pytest.approx(gain, rel=1e-3)
    assert gain > 0
    assert max_kl / 10 < kl <= max_kl
    # control: it is the region that held it; as far again would have left it
    old, new = weights_of(before).float(), weights_of(networks.policy.model)
    put_weights(networks.policy.model, old + 4 * (new - old))
    assert kl_and_gain(networks, before)[0] > max_kl


def test_episodes_per_backward_change_memory_and_not_the_step(networks, settings, run, cpu):
    start = weights_of(networks.policy.model)
    ends = []
    for size in (2, 4):
        put_weights(networks.policy.model, start)
        cfg = replace(settings, episodes_per_backward=size, trpo_cg_steps=2)
        improve(cfg, networks, batch_of(networks, ADVANTAGES), run, step=0, compute=cpu)
        ends.append(weights_of(networks.policy.model) - start)
    assert float((ends[0] - ends[1]).norm() / ends[0].norm()) < 1e-3


def test_a_share_of_the_episodes_is_the_first_of_them(networks, settings, cpu):
    at = weights_of(networks.policy.model)
    vector = torch.randn(len(at), generator=torch.Generator().manual_seed(0))
    batch = batch_of(networks, ADVANTAGES)
    half = fisher(replace(settings, trpo_fisher_share=0.5), networks.policy, batch, at, cpu)
    first = fisher(settings, networks.policy, only(batch, torch.arange(2)), at, cpu)
    torch.testing.assert_close(half(vector), first(vector))
    whole = fisher(settings, networks.policy, batch, at, cpu)(vector)
    assert float((half(vector) - whole).norm() / whole.norm()) > 0.1


def test_where_nothing_improves_nothing_moves(networks, settings, run, cpu):
    before = weights_of(networks.policy.model)
    metrics = improve(settings, networks, batch_of(networks, [0.0] * 8), run, step=0, compute=cpu)
    assert torch.equal(weights_of(networks.policy.model), before)
    assert metrics["policy/trpo_kl"] == metrics["policy/trpo_gain"] == 0
    assert metrics["policy/trpo_backtracks"] == settings.trpo_backtracks + 1


def test_a_gradient_that_is_not_finite_moves_nothing(networks, settings, run, cpu):
    before = weights_of(networks.policy.model)
    batch = batch_of(networks, [float("nan"), *ADVANTAGES[1:]])
    with pytest.raises(UserError, match="of the policy is nan") as error:
        improve(settings, networks, batch, run, step=3, compute=cpu)
    assert "\n" not in str(error.value)
    assert torch.equal(weights_of(networks.policy.model), before)
    assert (run.dir / "replay" / "step-3.safetensors").is_file()


@pytest.mark.parametrize(
    ("choices", "says"),
    [
        ({"value": "shared"}, "value: with loss trpo"),
        ({"ptx_coef": 1.0, "pretraining": "x"}, "ptx_coef: loss trpo"),
        ({"trpo_max_kl": 0.0}, "trpo_max_kl: expected > 0"),
        ({"trpo_damping": -1.0}, "trpo_damping: expected >= 0"),
    ],
)
def test_what_does_not_go_with_trpo_is_refused(choices, says, settings):
    with pytest.raises(UserError, match=says):
        replace(settings, **choices)


def test_the_plan_counts_the_policys_steps_and_the_critics_apart(settings):
    two = replace(settings, episodes_per_minibatch=2, episodes_per_backward=2, inner_epochs=3)
    work = {"steps": 1, "episodes": 4, "pretraining_examples": 0, "trust_region_steps": 1}
    assert work_of_step(two, 4) == work | {"optimizer_updates": 6}
    alone = replace(two, estimator="bandit", value="none")
    assert work_of_step(alone, 4) == work | {"optimizer_updates": 0}
    clipped = work_of_step(replace(two, loss="clip"), 4)
    assert "trust_region_steps" not in clipped


def rows_of(folder: Path) -> list[dict[str, float]]:
    """The metrics of a run, times and sizes aside."""
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    return [{name: x for name, x in row.items() if not is_timing(name)} for row in rows]


@pytest.mark.xdist_group("tiny")
def test_a_run_that_broke_off_goes_on_exactly(tiny, tmp_path, monkeypatch, cpu):
    """With a critic, two minibatches for it, and averaged weights."""
    cfg = PPO(
        policy=str(tiny / "sft"),
        reward=(str(tiny / "reward"),),
        prompts=str(tiny / "pretrain" / "data" / "prompts.jsonl"),
        loss="trpo",
        num_steps=2,
        episodes_per_step=8,
        episodes_per_minibatch=4,
        episodes_per_backward=4,
        trpo_cg_steps=2,
        trpo_fisher_share=0.5,
        value_lr=1e-3,
        sampling=Sampling(max_prompt_tokens=72, max_response_tokens=8),
        save_weights="ema",
        accept_affected=True,
        checkpoint_every=1,
        heldout_every=0,
    )
    ppo.run(cfg, tmp_path / "whole")

    def breaks(*given, step, **rest):
        if step == 1:
            raise KeyboardInterrupt
        return learn(*given, step=step, **rest)

    learn = ppo.learn
    monkeypatch.setattr(ppo, "learn", breaks)
    with pytest.raises(KeyboardInterrupt):
        ppo.run(cfg, tmp_path / "broken")
    monkeypatch.setattr(ppo, "learn", learn)
    ppo.run(cfg, tmp_path / "broken", resume=True)

    whole, broken = (rows_of(tmp_path / name) for name in ("whole", "broken"))
    assert whole == broken
    assert {"policy/trpo_kl", "value/loss"} <= whole[0].keys()
    assert "policy/clip_share" not in whole[0]
    one, other = (
        load_policy(str(tmp_path / name), cpu).model.state_dict() for name in ("whole", "broken")
    )
    assert all(one[name].equal(other[name]) for name in one)
    summary = json.loads((tmp_path / "broken" / "summary.json").read_text())
    assert summary["executed"] == {
        "steps": 2,
        "episodes": 16,
        "optimizer_updates": 4,
        "pretraining_examples": 0,
        "trust_region_steps": 2,
    }
    assert all(summary["plan"][name] == count for name, count in summary["executed"].items())
