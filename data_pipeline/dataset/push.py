"""A dataset folder to the Hub in one commit: splits as Parquet, dropped rows, manifest, card."""

import json
import os
import re
from collections.abc import Mapping
from io import BytesIO
from pathlib import Path
from typing import Any

from weekahead.files import read_jsonl
from weekahead.hub.client import HubError, check_repo_id
from weekahead.hub.upload import Target, upload
from weekahead.redaction import find_value
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import DatasetManifest, read_dataset_manifest

_BESIDE = ("dropped.jsonl", "forecast.jsonl", "README.md", "audit.json")
"""Files of the folder that go along as they are, if they are there."""
_SPLITS = ("train", "validation", "test")
_SPLIT_FILE = re.compile(r"data/(?:train|validation|test)-\d+-of-\d+\.parquet")


def push_dataset(folder: Path, target: Target) -> str:
    """Upload the dataset at `folder` and return the commit's address.

    A new repository is private: news texts belong to their publishers. One that exists keeps its
    setting, and splits of an earlier push that the folder lacks are removed from it.
    Raises HubError naming the remedy, FileNotFoundError without a manifest; nothing is committed
    then.
    """
    check_repo_id(target.repo, target.flag)
    contents = _contents(folder)
    _check_secrets(contents)
    title = f"Dataset {folder.resolve().name}"
    return str(upload(target, contents, title=title, is_ours=_is_split).commit_url)


def present_splits(folder: Path, manifest: DatasetManifest) -> list[str]:
    """The splits that a manifest states; of one that states none, those that have a file."""
    stated = manifest.get("splits")
    return [*stated] if stated else [n for n in _SPLITS if (folder / f"{n}.jsonl").is_file()]


def _is_split(name: str) -> bool:
    return bool(_SPLIT_FILE.fullmatch(name))


def _check_secrets(contents: Mapping[str, Path | bytes]) -> None:
    """Raise HubError if a file holds the value of a key of the environment.

    The rows are read as they are: in the text of a story, what looks like a key is none.
    """
    for name, content in contents.items():
        raw = content if isinstance(content, bytes) else content.read_bytes()
        kind = find_value(raw.decode("utf-8", errors="replace"), os.environ)
        if kind:
            raise HubError(
                f"{name} holds {kind}; nothing was uploaded. Take it out, and revoke it if anyone "
                "else may have seen it"
            )


def _contents(folder: Path) -> dict[str, Path | bytes]:
    """Name in the repository -> file or content."""
    manifest = read_dataset_manifest(folder / MANIFEST)
    contents: dict[str, Path | bytes] = {
        name: folder / name for name in _BESIDE if (folder / name).is_file()
    }
    for name in present_splits(folder, manifest):
        contents[f"data/{name}-00000-of-00001.parquet"] = _parquet(folder / f"{name}.jsonl")
    public = json.dumps(_without_commands(manifest), indent=2, ensure_ascii=False)
    return {**contents, MANIFEST: public.encode()}


def _parquet(path: Path) -> bytes:
    """A split as Parquet, which keeps types: readers of JSONL turn a date in a text into a time."""
    from pyarrow import Table
    from pyarrow.parquet import write_table

    buffer = BytesIO()
    write_table(Table.from_pylist(read_jsonl(path)), buffer)
    return buffer.getvalue()


def _without_commands(value: Any) -> Any:
    """A manifest without the command lines in it, which name folders of this machine."""
    if not isinstance(value, dict):
        return value
    return {name: _without_commands(part) for name, part in value.items() if name != "command"}
