"""Rows by split from a file, a folder, a dataset saved to disk or the Hub.

The shapes of the rows are checked elsewhere.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

from weekahead import files
from weekahead.schema.dataset_files import (
    hub_id,
    is_saved,
    missing_source,
    paths_by_split,
    split_of,
)
from weekahead.schema.manifests import JsonObject


@dataclass(frozen=True)
class Source:
    """Rows by split, as they came."""

    name: str
    splits: dict[str, list[JsonObject]]
    origins: dict[str, str]
    """Where each split lies, for messages."""
    sha256: dict[str, str]
    """Of the split's file; of the rows as JSON if the split is not one file."""
    single: bool
    """One file, or one saved dataset, without splits.

    Its only split is named after the file, or `train`.
    """
    revision: str | None = None
    """The commit on the Hub."""


def read_source(source: str | Path) -> Source:
    """Read rows from a file, a folder or the Hub.

    A .jsonl, .parquet or .arrow file, a folder of such files named by split, a folder that
    `datasets` saved, or a dataset on the Hub (`user/name`, `user/name@revision`).
    Raises FileNotFoundError, PermissionError or ConnectionError for a source that cannot be reached
    and ValueError for one that cannot be read; each names the source and the remedy.
    """
    path, name = Path(source), str(source)
    if path.is_file():
        rows, split = _read_file(path), split_of(path) or "train"
        return Source(name, {split: rows}, {split: name}, {split: files.sha256(path)}, single=True)
    if path.is_dir():
        return _read_saved(path) if is_saved(path) else _read_folder(path)
    on_hub = hub_id(name)
    if on_hub:
        return _read_hub(on_hub.name, on_hub.revision)
    raise missing_source(name)


def rows_sha256(rows: Sequence[Mapping[str, Any]]) -> str:
    """The SHA-256 of rows as JSON lines with sorted keys, for rows that are not one file."""
    digest = hashlib.sha256()
    for row in rows:
        digest.update((json.dumps(row, sort_keys=True, ensure_ascii=False) + "\n").encode())
    return digest.hexdigest()


def _read_file(path: Path) -> list[JsonObject]:
    if path.suffix not in _READERS:
        raise ValueError(
            f"{path}: files of type {path.suffix!r} are not read; use {', '.join(_READERS)}"
        )
    return _READERS[path.suffix](path)


def _read_columns(path: Path) -> list[JsonObject]:
    from datasets import Dataset
    from pyarrow import ArrowInvalid
    from pyarrow.parquet import read_table

    try:
        if path.suffix == ".parquet":
            rows = read_table(path).to_pylist()
        else:
            rows = Dataset.from_file(str(path), in_memory=True).to_list()
    except (ArrowInvalid, OSError) as error:
        raise ValueError(
            f"{path}: not a whole {path.suffix} file ({error}); write or download it again"
        ) from None
    return list(map(_with_texts, rows))


_READERS: dict[str, Callable[[Path], list[JsonObject]]] = {
    ".jsonl": files.read_jsonl,
    ".parquet": _read_columns,
    ".arrow": _read_columns,
}


def _read_folder(path: Path) -> Source:
    """A folder with train.jsonl and so on, or a clone of a repository of the Hub.

    The latter has files such as data/train-00000-of-00001.parquet.
    """
    paths = paths_by_split(path)
    splits: dict[str, list[JsonObject]] = {}
    sha256: dict[str, str] = {}
    for name, shards in paths.items():
        splits[name] = [row for shard in shards for row in _read_file(shard)]
        sha256[name] = files.sha256(shards[0]) if len(shards) == 1 else rows_sha256(splits[name])
    origins = {name: str(shards[0]) for name, shards in paths.items()}
    return Source(str(path), splits, origins, sha256, single=False)


def _read_saved(path: Path) -> Source:
    from datasets import DatasetDict, load_from_disk

    try:
        data = load_from_disk(str(path))
    except (OSError, ValueError, KeyError) as error:
        raise ValueError(
            f"{path}: the saved dataset cannot be read ({error}); save it again"
        ) from None
    if isinstance(data, DatasetDict):
        return _from_splits(str(path), data)
    name = str(data.split) if data.split and split_of(Path(str(data.split))) else "train"
    return _from_splits(str(path), {name: data}, single=True)


def _from_splits(
    name: str, data: Mapping[Any, Any], *, single: bool = False, revision: str | None = None
) -> Source:
    """The splits of a dataset that the library `datasets` has read."""
    splits = {str(split): [_with_texts(row) for row in part] for split, part in data.items()}
    origins = {split: f"{name}, split {split}" for split in splits}
    sha256 = {split: rows_sha256(rows) for split, rows in splits.items()}
    return Source(name, splits, origins, sha256, single, revision)


def _with_texts(row: JsonObject) -> JsonObject:
    """A row with its dates and times as texts again.

    `datasets` makes times out of the texts of a JSONL file.
    """
    return {name: _text(value) if isinstance(value, date) else value for name, value in row.items()}


def _text(moment: date) -> str:
    if not isinstance(moment, datetime):
        return moment.isoformat()
    midnight = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if moment.tzinfo is None and moment == midnight:
        return moment.date().isoformat()
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC).isoformat()


def _read_hub(name: str, revision: str | None) -> Source:
    """A dataset on the Hub at one commit.

    The commit is looked up first, so that a wrong id or no access fails within a second.
    """
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
        commit = revision
        if not offline:
            commit = HfApi().dataset_info(name, revision=revision, timeout=30).sha
        return _from_splits(name, load_dataset(name, revision=commit), revision=commit)
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
            f"{name}: not a path here, and the Hub cannot be reached ({_first_line(error)}); "
            "connect, or use a local file, or HF_HUB_OFFLINE=1 for a copy that is already in the "
            "cache"
        ) from None
    except (DatasetsError, ValueError) as error:
        raise ValueError(f"{name}: the dataset cannot be read ({_first_line(error)})") from None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).split("\n", 1)[0]
