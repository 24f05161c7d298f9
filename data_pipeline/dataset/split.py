"""One calendar cut for all symbols: no week in two splits, and a gap as long as the context."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import NamedTuple, cast

from weekahead.schema.rows import DatasetRow, DroppedRow

CONTEXT_WEEKS = 4
"""The longest context of a prompt: a gap of that many weeks keeps targets out of later contexts."""
VALIDATION_SHARE = 0.1
GAP = "gap"
"""The reason of a row that is dropped because it lies between two splits."""


@dataclass(frozen=True)
class Cut:
    """The rows of train and validation by week, and those that are in neither.

    `warnings` are for the user.
    """

    train: list[DatasetRow]
    validation: list[DatasetRow]
    dropped: list[DroppedRow]
    warnings: list[str]


class Purged(NamedTuple):
    """The rows that lie early enough before a later split, the others, and warnings."""

    rows: list[DatasetRow]
    dropped: list[DroppedRow]
    warnings: list[str]


def cut_by_date(
    rows: Sequence[DatasetRow],
    validation_share: float = VALIDATION_SHARE,
    gap_weeks: int = CONTEXT_WEEKS,
    later: str = "validation",
) -> Cut:
    """Take the last weeks, with at least `validation_share` of the rows, for validation.

    Weeks (`week_start`) are never divided. The `gap_weeks` before the first validation week are
    dropped: a row there would have as its target a week that validation prompts show as context.
    The gap shrinks, with a warning, if train would be empty otherwise; a single week is all train,
    with a warning. The result does not depend on the order of `rows`, and every row is in train,
    validation or dropped. `later` is what messages call the later part if it is not validation.

    Raises ValueError for no rows and for numbers that make no sense.
    """
    check_cut(validation_share, gap_weeks)
    if not rows:
        raise ValueError("no rows to cut into train and validation; expected at least one")
    rows = _by_week(rows)
    weeks = sorted({row["week_start"] for row in rows})
    if len(weeks) == 1:
        warning = (
            f"all {len(rows)} rows are of the week {weeks[0]}: "
            f"everything is train, {later} is empty"
        )
        return Cut(rows, [], [], [warning])
    first = _first_validation_week(rows, weeks, validation_share)
    validation = [row for row in rows if row["week_start"] >= first]
    earlier = [row for row in rows if row["week_start"] < first]
    purged = purge(earlier, first, gap_weeks, later)
    return Cut(purged.rows, validation, purged.dropped, purged.warnings)


def cut_calendar(
    counts: Mapping[str, int], *, test_share: float, validation_share: float, gap_weeks: int
) -> tuple[dict[str, str], list[str]]:
    """(week -> its split or "gap", warnings), from the number of rows of each week (`week_start`).

    The last weeks with at least `test_share` of the rows are test; what lies before them and their
    gap is cut into train and validation. The cut knows only weeks, so that a dataset of any size
    takes no memory. Raises ValueError for no rows and for numbers that make no sense.
    """
    rows: list[DatasetRow] = []
    for week, count in counts.items():
        # One stand-in per week, repeated: the cut only counts rows and reads these two fields.
        rows += [cast("DatasetRow", {"week_start": week, "id": week})] * count
    outer = cut_by_date(rows, test_share, gap_weeks, later="test")
    inner = cut_by_date(outer.train, validation_share, gap_weeks)
    parts: dict[str, Iterable[DatasetRow]] = {
        "test": outer.validation,
        "train": inner.train,
        "validation": inner.validation,
        GAP: [*outer.dropped, *inner.dropped],
    }
    split_of = {row["week_start"]: name for name, part in parts.items() for row in part}
    return split_of, outer.warnings + inner.warnings


def separate(
    splits: Mapping[str, Sequence[DatasetRow]],
    validation_share: float = VALIDATION_SHARE,
    gap_weeks: int = CONTEXT_WEEKS,
) -> Cut:
    """Train and validation of a dataset whose test weeks (splits `test*`) are fixed and stay whole.

    Train keeps only weeks before the first test week, with the gap. A validation split is cut from
    it by `cut_by_date`; one that the dataset has already is kept apart from both in the same way.
    Raises ValueError if no training week lies before the test weeks.
    """
    check_cut(validation_share, gap_weeks)
    train = _by_week(splits.get("train", []))
    validation = _by_week(splits.get("validation", []))
    dropped: list[DroppedRow] = []
    warnings: list[str] = []
    first_test = _first_week(
        row for name, rows in splits.items() if name.startswith("test") for row in rows
    )
    if first_test:
        validation, dropped, warnings = purge(validation, first_test, gap_weeks, later="test")
    later, before = ("validation", _first_week(validation)) if validation else ("test", first_test)
    if before and train:
        # Two weeks, if they are to be cut into train and validation after this.
        purged = purge(train, before, gap_weeks, later, min_weeks=1 if validation else 2)
        train = purged.rows
        dropped, warnings = dropped + purged.dropped, warnings + purged.warnings
        if not train:
            raise ValueError(
                f"no training week lies before {before}, the first {later} week; "
                "expected a train split that ends before the later splits begin"
            )
    if validation or not train:
        return Cut(train, validation, dropped, warnings)
    cut = cut_by_date(train, validation_share, gap_weeks)
    return Cut(cut.train, cut.validation, dropped + cut.dropped, warnings + cut.warnings)


def purge(
    rows: Sequence[DatasetRow], before: str, gap_weeks: int, later: str, min_weeks: int = 1
) -> Purged:
    """`rows` without the weeks from `before` on and without the gap ahead of it.

    `before` is the first week (ISO date) of the split called `later`. The gap shrinks until
    `min_weeks` weeks are left, or as many as there are. Reasons: "gap", and "not before <later>".
    """
    first = date.fromisoformat(before)
    weeks = {row["week_start"] for row in rows if row["week_start"] < before}
    # A longer gap would leave no week before it either.
    gap = min(gap_weeks, _weeks_between(min(weeks), first) + 1) if weeks else 0
    while gap and sum(week < _ahead(first, gap) for week in weeks) < min(min_weeks, len(weeks)):
        gap -= 1
    limit = _ahead(first, gap)
    kept: list[DatasetRow] = []
    dropped: list[DroppedRow] = []
    for row in rows:
        if row["week_start"] < limit:
            kept.append(row)
        else:
            reason = GAP if row["week_start"] < before else f"not before {later}"
            dropped.append({**row, "reason": reason})
    warnings: list[str] = []
    if gap < gap_weeks and weeks:
        warnings.append(
            f"the gap before the first {later} week ({before}) is {gap} weeks instead of "
            f"{gap_weeks}: only {len(weeks)} weeks lie before it, and a longer gap would leave "
            "too few"
        )
    in_gap = sum(row["reason"] == GAP for row in dropped)
    if in_gap and in_gap >= len(kept):
        warnings.append(
            f"the gap of {gap} weeks before {later} drops {in_gap} rows and keeps {len(kept)}; "
            "more weeks of data, or a shorter gap, keep more"
        )
    return Purged(kept, dropped, warnings)


def _first_validation_week(rows: Sequence[DatasetRow], weeks: Sequence[str], share: float) -> str:
    """The latest week from which on at least `share` of the rows lie, never the first week."""
    for week in reversed(weeks[1:]):
        if sum(row["week_start"] >= week for row in rows) >= share * len(rows):
            return week
    return weeks[1]


def _by_week(rows: Iterable[DatasetRow]) -> list[DatasetRow]:
    return sorted(rows, key=lambda row: (row["week_start"], row["id"]))


def _first_week(rows: Iterable[DatasetRow]) -> str | None:
    return min((row["week_start"] for row in rows), default=None)


def _weeks_between(week: str, later: date) -> int:
    return (later - date.fromisoformat(week)).days // 7


def _ahead(day: date, weeks: int) -> str:
    return (day - timedelta(weeks=weeks)).isoformat()


def check_cut(validation_share: float, gap_weeks: int) -> None:
    """Raise ValueError for a share or a gap that makes no sense."""
    if not 0 < validation_share < 1:
        raise ValueError(f"validation share is {validation_share}; expected a fraction such as 0.1")
    if gap_weeks < 0:
        raise ValueError(f"gap is {gap_weeks} weeks; expected 0 or more")
