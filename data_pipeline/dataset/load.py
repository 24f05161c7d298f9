"""The one reader of datasets for training and evaluation; rows are checked before work begins."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from data_pipeline.dataset import public_rows
from data_pipeline.dataset.reader import Source, read_source
from data_pipeline.dataset.split import CONTEXT_WEEKS, VALIDATION_SHARE, Cut, separate
from data_pipeline.dataset.statistics import train_majority, up_share
from weekahead.schema.dataset_files import COLUMNS, describe_missing, unknown_split
from weekahead.schema.manifests import JsonObject
from weekahead.schema.rows import DatasetRow, DroppedRow
from weekahead.schema.shape import is_finite, shortened
from weekahead.task.labels import BINS, check_label
from weekahead.task.times import read_day


@dataclass(frozen=True, kw_only=True)
class TrainData:
    """Rows to train and validate on.

    `validation` may be empty (one week of rows); `warnings` then says so.
    """

    train: list[DatasetRow]
    validation: list[DatasetRow] = field(default_factory=list)
    dropped: list[DroppedRow] = field(default_factory=list)
    """Rows left out of both, each with its `reason`."""
    warnings: list[str] = field(default_factory=list)
    source: str
    sha256: str
    revision: str | None = None

    @cached_property
    def train_labels(self) -> dict[str, int]:
        """Training rows of each bin, from the worst week to the best."""
        return _label_counts(self.train)

    @cached_property
    def train_majority(self) -> int | None:
        """The direction that most training labels have, +1 or -1; None without rows."""
        return train_majority(self.train_labels)

    @cached_property
    def train_up_share(self) -> float | None:
        """The share of training rows whose label is an up bin; None without rows."""
        return up_share(self.train_labels)


@dataclass(frozen=True, kw_only=True)
class EvalData:
    """Rows to evaluate, in the order of the source."""

    rows: list[DatasetRow]
    split: str
    """The split's name, or "all" if the source is one file."""
    train_majority: int | None = None
    """The direction that most training labels have; None if the source has no training rows."""
    train_up_share: float | None = None
    """The share of training rows whose label is an up bin; None like `train_majority`."""
    train_labels: dict[str, int] | None = None
    """Training rows of each bin; None like `train_majority`."""
    source: str
    sha256: str
    revision: str | None = None


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """A dataset whose source was read once; rows are converted and checked on first use, once.

    Rows in the public shape are converted to ours. What is asked of it raises ValueError naming
    source, row and remedy.
    """

    source: Source
    validation_share: float = VALIDATION_SHARE
    gap_weeks: int = CONTEXT_WEEKS
    _checked: dict[str, list[DatasetRow]] = field(default_factory=dict, init=False, repr=False)
    """The rows of the splits that were in use so far."""

    @property
    def split_names(self) -> tuple[str, ...]:
        """The splits of the source; empty for one file, which is its own and only split."""
        return () if self.source.single else tuple(self.source.splits)

    @cached_property
    def train(self) -> TrainData:
        """Train and validation rows; one file is cut by date into both.

        A dataset in our rows that has its own validation split is taken as it stands. Everything
        else is cut and kept apart from the test weeks as in `split.separate`.
        Raises ValueError if there is no train split, or if no row of it is left.
        """
        if "train" not in self.split_names and not self.source.single:
            raise self._unknown_split("train")
        cut = self._cut
        if not cut.train:
            reasons = sorted({row["reason"] for row in cut.dropped})
            raise ValueError(
                f"{self.source.name}: no training row is left of {len(cut.dropped)}; "
                f"dropped for: {'; '.join(reasons)}"
            )
        return TrainData(
            train=cut.train,
            validation=cut.validation,
            dropped=cut.dropped,
            warnings=cut.warnings,
            source=self.source.name,
            sha256=self.source.sha256[self._train_name],
            revision=self.source.revision,
        )

    @cached_property
    def train_labels(self) -> dict[str, int] | None:
        """Rows of each bin in the train split, from the worst week to the best.

        None if the source has no train split of its own, and if no row of it can be trained on.
        """
        rows = self._cut.train if "train" in self.split_names else []
        return _label_counts(rows) if rows else None

    @cached_property
    def train_majority(self) -> int | None:
        """The direction that most labels of the train split have, +1 or -1; None without them."""
        return train_majority(self.train_labels or {})

    @cached_property
    def train_up_share(self) -> float | None:
        """The share of up bins in the train split; None without labels."""
        return up_share(self.train_labels or {})

    def split(self, name: str | None = None) -> EvalData:
        """All rows of one split (default `test`), or of a single file.

        Raises ValueError for a split that does not exist; the message lists those that do.
        """
        if self.source.single:
            key, label = self._only_split(name), "all"
        else:
            key = label = name or "test"
            if key not in self.source.splits:
                raise self._unknown_split(key)
        return EvalData(
            rows=list(self._rows(key)),  # a copy, since callers shorten their list
            split=label,
            train_majority=self.train_majority,
            train_up_share=self.train_up_share,
            train_labels=self.train_labels,
            source=self.source.name,
            sha256=self.source.sha256[key],
            revision=self.source.revision,
        )

    @property
    def _train_name(self) -> str:
        """The split to train on: `train`, or the only one of a single file whatever its name."""
        return next(iter(self.source.splits)) if self.source.single else "train"

    @cached_property
    def _cut(self) -> Cut:
        train_name = self._train_name
        self._check_one_shape(train_name)
        splits = {
            "train" if name == train_name else name: self._rows(name) for name in self.source.splits
        }
        public = is_public(self.source.splits[train_name])
        cut = public_rows.cut_public_rows if public else _cut_ours
        return cut(splits, self.validation_share, self.gap_weeks)

    def _check_one_shape(self, train_name: str) -> None:
        """Two shapes in one source are two datasets: their repairs and cuts differ."""
        public = is_public(self.source.splits[train_name])
        for name, rows in self.source.splits.items():
            if rows and is_public(rows) != public:
                shapes = ("the public dataset's shape", "our shape")
                first, second = shapes if public else shapes[::-1]
                raise ValueError(
                    f"{self.source.name}: rows of {train_name} have {first}, rows of {name} have "
                    f"{second}; convert the public ones first (python -m data_pipeline.fingpt)"
                )

    def _rows(self, split: str) -> list[DatasetRow]:
        """The rows of a split in our shape, converted and checked once."""
        if split not in self._checked:
            rows, origin = self.source.splits[split], self.source.origins[split]
            if is_public(rows):
                self._checked[split], _ = public_rows.convert(rows, origin)
            else:
                self._checked[split] = check_rows(rows, origin)
        return self._checked[split]

    def _only_split(self, name: str | None) -> str:
        if name not in (None, "test", "all"):
            raise ValueError(
                f"{self.source.name}: one file has no split {name!r}; "
                "leave the split out to take every row"
            )
        return next(iter(self.source.splits))

    def _unknown_split(self, name: str) -> ValueError:
        return unknown_split(self.source.name, name, self.source.splits)


def load_dataset(
    source: str | Path,
    *,
    validation_share: float = VALIDATION_SHARE,
    gap_weeks: int = CONTEXT_WEEKS,
) -> Dataset:
    """Read a dataset folder, a file or a dataset on the Hub (`reader.read_source`), once.

    `validation_share` and `gap_weeks` are those of a cut by date, if the rows need one.
    Raises OSError for a source that cannot be reached, ValueError for one that cannot be read.
    """
    return Dataset(
        source=read_source(source), validation_share=validation_share, gap_weeks=gap_weeks
    )


def is_public(rows: Sequence[JsonObject]) -> bool:
    """Whether rows have the public dataset's shape (`answer`) and not ours (`completion`)."""
    return bool(rows) and "answer" in rows[0] and "completion" not in rows[0]


def check_rows(rows: Sequence[JsonObject], origin: str) -> list[DatasetRow]:
    """Rows of our own shape, each checked; labels come back in their one spelling.

    Raises ValueError naming `origin`, row and value for no rows, a missing column, an unknown
    label, a week_start that is not a date, a prompt or completion that is not a list of messages,
    and a repeated id.
    """
    if not rows:
        raise ValueError(f"{origin}: no rows; expected at least one with {', '.join(COLUMNS)}")
    checked: list[DatasetRow] = []
    numbers: dict[str, int] = {}
    for number, row in enumerate(rows, start=1):
        try:
            checked.append(_checked_row(row))
        except ValueError as error:
            raise ValueError(f"{origin}, row {number}: {error}") from None
        first = numbers.setdefault(row["id"], number)
        if first != number:
            raise ValueError(
                f"{origin}, row {number}: the id {row['id']} stands in row {first} already; "
                "remove one of them"
            )
    return checked


def _checked_row(row: JsonObject) -> DatasetRow:
    missing = [name for name in COLUMNS if name not in row]
    if missing:
        raise ValueError(describe_missing(missing, row))
    read_day(row["week_start"], "week_start")
    for name in ("id", "symbol", "week_end"):
        if not isinstance(row[name], str):
            raise ValueError(f"{name} is {row[name]!r}; expected a text")
    for name in ("weekly_return", "last_week_return"):
        value = row.get(name)
        if value is not None and not is_finite(value):
            raise ValueError(
                f"{name} is {shortened(value)}; expected a finite fraction such as 0.012, or null"
            )
    for name in ("prompt", "completion"):
        if not _is_messages(row[name]):
            raise ValueError(
                f"{name} is {str(row[name])[:60]!r}; expected a list of {{role, content}} messages"
            )
    return cast("DatasetRow", {**row, "label": check_label(row["label"])})


def _is_messages(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(map(_is_message, value))


def _is_message(value: Any) -> bool:
    return (
        isinstance(value, Mapping)
        and isinstance(value.get("role"), str)
        and isinstance(value.get("content"), str)
    )


def _label_counts(rows: Sequence[DatasetRow]) -> dict[str, int]:
    """Rows of each of the twelve bins, from the worst week to the best."""
    counts = Counter(row["label"] for row in rows)
    return {label: counts[label] for label in BINS}


def _cut_ours(
    splits: Mapping[str, list[DatasetRow]], validation_share: float, gap_weeks: int
) -> Cut:
    """Train and validation of checked rows of ours, without training rows that teach no answer."""
    train, faulty = _without_faults(splits["train"])
    splits = {**splits, "train": train}
    if "validation" in splits:
        cut = Cut(train, splits["validation"], [], _shared_weeks(splits))
    else:
        cut = separate(splits, validation_share, gap_weeks)
    warnings = list(cut.warnings)
    if faulty:
        warnings.append(
            f"{len(faulty)} training rows are left out, the first, {faulty[0]['id']}, for: "
            f"{faulty[0]['reason']}"
        )
    return Cut(cut.train, cut.validation, faulty + cut.dropped, warnings)


def _without_faults(rows: list[DatasetRow]) -> tuple[list[DatasetRow], list[DroppedRow]]:
    """(rows to learn from, those whose answer cannot be read or names another bin)."""
    train: list[DatasetRow] = []
    faulty: list[DroppedRow] = []
    for row in rows:
        fault = public_rows.row_fault(row)
        if fault is None:
            train.append(row)
        else:
            faulty.append({**row, "reason": fault})
    return train, faulty


def _shared_weeks(splits: Mapping[str, list[DatasetRow]]) -> list[str]:
    """A warning for each split that has weeks in common with train."""
    weeks = {name: {row["week_start"] for row in rows} for name, rows in splits.items()}
    warnings = []
    for name in weeks:
        shared = weeks["train"] & weeks[name]
        if name != "train" and shared:
            warnings.append(
                f"{len(shared)} weeks lie in both train and {name}, the first is {min(shared)}: "
                "build it again, cut by date"
            )
    return warnings
