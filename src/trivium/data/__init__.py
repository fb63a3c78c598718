"""Data in and out: read, convert, write, split, look for leaks, count.

What every stage uses is named here; the verbs of `trivium data` are in `trivium.data.commands`.
"""

from trivium.data.convert import Shape, detect, to_native, to_trl_pairs
from trivium.data.leaks import Leak, find_leaks, refuse_leaks, split_without_leaks
from trivium.data.read import read_demonstrations, read_prompts, read_rankings, read_texts
from trivium.data.report import DataReport, require_acceptable
from trivium.data.split import prompt_key, side, split
from trivium.data.statistics import describe
from trivium.data.write import write_jsonl, write_parquet

__all__ = [
    "DataReport",
    "Leak",
    "Shape",
    "describe",
    "detect",
    "find_leaks",
    "prompt_key",
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
    "write_parquet",
]
