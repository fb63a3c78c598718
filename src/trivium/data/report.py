"""What became of the rows that a stage was given: nothing is cut or dropped in silence."""

from dataclasses import dataclass

from trivium.errors import UserError


@dataclass(frozen=True, slots=True, kw_only=True)
class DataReport:
    """Rows of one stage by what became of them; each row is counted once."""

    kept: int
    """Rows used whole."""

    truncated: tuple[str, ...]
    """Ids of rows used in part, because they were too long."""

    dropped: tuple[str, ...]
    """Ids of rows not used: nothing was left, or nothing to learn from."""

    @property
    def affected_share(self) -> float:
        """Truncated and dropped rows as a share of all; 0 of no rows."""
        affected = len(self.truncated) + len(self.dropped)
        return affected / (self.kept + affected) if affected else 0.0


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
    first = ", ".join((report.truncated + report.dropped)[:3])
    counts = f"{cut} rows truncated and {lost} dropped of {total} (first: {first})"
    if report.kept + cut == 0:
        found = counts if total else "none"
        raise UserError(f"{stage}: expected rows to train on, got {found}; look at the data")
    if report.affected_share > limit and not accept:
        raise UserError(
            f"{stage}: {counts}, expected at most {limit:.0%} affected; "
            "raise the length limit, shorten or mend the rows, or pass --accept-affected"
        )
