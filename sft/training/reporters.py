"""TensorBoard and Trackio, if a recipe's `report_to` names them: they get the GPU's figures too.

The Trainer's own callbacks write losses and settings; `TrainLogCallback` adds speeds and what the
machine does. A tracker that fails gives one warning and is left alone, as W&B is.
"""

import logging
from collections.abc import Callable, Mapping, Sequence
from copy import copy
from pathlib import Path
from typing import Any

from transformers import Trainer, TrainerCallback
from transformers.integrations.integration_utils import TensorBoardCallback, TrackioCallback

from weekahead.tracking.run import PROJECT

log = logging.getLogger(__name__)

_PROJECT_OF_TRANSFORMERS = "huggingface"

Send = Callable[[Mapping[str, float], int], None]
"""Takes figures by their names, and the step."""


class Reporter:
    """One of the Trainer's own reporting callbacks, whose failures do not end a training."""

    def __init__(self, name: str, callback: TrainerCallback, send: Send) -> None:
        self.callback, self.send = callback, send
        self._name, self._failed = name, False

    def guarded(self, work: Callable[..., object], *args: Any, **kwargs: Any) -> None:
        """Do work of the tracker; after its first failure, which gives a warning, do nothing."""
        if self._failed:
            return
        try:
            work(*args, **kwargs)
        except Exception as error:  # whatever a tracker raises: the training is worth more
            self._failed = True
            log.warning(
                "%s failed (%s: %s); the training goes on without it",
                self._name,
                type(error).__name__,
                error,
            )


class Reporters(TrainerCallback):
    """Calls every reporter when the Trainer would have called its callback."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters = reporters

    def send(self, figures: Mapping[str, float], step: int) -> None:
        """Report figures of ours beside the Trainer's."""
        for each in self._reporters:
            each.guarded(each.send, figures, step)

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        for each in self._reporters:
            each.guarded(each.callback.on_train_begin, *args, **kwargs)

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        for each in self._reporters:
            each.guarded(each.callback.on_log, *args, **kwargs)

    def on_push_begin(self, *args: Any, **kwargs: Any) -> None:
        for each in self._reporters:
            each.guarded(each.callback.on_push_begin, *args, **kwargs)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        for each in self._reporters:
            each.guarded(each.callback.on_train_end, *args, **kwargs)


def named_for_reports(training: Any, folder: Path, run_id: str | None) -> Any:
    """The training's arguments with the names under which Trackio shows the run.

    Trackio continues a run of the same name, so the name holds the id of this training. It copies
    figures to a public Space at every push unless `trackio_static_space_id` is False, the default
    here.
    """
    named = copy(training)
    named.run_name = f"{folder.name}-{run_id}"
    if named.project == _PROJECT_OF_TRANSFORMERS:
        named.project = PROJECT
    if named.trackio_static_space_id is None:
        named.trackio_static_space_id = False
    return named


def take_over_reporters(trainer: Trainer, folder: Path) -> Reporters:
    """Replace the Trainer's callbacks of TensorBoard and Trackio by a guarded one, called last."""
    found: list[Reporter] = []
    board = trainer.pop_callback(TensorBoardCallback)
    if board is not None:
        found.append(Reporter("TensorBoard", board, _sender_to_tensorboard(board, folder)))
    trackio = trainer.pop_callback(TrackioCallback)
    if trackio is not None:
        found.append(Reporter("Trackio", trackio, _sender_to_trackio(trackio)))
    reporters = Reporters(found)
    trainer.add_callback(reporters)
    return reporters


def _sender_to_tensorboard(callback: Any, folder: Path) -> Send:
    # The library's default has the time in its name, so a resumed run would be two.
    callback.logging_dir = callback.logging_dir or str(folder / "tensorboard")

    def send(figures: Mapping[str, float], step: int) -> None:
        for name, value in figures.items():
            callback.tb_writer.add_scalar(name, value, step)

    return send


def _sender_to_trackio(callback: Any) -> Send:
    def send(figures: Mapping[str, float], step: int) -> None:
        callback._trackio.log({**figures, "train/global_step": step})

    return send
