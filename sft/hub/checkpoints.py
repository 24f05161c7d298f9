"""Checkpoints on the Hub while a training runs, and the start from there on another machine.

The Trainer's own upload takes the whole folder: W&B's files, logs, and a half-written adapter. This
one takes what a resume reads, checks nothing twice and never ends a training.
"""

import json
import logging
import os
import re
import shutil
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from sft.hub.adapter_files import json_bytes, without_paths
from sft.training.checkpoints import checkpoint_files, checkpoints
from weekahead.hub.client import HubError, check_repo_id, explained, hub_api, patiently
from weekahead.hub.upload import Change, Target, commit, ready
from weekahead.schema.file_names import MANIFEST, TRAIN_LOG
from weekahead.schema.manifests import read_json_object, read_training_manifest, training_manifest

log = logging.getLogger(__name__)

_IN_CHECKPOINT = re.compile(r"(checkpoint-(?:0|[1-9][0-9]*))/[^/]+")
_STATE = "trainer_state.json"
_BESIDE = (MANIFEST, TRAIN_LOG)


@dataclass(frozen=True)
class HubRun:
    """Where a training keeps its checkpoints on the Hub."""

    target: Target
    strategy: str
    """checkpoint: the last one and the best one; all_checkpoints: every one; end: none."""


def hub_run(training: Any) -> HubRun | None:
    """What the fields `push_to_hub` and `hub_*` ask for; None without an upload.

    Raises HubError for a repository that is not named in full.
    """
    if not training.push_to_hub:
        return None
    if not training.hub_model_id:
        raise HubError("--push_to_hub true needs --hub_model_id user/name; give it")
    check_repo_id(training.hub_model_id, "--hub_model_id")
    may_be_public = training.hub_private_repo is False
    visibility = "public" if may_be_public else "private"
    target = Target(training.hub_model_id, visibility=visibility, flag="--hub_model_id")
    return HubRun(target, getattr(training.hub_strategy, "value", training.hub_strategy))


def open_hub(hub: HubRun, folder: Path) -> list[Path]:
    """Check that the Hub takes uploads; bring the checkpoints there into `folder` if it has none.

    Returns what was brought. Raises HubError for an account that may not write, a repository with
    another visibility, and one that holds a finished adapter already.
    """
    api = hub_api()
    folder.mkdir(parents=True, exist_ok=True)
    with explained(hub.target.repo), TemporaryDirectory(dir=folder, prefix=".hub-") as name:
        place, present = Path(name), ready(api, hub.target)
        if MANIFEST not in present:
            return []
        _download(hub, place, [name for name in _BESIDE if name in present])
        _check_same_run(hub, place, folder)
        if checkpoints(folder):
            return []
        return _moved(place, folder, _brought(hub, place, present))


def _check_same_run(hub: HubRun, place: Path, folder: Path) -> None:
    """Raise HubError if the repository holds a finished run, or another one than `folder`."""
    repo = hub.target.repo
    there = training_manifest(read_json_object(place / MANIFEST), f"{MANIFEST} of {repo}")
    if there["result"]:
        raise HubError(
            f"{repo} holds a finished adapter already: evaluate it (make eval ADAPTER={repo}), or "
            "give another --hub_model_id"
        )
    if not checkpoints(folder) or not (folder / MANIFEST).is_file():
        return
    here = read_training_manifest(folder / MANIFEST)
    if here["run_id"] != there["run_id"]:
        raise HubError(
            f"{repo} holds checkpoints of another run ({there['run']}, begun "
            f"{there['created']}) than {folder}; give another --hub_model_id"
        )


def _brought(hub: HubRun, place: Path, present: Sequence[str]) -> str | None:
    """Download the newest checkpoint, and the best one of then; the name of the newest."""
    found = {match[1] for match in map(_IN_CHECKPOINT.fullmatch, present) if match}
    newest = max(found, key=lambda name: int(name.partition("-")[2]), default=None)
    if newest is None:
        return None
    _download(hub, place, [name for name in present if name.startswith(f"{newest}/")])
    best = _best_of(place / newest)
    if best in found - {newest}:
        _download(hub, place, [name for name in present if name.startswith(f"{best}/")])
    log.info("%s was brought from %s on the Hub", newest, hub.target.repo)
    return newest


def _moved(place: Path, folder: Path, newest: str | None) -> list[Path]:
    """Move what was downloaded into `folder`, if a checkpoint is among it; the new paths."""
    if newest is None:
        return []
    # The manifest first: a checkpoint without one would be of an unknown run.
    names = [*_BESIDE, *sorted(path.name for path in place.glob("checkpoint-*"))]
    moved = [name for name in names if (place / name).exists()]
    for name in moved:
        (place / name).replace(folder / name)
    return [folder / name for name in moved]


def _download(hub: HubRun, place: Path, names: Sequence[str]) -> None:
    """Download files one by one: for several the client takes a part of them for all of them."""
    from huggingface_hub import (
        hf_hub_download,  # pyright: ignore[reportUnknownVariableType] - half annotated
    )

    for name in names:
        patiently(lambda name=name: hf_hub_download(hub.target.repo, name, local_dir=place))


def _best_of(checkpoint: Path) -> str | None:
    """The name of the best checkpoint so far, as a checkpoint states it."""
    try:
        stated = json.loads((checkpoint / _STATE).read_text(encoding="utf-8"))
        best = stated.get("best_model_checkpoint")
    except (OSError, ValueError, AttributeError):
        return None  # the checks of a resume say what is wrong with it
    return Path(best).name if best else None


def remove(paths: Sequence[Path]) -> None:
    """Take away what `open_hub` has brought."""
    for path in paths:
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)


class HubCheckpoints(TrainerCallback):
    """Uploads each checkpoint after it was saved, one at a time, beside the training.

    A checkpoint that a newer one overtakes is left out, unless all are asked for. An upload that
    fails is told in one line, and the next checkpoint is tried again. `close` waits for the last.
    """

    def __init__(self, hub: HubRun, folder: Path) -> None:
        self._hub, self._folder = hub, folder
        self._worker = ThreadPoolExecutor(max_workers=1)
        self._newest: Path | None = None
        self._last: Future[None] | None = None

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or self._hub.strategy == "end":
            return
        checkpoint = self._folder / f"checkpoint-{state.global_step}"
        best = Path(state.best_model_checkpoint).name if state.best_model_checkpoint else None
        try:
            self._newest = self._staged(checkpoint, best)
        except OSError as error:
            log.warning("%s is not uploaded: %s", checkpoint.name, error)
            return
        self._last = self._worker.submit(self._upload, self._newest)

    def close(self) -> None:
        """Wait for the upload that still runs."""
        if self._last and not self._last.done():
            log.info("waiting for the upload of the last checkpoint to the Hub")
        self._worker.shutdown(wait=True)
        shutil.rmtree(self._folder / ".hub", ignore_errors=True)

    def _staged(self, checkpoint: Path, best: str | None) -> Path:
        """A folder with links to what is uploaded: the training may remove a checkpoint meanwhile.

        Its layout is that of the repository.
        """
        place = self._folder / ".hub" / checkpoint.name
        shutil.rmtree(place, ignore_errors=True)
        for source in {checkpoint, self._folder / (best or checkpoint.name)}:
            if not source.is_dir():
                continue
            (place / source.name).mkdir(parents=True)
            for file in checkpoint_files(source):
                _link(file, place / source.name / file.name)
        manifest = read_training_manifest(self._folder / MANIFEST)
        public = without_paths(manifest, (self._folder.resolve(), Path.cwd(), Path.home()))
        (place / MANIFEST).write_bytes(json_bytes(public))
        if (self._folder / TRAIN_LOG).is_file():
            shutil.copyfile(self._folder / TRAIN_LOG, place / TRAIN_LOG)
        return place

    def _upload(self, place: Path) -> None:
        """One commit with the checkpoint; older ones go unless all are asked for."""
        keeps_all = self._hub.strategy == "all_checkpoints"
        if not keeps_all and place != self._newest:
            shutil.rmtree(place, ignore_errors=True)
            return
        paths = [path for path in place.rglob("*") if path.is_file()]
        files = {path.relative_to(place).as_posix(): path for path in paths}
        repo, api = self._hub.target.repo, hub_api()
        try:
            with explained(repo):
                present = patiently(lambda: api.list_repo_files(repo))
                old = [name for name in present if is_checkpoint_file(name) and name not in files]
                change = Change(f"{place.name}, training goes on", files, () if keeps_all else old)
                commit(api, self._hub.target, change)
        except (HubError, OSError) as error:
            log.warning("%s is not on the Hub: %s", place.name, error)
        finally:
            shutil.rmtree(place, ignore_errors=True)


def is_checkpoint_file(name: str) -> bool:
    """Whether a file of a repository belongs to a checkpoint."""
    return _IN_CHECKPOINT.fullmatch(name) is not None


def is_of_training(name: str) -> bool:
    """Whether a file of a repository is there only while a training runs."""
    return name == TRAIN_LOG or is_checkpoint_file(name)


def _link(source: Path, target: Path) -> None:
    """A second name for a file; a copy if the disk has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
