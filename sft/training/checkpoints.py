"""Checkpoints in the folder of a run: which of them a resume can use, and which are removed."""

import json
import logging
import re
import shutil
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, cast

from weekahead.files import sha256, write_json
from weekahead.schema.manifests import JsonObject

log = logging.getLogger(__name__)

_NAME = re.compile(r"checkpoint-(0|[1-9][0-9]*)")
"""A copy (`checkpoint-3 (1)`), an archive or `checkpoint-best` is none of the Trainer's."""
_STATE = "trainer_state.json"
_WEIGHTS = "adapter_model.safetensors"
_CONFIG = "adapter_config.json"
_DIGESTS = "digests.json"
"""Written after everything else: file -> SHA-256. A checkpoint of an older version has none."""


@dataclass(frozen=True)
class Resumable:
    """What a checkpoint must have to be gone on from."""

    world_size: int = 1
    fp16: bool = False
    """Then there is a gradient scaler."""
    run_id: str | None = None
    """The run that it must be of; None if that is not known."""
    steps: int | None = None
    """How many steps the training has; None if that is not known."""

    def files(self) -> list[str]:
        """The names of the files that a resume reads."""
        names = [_STATE, _WEIGHTS, _CONFIG, "optimizer.pt", "scheduler.pt", *self.random_states()]
        return [*names, "scaler.pt"] if self.fp16 else names

    def random_states(self) -> list[str]:
        """The names of the files with the random state of each process."""
        if self.world_size == 1:
            return ["rng_state.pth"]
        return [f"rng_state_{rank}.pth" for rank in range(self.world_size)]


def checkpoints(folder: Path) -> list[Path]:
    """The checkpoints in `folder`, the newest first; links and odd names are left out."""
    steps = {path: step_of(path) for path in folder.glob("checkpoint-*")}
    numbered = {path: step for path, step in steps.items() if step is not None}
    return sorted(numbered, key=numbered.__getitem__, reverse=True)


def step_of(path: Path) -> int | None:
    """The step of a checkpoint; None for what is not one."""
    match = _NAME.fullmatch(path.name)
    return int(match[1]) if match and path.is_dir() and not path.is_symlink() else None


def last_checkpoint(folder: Path, wanted: Resumable) -> Path | None:
    """The newest checkpoint in `folder` that a resume can use, or None.

    One line is logged for each newer one, with what it lacks.
    """
    for path in checkpoints(folder):
        problem = problem_of(path, wanted)
        if problem is None:
            return path
        log.warning("%s is not used: %s", path, problem)
    return None


def problem_of(checkpoint: Path, wanted: Resumable) -> str | None:
    """What keeps a resume from using `checkpoint`, or None."""
    wanted = _as_written(checkpoint, wanted)
    missing = [name for name in wanted.files() if not _has_content(checkpoint / name)]
    if missing:
        return f"{', '.join(missing)} missing or empty"
    return next(_problems(checkpoint, wanted), None)


def _as_written(checkpoint: Path, wanted: Resumable) -> Resumable:
    """`wanted` for as many processes as wrote `checkpoint`, as its digests state.

    A run that goes on with another number of processes has checkpoints of both numbers.
    """
    try:
        digests = _read_object(checkpoint / _DIGESTS)
    except _Unreadable:  # older versions wrote none, and `_changed` tells of a damaged one
        return wanted
    count = sum(name.startswith("rng_state_") for name in digests)
    return replace(wanted, world_size=max(count, 1))


def _has_content(path: Path) -> bool:
    return path.is_file() and path.stat().st_size > 0


def _problems(checkpoint: Path, wanted: Resumable) -> Iterator[str]:
    try:
        state = _read_state(checkpoint / _STATE)
        yield from _of_another_training(checkpoint, state, wanted)
        _read_object(checkpoint / _CONFIG)
        yield from _changed(checkpoint, wanted)
        for name in wanted.files():
            path = checkpoint / name
            tensors = _read_weights(path) if name == _WEIGHTS else _read_pickled(path)
            bad = _first_not_finite(name, tensors)
            if bad:
                yield f"{bad} is not finite"
        yield from _of_the_best(checkpoint, state)
    except _Unreadable as error:
        yield str(error)


class _Unreadable(Exception):
    """A file of a checkpoint that does not open."""


def _read_object(path: Path) -> JsonObject:
    try:
        value: object = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _Unreadable(f"{path.name} cannot be read ({error})") from None
    if not isinstance(value, dict):
        raise _Unreadable(f"{path.name} is not a JSON object")
    return cast("JsonObject", value)


def _read_state(path: Path) -> JsonObject:
    from transformers import TrainerState

    state = _read_object(path)
    known = {field.name for field in fields(TrainerState)}
    unknown = sorted(state.keys() - known)
    if unknown or not isinstance(state.get("global_step"), int):
        what = f"has unknown keys: {', '.join(unknown)}" if unknown else "states no global_step"
        raise _Unreadable(f"{path.name} {what}")
    return state


def _of_another_training(checkpoint: Path, state: JsonObject, wanted: Resumable) -> Iterator[str]:
    step, planned = state["global_step"], state.get("max_steps")
    if step != step_of(checkpoint):
        yield f"its {_STATE} is of step {step}"
    if wanted.steps is not None and planned != wanted.steps:
        yield f"it is of a training of {planned} steps, and this one has {wanted.steps}"
    run = run_of(state)
    if run and wanted.run_id and run != wanted.run_id:
        yield f"it is of the run {run}, and this one is {wanted.run_id}"


def run_of(state: JsonObject) -> str | None:
    """The id of the run that wrote a `trainer_state.json`; None if an older version did."""
    stored: Mapping[str, Any] = state.get("stateful_callbacks") or {}
    record: Mapping[str, Any] = stored.get("RunRecord") or {}
    return (record.get("attributes") or {}).get("run")


def _changed(checkpoint: Path, wanted: Resumable) -> Iterator[str]:
    """Files that are others than those that were saved, for a checkpoint with digests."""
    path = checkpoint / _DIGESTS
    if path.is_file():
        digests = _read_object(path)
        for name in wanted.files():
            if name in digests and sha256(checkpoint / name) != digests[name]:
                yield f"{name} has changed since it was saved"


def _read_weights(path: Path) -> Mapping[str, Any]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors = load_file(path)
    except (OSError, SafetensorError, ValueError, KeyError) as error:
        raise _Unreadable(f"{path.name} cannot be read ({error})") from None
    if not tensors:
        raise _Unreadable(f"{path.name} holds no weights")
    return tensors


def _read_pickled(path: Path) -> object:
    """The content of a file of torch's, None for another; its check sums are verified."""
    import pickle

    import torch
    from transformers.trainer_pt_utils import safe_globals

    if path.suffix not in (".pt", ".pth"):
        return None
    try:
        with zipfile.ZipFile(path) as archive:
            bad = archive.testzip()
        if bad:
            raise _Unreadable(f"{path.name} is damaged at {bad}")
        with safe_globals():
            return torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, ValueError, EOFError, RuntimeError, NotImplementedError) as error:
        raise _Unreadable(f"{path.name} cannot be read ({error})") from None
    except (zipfile.BadZipFile, pickle.UnpicklingError, KeyError, AttributeError) as error:
        raise _Unreadable(f"{path.name} cannot be read ({error})") from None


def _first_not_finite(name: str, value: object) -> str | None:
    """Where in a nested value the first tensor with NaN or an infinity is, or None."""
    import torch

    if isinstance(value, torch.Tensor):
        whole = not value.is_floating_point() or bool(torch.isfinite(value).all())
        return None if whole else name
    inner: Mapping[Any, object] = {}
    if isinstance(value, Mapping):
        inner = cast("Mapping[Any, object]", value)
    elif isinstance(value, list | tuple):
        inner = dict(enumerate(cast("list[object]", value)))
    found = (_first_not_finite(f"{name}: {key}", part) for key, part in inner.items())
    return next((place for place in found if place), None)


def _of_the_best(checkpoint: Path, state: JsonObject) -> Iterator[str]:
    """What is wrong with the best checkpoint so far, which the end of the training loads."""
    named: str | None = state.get("best_model_checkpoint")
    best = checkpoint.parent / Path(named).name if named else checkpoint
    if best.name == checkpoint.name:
        return
    for name in (_WEIGHTS, _CONFIG):
        if not _has_content(best / name):
            yield f"the best checkpoint so far, {best.name}, lacks {name}"
    bad = _first_not_finite(_WEIGHTS, _read_weights(best / _WEIGHTS))
    if bad:
        yield f"{bad} of the best checkpoint so far, {best.name}, is not finite"


def write_digests(checkpoint: Path) -> None:
    """Write down what the files of `checkpoint` are, so that damage is seen before a resume."""
    names = sorted(path.name for path in checkpoint.iterdir() if path.name in _named(checkpoint))
    digests = {name: sha256(checkpoint / name) for name in names}
    write_json(checkpoint / _DIGESTS, digests)


def checkpoint_files(checkpoint: Path) -> list[Path]:
    """The files of `checkpoint` that a resume reads, with their digests."""
    names = {*_named(checkpoint), _DIGESTS}
    return sorted(path for path in checkpoint.iterdir() if path.name in names)


def _named(checkpoint: Path) -> set[str]:
    states = {path.name for path in checkpoint.glob("rng_state*.pth")}
    return states | set(Resumable(fp16=True).files())


def remove_old_checkpoints(
    folder: Path, limit: int | None, *, protected: Collection[str], up_to: int
) -> None:
    """Remove the oldest checkpoints in `folder` until no more than `limit` are left.

    Those in `protected` stay, and those of a step after `up_to`, which an earlier attempt made.
    None, or a limit below 1, removes nothing.
    """
    if not limit or limit < 1:
        return
    own = [path for path in checkpoints(folder) if (step_of(path) or 0) <= up_to]
    removable = [path for path in reversed(own) if path.name not in protected]
    for path in removable[: max(0, len(own) - max(limit, len(protected)))]:
        shutil.rmtree(path, ignore_errors=True)
