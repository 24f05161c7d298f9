"""Upload what W&B's client recorded on disk, then ask the server run by run what it has.

    python -m weekahead.sync [--run NAME]

Without --run all runs below outputs/, results/ and reports/. `wandb sync` alone leaves out online
runs that lost their server, and ends with status 0 when it could not upload something.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

from weekahead.cli import new_parser, option, run_with_options
from weekahead.locks import writer_of
from weekahead.tracking.records import WANDB, Record, read_record, record_folders
from weekahead.tracking.server_side import missing_at_last, missing_parts, on_server
from weekahead.tracking.wandb_server import (
    Account,
    TrackingError,
    check_server,
    drop_empty_variables,
    find_account,
)

_ROOMS = ("outputs", "results", "reports")


@dataclass(frozen=True)
class SyncOptions:
    """The flags of weekahead.sync."""

    run: str | None = option(None, help="upload the records of this run alone")


@dataclass(frozen=True)
class LocalRun:
    """A run and its records, oldest first."""

    folder: Path
    records: tuple[Record, ...]

    @property
    def id(self) -> str:
        return self.records[0].run_id

    def path(self, entity: str) -> str:
        """entity/project/id on the server."""
        first = self.records[0]
        return f"{first.entity or entity}/{first.project}/{first.run_id}"


def local_runs(name: str | None) -> tuple[list[LocalRun], list[str]]:
    """The recorded runs below the current folder, and sentences on records that cannot be read."""
    runs: list[LocalRun] = []
    faults: list[str] = []
    for folder in _run_folders(name):
        records: list[Record] = []
        places = record_folders(folder)
        writer = writer_of(folder) if places else None
        if writer:  # asked before the records are read: what it writes later would be missed
            faults.append(f"{folder}: nothing of it was uploaded, since {writer} writes there")
            continue
        for place in places:
            try:
                records.append(read_record(place))
            except ValueError as error:
                faults.append(str(error))
        records.sort(key=lambda record: record.run_id)  # keeps the order of one run's records
        for _, of_one in groupby(records, key=lambda record: record.run_id):
            runs.append(LocalRun(folder, without_replaced(list(of_one))))
    return runs, faults


def _run_folders(name: str | None) -> list[Path]:
    """The folders of all runs, or of the one called `name`.

    Raises FileNotFoundError if there is none of this name.
    """
    folders = [path for room in _ROOMS for path in sorted(Path(room).glob("*"))]
    found = [path for path in folders if name in (None, path.name)]
    if name and not found:
        raise FileNotFoundError(
            f"--run {name}: expected the name of a folder below {', '.join(_ROOMS)}; check RUN for "
            "a typing error"
        )
    return found


def without_replaced(records: Sequence[Record]) -> tuple[Record, ...]:
    """The records of one run without the artifacts that a later record has a newer version of."""
    kept: list[Record] = []
    later: set[tuple[str, bool]] = set()
    for record in reversed(records):
        named = {(each.name, each.is_input): each for each in record.artifacts}
        artifacts = tuple(each for key, each in named.items() if key not in later)
        kept.insert(0, replace(record, artifacts=artifacts))
        later |= named.keys()
    return tuple(kept)


def sync(run: LocalRun, entity: str) -> list[str]:
    """Upload what the server lacks of a run, and return what it lacks then.

    Only records that are not whole there are sent, since each sending appends to the run.
    Raises TrackingError if the server does not answer.
    """
    path = run.path(entity)
    server = on_server(path)
    lacking = [record.folder for record in run.records if missing_parts(record, server)]
    if not lacking:
        return []
    failure = _upload(lacking, path.partition("/")[0])
    missing = [part for record in run.records for part in missing_at_last(record, path)]
    return [*missing, f"the client said: {failure}"] if missing and failure else missing


def _upload(folders: Iterable[Path], entity: str) -> str | None:
    """Send records with the client's own command; what it called an error, if anything."""
    flags = ("--include-online", "--include-synced", "--entity", entity)
    done = subprocess.run(
        [*WANDB, "sync", *flags, *map(str, folders)],
        capture_output=True,
        text=True,
        check=False,
    )
    lines = [line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line]
    return lines[-1].partition("ERROR")[2].strip() if lines else None


def add_uses(run: LocalRun, entity: str) -> list[str]:
    """Record the inputs that the run could not record offline; those that W&B has no version of.

    An adapter of other software, or of a training that was never recorded, has none.
    Raises TrackingError if the server does not answer.
    """
    import wandb

    uses = {use for record in run.records for use in record.uses}
    server = on_server(run.path(entity)) if uses else None
    if server is None:
        return []
    api: Any = wandb.Api()
    project = run.path(entity).rpartition("/")[0]
    unknown: list[str] = []
    recorded = {name for name, _ in server.used}
    for use in sorted(use for use in uses if use.partition(":")[0] not in recorded):
        if api.artifact_exists(f"{project}/{use}"):
            api.run(run.path(entity)).use_artifact(api.artifact(f"{project}/{use}"))
        else:
            unknown.append(use)
    return unknown


def _entity(account: Account) -> str:
    import wandb

    entity = os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity
    if not entity:
        raise TrackingError(f"{account.base_url} names no entity of this key; set WANDB_ENTITY")
    return entity


def run(options: SyncOptions) -> int:
    """Upload and ask. Exit 1 if something on disk is not on the server."""
    drop_empty_variables()
    os.environ.pop("WANDB_MODE", None)  # it is of trainings; whoever calls this wants an upload
    account = find_account()
    if account.mode != "online" and not account.key:
        raise TrackingError("an upload needs a W&B key, and none is set: set WANDB_API_KEY")
    os.environ["WANDB_MODE"] = "online"  # also if `wandb offline` was called here
    check_server(account)
    os.environ["WANDB_SILENT"] = "true"
    runs, faults = local_runs(options.run)
    if not runs and not faults:
        where = f"of {options.run} below " if options.run else "below "
        print(f"nothing to upload: no W&B record {where}{', '.join(_ROOMS)}")
        return 0
    entity = _entity(account)
    for each in runs:
        missing = sync(each, entity)
        words = f"missing on the server: {'; '.join(missing)}" if missing else "complete"
        print(f"{each.folder} ({each.id}): {words}")
        faults += [f"{each.folder} ({each.id})"] if missing else []
    for each in runs:  # when all artifacts are there
        for use in add_uses(each, entity):
            print(f"{each.folder} ({each.id}): W&B has no {use}; its config names this input")
    if faults:
        print(f"{len(faults)} not complete on {account.base_url}:", *faults, sep="\n  ")
    return 1 if faults else 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, 1 with the list of what the server lacks, or 2 with the remedy."""
    parser = new_parser(__doc__, "weekahead.sync")
    return run_with_options("weekahead.sync", parser, SyncOptions, run, argv)


if __name__ == "__main__":
    sys.exit(main())
