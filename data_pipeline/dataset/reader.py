"""Rows by split out of a file, a folder, a dataset saved to disk or the Hub; shapes are checked elsewhere."""

import hashlib
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from weekahead import files
from weekahead.files import Row

_SPLIT = re.compile(r"(?P<name>(?:train|validation|test)(?:_\w+)?)(?P<shard>-\d+-of-\d+)?")
_HUB_ID = re.compile(r"(?P<name>[\w.-]+/[\w.-]+)(?:@(?P<revision>[\w./-]+))?")


@dataclass(frozen=True)
class Source:
    """Rows by split. `origins` says where each split lies (for messages), `revision` is a Hub commit."""

    name: str
    splits: dict[str, list[Row]]
    origins: dict[str, str]
    sha256: dict[str, str]
    """Of the split's file; of the rows as JSON where a split is not one file."""
    single: bool
    """One file, or one saved dataset, without splits: its only split is named after the file, or `train`."""
    revision: str | None = None


def read_source(source: str | Path) -> Source:
    """Read a .jsonl, .parquet or .arrow file, a folder of such files named by split, a folder that
    `datasets` saved, or a dataset on the Hub (`user/name`, `user/name@revision`).

    Raises FileNotFoundError, PermissionError or ConnectionError for a source that cannot be reached and
    ValueError for one that cannot be read; each names the source and the remedy.
    """
    path, name = Path(source), str(source)
    if path.is_file():
        rows, found = _read_file(path), _SPLIT.fullmatch(path.stem)
        split = found["name"] if found else "train"
        return Source(name, {split: rows}, {split: name}, {split: files.sha256(path)}, single=True)
    if path.is_dir():
        saved = (path / "dataset_dict.json").exists() or (path / "state.json").exists()
        return _read_saved(path) if saved else _read_folder(path)
    hub = None if name.startswith((".", "/", "~")) else _HUB_ID.fullmatch(name)
    if hub and path.suffix not in _READERS:
        return _read_hub(hub["name"], hub["revision"])
    raise FileNotFoundError(
        f"{name}: there is no such file or folder, and it is not a dataset id (user/name); "
        f"expected one of {', '.join(_READERS)}, a folder or an id: check DATASET for a typing error"
    )


def rows_sha256(rows: Sequence[Row]) -> str:
    """The SHA-256 of rows as JSON lines with sorted keys, for rows that are not one file."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update((json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n").encode())
    return digest.hexdigest()


def _read_file(path: Path) -> list[Row]:
    if path.suffix not in _READERS:
        raise ValueError(
            f"{path}: files of type {path.suffix!r} are not read; use {', '.join(_READERS)}"
        )
    return _READERS[path.suffix](path)


def _read_columns(path: Path) -> list[Row]:
    from datasets import Dataset
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import read_table

    try:
        if path.suffix == ".parquet":
            return read_table(path).to_pylist()
        return Dataset.from_file(str(path), in_memory=True).to_list()
    except (ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{path}: not a whole {path.suffix} file ({error}); write or download it again"
        ) from None


_READERS: dict[str, Callable[[Path], list[Row]]] = {
    ".jsonl": files.read_jsonl,
    ".parquet": _read_columns,
    ".arrow": _read_columns,
}


def _read_folder(path: Path) -> Source:
    """A folder with train.jsonl and so on, or a clone of a Hub repository with data/train-00000-of-00001.parquet."""
    found: dict[str, list[Path]] = {}
    for file in sorted([*path.iterdir(), *(path / "data").glob("*")]):
        match = _SPLIT.fullmatch(file.stem)
        if match and file.suffix in _READERS:
            found.setdefault(match["name"], []).append(file)
    if not found:
        raise ValueError(
            f"{path}: no split found; expected files named train, validation or test with one of {', '.join(_READERS)}"
        )
    for name, parts in found.items():
        if len(parts) > 1 and not all("-of-" in part.stem for part in parts):
            raise ValueError(
                f"{path}: split {name!r} stands twice: {', '.join(p.name for p in parts)}; keep one"
            )
    splits = {
        name: [row for part in parts for row in _read_file(part)] for name, parts in found.items()
    }
    sums = {
        name: files.sha256(parts[0]) if len(parts) == 1 else rows_sha256(splits[name])
        for name, parts in found.items()
    }
    return Source(
        str(path), splits, {n: str(parts[0]) for n, parts in found.items()}, sums, single=False
    )


def _read_saved(path: Path) -> Source:
    from datasets import DatasetDict, load_from_disk

    try:
        data = load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path}: the saved dataset cannot be read ({error}); save it again"
        ) from None
    if isinstance(data, DatasetDict):
        return _of_dict(str(path), data)
    name = str(data.split) if data.split and _SPLIT.fullmatch(str(data.split)) else "train"
    return _of_dict(str(path), {name: data}, single=True)


def _of_dict(name: str, data: Any, single: bool = False, revision: str | None = None) -> Source:
    splits = {str(split): [_plain(row) for row in part] for split, part in data.items()}
    origins = {split: f"{name}, split {split}" for split in splits}
    sums = {split: rows_sha256(rows) for split, rows in splits.items()}
    return Source(name, splits, origins, sums, single, revision)


def _plain(row: Row) -> Row:
    """A row with its dates and times as texts again, which `datasets` makes out of the texts of a JSONL file."""
    return {
        name: _text(value) if isinstance(value, datetime) else value for name, value in row.items()
    }


def _text(moment: datetime) -> str:
    if moment.tzinfo is None and moment == moment.replace(
        hour=0, minute=0, second=0, microsecond=0
    ):
        return moment.date().isoformat()
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def _read_hub(name: str, revision: str | None) -> Source:
    """A dataset on the Hub at one commit, looked up first: a wrong id or no access fails within a second."""
    from datasets import load_dataset
    from datasets.exceptions import DatasetNotFoundError, DatasetsError
    from httpx2 import HTTPError
    from huggingface_hub import HfApi, constants
    from huggingface_hub.errors import (
        GatedRepoError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        offline = constants.is_offline_mode()
        commit = (
            revision if offline else HfApi().dataset_info(name, revision=revision, timeout=30).sha
        )
        return _of_dict(name, load_dataset(name, revision=commit), revision=commit)
    except RevisionNotFoundError:
        raise FileNotFoundError(
            f"{name}: no revision {revision!r} on the Hub; leave out '@{revision}'"
        ) from None
    except (GatedRepoError, DatasetNotFoundError) as error:
        raise PermissionError(
            f"{name}: no access to this dataset ({_first_line(error)}); ask for it at "
            f"{constants.ENDPOINT}/datasets/{name} and set HF_TOKEN to a token that may read it"
        ) from None
    except RepositoryNotFoundError:
        raise FileNotFoundError(
            f"{name}: neither a path here nor a dataset on the Hub that this machine may see; "
            "check the name, and for a private dataset set HF_TOKEN"
        ) from None
    except (HTTPError, ConnectionError) as error:
        raise ConnectionError(
            f"{name}: not a path here, and the Hub cannot be reached ({_first_line(error)}); connect, or use "
            "a local file, or HF_HUB_OFFLINE=1 for a copy that is already in the cache"
        ) from None
    except (DatasetsError, ValueError) as error:
        raise ValueError(f"{name}: the dataset cannot be read ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]
