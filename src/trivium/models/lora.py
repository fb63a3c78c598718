"""LoRA: two thin matrices are trained beside each frozen one. The library peft does it.

A model is never changed when it gets an adapter: a twin of it gets one, with modules of its own and
the very same weights. So model and twin can be held together at the price of one, as PPO holds its
reference and its policy, and nothing has to be switched off before the model itself is read. B is
zero at first, so both begin as one function, bit by bit.

peft is an extra (`lora`) and is loaded inside functions only.

Source: Hu et al. 2021, arXiv:2106.09685.
"""

import copy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import torch
from safetensors.torch import save_file
from torch import nn
from transformers import PreTrainedModel
from transformers.pytorch_utils import Conv1D

from trivium.config import LoRA
from trivium.errors import UserError, install
from trivium.models.load import Policy, RewardModel, resolve, scalar_head

if TYPE_CHECKING:
    from peft import PeftModel

NAME = "default"
"""Of an adapter inside peft, where there is only one."""


def trained(module: nn.Module) -> list[nn.Parameter]:
    """What an optimizer may move: every weight, or those of the adapter."""
    return [parameter for parameter in module.parameters() if parameter.requires_grad]


def twin(model: PreTrainedModel) -> PreTrainedModel:
    """Modules and config of its own, and the same tensors as ``model``."""
    tensors = [*model.parameters(), *model.buffers()]
    return copy.deepcopy(model, {id(tensor): tensor for tensor in tensors})


def adapt_policy(policy: Policy, lora: LoRA, *, seed: int, saved: Path | None = None) -> Policy:
    """A policy with the weights of ``policy``, frozen in both, and an adapter to train.

    Args:
        policy: stays as it is.
        lora: rank above 0.
        seed: of A.
        saved: folder of `save_adapter` to go on from.

    Raises:
        UserError: peft is not installed, or a target is not a layer of this model.
    """
    adapter = _adapt(policy.model, lora, seed=seed, task="CAUSAL_LM", base=resolve(policy.name))
    if saved is not None:
        _load(adapter, saved)
    return replace(policy, model=adapter.get_base_model(), adapter=adapter)


def adapt_reward_model(
    reward: RewardModel, lora: LoRA, *, seed: int, saved: Path | None = None
) -> RewardModel:
    """The same for a reward model; its head is trained whole, and is part of what is saved."""
    head = next(name for name, module in reward.model.named_children() if module is reward.head)
    adapter = _adapt(
        reward.model, lora, seed=seed, task="SEQ_CLS", base=resolve(reward.name), whole=[head]
    )
    if saved is not None:
        _load(adapter, saved)
    model = adapter.get_base_model()
    own = model.get_submodule(f"{head}.modules_to_save.{NAME}")
    assert isinstance(own, nn.Linear)
    return replace(reward, model=model, head=own, adapter=adapter)


def adapt_trunk(trunk: PreTrainedModel, lora: LoRA, *, seed: int) -> PreTrainedModel:
    """The same for a trunk without a head."""
    model = _adapt(trunk, lora, seed=seed).get_base_model()
    assert isinstance(model, PreTrainedModel)
    return model


def merge_policy(policy: Policy) -> Policy:
    """W + (alpha / rank) B A in place of both; a policy without an adapter as it is.

    The sum is written into W itself, which saves a copy of the model when memory is scarcest. Every
    model that shares W changes too: for the end of a run.
    """
    if policy.adapter is None:
        return policy
    return replace(policy, model=policy.adapter.merge_and_unload(), adapter=None)


def merge_reward_model(reward: RewardModel) -> RewardModel:
    """The same for a reward model."""
    if reward.adapter is None:
        return reward
    model = reward.adapter.merge_and_unload()
    return replace(reward, model=model, head=scalar_head(model), adapter=None)


def save_adapter(adapter: "PeftModel", folder: Path) -> None:
    """Write peft's own two files: adapter_config.json and adapter_model.safetensors."""
    folder.mkdir(exist_ok=True)
    tensors = _peft().get_peft_model_state_dict(adapter, save_embedding_layers=False)
    whole = {name: tensor.detach().contiguous() for name, tensor in tensors.items()}
    save_file(whole, folder / "adapter_model.safetensors", metadata={"format": "pt"})
    adapter.peft_config[NAME].save_pretrained(str(folder))


def adapter_parameters(model: PreTrainedModel, lora: LoRA) -> int:
    """Numbers in an adapter: rank (in + out) for each of its layers. Needs no peft."""
    names = targets(model, lora)
    layers = [m for name, m in _linear_layers(model) if name.rpartition(".")[2] in names]
    return sum(lora.rank * sum(layer.weight.shape) for layer in layers)


def targets(model: PreTrainedModel, lora: LoRA) -> list[str]:
    """Names, without their path, of the linear layers that get an adapter; never those of a head.

    Raises:
        UserError: one that was asked for is not there.
    """
    present = sorted({name.rpartition(".")[2] for name, _ in _linear_layers(model)})
    unknown = [name for name in lora.targets if name not in present]
    if unknown:
        raise UserError(
            f"lora.targets: {type(model).__name__} has no linear layer {unknown[0]!r}; "
            f"expected some of {', '.join(present)}"
        )
    return list(lora.targets) or present


def _linear_layers(model: PreTrainedModel) -> list[tuple[str, nn.Linear | Conv1D]]:
    modules = model.base_model.named_modules()
    return [(name, module) for name, module in modules if isinstance(module, nn.Linear | Conv1D)]


def _adapt(
    model: PreTrainedModel,
    lora: LoRA,
    *,
    seed: int,
    task: str | None = None,
    base: str | None = None,
    whole: Sequence[str] = (),
) -> "PeftModel":
    """A twin of ``model`` inside peft; modules named in ``whole`` are copied and trained."""
    peft = _peft()
    config = peft.LoraConfig(
        r=lora.rank,
        lora_alpha=lora.alpha,
        target_modules=targets(model, lora),
        modules_to_save=list(whole) or None,
        task_type=task,
        # GPT-2 keeps its matrices transposed
        fan_in_fan_out=any(isinstance(layer, Conv1D) for _, layer in _linear_layers(model)),
    )
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        adapter = peft.get_peft_model(twin(model), config)
    config.base_model_name_or_path = base
    return adapter.eval()


def _load(adapter: "PeftModel", folder: Path) -> None:
    peft = _peft()
    saved = peft.load_peft_weights(str(folder), device="cpu")
    peft.set_peft_model_state_dict(adapter, saved)
    own = peft.get_peft_model_state_dict(adapter, save_embedding_layers=False)
    assert own.keys() == saved.keys(), f"{folder}: an adapter of other layers"


def _peft() -> ModuleType:
    try:
        import peft
    except ModuleNotFoundError as error:
        raise UserError(
            f"lora.rank: {error.name} isn't installed; set 0, or {install('lora')}"
        ) from None
    return peft
