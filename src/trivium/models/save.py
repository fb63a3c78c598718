"""Save models as plain Hugging Face folders, and load them again before trusting them."""

import json
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, PreTrainedModel

from trivium.errors import UserError
from trivium.models.compute import Compute
from trivium.models.load import CARD, Policy, RewardModel, probe_scores, quiet_transformers
from trivium.text import Codec


def save_policy(policy: Policy, folder: Path, *, stage: str) -> None:
    """Write model, tokenizer and card; reload and compare the logits of a probe.

    Raises:
        AssertionError: what was written gives other logits than what is in memory.
    """
    model = policy.model
    model.generation_config.eos_token_id = policy.codec.end_id
    _save(model, policy.codec, folder)
    _write_card(folder, {"stage": stage, "kind": "policy", "template_hash": policy.codec.hash})
    _compare(AutoModelForCausalLM, model, folder)


def save_reward_model(reward: RewardModel, folder: Path, compute: Compute, *, stage: str) -> None:
    """Write a classifier folder that others load and get the same number from.

    Hugging Face's classifiers read the last token that is not padding, so the padding token of the
    folder must not be EOS: another special token takes its place.
    """
    model = reward.model
    model.config.pad_token_id = _padding_other_than_end(reward.codec)
    model.config.num_labels = 1
    pad = reward.codec.tokenizer.pad_token
    reward.codec.tokenizer.pad_token = reward.codec.tokenizer.convert_ids_to_tokens(
        model.config.pad_token_id
    )
    try:
        _save(model, reward.codec, folder)
    finally:
        reward.codec.tokenizer.pad_token = pad
    card = {"stage": stage, "kind": "reward", "template_hash": reward.codec.hash}
    _write_card(folder, card | {"probe_scores": probe_scores(reward, compute)})
    _compare(AutoModelForSequenceClassification, model, folder)


def _save(model: PreTrainedModel, codec: Codec, folder: Path) -> None:
    with quiet_transformers():
        model.save_pretrained(folder)
        codec.tokenizer.save_pretrained(folder)


def _write_card(folder: Path, card: dict[str, object]) -> None:
    (folder / CARD).write_text(json.dumps(card, indent=2) + "\n")


def _compare(auto: type, model: PreTrainedModel, folder: Path) -> None:
    with quiet_transformers():
        again = auto.from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    device = next(model.parameters()).device
    probe = torch.arange(4, device=device)[None, :]
    training = model.training
    model.eval()
    with torch.no_grad():
        expected = model(input_ids=probe, use_cache=False).logits
        got = again.to(device).eval()(input_ids=probe, use_cache=False).logits
    model.train(training)
    assert torch.allclose(expected, got, rtol=1e-4, atol=1e-5), f"{folder}: reloads differently"


def _padding_other_than_end(codec: Codec) -> int:
    """Any token but EOS will do: a text ends with EOS, so it is the last that is not padding."""
    tokenizer = codec.tokenizer
    marked = [i for i, token in tokenizer.added_tokens_decoder.items() if token.special]
    candidates = [
        tokenizer.pad_token_id, tokenizer.unk_token_id, *tokenizer.all_special_ids, *marked
    ]  # fmt: skip
    taken = {None, codec.end_id, tokenizer.eos_token_id}
    special = next((c for c in candidates if c not in taken), None)
    return _never_typed(codec) if special is None else int(special)


def _never_typed(codec: Codec) -> int:
    """The longest token whose spelling in the vocabulary is not the text it stands for.

    As padding it becomes a special token, found by its spelling before a text is cut into tokens:
    were it "!", every later "!!" would be cut differently. Spellings such as byte-level BPE's
    "\u0120the" for " the" stand in no text.

    Raises:
        UserError: there is none.
    """
    tokenizer = codec.tokenizer
    by_length = sorted(tokenizer.get_vocab().items(), key=lambda item: (-len(item[0]), item[1]))
    for spelling, token in by_length:
        if token not in tokenizer.encode(spelling, add_special_tokens=False):
            return token
    raise UserError(
        f"tokenizer {tokenizer.name_or_path}: no token but EOS can serve as padding; "
        f"set pad_token in its tokenizer_config.json"
    )
