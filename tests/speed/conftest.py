"""Counters in place of clocks: FLOPs, rows through the first matrix, the largest tensor."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from trivium.config import PPO, Sampling
from trivium.models import Policy, RewardModel, separate_critic
from trivium.rewards.spec import RewardSpec
from trivium.stages.ppo_models import Judge, Networks
from trivium.text import make_codec

WORDS = 4096
aten = torch.ops.aten


def attention_flops(query, key, value, *rest, out_shape=None, **named) -> int:
    """Of the processor's kernel, which torch's counter does not know: the whole rectangle.

    Scores and values, 2 FLOPs a number each; what the kernel leaves out above the diagonal is not
    taken off, so this is never less than what is computed.
    """
    batch, heads, queries, size = query
    return 2 * batch * heads * queries * key[2] * (size + value[3])


def attention_backward_flops(grad, query, key, value, *rest, out_shape=None, **named) -> int:
    """Gradients of scores, values, queries, keys, and the scores once more."""
    return 5 * attention_flops(query, key, value) // 2


def added_product_flops(total, left, right, *rest, out_shape=None, **named) -> int:
    """Of addmm_, whose twin that is not in place torch knows."""
    return 2 * left[0] * left[1] * right[1]


ATTENTION = {
    aten._scaled_dot_product_flash_attention_for_cpu: attention_flops,
    aten._scaled_dot_product_flash_attention_for_cpu_backward: attention_backward_flops,
}


def linear_flops(states, weight, *rest, out_shape=None, **named) -> int:
    """A product with a weight that was reordered (models/reordered.py)."""
    return 2 * math.prod(states) * weight[0]


def flops_of(work: Callable[[], object]) -> int:
    """FLOPs that torch sees while ``work`` is done."""
    counted = ATTENTION | {
        aten.addmm_: added_product_flops,
        torch.ops.mkldnn._linear_pointwise: linear_flops,
    }
    with FlopCounterMode(display=False, custom_mapping=counted) as counter:
        work()
    seen = counter.get_flop_counts()["Global"]
    assert ATTENTION.keys() & seen.keys(), "attention ran in a kernel that is not counted"
    return counter.get_total_flops()


@pytest.fixture(scope="session")
def count_flops() -> Callable[[Callable[[], object]], int]:
    """`flops_of`, for the tests of this folder."""
    return flops_of


@contextmanager
def rows_through(model) -> Iterator[list[int]]:
    """How many rows each forward pass takes through the model's first matrix."""
    rows: list[int] = []
    first = next(m for m in model.base_model.modules() if isinstance(m, torch.nn.Linear))
    handle = first.register_forward_pre_hook(lambda _, x: rows.append(x[0][..., 0].numel()))
    try:
        yield rows
    finally:
        handle.remove()


@pytest.fixture(scope="session")
def count_rows():
    """`rows_through`, for the tests of this folder."""
    return rows_through


class Watch(TorchDispatchMode):
    """Remembers the most numbers that any tensor made by an operation held."""

    def __init__(self) -> None:
        super().__init__()
        self.most = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        made = function(*args, **(kwargs or {}))
        for tensor in made if isinstance(made, (tuple, list)) else (made,):
            if isinstance(tensor, torch.Tensor):
                self.most = max(self.most, tensor.numel())
        return made


@pytest.fixture(scope="session")
def watch() -> type[Watch]:
    """`Watch`, for the tests of this folder."""
    return Watch


@dataclass(frozen=True, slots=True, kw_only=True)
class Stand:
    """Networks wide enough that matrices decide, and a config for them."""

    networks: Networks
    reward: RewardModel
    config: PPO


def new_llama(sequence_classifier: bool = False, *, width: int = 640, words: int = WORDS):
    """A Llama of two layers."""
    from transformers import LlamaConfig, LlamaForCausalLM, LlamaForSequenceClassification

    config = LlamaConfig(
        vocab_size=words,
        hidden_size=width,
        intermediate_size=3 * width,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        tie_word_embeddings=True,
        num_labels=1,
        bos_token_id=None,
        eos_token_id=None,
        pad_token_id=None,
    )
    kind = LlamaForSequenceClassification if sequence_classifier else LlamaForCausalLM
    return kind(config).eval()


@pytest.fixture
def stand(tokenizer) -> Stand:
    """Policy, reference, critic and reward model, all of them new."""
    torch.manual_seed(0)
    codec = make_codec(tokenizer("plain"))
    policy, reference = (Policy(model=new_llama(), codec=codec, name=n) for n in "pr")
    classifier = new_llama(sequence_classifier=True)
    reward = RewardModel(model=classifier, head=classifier.score, codec=codec, name="reward")
    judge = Judge(
        specs=(RewardSpec(name="r", target="tests:r", weight=1.0),),
        models={},
        functions={"r": lambda prompts, responses: [float(len(r)) for r in responses]},
        timeout_seconds=10.0,
    )
    return Stand(
        networks=Networks(
            policy=policy,
            reference=reference,
            critic=separate_critic(policy, None),
            judge=judge,
            average=None,
        ),
        reward=reward,
        config=PPO(
            policy="unused",
            reward=("unused",),
            prompts="unused",
            episodes_per_step=8,
            episodes_per_minibatch=8,
            episodes_per_backward=4,
            sampling=Sampling(max_prompt_tokens=40, max_response_tokens=24),
        ),
    )


@pytest.fixture
def narrow():
    """A model with more words than it has anything else."""
    torch.manual_seed(0)
    return new_llama(width=64)
