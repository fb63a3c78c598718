"""Pretraining text as an endless stream of packed examples, with a cursor that can be stored.

Documents are joined with EOS and cut into examples of equal length, as GPT-3 was trained; when the
source is used up it starts again. Only what is needed is read.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch

from trivium.errors import UserError
from trivium.text.sequences import Sequences
from trivium.text.template import Codec


@dataclass(slots=True)
class TextStream:
    """Reads documents through ``open_source`` and hands out packed examples.

    Attributes:
        open_source: starts the documents from the beginning, each a string.
        codec: the tokenizer.
        example_tokens: length of an example.
        documents_read: the cursor, over all passes.
        buffer: tokens read and not yet handed out.
    """

    open_source: Callable[[], Iterator[str]]
    codec: Codec
    example_tokens: int
    documents_read: int
    buffer: list[int]
    _documents: Iterator[str]

    def take(self, num_examples: int) -> Sequences:
        """The next examples; every token but the first of each is predicted."""
        needed = num_examples * self.example_tokens
        while len(self.buffer) < needed:
            text = next(self._documents)
            self.documents_read += 1
            self.buffer += self.codec.tokenizer.encode(text, add_special_tokens=False)
            self.buffer.append(int(self.codec.tokenizer.eos_token_id))
        tokens, self.buffer = self.buffer[:needed], self.buffer[needed:]
        return Sequences(
            tokens=torch.tensor(tokens),
            lengths=torch.full((num_examples,), self.example_tokens),
            prompt_lengths=torch.zeros(num_examples, dtype=torch.int64),
        )

    def state(self) -> dict[str, object]:
        """What a checkpoint needs to go on from here."""
        return {"documents_read": self.documents_read, "buffer": list(self.buffer)}

    def load(self, state: dict[str, object]) -> None:
        """Go on from a stored state: skip the documents that were read."""
        read, buffer = state["documents_read"], state["buffer"]
        assert isinstance(read, int)
        assert isinstance(buffer, list)
        self._documents = islice(_endless(self.open_source), read, None)
        self.documents_read, self.buffer = read, list(buffer)


def open_stream(
    open_source: Callable[[], Iterator[str]], codec: Codec, *, example_tokens: int
) -> TextStream:
    """A stream at its beginning."""
    return TextStream(
        open_source=open_source,
        codec=codec,
        example_tokens=example_tokens,
        documents_read=0,
        buffer=[],
        _documents=_endless(open_source),
    )


def _endless(open_source: Callable[[], Iterator[str]]) -> Iterator[str]:
    while True:
        empty = True
        for text in open_source():
            empty = False
            yield text
        if empty:
            raise UserError("pretraining: the text source holds no document")
