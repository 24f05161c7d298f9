"""What the Trainer calls while a model trains: the log of the run, and a W&B that cannot end the training."""

import resource
import sys
from collections.abc import Sized
from pathlib import Path
from typing import Any

from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.integration_utils import WandbCallback

from sft.training.train_log import ThroughputMeter, TrainLog
from weekahead.tracking.run import TrackedRun
from weekahead.tracking.system_monitor import Sample, SystemMonitor


class TrainLogCallback(TrainerCallback):
    """Writes `<folder>/train_log.jsonl` and logs speeds, GPU and CPU figures to the tracked run.

    The Trainer must run with `include_num_input_tokens_seen="non_padding"`: it then counts the attention mask of
    every micro-batch over all processes, prompt and completion without padding. Otherwise tokens/s is null.
    After training, `end` is the row that closed the log. Only the first process writes.
    """

    def __init__(
        self, folder: Path | str, tracker: TrackedRun | None = None, interval_seconds: float = 5.0
    ) -> None:
        self.log = TrainLog(Path(folder) / "train_log.jsonl")
        self.end: dict[str, Any] = {}
        self._tracker, self._interval = tracker, interval_seconds
        self._sampler: SystemMonitor | None = None
        self._speed: ThroughputMeter | None = None
        self._final: dict[str, Any] = {}
        self._start_step = 0

    def close(self) -> None:
        """Stop the sampling; for the `finally` of a training that may fail. Harmless twice."""
        if self._sampler:
            self._sampler.stop()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        self._start_step = state.global_step
        self.log.begin(state.global_step)
        self._speed = ThroughputMeter(state)

        def add(sample: Sample) -> None:
            self.log.add("system", state.global_step, state.epoch or 0.0, sample)

        self._sampler = SystemMonitor(add, self._interval)
        self._sampler.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._speed:
            self._speed.mark()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._speed:
            self._speed.resume()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._speed:
            self._speed.resume()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs or {}
        if not state.is_world_process_zero or self._speed is None:
            return
        if "loss" in logs:
            self._log_train(args, state, logs, kwargs.get("train_dataloader"))
        elif "train_loss" in logs:  # the Trainer's last word, on_train_end follows
            self._final = logs
            self._speed.read(state, None, False)
        elif values := {name: value for name, value in logs.items() if name.startswith("eval_")}:
            self.log.add("eval", state.global_step, state.epoch or 0.0, values)

    def _log_train(
        self, args: TrainingArguments, state: TrainerState, logs: dict[str, Any], dataloader: Any
    ) -> None:
        assert self._speed is not None
        dataset = getattr(dataloader, "dataset", None)
        rows = len(dataset) if isinstance(dataset, Sized) else None
        speeds = self._speed.read(state, rows, args.include_num_input_tokens_seen != "no")
        values = {name: logs.get(name) for name in ("loss", "learning_rate", "grad_norm")}
        self.log.add("train", state.global_step, state.epoch or 0.0, values | speeds)
        self._track(state, {f"speed/{name}": value for name, value in speeds.items()})

    def _track(self, state: TrainerState, metrics: dict[str, float | None]) -> None:
        """Log `metrics` and the latest sample to the tracked run, on the axis its charts share."""
        if self._tracker:
            sample = (self._sampler.latest if self._sampler else None) or {}
            self._tracker.log(
                {**metrics, **flat_sample(sample), "train/global_step": state.global_step}
            )

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or self._speed is None:
            return
        self.close()
        self._track(state, {})  # a training shorter than the first sample has logged none yet
        tokens = state.num_input_tokens_seen - self._speed.first[0]
        seconds = self._speed.total_seconds
        counted = args.include_num_input_tokens_seen != "no" and seconds > 0
        names = (
            "train_runtime",
            "train_samples_per_second",
            "train_steps_per_second",
            "train_loss",
        )
        values = {name: self._final.get(name) for name in names}
        values |= {
            "tokens_per_second": tokens / seconds if counted else None,
            "resumed_from_step": self._start_step or None,
            "peak_rss_bytes": peak_rss_bytes(),
            **peak_gpu_memory(),
        }
        self.end = self.log.add("end", state.global_step, state.epoch or 0.0, values)


def flat_sample(sample: Sample) -> dict[str, float | None]:
    """A sample's numbers under the names of the tracked run, such as `gpu/0/utilization_percent`."""
    flat: dict[str, float | None] = {
        f"host/{name}": sample.get(name) for name in ("cpu_percent", "rss_bytes")
    }
    for position, card in enumerate(sample.get("gpu") or []):
        index = position if card["index"] is None else card["index"]
        flat |= {
            f"gpu/{index}/{name}": value
            for name, value in card.items()
            if name not in ("index", "name")
        }
    return flat


def peak_rss_bytes() -> int:
    """The most memory this process has held at once since it began, by the kernel's own record."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but on macOS


def peak_gpu_memory() -> dict[str, Any]:
    """`peak_gpu_memory_bytes`, allocated by torch in this process on its fullest card, or null and the reason."""
    import torch

    peak = max(
        (torch.cuda.max_memory_allocated(i) for i in range(torch.cuda.device_count())), default=0
    )
    if not peak:  # no card, or none that was used
        return {"peak_gpu_memory_bytes": None, "peak_gpu_memory_reason": "trained on the CPU"}
    return {"peak_gpu_memory_bytes": peak, "peak_gpu_memory_reason": None}


class ResumableEarlyStopping(EarlyStoppingCallback):
    """Early stopping that a resume does not undo.

    A run killed after it had stopped and before it ended makes one step more, which is neither evaluated nor
    saved: the step it keeps is the one that it would have kept.
    """

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._go_no_further(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._go_no_further(control)

    def _go_no_further(self, control: TrainerControl) -> None:
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True
            control.should_evaluate = control.should_save = False


class GuardedWandbCallback(WandbCallback):
    """The Trainer's W&B callback, except that a W&B that fails does not end the training.

    The original raises ConnectionResetError into the training loop when the client's background process is gone.
    """

    def __init__(self, tracker: TrackedRun) -> None:
        super().__init__()
        self._tracker = tracker

    def on_train_begin(self, *args: Any, **kwargs: Any) -> None:
        with self._tracker.guarded():
            super().on_train_begin(*args, **kwargs)

    def on_log(self, *args: Any, **kwargs: Any) -> None:
        with self._tracker.guarded():
            super().on_log(*args, **kwargs)

    def on_save(self, *args: Any, **kwargs: Any) -> None:
        with self._tracker.guarded():
            super().on_save(*args, **kwargs)

    def on_predict(self, *args: Any, **kwargs: Any) -> None:
        with self._tracker.guarded():
            super().on_predict(*args, **kwargs)

    def on_train_end(self, *args: Any, **kwargs: Any) -> None:
        with self._tracker.guarded():
            super().on_train_end(*args, **kwargs)


def guard_wandb(trainer: Trainer, tracker: TrackedRun) -> None:
    """Put the guarded callback where `report_to=["wandb"]` put the Trainer's own; without one, do nothing."""
    if trainer.pop_callback(WandbCallback) is not None:
        trainer.add_callback(GuardedWandbCallback(tracker))
