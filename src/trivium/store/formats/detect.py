"""Which format a file is in, by its name and first row."""

from pathlib import Path
from typing import Literal

from trivium.data.convert import Row, without_nulls
from trivium.data.sources import raw_rows
from trivium.store import candidates

Format = Literal["native", "rankings", "demonstrations", "parquet", "trl", "argilla", "labelstudio"]
Input = Format | Literal["auto", "candidates", "prompts"]
"""What a file is read as; `auto`: as its name and first row say."""
Detected = Format | Literal["candidates", "prompts"]


def format_of(path: Path) -> Detected:
    """The format of a file or folder."""
    if path.is_dir() and (path / "records.json").is_file():
        return "argilla"
    if path.suffix == ".json":
        return "labelstudio"
    kind = kind_of(next(iter(raw_rows(path))).row)
    return "parquet" if kind == "native" and path.suffix == ".parquet" else kind


def kind_of(row: Row) -> Detected:
    """What a row of a file is."""
    match without_nulls(row):
        case {"submission_id": _}:
            found = "native"
        case {"completions": _} as given:
            found = "candidates" if candidates.are_unranked(given) else "rankings"
        case {"answers": _}:
            found = "candidates"
        case {"chosen": _}:
            found = "trl"
        case {"completion": _} | {"output": _} | {"messages": [*_, {"role": "assistant"}]}:
            found = "demonstrations"
        case _:
            found = "prompts"
    return found
