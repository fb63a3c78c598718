"""Rows of other projects, made into ours; and ours made into TRL's pairs.

A row is a plain dict. `detect` tells its shape, `to_native` sends it to the converter of that
shape. Converters are pure and give a dict in the shape of DESIGN.md's contracts, not yet checked:
`trivium.data.read` validates it against `trivium.labels`.

What all converters share:
- a null column is an absent column;
- a prompt given as one string is one user message, or a transcript when it starts with "Human:";
- of the other columns of a foreign row, `id`, `author_id`, `org_id`, `source` and `labeler` are
  carried over (numbers as text) and the rest is left behind. A native row, one whose prompt is a
  list of messages, keeps all its fields, so that validation can name a misspelt one.
"""

import re
from enum import StrEnum
from itertools import combinations, takewhile
from typing import Any, cast

from trivium.errors import UserError
from trivium.labels import Ranking

Row = dict[str, Any]
"""A JSON object."""

_CARRIED = ("id", "author_id", "org_id", "source", "labeler")
PAIR_COLUMNS = ("prompt", "chosen", "rejected", "margin", "group_id", *_CARRIED[1:])
"""All columns that `to_trl_pairs` may give."""
_TURN = re.compile(r"\n\n(Human|Assistant):")
_ROLES = {"Human": "user", "Assistant": "assistant"}


class Shape(StrEnum):
    """The shapes of row that are understood."""

    PROMPT = "prompt"
    """`prompt`."""

    DEMONSTRATION = "demonstration"
    """`prompt`, `completion`; TRL's prompt-completion rows, text or messages, are of this shape."""

    RANKING = "ranking"
    """`prompt`, `completions`."""

    TEXT = "text"
    """`text`."""

    TRL_PREFERENCE = "TRL preference"
    """`chosen`, `rejected`, perhaps `prompt` and `margin`; each of the three text or messages."""

    TRANSCRIPTS = "hh-rlhf transcripts"
    """`chosen`, `rejected`: two whole conversations as text, "Human:" and "Assistant:"."""

    MESSAGES = "messages"
    """`messages`: a whole conversation."""

    ALPACA = "Alpaca"
    """`instruction`, perhaps `input`, `output`."""


def detect(row: Row) -> Shape:
    """The shape of a row, by the names of its columns.

    Raises:
        UserError: no shape fits.
    """
    if "completions" in row:
        return Shape.RANKING
    if "chosen" in row and "rejected" in row:
        texts = (row["chosen"], row["rejected"])
        whole = "prompt" not in row and all(isinstance(t, str) and _TURN.search(t) for t in texts)
        return Shape.TRANSCRIPTS if whole else Shape.TRL_PREFERENCE
    for column, shape in (
        ("messages", Shape.MESSAGES),
        ("instruction", Shape.ALPACA),
        ("completion", Shape.DEMONSTRATION),
        ("prompt", Shape.PROMPT),
        ("text", Shape.TEXT),
    ):
        if column in row:
            return shape
    columns = ", ".join(row) if row else "none"
    raise UserError(
        f"columns: expected prompt, prompt + completion, prompt + completions, chosen + rejected, "
        f"messages, instruction or text, got {columns}; rename the columns"
    )


def to_native(row: Row) -> Row:
    """A row of any shape as a prompt, demonstration, ranking or text, not yet validated.

    Raises:
        UserError: no shape fits, or the row isn't what its shape promises.
    """
    row = without_nulls(row)
    match detect(row):
        case Shape.RANKING | Shape.DEMONSTRATION | Shape.PROMPT:
            return from_prompt_columns(row)
        case Shape.TEXT:
            return {"text": row["text"]}
        case Shape.TRL_PREFERENCE:
            return from_trl_preference(row)
        case Shape.TRANSCRIPTS:
            return from_transcripts(row)
        case Shape.MESSAGES:
            return from_messages(row)
        case Shape.ALPACA:
            return from_alpaca(row)


def without_nulls(value: Any) -> Any:
    """The same JSON value with every null field of an object left out, at any depth."""
    if isinstance(value, dict):
        fields = cast(Row, value).items()
        return {name: without_nulls(field) for name, field in fields if field is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in cast(list[Any], value)]
    return value


def excerpt(value: Any) -> str:
    """The beginning of a value, for an error message of one line."""
    shown = repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def from_prompt_columns(row: Row) -> Row:
    """Native rows, and TRL's prompt-only and prompt-completion rows, text or messages."""
    native = isinstance(row.get("prompt"), list) and not isinstance(row.get("completion"), list)
    if native or "prompt" not in row:
        return row
    answers = {name: row[name] for name in ("completion", "completions") if name in row}
    if isinstance(answers.get("completion"), list):
        answers["completion"] = _one_answer("completion", answers["completion"])
    return {**_carry(row), "prompt": _conversation(row["prompt"]), **answers}


def from_messages(row: Row) -> Row:
    """A conversation: a demonstration where it ends with the assistant's turn, else a prompt."""
    messages = _message_list("messages", row["messages"])
    if messages and _field(messages[-1], "role") == "assistant":
        answer = {"completion": _field(messages[-1], "content")}
        return {**_carry(row), "prompt": messages[:-1], **answer}
    return {**_carry(row), "prompt": messages}


def from_alpaca(row: Row) -> Row:
    """Instruction and input, an empty line between them, are the prompt; output is the answer."""
    parts = [row["instruction"], row["input"]] if row.get("input") else [row["instruction"]]
    for name, part in zip(("instruction", "input"), parts, strict=False):
        if not isinstance(part, str):
            raise UserError(f"{name}: expected text, got {excerpt(part)}; mend the row")
    prompt = [{"role": "user", "content": "\n\n".join(parts)}]
    answer = {"completion": row["output"]} if "output" in row else {}
    return {**_carry(row), "prompt": prompt, **answer}


def from_transcripts(row: Row) -> Row:
    """Two transcripts as in hh-rlhf: what they share up to an "Assistant:" is the prompt.

    The prompt ends at the last "Assistant:" within the common beginning. An answer ends where the
    transcript goes on with another turn: where two conversations part before their last turn, the
    answers at the parting are the ones compared.
    """
    chosen, rejected = _opened(row["chosen"]), _opened(row["rejected"])
    common = _common_prefix(chosen, rejected)
    marker = "\n\nAssistant:"
    cut = common.rfind(marker)
    if cut < 0:
        raise UserError(
            "chosen: expected transcripts that share their beginning up to an Assistant: turn, "
            f"got {excerpt(chosen)} and {excerpt(rejected)}; mend or remove the row"
        )
    texts = [_TURN.split(text[cut + len(marker) :])[0].strip() for text in (chosen, rejected)]
    return {**_carry(row), "prompt": _transcript(common[:cut]), "completions": _pair(row, texts)}


def from_trl_preference(row: Row) -> Row:
    """TRL's preference rows: with or without a separate prompt, text or messages.

    `chosen` gets rank 1 and `rejected` rank 2. A `margin` becomes the difference of their scores:
    margin for the one, 0 for the other. Without a separate prompt, the prompt is the common
    beginning: of messages, all but the last; of text, up to a whole word.
    """
    sides = [row["chosen"], row["rejected"]]
    if all(isinstance(side, list) for side in sides):
        prompt, texts = _split_conversations(row, sides)
    elif not all(isinstance(side, str) for side in sides):
        got = f"{excerpt(sides[0])} and {excerpt(sides[1])}"
        raise UserError(f"chosen: expected two texts or two lists of messages, got {got}")
    elif "prompt" in row:
        prompt, texts = _conversation(row["prompt"]), sides
    else:
        prompt, texts = _split_texts(*sides)
    return {**_carry(row), "prompt": prompt, "completions": _pair(row, texts)}


def to_trl_pairs(ranking: Ranking) -> list[Row]:
    """All untied pairs of a ranking, as TRL's conversational preference rows.

    Each has `prompt`, `chosen`, `rejected` (lists of messages), `margin` (the rank gap, 1 or
    more), `group_id` (the ranking's id: pairs that share it share their prompt) and, where known,
    `author_id`, by which a split goes, `org_id`, `source` and `labeler`. A tie gives no pair:
    C(K, 2) less the tied pairs are returned.
    """
    prompt = [message.model_dump() for message in ranking.prompt]
    ordered = sorted(ranking.completions, key=lambda completion: completion.rank)
    known = ranking.model_dump(
        include={"author_id", "org_id", "source", "labeler"}, exclude_none=True
    )
    return [
        {
            "prompt": prompt,
            "chosen": [{"role": "assistant", "content": better.text}],
            "rejected": [{"role": "assistant", "content": worse.text}],
            "margin": float(worse.rank - better.rank),
            "group_id": ranking.id,
            **known,
        }
        for better, worse in combinations(ordered, 2)
        if better.rank < worse.rank
    ]


def _carry(row: Row) -> Row:
    """The columns of a foreign row that the contracts have a place for."""
    return {name: str(row[name]) for name in _CARRIED if isinstance(row.get(name), str | int)}


def _pair(row: Row, texts: list[Any]) -> list[Row]:
    """Two answers, the better one first, a margin as the difference of their scores."""
    ranked: list[Row] = [{"text": text, "rank": rank} for rank, text in enumerate(texts, start=1)]
    if "margin" in row:
        if isinstance(row["margin"], bool) or not isinstance(row["margin"], int | float):
            raise UserError(f"margin: expected a number, got {excerpt(row['margin'])}")
        ranked[0]["score"], ranked[1]["score"] = float(row["margin"]), 0.0
    return ranked


def _conversation(prompt: Any) -> Any:
    """A prompt as a list of messages, whether it came so or as text."""
    if not isinstance(prompt, str):
        return prompt
    if prompt.lstrip().startswith("Human:"):
        return _transcript(_opened(prompt).removesuffix("\n\nAssistant:"))
    return [{"role": "user", "content": prompt}]


def _message_list(column: str, value: Any) -> list[Any]:
    """``value``, or UserError where it is no list."""
    if not isinstance(value, list):
        raise UserError(f"{column}: expected a list of messages, got {excerpt(value)}")
    return cast(list[Any], value)


def _field(message: Any, name: str) -> Any:
    """A field of what ought to be a message; None where it is none, for validation to name."""
    return cast(Row, message).get(name) if isinstance(message, dict) else None


def _one_answer(column: str, messages: list[Any]) -> Any:
    """The text of a list that holds one assistant message."""
    if len(messages) != 1 or _field(messages[0], "role") != "assistant":
        roles = [_field(message, "role") for message in messages]
        raise UserError(
            f"{column}: expected one assistant message after the prompt, got {roles}; "
            "cut the conversation before its last answer"
        )
    return _field(messages[0], "content")


def _split_conversations(row: Row, sides: list[list[Any]]) -> tuple[Any, list[Any]]:
    """Prompt and two answers out of two lists of messages."""
    chosen, rejected = sides
    alone = len(chosen) == len(rejected) == 1
    if alone and "prompt" in row:
        prompt, rests = _conversation(row["prompt"]), sides
    else:  # the whole conversation on both sides, whether or not the prompt is given once more
        both = zip(chosen[:-1], rejected[:-1], strict=False)
        shared = sum(1 for _ in takewhile(lambda turns: turns[0] == turns[1], both))
        prompt, rests = chosen[:shared], [side[shared:] for side in sides]
    names = ("chosen", "rejected")
    return prompt, [_one_answer(name, rest) for name, rest in zip(names, rests, strict=True)]


def _split_texts(chosen: str, rejected: str) -> tuple[Any, list[str]]:
    """Prompt and two answers out of two texts with a common beginning of whole words."""
    common = _common_prefix(chosen, rejected)
    tails = (chosen[len(common) :], rejected[len(common) :])
    if not all(tail == "" or tail[0].isspace() for tail in tails):
        common = re.sub(r"\S+\Z", "", common)  # the texts part within a word: give it back
    if not common.strip() or chosen == rejected:
        raise UserError(
            "chosen: expected two texts that begin alike and then differ, "
            f"got {excerpt(chosen)} and {excerpt(rejected)}; give the prompt its own column"
        )
    answers = [text[len(common) :].lstrip() for text in (chosen, rejected)]
    return _conversation(common.rstrip()), answers


def _common_prefix(a: str, b: str) -> str:
    """The longest common beginning, by bisection: comparing slices is faster than characters."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[:middle] == b[:middle]:
            low = middle
        else:
            high = middle - 1
    return a[:low]


def _opened(transcript: str) -> str:
    """A transcript whose first turn has the empty line before it that the others have."""
    return "\n\n" + transcript.lstrip()


def _transcript(text: str) -> list[Row]:
    """The turns of a transcript as messages."""
    before, *turns = _TURN.split(text)
    if before.strip() or not turns:
        raise UserError(f"prompt: expected a transcript to begin with Human:, got {excerpt(text)}")
    pairs = zip(turns[::2], turns[1::2], strict=True)
    return [{"role": _ROLES[who], "content": said.strip()} for who, said in pairs]
