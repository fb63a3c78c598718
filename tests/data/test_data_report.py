"""No stage loses data in silence."""

import pytest

from trivium.data import DataReport, Dropped, require_acceptable
from trivium.data.leaks import Leak
from trivium.errors import UserError


def report(kept: int, truncated: int = 0, dropped: int = 0) -> DataReport:
    return DataReport(
        kept=kept,
        truncated=tuple(f"long-{i}" for i in range(truncated)),
        dropped=tuple(Dropped(f"lost-{i}", "too long") for i in range(dropped)),
    )


def test_the_share_by_hand():
    assert report(94, 4, 2).affected_share == 0.06
    assert report(10).affected_share == 0.0
    assert report(0).affected_share == 0.0


def test_one_percent_passes_and_more_does_not():
    require_acceptable(report(99, 1), stage="sft", accept=False)
    with pytest.raises(UserError) as caught:
        require_acceptable(report(98, 1, 1), stage="sft", accept=False)
    for words in ("sft", "1 rows truncated and 1 dropped of 100", "long-0, lost-0", "1%"):
        assert words in str(caught.value)
    assert "--accept-affected" in str(caught.value)
    require_acceptable(report(98, 1, 1), stage="sft", accept=True)
    require_acceptable(report(98, 1, 1), stage="sft", accept=False, limit=0.02)


def test_nothing_left_cannot_be_accepted():
    for nothing in (report(0, 0, 5), report(0)):
        with pytest.raises(UserError, match="rows to train on"):
            require_acceptable(nothing, stage="reward", accept=True)
    require_acceptable(report(0, 5), stage="reward", accept=True)  # cut rows are rows still


def test_the_account_in_a_summary_by_hand():
    def leak(number: int) -> Leak:
        return Leak(reason="near-duplicate", train_index=number, heldout_index=0,
                    train_name=f"t{number}", heldout_name="h0")  # fmt: skip

    dropped = (Dropped("a", "too long"), Dropped("b", "tied"), Dropped("c", "too long"))
    many = tuple(f"long-{i}" for i in range(60))
    whole = DataReport(
        kept=7, truncated=many, dropped=dropped, left_out=tuple(leak(i) for i in range(9))
    )
    assert whole.affected_share == 63 / 70  # what the split left out is no loss
    assert whole.as_dict() == {
        "kept": 7,
        "truncated": 60,
        "dropped": 3,
        "left_out": 9,
        "dropped_reasons": {"too long": 2, "tied": 1},
        "truncated_ids": [f"long-{i}" for i in range(50)],
        "dropped_ids": ["a", "b", "c"],
        "left_out_examples": [{"row": f"t{i}", "shares": "near-duplicate of h0"} for i in range(5)],
    }
