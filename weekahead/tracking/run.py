"""One tracked run: start it, log to it, finish it; the W&B client works, and nothing of it can end a training.

Everything the client writes lies in the folder of the run: the records, and the bytes of tables and artifacts,
which an upload needs later (the client's default for them is the home folder, and a moved run then loses them).
"""

import logging
import os
import secrets
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from weekahead.tracking.wandb_server import (
    Account,
    TrackingError,
    check_server,
    drop_empty_variables,
    find_account,
)

log = logging.getLogger(__name__)

PROJECT = "weekahead"
_SECONDS_BETWEEN_SAMPLES = (
    2.0  # the client's own default of 15 s leaves a short run without system metrics
)
_FINISH_SECONDS = 600.0  # an upload that hangs is given up; its data stay on disk for `wandb sync`


@dataclass
class TrackedRun:
    """A started run. Where W&B fails after the start, the first failure is a warning and work goes on."""

    folder: Path
    id: str | None
    """The run's id, also in `<folder>/run_id`; None on every process but the first."""
    mode: str
    """"online", "offline" or "disabled"."""
    record: Path | None = None
    """The folder of the W&B record, for `wandb leet` and `wandb sync`; None when disabled."""
    _client: Any = field(default=None, repr=False)
    _variables: dict[str, str | None] = field(default_factory=dict, repr=False)
    _warned: bool = field(default=False, repr=False)

    def log(self, metrics: Mapping[str, float | int | None]) -> None:
        """Log scalars; unknown ones (None) are left out.

        There is no `step`: after a resume W&B drops steps that go back. Log `train/global_step` beside.
        """
        known = {name: value for name, value in metrics.items() if value is not None}
        if self._client and known:
            with self.guarded():
                self._client.log(known)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table; every row has one value for each column."""
        if self._client and self.mode != "disabled":
            import wandb

            with self.guarded():
                table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
                self._client.log({name: table})

    def log_artifact(
        self,
        name: str,
        kind: str,
        files: Mapping[str, Path],
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        """Log files (name inside the artifact -> file) as one artifact; the files are copied at once."""
        if self._client and self.mode != "disabled":
            import wandb

            with self.guarded():
                artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata or {}))
                for inside, path in files.items():
                    artifact.add_file(str(path), name=inside)
                self._client.log_artifact(artifact)

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn a failure of W&B inside the block into one warning for the whole run."""
        try:
            yield
        except _failures() as error:
            if not self._warned:
                what = f"{type(error).__name__}: {error}"
                log.warning(
                    "W&B failed (%s); the work goes on, its own files are complete without it", what
                )
            self._warned = True

    def finish(self, exit_code: int = 0) -> None:
        """End the run and wait for its upload; call it after the last use of the Trainer. Twice is harmless."""
        client, self._client = self._client, None
        if client:
            import wandb

            with self.guarded():
                client.finish(exit_code=exit_code)
            with self.guarded():
                wandb.teardown()  # ends the client's processes; the next run reads the environment anew
        for name, value in self._variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        self._variables = {}

    def __enter__(self) -> "TrackedRun":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.finish(exit_code=0 if kind is None else 1)


def start_run(
    folder: Path | str,
    *,
    name: str,
    kind: Literal["train", "eval"],
    config: Mapping[str, Any],
    project: str = PROJECT,
    resume_id: str | None = None,
) -> TrackedRun:
    """Start a run that records into `folder`; WANDB_MODE decides how, and without a key it is offline.

    Call it before the model is loaded and before the Trainer is made: the Trainer's own W&B callback then uses
    this run. `resume_id` (see `saved_run_id`) continues that run. Only the first process of a distributed
    launch records; the others get a Run that does nothing. Put no secret into `config`.
    Raises TrackingError where a key is set but the server does not answer or does not take it.
    """
    folder = Path(folder)
    if int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) != 0:
        return TrackedRun(folder, None, "disabled")
    drop_empty_variables()
    run = TrackedRun(
        folder, resume_id or secrets.token_hex(4), "disabled", _variables=_keep_inside(folder)
    )
    try:
        account = find_account()
        run.mode = account.mode
        if account.mode == "online":
            check_server(account)
        _connect(run, account, os.environ.get("WANDB_PROJECT", project), name, kind, config)
    except BaseException:
        run.finish(exit_code=1)
        raise
    _write_run_id(run)
    _announce(run, account)
    return run


def saved_run_id(folder: Path | str) -> str | None:
    """The id of the run that recorded into `folder` last, or None."""
    path = Path(folder) / "run_id"
    return path.read_text(encoding="utf-8").strip() or None if path.exists() else None


def _connect(
    run: TrackedRun, account: Account, project: str, name: str, kind: str, config: Mapping[str, Any]
) -> None:
    import wandb

    wanted = {
        "x_stats_sampling_interval": _SECONDS_BETWEEN_SAMPLES,
        "finish_timeout": _FINISH_SECONDS,
        "silent": account.mode != "online",  # our own line says what there is to say
    }
    # Whoever set the client's own variable for one of these meant it.
    wanted = {
        key: value for key, value in wanted.items() if f"WANDB_{key.upper()}" not in os.environ
    }
    try:
        run._client = wandb.init(
            project=project,
            name=name,
            id=run.id,
            resume="allow",
            job_type=kind,
            config=dict(config),
            dir=str(run.folder),
            mode=account.mode,  # type: ignore[arg-type] # one of the three literals
            settings=wandb.Settings(**wanted),
        )
        wandb.termsetup(
            run._client.settings, None
        )  # init alone leaves later warnings as loud as before
        if kind == "train":
            run._client.define_metric("train/global_step")
            run._client.define_metric("*", step_metric="train/global_step", step_sync=True)
    except _failures() as error:
        raise TrackingError(
            f"W&B did not start ({type(error).__name__}: {error}); "
            "set WANDB_MODE=offline to record on disk, or WANDB_MODE=disabled"
        ) from error
    if account.mode != "disabled":
        run.record = Path(run._client.dir).parent


def _keep_inside(folder: Path) -> dict[str, str | None]:
    """Point the client's folders into `folder`; return what the variables said before."""
    home = folder.resolve() / "wandb"
    home.mkdir(parents=True, exist_ok=True)
    wanted = {
        "WANDB_DIR": str(folder.resolve()),
        "WANDB_DATA_DIR": str(home / "data"),
        "WANDB_CACHE_DIR": str(home / "cache"),
    }
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    return before


def _write_run_id(run: TrackedRun) -> None:
    temporary = run.folder / ".run_id.tmp"
    temporary.write_text(f"{run.id}\n", encoding="utf-8")
    temporary.replace(run.folder / "run_id")


def _announce(run: TrackedRun, account: Account) -> None:
    """One line: where the record goes, and for an offline one how to look at it and how to upload it."""
    if run.mode == "online":
        log.info("W&B: online at %s", run._client.url)
    elif run.mode == "disabled":
        log.info("W&B: disabled (%s)", account.reason)
    else:
        path = run.record or run.folder
        shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
        why = account.reason
        wandb = _command("wandb")
        log.info(
            "W&B: offline (%s); look: %s leet %s; upload later: %s sync %s",
            why,
            wandb,
            shown,
            wandb,
            shown,
        )


def _failures() -> tuple[type[Exception], ...]:
    """What the W&B client raises when it, its background process or its disk fails.

    A background process that was killed shows as ConnectionResetError, so OSError belongs here.
    """
    from wandb.errors import Error
    from wandb.sdk.mailbox import HandleAbandonedError, MailboxClosedError

    return (Error, HandleAbandonedError, MailboxClosedError, OSError)


def _command(name: str) -> str:
    """How to call a tool of this Python's environment from the current folder."""
    if shutil.which(name):
        return name
    return os.path.relpath(Path(sys.executable).with_name(name))
