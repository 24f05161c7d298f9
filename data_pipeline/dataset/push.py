"""A dataset folder to the Hub: its splits as Parquet, what was dropped, manifest and card, in one commit."""

import json
import re
from io import BytesIO
from pathlib import Path
from typing import Any

from data_pipeline.dataset.writer import MANIFEST
from weekahead.files import read_jsonl

_BESIDE = ("dropped.jsonl", "forecast.jsonl", "README.md", "audit.json")


_SPLIT_FILE = re.compile(r"data/(?:train|validation|test)-\d+-of-\d+\.parquet")


def push_dataset(folder: Path, repo: str) -> str:
    """Upload the dataset at `folder` to `repo` (user/name) and return the commit's address.

    A new repository is private: news texts belong to their publishers. One that exists keeps its setting, and
    splits of an earlier push that the folder lacks are removed from it. Raises PermissionError, ConnectionError or
    ValueError naming the remedy, FileNotFoundError without a manifest; nothing is committed then.
    """
    import httpx2
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled

    if get_token() is None:
        raise PermissionError(
            "no Hugging Face token found; log in with `.venv/bin/hf auth login`, or put HF_TOKEN=... in .env"
        )
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    files: dict[str, Any] = {name: folder / name for name in _BESIDE if (folder / name).is_file()}
    files |= {
        f"data/{name}-00000-of-00001.parquet": _parquet(folder / f"{name}.jsonl")
        for name in manifest["splits"]
    }
    files[MANIFEST] = json.dumps(_without_commands(manifest), indent=2, ensure_ascii=False).encode()
    api = HfApi()
    try:
        api.create_repo(repo, repo_type="dataset", private=True, exist_ok=True)
        there = api.list_repo_files(repo, repo_type="dataset")
        stale = [name for name in there if _SPLIT_FILE.fullmatch(name) and name not in files]
        done = api.create_commit(
            repo,
            [
                *(CommitOperationAdd(name, content) for name, content in files.items()),
                *(CommitOperationDelete(name) for name in stale),
            ],
            repo_type="dataset",
            commit_message=f"Dataset {folder.resolve().name}",
        )
    except HFValidationError as error:
        raise ValueError(
            f"--push {repo!r} is no repository id ({error}); expected user/name"
        ) from None
    except OfflineModeIsEnabled:
        raise ConnectionError(
            "HF_HUB_OFFLINE is set, so nothing can be uploaded; unset it"
        ) from None
    except HfHubHTTPError as error:
        said = error.server_message or str(error).splitlines()[0]
        raise PermissionError(
            f"the Hub refused {repo}: {said}. The token needs write access to it (.venv/bin/hf auth login)"
        ) from None
    except httpx2.TransportError as error:
        raise ConnectionError(
            f"the Hub cannot be reached ({error}); check the network, nothing was committed"
        ) from None
    return str(done.commit_url)


def _parquet(path: Path) -> bytes:
    """A split as Parquet, which keeps types: readers of JSONL take a date in a text for a moment."""
    from pyarrow import Table
    from pyarrow.parquet import write_table

    buffer = BytesIO()
    write_table(Table.from_pylist(read_jsonl(path)), buffer)
    return buffer.getvalue()


def _without_commands(manifest: Any) -> Any:
    """A manifest without the command lines in it, which name folders of this machine."""
    if not isinstance(manifest, dict):
        return manifest
    return {name: _without_commands(value) for name, value in manifest.items() if name != "command"}
