"""One calendar cut for all symbols: no week in two splits, and a gap as long as the context between them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta

from weekahead.files import Row
from weekahead.task.labels import direction_of

CONTEXT_WEEKS = 4
"""The longest context of a prompt: a gap of so many weeks keeps targets out of later rows' contexts."""
VALIDATION_SHARE = 0.1


@dataclass(frozen=True)
class Cut:
    """The rows of each split by week, those dropped (with `reason`), and what the caller should be told."""

    train: list[Row]
    validation: list[Row]
    dropped: list[Row]
    warnings: list[str]


def cut_by_date(
    rows: Sequence[Row],
    validation_share: float = VALIDATION_SHARE,
    gap_weeks: int = CONTEXT_WEEKS,
    later: str = "validation",
) -> Cut:
    """The last weeks, holding at least `validation_share` of the rows, are validation; earlier ones train.

    Weeks (`week_start`) are never divided. The `gap_weeks` before the first validation week are dropped:
    a row there would have as its target a week that validation prompts show as context. The gap shrinks,
    with a warning, rather than emptying train; a single week is all train, with a warning. The result
    does not depend on the order of `rows`, and every row is in train, validation or dropped.
    `later` is what messages call the later part, where it is not validation.

    Raises ValueError for no rows and for numbers that make no sense.
    """
    _check(validation_share, gap_weeks)
    if not rows:
        raise ValueError("no rows to cut into train and validation; expected at least one")
    rows = _by_week(rows)
    weeks = sorted({row["week_start"] for row in rows})
    if len(weeks) == 1:
        told = f"all {len(rows)} rows are of the week {weeks[0]}: everything is train, {later} is empty"
        return Cut(rows, [], [], [told])
    first = _first_validation_week(rows, weeks, validation_share)
    validation = [row for row in rows if row["week_start"] >= first]
    earlier = [row for row in rows if row["week_start"] < first]
    train, dropped, warnings = purge(earlier, first, gap_weeks, later)
    return Cut(train, validation, dropped, warnings)


def cut_calendar(
    counts: Mapping[str, int], test_share: float, validation_share: float, gap_weeks: int
) -> tuple[dict[str, str], list[str]]:
    """(week -> its split, or "gap", warnings), from the number of rows of each week (`week_start`).

    The last weeks with at least `test_share` of the rows are test; what lies before them and their gap is cut
    into train and validation. It knows weeks alone, so the cut of a dataset of any size takes no memory.
    Raises ValueError for no rows and for numbers that make no sense.
    """
    # One stand-in a week, repeated: the cut only counts rows.
    rows = [
        row for week, count in counts.items() for row in [{"week_start": week, "id": week}] * count
    ]
    outer = cut_by_date(rows, test_share, gap_weeks, later="test")
    inner = cut_by_date(outer.train, validation_share, gap_weeks)
    named = {"test": outer.validation, "train": inner.train, "validation": inner.validation}
    named["gap"] = outer.dropped + inner.dropped
    split_of = {row["week_start"]: name for name, part in named.items() for row in part}
    return split_of, outer.warnings + inner.warnings


def separate(
    splits: Mapping[str, Sequence[Row]],
    validation_share: float = VALIDATION_SHARE,
    gap_weeks: int = CONTEXT_WEEKS,
) -> Cut:
    """Train and validation of a dataset whose test weeks (splits `test*`) are fixed and stay whole.

    Train keeps only weeks before the first test week, with the gap; a validation split is cut from it
    by `cut_by_date`, or, where the dataset brings one, kept apart from both in the same way.
    Raises ValueError where no training week lies before the test weeks.
    """
    _check(validation_share, gap_weeks)
    train, given = _by_week(splits.get("train", [])), _by_week(splits.get("validation", []))
    dropped: list[Row] = []
    warnings: list[str] = []
    tests = [
        row["week_start"]
        for name, rows in splits.items()
        if name.startswith("test")
        for row in rows
    ]
    if tests:
        given, dropped, warnings = purge(given, min(tests), gap_weeks, later="test")
    before = min([*tests, *(row["week_start"] for row in given)], default=None)
    if before and train:
        later = "validation" if given else "test"
        train, lost, told = purge(train, before, gap_weeks, later, min_weeks=1 if given else 2)
        dropped, warnings = dropped + lost, warnings + told
        if not train:
            raise ValueError(
                f"no training week lies before {before}, the first {later} week; "
                "expected a train split that ends before the later splits begin"
            )
    if given or not train:
        return Cut(train, given, dropped, warnings)
    cut = cut_by_date(train, validation_share, gap_weeks)
    return Cut(cut.train, cut.validation, dropped + cut.dropped, warnings + cut.warnings)


def purge(
    rows: Sequence[Row], before: str, gap_weeks: int, later: str, min_weeks: int = 1
) -> tuple[list[Row], list[Row], list[str]]:
    """(kept, dropped, warnings): `rows` without the weeks from `before` on and the gap ahead of it.

    `before` is the first week (ISO date) of the split called `later`. The gap shrinks until `min_weeks`
    weeks are left, or as many as there are. Reasons: "gap", and "not before <later>".
    """
    first = date.fromisoformat(before)
    weeks = {row["week_start"] for row in rows if row["week_start"] < before}
    gap = gap_weeks
    while gap and sum(week < _ahead(first, gap) for week in weeks) < min(min_weeks, len(weeks)):
        gap -= 1
    limit = _ahead(first, gap)
    kept = [row for row in rows if row["week_start"] < limit]
    dropped = [
        {**row, "reason": "gap" if row["week_start"] < before else f"not before {later}"}
        for row in rows
        if row["week_start"] >= limit
    ]
    warnings = []
    if gap < gap_weeks and weeks:
        warnings.append(
            f"the gap before the first {later} week ({before}) is {gap} weeks instead of {gap_weeks}: only "
            f"{len(weeks)} weeks lie before it, and a longer gap would leave too few"
        )
    in_gap = sum(row["reason"] == "gap" for row in dropped)
    if in_gap and in_gap >= len(kept):
        warnings.append(
            f"the gap of {gap} weeks before {later} drops {in_gap} rows and keeps {len(kept)}; "
            "more weeks of data, or a shorter gap, keep more"
        )
    return kept, dropped, warnings


def train_majority(rows: Sequence[Row]) -> int | None:
    """The direction most labels have: +1 (also for a tie) or -1; None without rows.

    Raises ValueError for an unknown label.
    """
    return (1 if sum(direction_of(row["label"]) for row in rows) >= 0 else -1) if rows else None


def _first_validation_week(rows: Sequence[Row], weeks: Sequence[str], share: float) -> str:
    """The latest week from which on at least `share` of the rows lie, never the first week."""
    for week in reversed(weeks[1:]):
        if sum(row["week_start"] >= week for row in rows) >= share * len(rows):
            return week
    return weeks[1]


def _by_week(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: (row["week_start"], row["id"]))


def _ahead(day: date, weeks: int) -> str:
    return (day - timedelta(weeks=weeks)).isoformat()


def _check(validation_share: float, gap_weeks: int) -> None:
    if not 0 < validation_share < 1:
        raise ValueError(f"validation share is {validation_share}; expected a fraction such as 0.1")
    if gap_weeks < 0:
        raise ValueError(f"gap is {gap_weeks} weeks; expected 0 or more")
