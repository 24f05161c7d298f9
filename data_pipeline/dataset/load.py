"""The one reader of datasets: training and evaluation take their rows from here, checked before work begins."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from data_pipeline.dataset import public_rows
from data_pipeline.dataset.reader import Source, read_source
from data_pipeline.dataset.split import CONTEXT_WEEKS, VALIDATION_SHARE, separate, train_majority
from weekahead.files import Row
from weekahead.task.labels import check_label

COLUMNS = ("id", "symbol", "week_start", "week_end", "prompt", "completion", "label")


@dataclass(frozen=True)
class TrainData:
    """Rows to train and validate on. `validation` may be empty (one week of rows): `warnings` then says so."""

    train: list[Row]
    validation: list[Row]
    dropped: list[Row]
    """Rows left out of both, each with its `reason`."""
    warnings: list[str]
    source: str
    sha256: str
    train_majority: int
    revision: str | None = None


@dataclass(frozen=True)
class EvalData:
    """Rows to evaluate, in the order of the source; `split` is "all" where the source is one file."""

    rows: list[Row]
    split: str
    train_majority: int | None
    """+1 or -1, the commoner direction among the training rows; None where the source has none."""
    source: str
    sha256: str
    revision: str | None = None


def train_rows(
    source: str | Path, validation_share: float = VALIDATION_SHARE, gap_weeks: int = CONTEXT_WEEKS
) -> TrainData:
    """Train and validation rows of a dataset folder, a Hub id, or one file that is then cut by date.

    A dataset in our rows that has its own validation split is taken as it stands; everything else is cut
    and kept apart from the test weeks as in `split.separate`. Rows in the public shape are converted.
    Raises ValueError or OSError naming source, row and remedy.
    """
    found = read_source(source)
    splits = {"train": next(iter(found.splits.values()))} if found.single else found.splits
    _need(found, splits, "train")
    origins = {name: found.origins.get(name, found.name) for name in splits}
    dropped: list[Row] = []
    if is_public(splits["train"]):
        built = public_rows.build(splits, origins, "repaired", validation_share, gap_weeks)
        train, validation = built.splits.get("train", []), built.splits.get("validation", [])
        dropped, warnings = built.dropped, built.warnings
    else:
        ours = {name: check_rows(rows, origins[name]) for name, rows in splits.items()}
        ours["train"], faulty = _without_faults(ours["train"])
        train, validation, dropped, warnings = _cut_ours(ours, validation_share, gap_weeks)
        dropped = faulty + dropped
        if faulty:
            warnings.append(f"{len(faulty)} training rows are left out, the first, {faulty[0]['id']}, for: "
                            f"{faulty[0]['reason']}")  # fmt: skip
    majority = train_majority(train)
    if majority is None:
        reasons = sorted({row["reason"] for row in dropped})
        raise ValueError(
            f"{source}: no training row is left of {len(dropped)}; dropped for: {'; '.join(reasons)}"
        )
    sha256 = next(iter(found.sha256.values())) if found.single else found.sha256["train"]
    return TrainData(
        train, validation, dropped, warnings, found.name, sha256, majority, found.revision
    )


def eval_rows(source: str | Path, split: str | None = None) -> EvalData:
    """The rows of one split (default `test`), or every row of a single file.

    Rows in the public shape are converted; none is dropped. Raises ValueError or OSError naming source,
    row and remedy; for a split that does not exist it lists those that do.
    """
    found = read_source(source)
    if found.single:
        if split not in (None, "test", "all"):
            raise ValueError(
                f"{source}: one file has no split {split!r}; leave the split out to take every row"
            )
        (name, rows), shown = next(iter(found.splits.items())), "all"
        majority = None
    else:
        name = shown = split or "test"
        _need(found, found.splits, name)
        rows = found.splits[name]
        majority = _majority(found)
    origin = found.origins[name]
    ours = public_rows.convert(rows, origin)[0] if is_public(rows) else check_rows(rows, origin)
    return EvalData(ours, shown, majority, found.name, found.sha256[name], found.revision)


def is_public(rows: Sequence[Row]) -> bool:
    """Whether rows have the public dataset's shape (a text `answer`) rather than ours (`completion`)."""
    return bool(rows) and "answer" in rows[0] and "completion" not in rows[0]


def check_rows(rows: Sequence[Row], origin: str) -> list[Row]:
    """Rows of our own shape, each checked; labels come back in their one spelling.

    Raises ValueError naming `origin`, row and value for no rows, a missing column, an unknown label, a
    week_start that is no date, a prompt or completion that is no list of messages, and a repeated id.
    """
    if not rows:
        raise ValueError(f"{origin}: no rows; expected at least one with {', '.join(COLUMNS)}")
    checked, places = [], dict[str, int]()
    for number, row in enumerate(rows, start=1):
        try:
            checked.append(_checked(row))
        except ValueError as error:
            raise ValueError(f"{origin}, row {number}: {error}") from None
        if (first := places.setdefault(row["id"], number)) != number:
            raise ValueError(
                f"{origin}, row {number}: the id {row['id']} stands in row {first} already; remove one of them"
            )
    return checked


def _checked(row: Row) -> Row:
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise ValueError(
            f"missing column {', '.join(missing)}; expected {', '.join(COLUMNS)} "
            f"(or the public dataset's {', '.join(public_rows.PUBLIC_COLUMNS)}), found {', '.join(row)}"
        )
    try:
        date.fromisoformat(row["week_start"])
    except (TypeError, ValueError):
        raise ValueError(
            f"week_start is {row['week_start']!r}; expected a date such as 2024-03-17"
        ) from None
    for name in ("prompt", "completion"):
        if not _is_messages(row[name]):
            raise ValueError(
                f"{name} is {str(row[name])[:60]!r}; expected a list of {{role, content}} messages"
            )
    return {**row, "label": check_label(row["label"])}


def _is_messages(value: object) -> bool:
    return (
        isinstance(value, list)
        and bool(value)
        and all(
            isinstance(turn, Mapping)
            and isinstance(turn.get("role"), str)
            and isinstance(turn.get("content"), str)
            for turn in value
        )
    )


def _without_faults(rows: list[Row]) -> tuple[list[Row], list[Row]]:
    """(rows to learn from, those whose answer does not read or names another bin, with the reason)."""
    faults = [public_rows.answer_fault(row) for row in rows]
    kept = [row for row, fault in zip(rows, faults, strict=True) if fault is None]
    return kept, [
        {**row, "reason": fault}
        for row, fault in zip(rows, faults, strict=True)
        if fault is not None
    ]


def _cut_ours(
    splits: Mapping[str, list[Row]], validation_share: float, gap_weeks: int
) -> tuple[list[Row], list[Row], list[Row], list[str]]:
    if "validation" not in splits:
        cut = separate(splits, validation_share, gap_weeks)
        return cut.train, cut.validation, cut.dropped, cut.warnings
    train_weeks = {row["week_start"] for row in splits["train"]}
    warnings = [
        f"{len(shared)} weeks lie in both train and {name}, the first is {min(shared)}: build it again, cut by date"
        for name, rows in splits.items()
        if name != "train" and (shared := train_weeks & {row["week_start"] for row in rows})
    ]
    return splits["train"], splits["validation"], [], warnings


def _majority(found: Source) -> int | None:
    """The majority that training on this source would have, so that both commands name the same one."""
    if "train" not in found.splits:
        return None
    if is_public(found.splits["train"]):
        built = public_rows.build(found.splits, found.origins)
        return train_majority(built.splits.get("train", []))
    ours = {name: check_rows(rows, found.origins[name]) for name, rows in found.splits.items()}
    return train_majority(_cut_ours(ours, VALIDATION_SHARE, CONTEXT_WEEKS)[0])


def _need(found: Source, splits: Mapping[str, Sequence[Row]], split: str) -> None:
    if split not in splits:
        raise ValueError(f"{found.name}: no split {split!r}; it has: {', '.join(splits)}")
