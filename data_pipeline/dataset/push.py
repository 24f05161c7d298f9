"""A dataset folder to the Hub in one commit: splits as Parquet, dropped rows, manifest, card."""

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

from weekahead.files import read_jsonl
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import read_dataset_manifest

_BESIDE = ("dropped.jsonl", "forecast.jsonl", "README.md", "audit.json")
"""Files of the folder that go along as they are, if they are there."""
_SPLIT_FILE = re.compile(r"data/(?:train|validation|test)-\d+-of-\d+\.parquet")


def push_dataset(folder: Path, repo: str) -> str:
    """Upload the dataset at `folder` to `repo` (user/name) and return the commit's address.

    A new repository is private: news texts belong to their publishers. One that exists keeps its
    setting, and splits of an earlier push that the folder lacks are removed from it.
    Raises PermissionError, ConnectionError or ValueError naming the remedy, FileNotFoundError
    without a manifest; nothing is committed then.
    """
    import httpx2
    from huggingface_hub import get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if get_token() is None:
        raise PermissionError(
            "no Hugging Face token found; log in with `.venv/bin/hf auth login`, "
            "or put HF_TOKEN=... in .env"
        )
    contents = _contents(folder)
    try:
        return _commit(repo, contents, message=f"Dataset {folder.resolve().name}")
    except HFValidationError as error:
        raise ValueError(
            f"--push {repo!r} is not a repository id ({error}); expected user/name"
        ) from None
    except OfflineModeIsEnabled:
        raise ConnectionError(
            "HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it"
        ) from None
    except HfHubHTTPError as error:
        message = error.server_message or str(error).splitlines()[0]
        raise PermissionError(
            f"the Hub refused {repo}: {message}. The token needs write access to it "
            "(.venv/bin/hf auth login)"
        ) from None
    except httpx2.TransportError as error:
        raise ConnectionError(
            f"the Hub cannot be reached ({error}); check the network, nothing was committed"
        ) from None


def _contents(folder: Path) -> dict[str, Path | bytes]:
    """Name in the repository -> file or content."""
    manifest = read_dataset_manifest(folder / MANIFEST)
    contents: dict[str, Path | bytes] = {
        name: folder / name for name in _BESIDE if (folder / name).is_file()
    }
    for name in manifest.get("splits", {}):
        contents[f"data/{name}-00000-of-00001.parquet"] = _parquet(folder / f"{name}.jsonl")
    public = json.dumps(_without_commands(manifest), indent=2, ensure_ascii=False)
    return {**contents, MANIFEST: public.encode()}


def _commit(repo: str, contents: dict[str, Path | bytes], message: str) -> str:
    """Put `contents` into the dataset `repo`, remove splits that are gone; the commit's address."""
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi

    api = HfApi()
    api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
    additions = [CommitOperationAdd(name, content) for name, content in contents.items()]
    deletions = [
        CommitOperationDelete(name)
        for name in api.list_repo_files(repo, repo_type="dataset")
        if _SPLIT_FILE.fullmatch(name) and name not in contents
    ]
    commit = api.create_commit(
        repo, [*additions, *deletions], repo_type="dataset", commit_message=message
    )
    return str(commit.commit_url)


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
