"""A dataset folder: one JSONL file a split, what was dropped, and a manifest; whole or absent."""

import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from data_pipeline.dataset.statistics import train_majority
from weekahead import files
from weekahead.files import Row
from weekahead.manifest import new_manifest

MANIFEST = "manifest.json"


def write_dataset(
    out: Path | str, splits: Mapping[str, Sequence[Row]], dropped: Sequence[Row], **facts: Any
) -> Row:
    """Write `<split>.jsonl` for each split with rows, `dropped.jsonl` and `manifest.json`; return the manifest.

    The folder is built beside `out` and put in its place at the end, so an interrupt leaves the old one.
    Raises FileExistsError where `out` holds anything but an earlier dataset of this kind.
    """
    with replacing_folder(out) as new:
        for name, rows in splits.items():
            if rows:
                files.write_jsonl(new / f"{name}.jsonl", rows)
        files.write_jsonl(new / "dropped.jsonl", dropped)
        facts = {
            "splits": {
                name: _split_facts(new, name, rows) for name, rows in splits.items() if rows
            },
            "dropped": dict(sorted(Counter(row["reason"] for row in dropped).items())),
            "train_majority": train_majority(
                Counter(row["label"] for row in splits.get("train", []))
            ),
            **facts,
        }
        manifest = new_manifest(kind="dataset", **facts)
        files.write_json(new / MANIFEST, manifest)
    return manifest


@contextmanager
def replacing_folder(out: Path | str) -> Iterator[Path]:
    """A new folder beside `out` that takes its place when the block ends well; after an error the old one stands.

    Raises FileExistsError where `out` holds anything but an earlier dataset.
    """
    out = Path(out)
    check_target(out)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as scratch:
        new, old = Path(scratch, "new"), Path(scratch, "old")
        new.mkdir()
        yield new
        try:
            if out.exists():
                out.rename(old)
            new.rename(out)
        except BaseException:
            if old.exists() and not out.exists():
                old.rename(out)
            raise


def check_target(out: Path | str) -> None:
    """Raise FileExistsError unless `out` is absent, empty, or a dataset folder that may be replaced."""
    out = Path(out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if out.is_dir() and (out / MANIFEST).is_file():
        try:
            kind = json.loads((out / MANIFEST).read_text(encoding="utf-8")).get("kind")
        except (ValueError, AttributeError):
            kind = None
        if kind == "dataset":
            return
    raise FileExistsError(
        f"{out}: holds something else than a dataset; choose a new or an empty folder"
    )


def _split_facts(folder: Path, name: str, rows: Sequence[Row]) -> Row:
    weeks = sorted(row["week_start"] for row in rows)
    return {
        "rows": len(rows),
        "weeks": len(set(weeks)),
        "first_week": weeks[0],
        "last_week": weeks[-1],
        "sha256": files.sha256(folder / f"{name}.jsonl"),
    }
