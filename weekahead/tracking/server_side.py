"""What the W&B server has of a run, beside what the client recorded on disk.

The client calls a run finished, and `wandb sync` ends with status 0, also if the server refused
rows or artifacts. So the server is asked.
"""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from weekahead.tracking.records import Record
from weekahead.tracking.wandb_server import TrackingError

_PATIENCE_SECONDS = 10.0
_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class OnServer:
    """What the server has of a run."""

    times: frozenset[float]
    files: frozenset[str]
    made: frozenset[tuple[str, str]]
    """Name and digest of the artifacts that the run logged."""
    used: frozenset[tuple[str, str]]
    """And of those that it used."""


def missing_parts(record: Record, server: OnServer | None) -> list[str]:
    """What of a record the server lacks, in words."""
    if server is None:
        return ["the run itself"]
    missing: list[str] = []
    rows = len(record.times - server.times)
    if rows:
        missing.append(f"{rows} of {len(record.times)} rows of the history")
    missing += [f"table {path}" for path in sorted(record.media - server.files)]
    last = {(each.name, each.is_input): each.digest for each in record.artifacts}
    for (name, is_input), digest in last.items():
        if (name, digest) not in (server.used if is_input else server.made):
            missing.append(f"{'input' if is_input else 'artifact'} {name}")
    return missing


def missing_at_last(record: Record, path: str) -> list[str]:
    """`missing_parts` of a run that has just been sent.

    A server may take some seconds until it shows what it got, so it is asked again for ten, or for
    the time that WANDB_FINISH_TIMEOUT allows if that is less.
    Raises TrackingError if it does not answer.
    """
    patience = min(_PATIENCE_SECONDS, float(os.environ.get("WANDB_FINISH_TIMEOUT") or "inf"))
    end = time.monotonic() + patience
    while (missing := missing_parts(record, on_server(path))) and time.monotonic() < end:
        time.sleep(_PAUSE_SECONDS)
    return missing


def on_server(path: str) -> OnServer | None:
    """What the server has of a run; None if it does not know the run.

    Raises TrackingError if it does not answer.
    """
    import wandb

    try:
        return _read(wandb.Api().run(path))
    except Exception as error:  # whatever the client raises
        if "not find" in str(error).lower():
            return None
        what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        raise TrackingError(f"W&B did not say what it has of {path} ({what})") from None


def _read(run: Any) -> OnServer:
    """What a run of the client's public API holds."""
    return OnServer(
        times=frozenset(row["_timestamp"] for row in run.scan_history() if "_timestamp" in row),
        files=frozenset(file.name for file in run.files()),
        made=_whole(run.logged_artifacts()),
        used=_whole(run.used_artifacts()),
    )


def _whole(artifacts: Iterable[Any]) -> frozenset[tuple[str, str]]:
    return frozenset(
        (str(each.name).partition(":")[0], each.digest)
        for each in artifacts
        if each.state == "COMMITTED"
    )
