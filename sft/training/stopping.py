"""A training that a signal ends: first a checkpoint, then the exit; the same command goes on."""

from pathlib import Path
from typing import Any

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from weekahead.distributed import Process
from weekahead.interrupts import Interrupted, noted

WAITS_FOR = "a checkpoint at the end of this step"


class StopCallback(TrainerCallback):
    """Saves a checkpoint after a signal, then raises Interrupted out of the training.

    All processes stop at the same step. An evaluation that is due, or under way, comes first: a
    resume would leave it out. A training whose last step is done goes on to its end instead. It has
    to be the last callback, since the others prepare for the resume in their `on_save`.
    """

    def __init__(self) -> None:
        self._number = 0
        """The signal that ends the training; 0 if none has come."""

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        # The events of an epoch's end (evaluation, saving) still follow on its last step.
        if state.epoch is not None and not float(state.epoch).is_integer():
            self._save_if_asked(args, control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._save_if_asked(args, control)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if state.epoch is not None and not float(state.epoch).is_integer():
            self._save_if_asked(args, control)

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self._number:
            return
        if args.world_size > 1:
            torch.distributed.barrier()  # nobody leaves while the first process still writes
        checkpoint = Path(args.output_dir or ".") / f"checkpoint-{state.global_step}"
        raise Interrupted(self._number, f"{checkpoint} is saved")

    def wait_for_all(self, args: TrainingArguments) -> None:
        """After a stop: end together, since a launcher ends the others as soon as one has ended."""
        if self._number:
            Process(args.process_index, args.world_size).leave()

    def _save_if_asked(self, args: TrainingArguments, control: TrainerControl) -> None:
        if control.should_training_stop:  # it is done, or early stopping has ended it
            return
        self._number = _of_all_processes(noted() or 0, args)
        if self._number:
            control.should_log = control.should_save = True


def _of_all_processes(number: int, args: TrainingArguments) -> int:
    """The largest number that any process brings; each of them has to call this."""
    if args.world_size == 1:
        return number
    shared = torch.tensor(number, device=args.device)
    torch.distributed.all_reduce(shared, torch.distributed.ReduceOp.MAX)
    return int(shared)
