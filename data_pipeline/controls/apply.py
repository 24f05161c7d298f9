"""The controls by name, and how one is applied to the splits of a dataset."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from data_pipeline.controls.masked_names import mask_row
from data_pipeline.controls.no_news import without_news
from data_pipeline.controls.shuffled_labels import shuffle_labels
from data_pipeline.controls.swapped_news import swap_news
from data_pipeline.dataset import public_rows
from data_pipeline.dataset.load import check_rows, is_public
from data_pipeline.dataset.reader import Source
from weekahead.schema.manifests import ControlCounts
from weekahead.schema.rows import DatasetRow, DroppedRow, user_text
from weekahead.task.prompt_reader import read_prompt

Splits = Mapping[str, Sequence[DatasetRow]]
Change = Callable[[Splits, int], tuple[dict[str, list[DatasetRow]], list[DroppedRow]]]
"""(splits, seed) to (changed splits, rows left out with `split` and `reason`)."""


@dataclass(frozen=True)
class Control:
    """One way to take something out of a dataset."""

    change: Change
    uses_seed: bool = False
    counts_unknown_names: bool = False
    """Whether rows whose introduction states no name are counted."""


class SourceRows(NamedTuple):
    """The rows of a source in our shape, those left out on the way, and warnings."""

    splits: dict[str, list[DatasetRow]]
    dropped: list[DroppedRow]
    warnings: list[str]


class ControlledRows(NamedTuple):
    """The rows of a control, those it leaves out, and what it did to each split."""

    splits: dict[str, list[DatasetRow]]
    dropped: list[DroppedRow]
    counts: dict[str, ControlCounts]


def _per_row(change: Callable[[DatasetRow], DatasetRow]) -> Change:
    return lambda splits, _: ({name: list(map(change, rows)) for name, rows in splits.items()}, [])


CONTROLS = {
    "shuffled_labels": Control(shuffle_labels, uses_seed=True),
    "no_news": Control(_per_row(without_news)),
    "swapped_news": Control(swap_news, uses_seed=True),
    "masked_names": Control(_per_row(mask_row), counts_unknown_names=True),
}


def apply_control(name: str, splits: Splits, seed: int = 0) -> ControlledRows:
    """The rows under a control; each carries its name as `control`.

    Rows that are `unchanged` are those without news, alone in their week, or with a label that was
    drawn again. Under
    masked_names, `name_unknown` are those whose introduction states no name, so that only their
    ticker is masked. Raises ValueError for an unknown control.
    """
    if name not in CONTROLS:
        raise ValueError(f"unknown control {name!r}; expected one of: {', '.join(CONTROLS)}")
    control = CONTROLS[name]
    changed, dropped = control.change(splits, seed)
    marked: dict[str, list[DatasetRow]] = {}
    counts: dict[str, ControlCounts] = {}
    for split, rows in changed.items():
        counts[split] = _count_changes(splits[split], rows)
        if control.counts_unknown_names:
            companies = [read_prompt(user_text(row["prompt"])).company for row in splits[split]]
            counts[split]["name_unknown"] = companies.count(None)
        marked[split] = [{**row, "control": name} for row in rows]
    return ControlledRows(marked, dropped, counts)


def our_splits(source: Source) -> SourceRows:
    """The rows of any source in our shape; public rows are converted and cut by date.

    Raises ValueError naming the row that cannot be used, and for rows of a control: two controls at
    once say nothing.
    """
    if any(is_public(rows) for rows in source.splits.values()):
        public = public_rows.build_public_rows(source.splits, source.origins)
        return SourceRows(public.splits, public.dropped, public.warnings)
    splits = {name: check_rows(rows, source.origins[name]) for name, rows in source.splits.items()}
    controls = {row.get("control") or "" for rows in splits.values() for row in rows} - {""}
    if controls:
        raise ValueError(
            f"{source.name} is the control {', '.join(sorted(controls))} already; "
            "name its own source"
        )
    return SourceRows(splits, [], [])


def check_not_source(source: str, out: Path) -> None:
    """Raise ValueError if writing `out` would replace the source or a folder that holds it."""
    source_path, target = Path(source).resolve(), out.resolve()
    inside = source_path == target or target in source_path.parents
    if source_path.exists() and inside:
        raise ValueError(
            f"{out} holds the source {source}, which writing it would replace; choose another --out"
        )


def _count_changes(before: Sequence[DatasetRow], after: Sequence[DatasetRow]) -> ControlCounts:
    by_id = {row["id"]: row for row in before}
    changed = sum(row != by_id[row["id"]] for row in after)
    return {"changed": changed, "unchanged": len(after) - changed}
