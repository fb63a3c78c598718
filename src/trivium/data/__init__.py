"""Data in and out: read, convert, write, split, look for leaks, count.

What every stage uses is named here; the verbs of `trivium data` are in `trivium.data.commands`.
"""

from trivium.data.convert import Shape, detect, to_native, to_trl_pairs
from trivium.data.leaks import Leak, find_leaks, refuse_leaks, split_without_leaks
from trivium.data.passages import Screen, passages_of
from trivium.data.read import (
    read_cloze,
    read_demonstrations,
    read_prompts,
    read_rankings,
    read_texts,
)
from trivium.data.report import DataReport, Dropped, require_acceptable
from trivium.data.split import prompt_key, side, split
from trivium.data.statistics import describe
from trivium.data.write import write_jsonl, write_pairs, write_parquet

__all__ = [
    "DataReport",
    "Dropped",
    "Leak",
    "Screen",
    "Shape",
    "describe",
    "detect",
    "find_leaks",
    "passages_of",
    "prompt_key",
    "read_cloze",
    "read_demonstrations",
    "read_prompts",
    "read_rankings",
    "read_texts",
    "refuse_leaks",
    "require_acceptable",
    "side",
    "split",
    "split_without_leaks",
    "to_native",
    "to_trl_pairs",
    "write_jsonl",
    "write_pairs",
    "write_parquet",
]
