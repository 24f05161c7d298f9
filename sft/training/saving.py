"""The complete adapter folder that a training leaves, and a disk that does not take it."""

import os
import shutil
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from weekahead.models.chat_format import save_generation_config

_OF_TORCH_WRITER = ("PytorchStreamWriter", "inline_container", "iostream", "unexpected pos")
"""What stands in torch's error for a file that it could not write."""

_OF_AN_ADAPTER = (
    "adapter_model.safetensors",
    "adapter_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "generation_config.json",
)
"""What a folder must have to be an adapter that answers as it was trained."""
_NOT_OURS = ("training_args.bin", "README.md")
"""A pickle with paths of this machine, and TRL's card, which names no base."""


def save_adapter(trainer: Any, tokenizer: Any, folder: Path) -> None:
    """Make `folder` a complete adapter folder: weights, tokenizer with template, generation config.

    `generation_config.json` says where an answer ends, so a reader need not know the chat format.
    The files are written in a folder inside, and moved when all are on the disk. Raises OSError for
    a disk that does not take them; nothing is moved then.
    """
    temporary = folder / ".adapter"
    # The others do not wait for the first one: what they removed would be what it has written.
    first = trainer.is_world_process_zero()
    try:
        if first:
            shutil.rmtree(temporary, ignore_errors=True)
        trainer.save_model(str(temporary))
        if first:
            save_generation_config(tokenizer, temporary)
            check_written(temporary)
            _move_files(temporary, folder)
    except Exception as error:  # every library has an error of its own for a full disk
        if is_of_the_disk(error):
            raise cannot_save(folder, error) from error
        raise
    finally:
        if first:
            shutil.rmtree(temporary, ignore_errors=True)


def check_written(folder: Path) -> None:
    """Check that a library wrote what it was asked for: an adapter that is complete.

    Raises ValueError naming what is missing or empty.
    """
    files = {name: folder / name for name in _OF_AN_ADAPTER}
    missing = [name for name, path in files.items() if not _size_of(path)]
    if missing:
        raise ValueError(
            f"the training is done, and yet {', '.join(missing)} of its adapter was not written; "
            "the same command goes on from the last checkpoint and writes the adapter again"
        )


def _size_of(path: Path) -> int:
    return path.stat().st_size if path.is_file() else 0


def _move_files(source: Path, target: Path) -> None:
    """Move what a reader needs; each file is on the disk before the first one is moved."""
    for name in _NOT_OURS:
        (target / name).unlink(missing_ok=True)
    files = [path for path in source.iterdir() if path.is_file() and path.name not in _NOT_OURS]
    for path in files:
        with path.open("rb") as file:
            os.fsync(file.fileno())
    for path in files:
        path.replace(target / path.name)


def is_of_the_disk(error: Exception) -> bool:
    """Whether a library could not write a file.

    torch raises RuntimeError, safetensors an error of its own, tokenizers a plain Exception.
    """
    if isinstance(error, OSError | SafetensorError):
        return True
    text = str(error)
    return "(os error " in text or (
        type(error) is RuntimeError and any(word in text for word in _OF_TORCH_WRITER)
    )


def cannot_save(folder: Path, error: Exception) -> OSError:
    """The error of a checkpoint or an adapter that could not be written: file, reason, remedy."""
    reason = str(error)
    if isinstance(error, RuntimeError):  # torch's text is about its own source
        reason = "the disk took only a part: it is full, or a limit on the size of files is reached"
    return OSError(
        f"{folder} could not be written ({reason}): free some space, then run the same command "
        "again: it goes on from the last whole checkpoint"
    )
