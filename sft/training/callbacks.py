"""What the Trainer calls during a training: the log, early stopping, and a guarded W&B."""

import logging
import math
import resource
import sys
import time
from collections.abc import Sized
from pathlib import Path
from typing import Any, TypedDict, cast

from accelerate import PartialState
from transformers import (
    EarlyStoppingCallback,
    Trainer,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)
from transformers.integrations.integration_utils import WandbCallback
from transformers.trainer_callback import ExportableState

from sft.training.checkpoints import remove_old_checkpoints, write_digests
from sft.training.reporters import Reporters
from sft.training.train_log import ThroughputMeter, TrainLog
from weekahead.schema.file_names import TRAIN_LOG
from weekahead.schema.manifests import JsonObject
from weekahead.schema.rows import SystemSample, TrainLogRow
from weekahead.tracking.gpu_check import GpuCheck, gpu_energy_wh
from weekahead.tracking.run import TrackedRun
from weekahead.tracking.system_monitor import SystemMonitor

log = logging.getLogger(__name__)

_OF_THE_TRAINER = (
    "train_runtime",
    "train_samples_per_second",
    "train_steps_per_second",
    "train_loss",
)
"""What the row of kind end takes from the Trainer's own last line."""


class TrainLogCallback(TrainerCallback):
    """Writes `<folder>/train_log.jsonl` and logs speeds, GPU and CPU figures to the tracked run.

    Tokens per second need `include_num_input_tokens_seen="non_padding"`: the Trainer then counts
    the attention mask of every micro-batch over all processes, prompt and completion without
    padding. Otherwise they are null. Only the first process writes. `gpu_check` is for a training
    on a GPU: it warns if no figures of it arrive. At `peak_tokens_per_second` the model FLOPs
    utilization (MFU) is 1; without it MFU is null.
    """

    def __init__(
        self,
        folder: Path | str,
        tracker: TrackedRun | None = None,
        interval_seconds: float = 5.0,
        gpu_check: GpuCheck | None = None,
        peak_tokens_per_second: float | None = None,
    ) -> None:
        self.log = TrainLog(Path(folder) / TRAIN_LOG)
        self.end: TrainLogRow | None = None
        """The row that closed the log; None before the end, and on every process but the first."""
        self._tracker, self._interval = tracker, interval_seconds
        self.reporters = Reporters([])
        """Trackers beside W&B that get the same figures."""
        self._gpu_check, self._peak_speed = gpu_check, peak_tokens_per_second
        self._monitor: SystemMonitor | None = None
        self._meter: ThroughputMeter | None = None
        self._final: JsonObject = {}
        self._start_step, self._began = 0, 0.0

    def close(self) -> None:
        """Stop the sampling; call it even if the training fails. Calling it twice is harmless."""
        if self._monitor:
            self._monitor.stop()

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero:
            return
        self._start_step = state.global_step
        self.log.begin(state.global_step)
        self._meter = ThroughputMeter(state)
        self._began = time.monotonic()

        def add(sample: SystemSample) -> None:
            if self._gpu_check:
                self._gpu_check.see(sample)
            self.log.add("system", state.global_step, state.epoch or 0.0, sample)

        self._monitor = SystemMonitor(add, self._interval)
        self._monitor.start()

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not self._meter:
            return
        self._meter.mark()
        seconds = time.monotonic() - self._began
        if self._gpu_check and (warning := self._gpu_check.warning(seconds)):
            log.warning("%s", warning)

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._meter:
            self._meter.resume()

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if self._meter:
            self._meter.resume()

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: JsonObject | None = None,
        **kwargs: Any,
    ) -> None:
        logs = logs or {}
        if not state.is_world_process_zero or self._meter is None:
            return
        if "loss" in logs:
            self._log_train(args, state, logs, kwargs.get("train_dataloader"))
        elif "train_loss" in logs:  # the last call of a training, on_train_end follows
            self._final = logs
            self._meter.read(state, rows=None, counts_tokens=False)
        else:
            values = {name: value for name, value in logs.items() if name.startswith("eval_")}
            if not math.isfinite(values.get("eval_loss") or 0.0):
                values["eval_loss_reason"] = "not finite"
            if values:
                self.log.add("eval", state.global_step, state.epoch or 0.0, values)

    def _log_train(
        self, args: TrainingArguments, state: TrainerState, logs: JsonObject, dataloader: Any
    ) -> None:
        assert self._meter is not None
        dataset = getattr(dataloader, "dataset", None)
        rows = len(dataset) if isinstance(dataset, Sized) else None
        counts_tokens = args.include_num_input_tokens_seen != "no"
        speeds = self._meter.read(state, rows=rows, counts_tokens=counts_tokens)
        tokens = speeds["tokens_per_second"]
        mfu = tokens / self._peak_speed if tokens and self._peak_speed else None
        speeds = {**speeds, "mfu": mfu}
        values = {name: logs.get(name) for name in ("loss", "learning_rate", "grad_norm")}
        self.log.add("train", state.global_step, state.epoch or 0.0, values | speeds)
        self._track(state, {f"speed/{name}": value for name, value in speeds.items()})

    def _track(self, state: TrainerState, metrics: dict[str, float | None]) -> None:
        """Log `metrics` and the latest sample to the trackers, on the axis their charts share."""
        sample = self._monitor.latest if self._monitor else None
        figures = {**metrics, **(flat_sample(sample) if sample else {})}
        if self._tracker:
            self._tracker.log({**figures, "train/global_step": state.global_step})
        known = {name: value for name, value in figures.items() if value is not None}
        self.reporters.send(known, state.global_step)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if not state.is_world_process_zero or self._meter is None:
            return
        self.close()
        energy = gpu_energy_wh(self.log.rows())
        # A training shorter than the first sample has logged none yet.
        self._track(state, {"gpu/energy_wh": energy})
        tokens = state.num_input_tokens_seen - self._meter.first.tokens
        seconds = self._meter.total_seconds
        counts_tokens = args.include_num_input_tokens_seen != "no" and seconds > 0
        made_steps = state.global_step > self._start_step  # else the Trainer's loss is 0.0
        values = {name: self._final.get(name) if made_steps else None for name in _OF_THE_TRAINER}
        values |= {
            "tokens_per_second": tokens / seconds if counts_tokens else None,
            "resumed_from_step": self._start_step or None,
            "peak_rss_bytes": peak_rss_bytes(),
            **peak_gpu_memory(),
            "gpu_energy_wh": energy,
        }
        self.end = self.log.add("end", state.global_step, state.epoch or 0.0, values)


class RunRecord(TrainerCallback, ExportableState):
    """What a checkpoint knows of its run: the run's id, and the loss of every step up to there.

    The Trainer writes it into `trainer_state.json`.
    """

    def __init__(self) -> None:
        self.run: str | None = None
        """The id in the manifest; None on every process but the first."""
        self.losses: list[float] = []
        """The mean over all processes, as the Trainer logs it."""

    def state(self) -> JsonObject:
        return {"args": {}, "attributes": {"run": self.run, "losses": self.losses}}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        stored = cast("JsonObject", state.stateful_callbacks)
        if state.global_step:
            attributes = stored.get(type(self).__name__, {}).get("attributes", {})
            self.losses = list(attributes.get("losses", []))
        # The Trainer expects an entry, which checkpoints of older versions lack.
        stored[type(self).__name__] = self.state()
        best = Path(str(args.output_dir)) / f"checkpoint-{state.best_global_step}"
        if state.best_global_step and best.is_dir():
            # What was saved may be the place of a folder that was moved since.
            state.best_model_checkpoint = str(best)


class CheckpointCallback(TrainerCallback):
    """After each save: the digests of what a resume reads, and no more checkpoints than allowed.

    The Trainer's own rotation takes every folder whose name begins with `checkpoint-` for one of
    its own, and would remove a copy that somebody has put aside.
    """

    def __init__(self, folder: Path, limit: int | None) -> None:
        self._folder, self._limit = folder, limit

    def on_save(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        PartialState().wait_for_everyone()  # each process writes its random state
        if args.should_save:
            write_digests(self._folder / f"checkpoint-{state.global_step}")
            self._remove(state, keep_last=True)

    def on_train_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        if args.should_save and self._limit == 1 and state.best_model_checkpoint:
            self._remove(state, keep_last=False)

    def _remove(self, state: TrainerState, *, keep_last: bool) -> None:
        last, best = f"checkpoint-{state.global_step}", state.best_model_checkpoint
        protected = {last} if keep_last else set[str]()
        if best:
            protected.add(Path(best).name)
        remove_old_checkpoints(
            self._folder, self._limit, protected=protected, up_to=state.global_step
        )


def flat_sample(sample: SystemSample) -> dict[str, float | None]:
    """A sample's numbers by their names in the tracked run, such as `gpu/0/utilization_percent`."""
    flat: dict[str, float | None] = {
        "host/cpu_percent": sample.get("cpu_percent"),
        "host/rss_bytes": sample.get("rss_bytes"),
    }
    for position, gpu in enumerate(sample.get("gpu") or []):
        index = position if gpu["index"] is None else gpu["index"]
        for name, value in gpu.items():
            if name not in ("index", "name"):
                flat[f"gpu/{index}/{name}"] = cast("float | None", value)
    return flat


def peak_rss_bytes() -> int:
    """The most memory that this process has held at once, by the kernel's own record."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024  # kilobytes everywhere but on macOS


class PeakGpuMemory(TypedDict):
    """Peak GPU memory, or null and the reason."""

    peak_gpu_memory_bytes: int | None
    peak_gpu_memory_reason: str | None


def peak_gpu_memory() -> PeakGpuMemory:
    """The most memory that torch has allocated in this process on its fullest GPU."""
    import torch

    gpus = range(torch.cuda.device_count())
    peak = max((torch.cuda.max_memory_allocated(gpu) for gpu in gpus), default=0)
    if not peak:  # no GPU, or none that was used
        return {"peak_gpu_memory_bytes": None, "peak_gpu_memory_reason": "trained on the CPU"}
    return {"peak_gpu_memory_bytes": peak, "peak_gpu_memory_reason": None}


class ResumableEarlyStopping(EarlyStoppingCallback):
    """Early stopping that a resume does not undo.

    If a run is killed after it stopped and before it ended, its resume makes one step more, which
    is neither evaluated nor saved. It keeps the step that it would have kept otherwise.
    """

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._stop_if_exhausted(control)

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._stop_if_exhausted(control)

    def _stop_if_exhausted(self, control: TrainerControl) -> None:
        if self.early_stopping_patience_counter >= self.early_stopping_patience:
            control.should_training_stop = True
            control.should_evaluate = control.should_save = False


class GuardedWandbCallback(WandbCallback):
    """The Trainer's W&B callback, except that a W&B that fails does not end the training.

    The original raises ConnectionResetError into the training loop if the client's background
    process is gone.
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
    """Replace the Trainer's W&B callback, if `report_to=["wandb"]` added it, by the guarded one."""
    if trainer.pop_callback(WandbCallback) is not None:
        trainer.add_callback(GuardedWandbCallback(tracker))
