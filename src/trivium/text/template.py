"""Chat templates: messages in, token ids out, and one hash that says which template it was.

The template is the tokenizer's own. A base model without one gets `PLAIN_TEMPLATE`, stored in its
tokenizer, so that every artifact made from it carries the template with it.

Prompt and response are tokenised apart and joined, never cut out of one text: what is trained on
is then exactly what is sampled later, and no response marker has to be searched for.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from transformers import PreTrainedTokenizerBase

from trivium.errors import UserError

PLAIN_TEMPLATE = (
    "{% for message in messages %}"
    "{% if message['role'] == 'system' %}{{ message['content'] }}\n\n"
    "{% elif message['role'] == 'user' %}Instruction: {{ message['content'] }}\n\n"
    "{% else %}Response:\n{{ message['content'] }}{{ eos_token }}\n\n{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}Response:\n{% endif %}"
)
"""For base models: `Instruction: ...`, a blank line, `Response:`, the answer, EOS."""

_PROBE = [{"role": "user", "content": "Why is the sky blue?"}]
_MARK = "\u2603answer\u2603"


@dataclass(frozen=True, slots=True)
class Codec:
    """A tokenizer with its template, checked once.

    Attributes:
        tokenizer: the Hugging Face tokenizer; its chat template is set.
        end_id: the token that ends an assistant's turn under the template (mostly EOS).
        bos_id: the tokenizer's BOS, None if it has none.
        reserved: ids that only the template may write, never the text of a message.
        hash: identifies template, special tokens, the vocabulary in its order, and a probe's ids.
    """

    tokenizer: PreTrainedTokenizerBase
    end_id: int
    bos_id: int | None
    reserved: frozenset[int]
    hash: str


def make_codec(tokenizer: PreTrainedTokenizerBase) -> Codec:
    """Give ``tokenizer`` a template if it has none, find the end-of-turn token, hash it all.

    Raises:
        UserError: the tokenizer has no EOS token, or its template can't render a conversation.
    """
    if tokenizer.eos_token_id is None:
        raise UserError(
            f"tokenizer {tokenizer.name_or_path}: has no EOS token, so an answer could never end; "
            f"set eos_token in its tokenizer_config.json"
        )
    if tokenizer.chat_template is None:
        tokenizer.chat_template = _plain_template(tokenizer)
    end_id = _end_of_turn(tokenizer)
    probe = [*_render_ids(tokenizer, _PROBE), end_id]
    ids = tokenizer.get_vocab()
    # In the order of the ids: for 49k tokens a third of the time that writing the ids would take.
    vocabulary = sorted(ids, key=ids.__getitem__)
    parts = [tokenizer.chat_template, str(tokenizer.eos_token), str(probe), *vocabulary]
    digest = hashlib.sha256("\x00".join(parts).encode()).hexdigest()[:16]
    # A tokenizer may write `unk` for what it can't spell, and any token may serve as padding.
    harmless = {tokenizer.unk_token_id, tokenizer.pad_token_id} - {end_id, tokenizer.eos_token_id}
    return Codec(
        tokenizer=tokenizer,
        end_id=end_id,
        bos_id=tokenizer.bos_token_id,
        reserved=(_special_ids(tokenizer) | {end_id}) - harmless,
        hash=digest,
    )


def encode_prompt(codec: Codec, messages: Sequence[Mapping[str, str]], *, where: str) -> list[int]:
    """Token ids of the conversation so far, up to where the assistant begins to speak.

    A special token's name inside a message is spelled out as ordinary text, so nobody can forge a
    turn and nobody's text is lost.

    Raises:
        UserError: the tokenizer can't spell such a name; ``where`` names the row.
    """
    forged = [i for i, m in enumerate(messages) if _has_reserved(codec, _encode(codec, m))]
    if not forged:
        return _render_ids(codec.tokenizer, messages)
    # Messages that hold a name are rendered as marks and come back token by token.
    marked = [
        {**m, "content": f"{_MARK}{i}{_MARK}"} if i in forged else m for i, m in enumerate(messages)
    ]
    ids: list[int] = []
    for number, piece in enumerate(
        re.split(f"{_MARK}(\\d+){_MARK}", _render(codec.tokenizer, marked))
    ):
        if number % 2:
            ids += _spell(codec, messages[int(piece)]["content"], f"{where}: prompt")
        else:
            ids += codec.tokenizer.encode(piece, add_special_tokens=False)
    return ids


def encode_response(codec: Codec, text: str, *, where: str) -> list[int]:
    """Token ids of an answer, its end-of-turn token last. An empty text is just that token.

    A special token's name inside the text is spelled out as ordinary text: an answer ends once.

    Raises:
        UserError: the tokenizer can't spell such a name; ``where`` names the row.
    """
    return [*_spell(codec, text, f"{where}: completion"), codec.end_id]


def decode_response(codec: Codec, ids: Sequence[int]) -> str:
    """The answer as clean text: without the end-of-turn token, special tokens or padding."""
    kept = [i for i in ids if i != codec.end_id]
    text = codec.tokenizer.decode(
        kept, skip_special_tokens=True, clean_up_tokenization_spaces=False
    )
    assert isinstance(text, str)
    return text


def _spell(codec: Codec, text: str, where: str) -> list[int]:
    """Ids of the text as people read it: no id that only the template may write."""
    ids = codec.tokenizer.encode(text, add_special_tokens=False)
    if not _has_reserved(codec, ids):
        return ids
    ids = codec.tokenizer.encode(text, add_special_tokens=False, split_special_tokens=True)
    if _has_reserved(codec, ids):
        forged = sorted(codec.reserved.intersection(ids))
        raise UserError(
            f"{where}: the text contains the special token "
            f"{codec.tokenizer.convert_ids_to_tokens(forged)[0]}, which this tokenizer can't spell "
            f"as text; remove it, only the template may write it"
        )
    return ids


def _encode(codec: Codec, message: Mapping[str, str]) -> list[int]:
    return codec.tokenizer.encode(message["content"], add_special_tokens=False)


def _has_reserved(codec: Codec, ids: Sequence[int]) -> bool:
    return not codec.reserved.isdisjoint(ids)


def _render(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]) -> str:
    text = tokenizer.apply_chat_template(
        [dict(m) for m in messages], add_generation_prompt=True, tokenize=False
    )
    assert isinstance(text, str)
    return text


def _render_ids(
    tokenizer: PreTrainedTokenizerBase, messages: Sequence[Mapping[str, str]]
) -> list[int]:
    # The template writes its own BOS; the tokenizer must not add a second one.
    return tokenizer.encode(_render(tokenizer, messages), add_special_tokens=False)


def _plain_template(tokenizer: PreTrainedTokenizerBase) -> str:
    adds_bos = tokenizer.bos_token_id is not None and tokenizer.encode("a")[:1] == [
        tokenizer.bos_token_id
    ]
    return ("{{ bos_token }}" if adds_bos else "") + PLAIN_TEMPLATE


def _end_of_turn(tokenizer: PreTrainedTokenizerBase) -> int:
    """The special token the template puts right after an assistant's words, else EOS."""
    turn = [*_PROBE, {"role": "assistant", "content": _MARK}]
    text = tokenizer.apply_chat_template(turn, tokenize=False)
    assert isinstance(text, str)
    if _MARK not in text:
        raise UserError(
            f"tokenizer {tokenizer.name_or_path}: its chat template drops the assistant's words; "
            f"expected a template that renders user and assistant turns"
        )
    tail = tokenizer.encode(text.split(_MARK, 1)[1].strip(), add_special_tokens=False)
    return tail[0] if tail and tail[0] in _special_ids(tokenizer) else int(tokenizer.eos_token_id)


def _special_ids(tokenizer: PreTrainedTokenizerBase) -> frozenset[int]:
    """Named ones and those that are only marked special, as `<|im_end|>` is in many models."""
    marked = [i for i, token in tokenizer.added_tokens_decoder.items() if token.special]
    return frozenset([*tokenizer.all_special_ids, *marked])
