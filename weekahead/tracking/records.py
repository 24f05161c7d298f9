"""What the W&B client recorded on disk, by its own reader (`wandb leet inspect`)."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

WANDB = (sys.executable, "-m", "wandb")
"""The client's command, of this Python."""
_MEDIA = "media/"


@dataclass(frozen=True)
class LoggedArtifact:
    """An artifact in a record."""

    name: str
    digest: str
    is_input: bool


@dataclass(frozen=True)
class Record:
    """One record on disk: a run, or what a run did before or after an interrupt."""

    folder: Path
    """`<run's folder>/wandb/offline-run-...`, or `run-...` of an online one."""
    run_id: str
    project: str
    entity: str | None
    """None in an offline record: it is that of the key that uploads."""
    uses: tuple[str, ...] = ()
    """Versions of artifacts that the run used, such as `adapter-demo:weights-0123456789ab`."""
    times: frozenset[float] = frozenset()
    """When each row of the history was logged: no two rows of a run share a time."""
    media: frozenset[str] = frozenset()
    """Files of tables."""
    artifacts: tuple[LoggedArtifact, ...] = field(default_factory=tuple[LoggedArtifact, ...])
    """In their order; of each name the last one counts."""


def record_folders(run_folder: Path) -> list[Path]:
    """The folders of the records of a run, oldest first."""
    found = [*run_folder.glob("wandb/offline-run-*"), *run_folder.glob("wandb/run-*")]
    with_log = [path for path in found if any(path.glob("run-*.wandb"))]
    return sorted(with_log, key=lambda path: path.name.removeprefix("offline-"))


def read_record(folder: Path) -> Record:
    """Read one record. Raises ValueError if the client cannot read it or it names no run."""
    run: dict[str, Any] = {}
    times: set[float] = set()
    media: set[str] = set()
    artifacts: list[LoggedArtifact] = []
    for entry in _entries(folder):
        kind = entry["type"]
        content = cast("dict[str, Any]", entry.get(kind) or {})
        if kind == "run":
            run = content
        elif kind == "history":
            time = content["item"].get("_timestamp")
            times |= {time} if time is not None else set()
        elif kind == "files":
            media |= {file["path"] for file in content["files"]}
        elif kind == "artifact":
            is_input = bool(content.get("use_after_commit"))
            artifacts.append(LoggedArtifact(content["name"], content["digest"], is_input))
    if not run:
        raise ValueError(
            f"{folder} holds nothing: the client was stopped before it wrote; remove that folder"
        )
    return Record(
        folder=folder,
        run_id=run["run_id"],
        project=run["project"],
        entity=run.get("entity"),
        uses=tuple(run.get("config", {}).get("update", {}).get("uses") or ()),
        times=frozenset(times),
        media=frozenset(path for path in media if path.startswith(_MEDIA)),
        artifacts=tuple(artifacts),
    )


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    """The entries of a record; a cut end, as a kill leaves it, ends them."""
    command = [*WANDB, "leet", "inspect", "--json", str(folder)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as reader:
        assert reader.stdout is not None and reader.stderr is not None
        for line in reader.stdout:
            entry = json.loads(line)
            if "type" in entry:
                yield entry
        error = reader.stderr.read().strip()
    if reader.returncode:
        last = error.splitlines()[-1] if error else f"status {reader.returncode}"
        raise ValueError(f"{folder} cannot be read by wandb leet inspect: {last}")
