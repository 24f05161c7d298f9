"""One tracked run: start it, log to it, finish it. No failure of W&B ends a training.

Everything that the client writes lies in the folder of the run: the records, and the bytes of
tables and artifacts, which an upload needs later. The client's default for those bytes is the home
folder, and a run that is moved would lose them.
"""

import logging
import os
import secrets
import shutil
import sys
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Literal

from weekahead.files import unwritable
from weekahead.locks import check_writable
from weekahead.manifest import git_output
from weekahead.redaction import (
    has_password,
    without_login,
    without_secret_flags,
    without_secrets_in,
)
from weekahead.tracking.wandb_server import (
    Account,
    Mode,
    TrackingError,
    check_server,
    drop_empty_variables,
    find_account,
)

log = logging.getLogger(__name__)

PROJECT = "weekahead"
_SECONDS_BETWEEN_SAMPLES = 2.0
"""The client's own default of 15 s leaves a short run without system metrics."""
_FINISH_SECONDS = 600.0
"""An upload that takes longer is given up; its data stay on disk for `wandb sync`."""

Kind = Literal["train", "eval"]


@dataclass
class TrackedRun:
    """A started run. If W&B fails later, the first failure gives a warning and the work goes on."""

    folder: Path
    id: str | None
    """The run's id, also in `<folder>/run_id`; None on every process but the first."""
    mode: Mode
    record: Path | None = None
    """The folder of the W&B record, for `wandb leet` and `wandb sync`; None if disabled."""
    failed: bool = False
    """Whether something could not be recorded; a warning has said what."""
    _client: Any = field(default=None, repr=False)
    _variables: dict[str, str | None] = field(default_factory=dict[str, str | None], repr=False)

    @property
    def url(self) -> str | None:
        """Where the run can be seen; None if it is not online."""
        return self._client.url if self._client else None

    def connect(self, *, project: str, name: str, kind: Kind, config: Mapping[str, Any]) -> None:
        """Start the client; `start_run` does it. Raises TrackingError if it does not start."""
        wandb = _wandb()
        try:
            with _command_line_without_secrets():
                self._client = wandb.init(
                    project=project,
                    name=name,
                    id=self.id,
                    resume="allow",
                    job_type=kind,
                    config=dict(config),
                    dir=str(self.folder),
                    mode=self.mode,
                    settings=wandb.Settings(**_client_settings(self.mode)),
                )
            for handler in logging.getLogger("wandb").handlers:
                # Its log on a disk that gets full: logging would print a traceback per line.
                handler.handleError = _ignore
            # `init` alone leaves later warnings as loud as before.
            wandb.termsetup(self._client.settings, None)
            if kind == "train":
                self._client.define_metric("train/global_step")
                self._client.define_metric("*", step_metric="train/global_step", step_sync=True)
        except _failures() as error:
            raise TrackingError(
                f"W&B did not start ({type(error).__name__}: {error}); "
                "set WANDB_MODE=offline to record on disk, or WANDB_MODE=disabled"
            ) from error
        if self.mode != "disabled":
            self.record = Path(self._client.dir).parent

    def log(self, metrics: Mapping[str, float | int | None]) -> None:
        """Log scalars; unknown ones (None) are left out.

        There is no `step`, because after a resume W&B drops steps that go back. Log
        `train/global_step` with the scalars.
        """
        numbers = {name: value for name, value in metrics.items() if value is not None}
        if self._client and numbers:
            with self.guarded():
                self._client.log(numbers)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table; every row has one value for each column."""
        if self._client and self.mode != "disabled":
            wandb = _wandb()
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
        """Log files (name inside the artifact -> file) as one artifact; they are copied at once."""
        if self._client and self.mode != "disabled":
            wandb = _wandb()
            with self.guarded():
                artifact = wandb.Artifact(name, type=kind, metadata=dict(metadata or {}))
                for inner_name, path in files.items():
                    artifact.add_file(str(path), name=inner_name)
                self._client.log_artifact(artifact)

    @contextmanager
    def guarded(self) -> Generator[None]:
        """Turn a failure of W&B inside the block into one warning for the whole run."""
        try:
            yield
        except _failures() as error:
            if not self.failed:
                log.warning(
                    "W&B failed (%s: %s); the work goes on, its own files are complete without it",
                    type(error).__name__,
                    error,
                )
            self.failed = True

    def finish(self, exit_code: int = 0) -> None:
        """End the run and wait for its upload. Harmless if called twice.

        Call it after the last use of the Trainer.
        """
        client, self._client = self._client, None
        if client:
            with self.guarded():
                client.finish(exit_code=exit_code)
            with self.guarded():
                # Ends the client's processes; the next run reads the environment anew.
                _wandb().teardown()
            self._check_record()
        for name, value in self._variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        self._variables = {}

    def _check_record(self) -> None:
        """Warn of a record that is not whole: the client says so in its own log only."""
        if self.record is None or not self.record.is_dir():
            return
        reason = lost_records(self.record)
        if reason and not self.failed:
            log.warning(
                "W&B's record %s is not whole (%s); the work's own files are complete without it",
                self.record,
                reason,
            )
            self.failed = True

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
    kind: Kind,
    config: Mapping[str, Any],
    resume_id: str | None = None,
    recorded: bool = True,
) -> TrackedRun:
    """Start a run that records into `folder`, as WANDB_MODE says; without a key it is offline.

    If `recorded` is False, W&B is not used: the run has an id and records nothing.

    Call it before the model is loaded and before the Trainer is made: the Trainer's own W&B
    callback then uses this run. `resume_id` (see `saved_run_id`) continues that run. Of several
    processes only the first records; the others get a run that does nothing. What looks like a
    secret in `config` is not recorded.
    Raises TrackingError if a key is set but the server does not answer or does not accept it.
    """
    folder = Path(folder)
    if int(os.environ.get("RANK") or os.environ.get("LOCAL_RANK") or 0) != 0:
        return TrackedRun(folder, None, "disabled")
    drop_empty_variables()
    variables = _keep_inside(folder)
    run = TrackedRun(folder, resume_id or secrets.token_hex(4), "disabled", _variables=variables)
    try:
        account = find_account() if recorded else Account("", "disabled", "report_to lacks wandb")
        run.mode = account.mode
        if account.mode != "disabled":
            check_writable(folder / "wandb")
        if account.mode == "online":
            check_server(account)
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        run.connect(project=project, name=name, kind=kind, config=without_secrets_in(config))
    except BaseException:
        run.finish(exit_code=1)
        raise
    _write_run_id(run)
    _announce(run, account)
    return run


def _ignore(record: logging.LogRecord) -> None:
    del record


def lost_records(record: Path) -> str | None:
    """Why the client could not write all of a record; None if it did, as far as its log says.

    A disk that is full may take no line of that log either, so a file is written as well.
    """
    client_log = record / "logs" / "debug-internal.log"
    try:
        check_writable(record)
        if not client_log.exists():
            return None
        with client_log.open(encoding="utf-8", errors="replace") as file:
            lost = next((line for line in file if "failed to save record" in line), None)
    except OSError as error:
        return error.strerror or str(error)
    return None if lost is None else lost.rpartition(": ")[2].strip().rstrip('"}')


def saved_run_id(folder: Path | str) -> str | None:
    """The id of the run that recorded into `folder` last, or None."""
    path = Path(folder) / "run_id"
    return path.read_text(encoding="utf-8").strip() or None if path.exists() else None


def _client_settings(mode: Mode) -> dict[str, Any]:
    settings: dict[str, Any] = {
        "x_stats_sampling_interval": _SECONDS_BETWEEN_SAMPLES,
        "finish_timeout": _FINISH_SECONDS,
        "silent": mode != "online",  # our own line says what there is to say
    }
    remote = git_output("config", "--get", "remote.origin.url") or ""
    if "://" in remote and has_password(remote):
        # The client hides the password alone; a token may stand in the place of the user.
        settings["git_remote_url"] = without_login(remote)
    # Whoever set the client's own variable for one of these meant it.
    return {
        name: value for name, value in settings.items() if f"WANDB_{name.upper()}" not in os.environ
    }


@contextmanager
def _command_line_without_secrets() -> Generator[None]:
    """The client records the command line as it finds it when it starts."""
    words = sys.argv
    sys.argv = [*words[:1], *without_secret_flags(words[1:])]
    try:
        yield
    finally:
        sys.argv = words


def _keep_inside(folder: Path) -> dict[str, str | None]:
    """Point the client's folders into `folder`; return what the variables were before.

    Raises OSError if nothing can be written there.
    """
    home = folder.resolve() / "wandb"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(home, error) from error
    variables = {
        "WANDB_DIR": str(folder.resolve()),
        "WANDB_DATA_DIR": str(home / "data"),
        "WANDB_CACHE_DIR": str(home / "cache"),
    }
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    return before


def _write_run_id(run: TrackedRun) -> None:
    temporary = run.folder / ".run_id.tmp"
    temporary.write_text(f"{run.id}\n", encoding="utf-8")
    temporary.replace(run.folder / "run_id")


def _announce(run: TrackedRun, account: Account) -> None:
    """Say where the record goes, and for an offline one how to look at it and how to upload it."""
    if run.mode == "online":
        log.info("W&B: online at %s", run.url)
    elif run.mode == "disabled":
        log.info("W&B: disabled (%s)", account.reason)
    else:
        record = run.record or run.folder
        if record.is_relative_to(Path.cwd()):
            record = record.relative_to(Path.cwd())
        command = _command("wandb")
        look, upload = f"{command} leet {record}", f"{command} sync {record}"
        log.info("W&B: offline (%s); look: %s; upload later: %s", account.reason, look, upload)


def _wandb() -> Any:
    """The module wandb, whose own annotations are incomplete; imported when a run needs it."""
    import wandb

    return wandb


def _failures() -> tuple[type[Exception], ...]:
    """What the W&B client raises if it, its background process or its disk fails.

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
