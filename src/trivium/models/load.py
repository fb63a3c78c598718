"""Load models from run directories, Hugging Face folders or the hub, and refuse what can't work.

Everything that would fail later or, worse, silently give nonsense is checked here: no EOS, token
ids outside the embedding, a context shorter than asked for, a head that was initialised at random,
a template other than the one the model was trained with, scores that are not those it was saved
with.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from torch import nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)
from transformers.utils import logging as transformers_logging

from trivium.errors import UserError
from trivium.hub import locate
from trivium.models.compute import Compute
from trivium.models.forward import hidden_states, sequence_scores
from trivium.text import Codec, encode_prompt, encode_response, from_lists, make_codec

if TYPE_CHECKING:
    from peft import PeftModel

SAMPLING = ("--sampling.max-prompt-tokens", "--sampling.max-response-tokens")
CARD = "trivium.json"
"""Beside the weights: what the model is, its template's hash, and for a reward model its probes."""

PROBES = [
    ("Why is the sky blue?", "Because air scatters blue light more than red light."),
    ("Why is the sky blue?", ""),
    ("List two fruits.", "Apples and pears."),
]


@dataclass(frozen=True, slots=True)
class Policy:
    """A causal language model with its codec.

    Attributes:
        model: fp32 weights, in eval mode.
        codec: tokenizer and template.
        name: where it came from, for messages.
        adapter: what is trained in ``model``; None: all of it (see `trivium.models.lora`).
    """

    model: PreTrainedModel
    codec: Codec
    name: str
    adapter: "PeftModel | None" = None


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A trunk with a scalar head, read at the last token of a text.

    Attributes:
        model: an `AutoModelForSequenceClassification` with one label, fp32, in eval mode.
        head: its Linear(d, 1).
        codec: its own tokenizer and template; the policy's may differ.
        name: where it came from, for messages.
        adapter: what is trained in ``model``, the head included; None: all of it.
    """

    model: PreTrainedModel
    head: nn.Linear
    codec: Codec
    name: str
    adapter: "PeftModel | None" = None


def resolve(place: str) -> str:
    """The model folder of a run directory, a folder as it is, or a hub name.

    Raises:
        UserError: the folder holds no model, or nothing of that name exists here.
    """
    path = Path(place)
    if (path / "model" / "config.json").is_file():
        return str(path / "model")
    if (path / "config.json").is_file():
        return place
    if path.exists():
        raise UserError(
            f"{place}: no model there; expected a Hugging Face folder with config.json "
            f"or a finished run directory with model/"
        )
    if place.startswith((".", "/", "~", "runs/")) or place.count("/") > 1:
        raise UserError(f"{place}: no such folder; expected a run directory or a model folder")
    return place


def load_policy(
    place: str, compute: Compute, *, context_tokens: int = 0, limits: tuple[str, str] = SAMPLING
) -> Policy:
    """Load a causal language model with fp32 weights, in eval mode.

    Args:
        place: run directory, Hugging Face folder or hub name.
        compute: where it goes.
        context_tokens: longest sequence it will be given.
        limits: flags that say how long.

    Raises:
        UserError: see the module's docstring.
    """
    folder = _reachable(place)
    codec = load_codec(place)
    model = _from_pretrained(AutoModelForCausalLM, folder, place)
    _check_fits(model, codec, place)
    _check_context(model, place, context_tokens, limits)
    _check_plain_head(model, place)
    return Policy(model=model.to(compute.device).eval(), codec=codec, name=place)


def load_reward_model(place: str, compute: Compute) -> RewardModel:
    """Load a finished reward model, and score its probes again.

    Raises:
        UserError: no scalar head was saved, or the probes score differently than when saved.
    """
    folder = _reachable(place)
    codec = load_codec(place)
    config = AutoConfig.from_pretrained(folder)
    if config.num_labels != 1:
        raise UserError(
            f"{place}: not a reward model: its config has {config.num_labels} labels; "
            f"expected a sequence classifier with one (train one with `trivium reward`)"
        )
    model = _from_pretrained(AutoModelForSequenceClassification, folder, place)
    _check_fits(model, codec, place)
    reward = RewardModel(
        model=model.to(compute.device).eval(), head=scalar_head(model), codec=codec, name=place
    )
    _check_probes(reward, compute, folder)
    return reward


def load_blank(place: str) -> Policy:
    """A model's shape and codec without its weights, which are on the meta device.

    A reward model's folder is read as the language model of its shape.

    Raises:
        UserError: there is no model, or its tokenizer does not fit it.
    """
    folder = _reachable(place)
    codec = load_codec(place)
    try:
        config = AutoConfig.from_pretrained(folder)
        with torch.device("meta"):
            model = AutoModelForCausalLM.from_config(config)
    except (OSError, ValueError) as error:
        raise UserError(f"{place}: no model could be loaded: {_first_line(error)}") from error
    _check_fits(model, codec, place)
    return Policy(model=model.eval(), codec=codec, name=place)


def new_reward_model(
    place: str, compute: Compute, *, seed: int, context_tokens: int = 0
) -> RewardModel:
    """The trunk of a language model, unembedding removed, with a fresh scalar head.

    The head's weights are N(0, 1 / (d + 1)) as in openai/summarize-from-feedback
    query_response_model.py.

    Raises:
        UserError: as `load_policy`.
    """
    limits = ("--max-prompt-tokens", "--max-response-tokens")
    policy = load_policy(place, compute, context_tokens=context_tokens, limits=limits)
    config = policy.model.config
    config.num_labels = 1
    model = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32)
    _train_every_row(model)
    model.base_model.load_state_dict(policy.model.base_model.state_dict())
    head = scalar_head(model)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        std = (head.weight.shape[1] + 1) ** -0.5
        head.weight.copy_(torch.randn(head.weight.shape, generator=generator) * std)
        if head.bias is not None:
            head.bias.zero_()
    return RewardModel(
        model=model.to(compute.device).eval(), head=head, codec=policy.codec, name=place
    )


def probe_scores(reward: RewardModel, compute: Compute) -> list[float]:
    """Scores of the fixed probe texts, one by one: a saved model must give them again."""
    scores = []
    for question, answer in PROBES:
        messages = [{"role": "user", "content": question}]
        prompt = encode_prompt(reward.codec, messages, where="probe")
        sequences = from_lists([prompt], [encode_response(reward.codec, answer, where="probe")])
        with torch.no_grad():
            hidden = hidden_states(reward.model, sequences, compute)
            scores.append(float(sequence_scores(reward.head, hidden, sequences)))
    return scores


@contextmanager
def quiet_transformers() -> Iterator[None]:
    """No progress bars and no notices while weights are read: what matters is checked here."""
    level, bar = (
        transformers_logging.get_verbosity(),
        transformers_logging.is_progress_bar_enabled(),
    )
    transformers_logging.set_verbosity_error()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        transformers_logging.set_verbosity(level)
        if bar:
            transformers_logging.enable_progress_bar()


def _reachable(place: str) -> str:
    """`resolve`; of a hub name, that the hub answers, or else its cached copy."""
    found = resolve(place)
    return found if Path(found).exists() else locate(found, "config.json", "model")


def _train_every_row(model: PreTrainedModel) -> None:
    """transformers gives the pad token's embedding no gradient, which is EOS where pad is EOS.

    Batches here have no padding, so every row is there to be trained.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding):
            module.padding_idx = None


def _from_pretrained(auto: type, folder: str, place: str) -> PreTrainedModel:
    """Load strictly: a weight that is missing or of another shape is an error, not a warning."""
    try:
        with quiet_transformers():
            model, info = auto.from_pretrained(
                folder,
                dtype=torch.float32,
                output_loading_info=True,
                use_safetensors=True,
                ignore_mismatched_sizes=True,  # they are listed, and refused below in one line
            )
    except (OSError, ValueError, SafetensorError) as error:
        raise UserError(f"{place}: no model could be loaded: {_first_line(error)}") from error
    if info["missing_keys"] or info["mismatched_keys"]:
        lost = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
        raise UserError(
            f"{place}: {len(lost)} weights are missing or misshapen ({lost[0]}); "
            f"they would be random, so this folder can't be used as {auto.__name__}"
        )
    _train_every_row(model)
    return model


def load_codec(place: str) -> Codec:
    """Tokenizer and template of a run directory, a folder or a hub name.

    Raises:
        UserError: there is none, it has no EOS, or it is not the one the model was trained with.
    """
    folder = _reachable(place)
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(folder)
    except (OSError, ValueError) as error:
        raise UserError(f"{place}: no tokenizer could be loaded: {_first_line(error)}") from error
    codec = make_codec(tokenizer)
    card = read_card(folder)
    if card is not None and card["template_hash"] != codec.hash:
        raise UserError(
            f"{place}: its chat template or tokenizer was changed after training "
            f"(hash {codec.hash}, trained with {card['template_hash']}); restore its files"
        )
    return codec


def read_card(folder: str) -> dict[str, object] | None:
    """What trivium wrote beside the weights; None for a model from elsewhere."""
    card = Path(folder) / CARD
    return json.loads(card.read_text()) if card.is_file() else None


def _check_fits(model: PreTrainedModel, codec: Codec, place: str) -> None:
    rows = model.get_input_embeddings().weight.shape[0]
    if len(codec.tokenizer) > rows:
        raise UserError(
            f"{place}: the tokenizer has {len(codec.tokenizer)} tokens, the embedding only {rows} "
            f"rows; use the tokenizer the model was made with, or resize the embedding"
        )


def _check_context(
    model: PreTrainedModel, place: str, context_tokens: int, limits: tuple[str, str]
) -> None:
    context = model.config.get_text_config().max_position_embeddings
    if context_tokens > context:
        raise UserError(
            f"{place}: its context is {context} tokens, but prompt and response may take "
            f"{context_tokens}; lower {' or '.join(limits)}"
        )


def _check_plain_head(model: PreTrainedModel, place: str) -> None:
    """Logits are read from the unembedding alone; refuse models that do more to them."""
    probe = torch.arange(4)[None, :]
    with torch.no_grad():
        expected = model(input_ids=probe, use_cache=False).logits
        hidden = model.base_model(input_ids=probe, use_cache=False).last_hidden_state
        got = model.get_output_embeddings()(hidden)
    if not torch.allclose(expected, got, rtol=1e-4, atol=1e-4):
        raise UserError(
            f"{place}: {type(model).__name__} changes its logits after the unembedding "
            f"(scaling or soft-capping), which is not supported; use another architecture"
        )


def _check_probes(reward: RewardModel, compute: Compute, folder: str) -> None:
    card = read_card(folder)
    if card is None:
        return
    saved = card["probe_scores"]
    assert isinstance(saved, list)
    scores = probe_scores(reward, compute)
    tolerance = 1e-3 if compute.dtype is torch.float32 else 0.1
    worst = max(abs(a - b) / (1 + abs(b)) for a, b in zip(scores, saved, strict=True))
    if worst > tolerance:
        raise UserError(
            f"{reward.name}: its probe texts score {scores}, but scored {saved} when it was saved; "
            f"the weights or the tokenizer were changed"
        )


def scalar_head(model: PreTrainedModel) -> nn.Linear:
    """The one linear layer of a classifier that is not in its trunk."""
    heads = [
        module
        for name, module in model.named_children()
        if isinstance(module, nn.Linear) and name != model.base_model_prefix
    ]
    assert len(heads) == 1, f"{type(model).__name__}: expected one linear head, found {len(heads)}"
    assert heads[0].out_features == 1
    return heads[0]


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
