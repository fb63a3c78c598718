"""See what the model sees: a batch in colour, an episode token by token."""

from collections.abc import Mapping, Sequence

from rich.table import Table
from rich.text import Text

from trivium.text.sequences import Sequences
from trivium.text.template import Codec

PROMPT, TRAINED, END, PADDING = "blue", "green", "bold red", "bright_black"


def legend() -> Text:
    """What the colours mean."""
    return Text.assemble(
        ("prompt", PROMPT), "  ", ("trained on", TRAINED), "  ", ("EOS", END), "  ", ("·", PADDING),
        (" padding, had the batch been a rectangle", PADDING),
    )  # fmt: skip


def colour_batch(codec: Codec, sequences: Sequences, *, prompts_too: bool = False) -> list[Text]:
    """One line per sequence: prompt, trained tokens, the end-of-turn token, padding.

    What is trained on is told by lengths: a padding token that equals EOS can't confuse it.
    """
    trained = set(sequences.predicted(prompts_too=prompts_too).tolist())
    width = int(sequences.lengths.max())
    lines, position = [], 0
    for length in sequences.lengths.tolist():
        line = Text(overflow="fold")
        for token in sequences.tokens[position : position + length].tolist():
            style = PROMPT
            if position in trained:
                style = END if token == codec.end_id else TRAINED
            piece = codec.tokenizer.decode([token])
            assert isinstance(piece, str)
            line.append(piece.replace("\n", "⏎\n"), style=style)
            position += 1
        line.append("·" * (width - length), style=PADDING)
        lines.append(line)
    return lines


def episode_table(tokens: Sequence[Mapping[str, object]], title: str) -> Table:
    """Per token of a response: log-probability, KL, reward, value and advantage."""
    table = Table(title=title, title_justify="left")
    columns = ("logprob", "ref_logprob", "kl", "reward", "value", "advantage")
    table.add_column("token", no_wrap=True)
    for column in columns:
        table.add_column(column.replace("_", " "), justify="right")
    for row in tokens:
        numbers = []
        for column in columns:
            number = row[column]
            assert isinstance(number, float | int)
            numbers.append(f"{number:+.3f}")
        table.add_row(Text(repr(row["text"])), *numbers)
    return table
