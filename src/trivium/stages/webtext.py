"""Pretraining text for a stage: streamed, and without the pages that quote its held-out rows."""

from collections.abc import Iterable
from dataclasses import dataclass

from trivium.data import DataReport, Screen, passages_of, read_texts
from trivium.labels import Label
from trivium.text import Codec, TextStream, open_stream


@dataclass(frozen=True, slots=True)
class WebText:
    """A stream of packed examples, and what keeps held-out rows out of it.

    Attributes:
        stream: hands out examples.
        screen: looks at every page that the stream reads.
    """

    stream: TextStream
    screen: Screen

    def report(self) -> DataReport:
        """What became of the pages read so far."""
        return self.screen.report()


def open_text(
    source: str, codec: Codec, *, heldout: Iterable[Label], example_tokens: int
) -> WebText:
    """The text of ``source`` from its beginning, less the pages that quote a held-out row."""
    screen = Screen(passages_of(heldout))
    stream = open_stream(
        lambda: screen.through(read_texts(source)), codec, example_tokens=example_tokens
    )
    return WebText(stream, screen)
