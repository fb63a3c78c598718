"""Critics and the folded bias, by direct computation."""

import pytest
import torch
from torch import nn

from trivium.errors import UserError
from trivium.models import fold_bias, load_policy, separate_critic, shared_critic
from trivium.models.load import new_reward_model


@pytest.fixture(scope="module")
def policy(model_folder, cpu):
    return load_policy(str(model_folder()), cpu)


@pytest.fixture(scope="module")
def reward(model_folder, cpu):
    return new_reward_model(str(model_folder()), cpu, seed=5)


def states(n=200, d=16, spread=0.3):
    """Hidden states as nets have them: a common part and what tells texts apart."""
    generator = torch.Generator().manual_seed(2)
    common = torch.randn(d, generator=generator)
    return common + spread * torch.randn(n, d, generator=generator)


@pytest.mark.parametrize("shift", [-3.5, 0.2])
def test_fold_bias_moves_the_scores_inside_the_weight(shift):
    torch.manual_seed(0)
    head, hidden = nn.Linear(16, 1, bias=False), states()
    exact_rows = torch.zeros(200, dtype=torch.bool)
    exact_rows[:50] = True
    before = (hidden.double() @ head.weight.detach().double().T).squeeze(1)
    error = fold_bias(head, hidden, shift, exact_rows=exact_rows)
    after = (hidden.double() @ head.weight.detach().double().T).squeeze(1)
    moved = after - before
    assert moved[:50].mean().item() == pytest.approx(shift, abs=1e-5)
    rms = ((moved - shift) ** 2).mean().sqrt().item()
    assert error == pytest.approx(rms, rel=1e-3)
    # every score moves by about the shift, so differences between texts hardly change
    assert moved.std().item() < 0.25 * abs(shift)
    assert moved.std().item() < moved.mean().abs().item()


def test_fold_bias_is_as_good_as_a_constant_coordinate():
    """Where some direction is constant over all texts, the shift is exact for every one of them."""
    torch.manual_seed(0)
    head, hidden = nn.Linear(16, 1, bias=False), states()
    hidden[:, 3] = 2.0
    before = head(hidden).detach()
    error = fold_bias(head, hidden, 1.5, exact_rows=torch.arange(200) < 20, ridge=1e-9)
    torch.testing.assert_close(head(hidden).detach(), before + 1.5, rtol=0, atol=1e-4)
    assert error < 1e-4


def test_fold_bias_uses_a_bias_that_is_there():
    torch.manual_seed(0)
    head, hidden = nn.Linear(16, 1), states()
    weight, before = head.weight.detach().clone(), head(hidden).detach()
    assert fold_bias(head, hidden, -0.75, exact_rows=torch.arange(200) < 3) == 0.0
    assert torch.equal(head.weight, weight)
    torch.testing.assert_close(head(hidden).detach(), before - 0.75)


def test_a_shared_critic_owns_its_head_alone(policy):
    critic = shared_critic(policy)
    assert critic.shared
    assert critic.trunk is policy.model
    assert {id(p) for p in critic.parameters()} == {id(p) for p in critic.head.parameters()}
    assert critic.head(torch.randn(5, 32)).abs().max() == 0


def test_a_critic_from_the_policy_is_a_copy(policy):
    critic = separate_critic(policy, None)
    own = {id(p) for p in critic.parameters()}
    assert not own & {id(p) for p in policy.model.parameters()}
    assert len(own) == len(list(policy.model.base_model.parameters())) + 2
    expected = policy.model.base_model.state_dict()
    for name, tensor in critic.trunk.state_dict().items():
        assert torch.equal(tensor, expected[name])
    assert critic.head(torch.randn(5, 32)).abs().max() == 0
    assert not critic.shared


def test_a_critic_from_the_reward_model_brings_its_head(policy, reward):
    critic = separate_critic(policy, reward)
    hidden = torch.randn(5, 32)
    torch.testing.assert_close(critic.head(hidden), reward.head(hidden))
    assert critic.head.bias is not None
    own = {id(p) for p in critic.parameters()}
    assert not own & {id(p) for p in [*policy.model.parameters(), *reward.model.parameters()]}
    assert len(own) == len(list(reward.model.base_model.parameters())) + 2
    assert reward.head.bias is None  # the reward model itself is left as it was


def test_a_critic_that_reads_other_tokens_is_refused(policy, model_folder, cpu):
    other = new_reward_model(str(model_folder("llama", "bos")), cpu, seed=5)
    with pytest.raises(UserError, match=r"value_from: .*another tokenizer or template"):
        separate_critic(policy, other)
