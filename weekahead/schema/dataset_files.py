"""Where the rows of a dataset lie: files of each split, ids on the Hub; the columns of a row."""

import re
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

SUFFIXES = (".jsonl", ".parquet", ".arrow")
COLUMNS = ("id", "symbol", "week_start", "week_end", "prompt", "completion", "label")
"""The columns that every row of ours has."""
PUBLIC_COLUMNS = ("prompt", "answer", "period", "label", "symbol")
"""The columns of the public FinGPT Forecaster datasets."""

_SPLIT = re.compile(r"(?P<name>(?:train|validation|test)(?:_\w+)?)(?P<shard>-\d+-of-\d+)?")
_HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")
_OWN_FOLDERS = ("data", "outputs", "results", "reports", "models", "recipes")
"""Folders of this project: whoever has such a name on the Hub is never asked for what is missing
here."""


class HubId(NamedTuple):
    """A dataset on the Hub."""

    name: str
    revision: str | None


def split_of(path: Path) -> str | None:
    """The split that a file holds by its name; None if the name is of none."""
    match = _SPLIT.fullmatch(path.stem)
    return match["name"] if match else None


def hub_id(source: str) -> HubId | None:
    """The id that `source` is, `user/name` or `user/name@revision`; None if it reads as a path."""
    match = _HUB_ID.fullmatch(source)
    if not match or source.startswith((".", "/", "~")) or Path(source).suffix in SUFFIXES:
        return None
    owner = source.partition("/")[0]
    if owner in _OWN_FOLDERS or Path(owner).is_dir():
        return None
    return HubId(match["name"], match["revision"])


def missing_source(source: str) -> FileNotFoundError:
    """The error for a source that is neither a path here nor an id."""
    return FileNotFoundError(
        f"{source}: there is no such file or folder, and it is not a dataset id (user/name); "
        f"expected one of {', '.join(SUFFIXES)}, a folder or an id: check DATASET for a typing "
        "error"
    )


def is_saved(folder: Path) -> bool:
    """Whether the library `datasets` saved this folder."""
    return (folder / "dataset_dict.json").exists() or (folder / "state.json").exists()


def paths_by_split(folder: Path) -> dict[str, list[Path]]:
    """The files of each split of a dataset folder, in order.

    Raises ValueError for none, and for two of one split.
    """
    paths: dict[str, list[Path]] = {}
    for file in sorted([*folder.iterdir(), *(folder / "data").glob("*")]):
        split = split_of(file)
        if split and file.suffix in SUFFIXES:
            paths.setdefault(split, []).append(file)
    if not paths:
        raise ValueError(
            f"{folder}: no split found; expected files named train, validation or test with one of "
            f"{', '.join(SUFFIXES)}"
        )
    for name, shards in paths.items():
        if len(shards) > 1 and not all("-of-" in shard.stem for shard in shards):
            names = ", ".join(shard.name for shard in shards)
            raise ValueError(f"{folder}: split {name!r} stands twice: {names}; keep one")
    return paths


def unknown_split(source: str, split: str, names: Iterable[str]) -> ValueError:
    """The error for a split that a dataset has not."""
    return ValueError(f"{source}: no split {split!r}; it has: {', '.join(names)}")


def missing_columns(found: Iterable[str]) -> list[str]:
    """What a row with the columns `found` lacks of the shape it is nearer to: ours or the public
    one.
    """
    columns = set(found)
    is_public = "answer" in columns and "completion" not in columns
    return [name for name in (PUBLIC_COLUMNS if is_public else COLUMNS) if name not in columns]


def describe_missing(missing: Iterable[str], found: Iterable[str]) -> str:
    """What a row lacks, in words."""
    return (
        f"missing column {', '.join(missing)}; expected {', '.join(COLUMNS)} (or the public "
        f"dataset's {', '.join(PUBLIC_COLUMNS)}), found {', '.join(found)}"
    )
