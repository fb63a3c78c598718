"""What became of the rows that a stage was given: nothing is cut or dropped in silence."""

from collections import Counter
from dataclasses import dataclass
from typing import NamedTuple

from trivium.data.leaks import Leak
from trivium.errors import UserError

IDS_NAMED = 50
"""Rows of a kind that a summary names."""

EXAMPLES_NAMED = 5
"""Rows left out by a split that a summary names, each with the row that it gives away."""


class Dropped(NamedTuple):
    """A row that could not be used."""

    id: str
    """Its id."""

    reason: str
    """Why: "too long", for instance."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """Rows of one stage by what became of them; each row is counted once."""

    kept: int
    """Rows used whole."""

    truncated: tuple[str, ...]
    """Ids of rows used in part, because they were too long."""

    dropped: tuple[Dropped, ...]
    """Rows not used: nothing was left, or nothing to learn from."""

    left_out: tuple[Leak, ...] = ()
    """Training rows that the split left out, since they would give a held-out row away."""

    @property
    def affected_share(self) -> float:
        """Truncated and dropped rows as a share of all; 0 of no rows.

        Rows left out by the split don't count: they would have done harm, their loss does none.
        """
        affected = len(self.truncated) + len(self.dropped)
        return affected / (self.kept + affected) if affected else 0.0

    def as_dict(self) -> dict[str, object]:
        """Counts, reasons and the first ids, ready for JSON."""
        return {
            "kept": self.kept,
            "truncated": len(self.truncated),
            "dropped": len(self.dropped),
            "left_out": len(self.left_out),
            "dropped_reasons": dict(Counter(row.reason for row in self.dropped)),
            "truncated_ids": list(self.truncated[:IDS_NAMED]),
            "dropped_ids": [row.id for row in self.dropped[:IDS_NAMED]],
            "left_out_examples": [
                {"row": leak.train_name, "shares": leak.shares()}
                for leak in self.left_out[:EXAMPLES_NAMED]
            ],
        }


def require_acceptable(
    report: DataReport, *, stage: str, accept: bool, limit: float = 0.01
) -> None:
    """Stop where data was lost: nothing is left, or too much was affected and not accepted.

    Args:
        report: what became of the rows.
        stage: what to call the stage in the message.
        accept: True if the user accepts the loss (`--accept-affected`).
        limit: largest share of affected rows that needs no acceptance.

    Raises:
        UserError: names the counts, the first ids and the flag.
    """
    cut, lost = len(report.truncated), len(report.dropped)
    total = report.kept + cut + lost
    first = ", ".join([*report.truncated, *(row.id for row in report.dropped)][:3])
    counts = f"{cut} rows truncated and {lost} dropped of {total} (first: {first})"
    if report.kept + cut == 0:
        found = counts if total else "none"
        raise UserError(f"{stage}: expected rows to train on, got {found}; look at the data")
    if report.affected_share > limit and not accept:
        raise UserError(
            f"{stage}: {counts}, expected at most {limit:.0%} affected; "
            "raise the length limit, shorten or mend the rows, or pass --accept-affected"
        )
