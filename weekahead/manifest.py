"""What a command did, stored beside its output: command, commit, package versions, settings."""

import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from weekahead.redaction import without_secret_flags
from weekahead.schema.manifests import JsonObject, Provenance

_PACKAGES = (
    "torch",
    "transformers",
    "trl",
    "peft",
    "accelerate",
    "bitsandbytes",
    "datasets",
    "wandb",
    "rouge-score",
    "huggingface-hub",
)


def provenance() -> Provenance:
    """When, by which command, from which commit and with which packages something was made.

    A commit that cannot be found is null. No environment variable goes in, and of the command line
    no secret.
    """
    status = git_output("status", "--porcelain")
    return {
        "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "command": _command(),
        "git_commit": git_output("rev-parse", "HEAD"),
        "git_dirty": None if status is None else bool(status),
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in _PACKAGES},
    }


def new_manifest(**fields: Any) -> JsonObject:
    """A manifest: the provenance, then `fields` in their order."""
    return {**provenance(), **fields}


def _command() -> list[str]:
    """The command line, in characters that every file can hold, without secrets."""
    words = [Path(sys.argv[0]).name, *sys.argv[1:]]
    return without_secret_flags([os.fsencode(word).decode("utf-8", "replace") for word in words])


def git_output(*arguments: str) -> str | None:
    """What git prints about this project; None if it cannot say."""
    folder = Path(__file__).resolve().parent
    command = ["git", *arguments]
    try:
        result = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() if result.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
