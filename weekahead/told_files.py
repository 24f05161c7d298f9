"""The files and folders that a target names: whether they are there and of the right kind."""

import os
from collections.abc import Iterable
from difflib import get_close_matches
from itertools import islice
from pathlib import Path

from weekahead.files import iter_jsonl
from weekahead.schema.dataset_files import (
    SUFFIXES,
    describe_missing,
    hub_id,
    is_saved,
    missing_columns,
    missing_source,
    paths_by_split,
    unknown_split,
)
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import TrainingManifest, read_training_manifest

_PARQUET = b"PAR1"
"""What a whole parquet file begins and ends with."""


def close_match(name: str, known: Iterable[str]) -> str:
    """The text `; did you mean X?` if a known name is near, whatever its case; else nothing.

    A name that holds `name`, or that it holds, is nearer than one of similar letters.
    """
    text = name.lower()
    names = {other.lower(): other for other in known}
    holding = [other for other in names if len(text) > 1 and (text in other or other in text)]
    near = get_close_matches(text, holding, n=1, cutoff=0.3) or get_close_matches(text, names, n=1)
    return f"; did you mean {names[near[0]]}?" if near else ""


def named_file(variable: str, name: str, folder: Path) -> Path:
    """The file that a variable names. Raises ValueError with the names there are."""
    stem = Path(name).name.removesuffix(".yaml")
    names = [path.stem for path in sorted(folder.glob("*.yaml"))]
    if name not in names:
        near = f"; did you mean {stem}?" if stem in names else close_match(stem, names)
        raise ValueError(
            f"{variable} is {name!r}, and there is no {folder}/{name}.yaml{near}; "
            f"there are: {', '.join(names)}"
        )
    return folder / f"{name}.yaml"


def check_dataset(source: str, split: str) -> None:
    """Check that a dataset is there, has the split, and that its first row has the columns.

    A dataset on the Hub is only checked for the form of its id.
    """
    path = Path(source)
    if not source.strip() or "\0" in source:
        raise ValueError(f"DATASET is {source!r}; expected a folder, a file or a Hub id")
    if path.is_file():
        _check_rows(path)
    elif path.is_dir():
        if is_saved(path):
            return
        paths = paths_by_split(path)
        if split not in paths:
            raise unknown_split(source, split, paths)
        _check_rows(paths[split][0])
    elif hub_id(source) is None:
        near = close_match(path.name, names_in(path.parent))
        raise FileNotFoundError(f"{missing_source(source)}{near}")


def _both_ends(path: Path) -> bytes:
    """The first and the last four bytes of a file."""
    with path.open("rb") as content:
        head = content.read(4)
        content.seek(-4, os.SEEK_END)
        return head + content.read(4)


def _check_rows(path: Path) -> None:
    if path.suffix not in SUFFIXES:
        raise ValueError(
            f"{path}: files of type {path.suffix!r} are not read; use {', '.join(SUFFIXES)}"
        )
    if path.suffix == ".parquet":
        content = path.read_bytes() if path.stat().st_size < 12 else _both_ends(path)
        if not (len(content) == 8 and content == _PARQUET * 2):
            raise ValueError(f"{path}: not a parquet file; write or download it again")
    if path.suffix != ".jsonl":
        return
    row = next(islice(iter_jsonl(path), 1), None)
    if row is None:
        raise ValueError(f"{path}: no rows; expected one JSON object per line")
    if missing := missing_columns(row):
        raise ValueError(f"{path}, row 1: {describe_missing(missing, row)}")


def check_output(folder: Path) -> None:
    """Check that a training may write into `folder`: a folder, writable, not finished yet."""
    check_folder(folder)
    check_unfinished(folder)


def check_unfinished(folder: Path) -> TrainingManifest | None:
    """The manifest of a training that was begun in `folder`; None if there is none.

    Raises FileExistsError if that training has ended.
    """
    path = folder / MANIFEST
    if not path.exists():
        return None
    begun = read_training_manifest(path)
    if begun["result"]:
        raise FileExistsError(
            f"{folder} holds a finished training; choose another RUN, or remove the folder first"
        )
    return begun


def check_base_folder(model: str) -> None:
    """Check that a base which can only be a folder is there."""
    if model.startswith(("/", "./", "../", "~")) and not Path(model).is_dir():
        near = close_match(Path(model).name, names_in(Path(model).parent))
        raise FileNotFoundError(
            f"model_name_or_path is {model!r}, and there is no such folder{near}"
        )


def check_folder(folder: Path) -> None:
    if folder.exists() and not folder.is_dir():
        raise NotADirectoryError(f"{folder} is a file; choose another RUN, or move the file away")
    nearest = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not nearest.is_dir() or not os.access(nearest, os.W_OK | os.X_OK):
        raise PermissionError(f"{nearest} cannot be written to; {folder} would be made there")


def names_in(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()] if folder.is_dir() else []
