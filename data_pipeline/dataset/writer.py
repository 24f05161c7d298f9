"""A dataset folder: one JSONL file per split, the dropped rows and a manifest; whole or absent."""

import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from data_pipeline.dataset.reader import Source
from data_pipeline.dataset.statistics import train_majority
from weekahead import files
from weekahead.locks import check_writable
from weekahead.manifest import new_manifest
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import (
    DatasetManifest,
    SourceFacts,
    SplitFacts,
    read_json_object,
)
from weekahead.schema.rows import DatasetRow, DroppedRow


def write_dataset(
    out: Path,
    splits: Mapping[str, Sequence[DatasetRow]],
    dropped: Sequence[DroppedRow],
    **fields: Any,
) -> DatasetManifest:
    """Write `<split>.jsonl` for each split with rows, `dropped.jsonl` and `manifest.json`.

    Returns the manifest: splits, drops and majority, then `fields`. The folder is built beside
    `out` and put in its place at the end, so that an interrupt leaves the old one.
    Raises FileExistsError if `out` holds anything but an earlier dataset.
    """
    splits = {name: rows for name, rows in splits.items() if rows}
    with replacing_folder(out) as folder:
        for name, rows in splits.items():
            files.write_jsonl(folder / f"{name}.jsonl", rows)
        files.write_jsonl(folder / "dropped.jsonl", dropped)
        labels = Counter(row["label"] for row in splits.get("train", []))
        manifest = new_manifest(
            kind="dataset",
            splits={name: _split_facts(folder, name, rows) for name, rows in splits.items()},
            dropped=dict(sorted(Counter(row["reason"] for row in dropped).items())),
            train_majority=train_majority(labels),
            **fields,
        )
        files.write_json(folder / MANIFEST, manifest)
    return cast("DatasetManifest", manifest)


@contextmanager
def replacing_folder(out: Path) -> Iterator[Path]:
    """A new folder beside `out` that takes its place when the block ends without an error.

    After an error the old folder stands. Raises FileExistsError if `out` holds anything but an
    earlier dataset, and OSError naming `out` if the disk takes no more.
    """
    check_target(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        new.mkdir()
        with files.naming_place(out, new):
            yield new
        try:
            if out.exists():
                out.rename(old)
            new.rename(out)
        except BaseException:
            if old.exists() and not out.exists():
                old.rename(out)
            raise


def check_target(out: Path) -> None:
    """Raise FileExistsError unless `out` is absent, empty, or a dataset that may be replaced.

    Raises OSError if no folder can be written beside it.
    """
    check_writable(out.parent)
    if not out.exists():
        return
    if out.is_dir() and (not any(out.iterdir()) or _is_dataset(out)):
        return
    raise FileExistsError(
        f"{out}: holds something other than a dataset; choose a new or an empty folder"
    )


def source_facts(source: Source) -> SourceFacts:
    """What the manifest of a converted dataset says about its source."""
    return {"name": source.name, "revision": source.revision, "sha256": source.sha256}


def summary_lines(splits: Mapping[str, SplitFacts], dropped: Mapping[str, int]) -> list[str]:
    """One line per split and one per reason for which rows were dropped."""
    lines = []
    for name, facts in splits.items():
        weeks = f"{facts['weeks']} weeks, {facts['first_week']} to {facts['last_week']}"
        lines.append(f"{name:12} {facts['rows']:6} rows, {weeks}")
    lines += [f"dropped      {count:6} rows: {reason}" for reason, count in dropped.items()]
    return lines


def _is_dataset(folder: Path) -> bool:
    try:
        return read_json_object(folder / MANIFEST).get("kind") == "dataset"
    except (OSError, ValueError):
        return False


def _split_facts(folder: Path, name: str, rows: Sequence[DatasetRow]) -> SplitFacts:
    weeks = sorted(row["week_start"] for row in rows)
    return {
        "rows": len(rows),
        "weeks": len(set(weeks)),
        "first_week": weeks[0],
        "last_week": weeks[-1],
        "sha256": files.sha256(folder / f"{name}.jsonl"),
    }
