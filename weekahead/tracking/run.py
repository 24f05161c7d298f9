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
from weekahead.interrupts import whole
from weekahead.locks import check_writable
from weekahead.manifest import git_output
from weekahead.redaction import (
    has_password,
    without_login,
    without_secret_flags,
    without_secrets_in,
)
from weekahead.tracking.artifacts import ArtifactContent, remove_old_versions
from weekahead.tracking.records import read_record
from weekahead.tracking.server_side import missing_at_last
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
"""An upload that takes longer is given up; its data stay on disk for `make sync`."""

Kind = Literal["train", "eval", "compare"]


@dataclass
class TrackedRun:
    """A started run. If W&B fails later, the first failure gives a warning and the work goes on."""

    folder: Path
    id: str | None
    """The run's id, also in `<folder>/run_id`; None on every process but the first."""
    mode: Mode
    record: Path | None = None
    """The folder of the W&B record, for `wandb leet` and `make sync`; None if disabled."""
    failed: bool = False
    """Whether something could not be recorded; a warning has said what."""
    _client: Any = field(default=None, repr=False)
    _made: list[ArtifactContent] = field(default_factory=list[ArtifactContent], repr=False)
    _variables: dict[str, str | None] = field(default_factory=dict[str, str | None], repr=False)

    @property
    def url(self) -> str | None:
        """Where the run can be seen; None if it is not online."""
        return self._client.url if self._client else None

    def connect(self, *, project: str, name: str, kind: Kind, config: Mapping[str, Any]) -> None:
        """Start the client; `start_run` does it. Raises TrackingError if it does not start."""
        wandb = _wandb()
        of_a_sweep = "WANDB_SWEEP_ID" in os.environ  # its agent has chosen them
        try:
            with _command_line_without_secrets():
                self._client = wandb.init(
                    project=None if of_a_sweep else project,
                    name=name,
                    id=None if of_a_sweep else self.id,
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
            _record_artifacts_on_disk(self._client)
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
            with self.guarded(), whole("W&B's record"):
                self._client.log(numbers)

    def log_table(self, name: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Log a table; every row has one value for each column."""
        if self._client and self.mode != "disabled":
            wandb = _wandb()
            with self.guarded(), whole("W&B's record"):
                table = wandb.Table(columns=list(columns), data=[list(row) for row in rows])
                self._client.log({name: table})

    def log_artifact(self, content: ArtifactContent) -> None:
        """Log an artifact that this run has made."""
        if self._client and self.mode != "disabled":
            with self.guarded(), whole("W&B's record"):
                self._client.log_artifact(content.to_wandb(), aliases=list(content.aliases))
            self._made.append(content)

    def use_artifact(self, content: ArtifactContent) -> None:
        """Record an artifact as an input; its content is uploaded if W&B does not have it yet.

        The client's `use_artifact` refuses if it is offline, and waits for the server if it is not.
        What it calls writes a record (`_record_artifacts_on_disk`), which waits for its upload.
        """
        if self._client and self.mode != "disabled":
            with self.guarded(), whole("W&B's record"):
                self._client._log_artifact(
                    content.to_wandb(),
                    aliases=list(content.aliases),
                    is_user_created=True,
                    use_after_commit=True,
                )

    def use_version(self, name: str) -> bool:
        """Record a version that W&B has, such as `adapter-demo:latest`, as an input.

        False if W&B has none of this name or did not answer, and for a run that is not online.
        """
        if not self._client or self.mode != "online":
            return False
        try:
            self._client.use_artifact(name)
        except Exception as error:  # whatever the client raises: lineage is no reason to fail
            log.info("W&B has no %s (%s)", name, type(error).__name__)
            return False
        return True

    @contextmanager
    def guarded(self) -> Generator[None]:
        """Turn a failure of W&B inside the block into one warning for the whole run."""
        try:
            yield
        except Exception as error:  # whatever the client raises: the work is worth more
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
            self._check_server(f"{client.entity}/{client.project}")
            self._remove_old_versions(f"{client.entity}/{client.project}")
            with self.guarded():
                # Ends the client's processes; the next run reads the environment anew.
                _wandb().teardown()
            self._check_record()
        for name, value in self._variables.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        self._variables = {}

    def _check_server(self, project: str) -> None:
        """Warn of what the server has not: the client calls a run finished without asking."""
        if self.mode != "online" or self.record is None or self.failed:
            return
        try:
            check_server(find_account())
            record = read_record(self.record)
            missing = missing_at_last(record, f"{project}/{record.run_id}")
            fault = f"W&B lacks a part of this run ({'; '.join(missing)})" if missing else None
        except Exception as error:  # the work is done, whatever the client's record looks like
            fault = f"it is not known if W&B has all of this run ({error})"
        if fault:
            log.warning("%s; %s holds it, and `make sync` uploads it", fault, self.record)
            self.failed = True

    def _remove_old_versions(self, project: str) -> None:
        """Adapters are large; what cannot be removed today is removed after the next training."""
        if self.mode != "online" or self.failed:
            return
        for content in self._made:
            if content.kind != "adapter":
                continue
            try:
                remove_old_versions(project, content)
            except Exception as error:  # whatever the client raises: the work is done
                log.info("older versions of %s stay in W&B (%s)", content.name, error)

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
    run_id = resume_id or _id_from_an_agent() or secrets.token_hex(4)
    run = TrackedRun(folder, run_id, "disabled", _variables=variables)
    try:
        account = find_account() if recorded else Account("", "disabled", "report_to lacks wandb")
        run.mode = account.mode
        if account.mode != "disabled":
            check_writable(folder / "wandb")
        if account.mode == "online":
            check_server(account)
        project = os.environ.get("WANDB_PROJECT", PROJECT)
        with whole("the start of W&B"):
            run.connect(project=project, name=name, kind=kind, config=without_secrets_in(config))
    except BaseException:
        run.finish(exit_code=1)
        raise
    _write_run_id(run)
    _announce(run, account)
    return run


def _record_artifacts_on_disk(client: Any) -> None:
    """Make a run of the client write every artifact, also those of tables, into its record.

    It does so offline. Online it sends them to the server alone: if that is gone, they are in no
    record that could be uploaded later, and each attempt takes 20 to 40 s.
    """

    def record(
        artifact: Any, name: Any = None, kind: Any = None, aliases: Any = None, **options: Any
    ) -> Any:
        prepared, names = client._prepare_artifact(
            artifact, name, options.get("type", kind), aliases
        )
        prepared.metadata = {**prepared.metadata}  # the client's way to have it checked
        known = ("tags", "is_user_created", "use_after_commit")
        told = {name: options[name] for name in known if name in options}
        client._interface.publish_artifact(client, prepared, names, **told)
        return prepared

    client._log_artifact = record


def _id_from_an_agent() -> str | None:
    """The id that an agent of a W&B sweep gave this process."""
    return os.environ.get("WANDB_RUN_ID") if "WANDB_SWEEP_ID" in os.environ else None


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
        look = f"{_command('wandb')} leet {record}"
        log.info("W&B: offline (%s); look: %s; upload later: make sync", account.reason, look)


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
