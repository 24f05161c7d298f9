"""`train_log.jsonl` as one clean series, and the speed of training between two of its rows."""

import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, cast

from transformers import TrainerState

from sft.training.divergence import finite
from weekahead.files import append_jsonl, read_log, write_jsonl
from weekahead.schema.manifests import JsonObject
from weekahead.schema.rows import TrainLogRow


class TrainLog:
    """`train_log.jsonl`: one series of rows, also over interrupts. Safe to use from threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._start = time.monotonic()

    def begin(self, step: int) -> None:
        """Start the clock at `step`; 0 is a new training.

        Rows that an interrupted attempt wrote after `step` are removed, since those steps are done
        again, and so is the row that ended an earlier training. The clock goes on from the last
        row that stays.
        """
        rows = read_log(self.path) if step else []
        valid = [row for row in rows if row["step"] <= step and row["kind"] != "end"]
        write_jsonl(self.path, valid)
        self._start = time.monotonic() - (valid[-1]["time"] if valid else 0.0)

    def add(self, kind: str, step: int, epoch: float, values: Mapping[str, Any]) -> TrainLogRow:
        """Write one row and return it; a number that is not finite is unknown, so null."""
        row: JsonObject = {
            "step": step,
            "epoch": round(epoch, 6),
            "time": round(time.monotonic() - self._start, 3),
            "kind": kind,
        }
        row |= {name: finite(value) for name, value in values.items()}
        with self._lock:
            append_jsonl(self.path, [row])
        return cast("TrainLogRow", row)

    def rows(self) -> list[TrainLogRow]:
        """All rows of the file."""
        return [cast("TrainLogRow", row) for row in read_log(self.path)]


def mean_loss(history: Sequence[Mapping[str, Any]]) -> float | None:
    """The mean training loss over all steps, from the Trainer's log history; None without a row.

    A logged loss is the mean since the row before it. Steps after the last row are left out. The
    Trainer's own `train_loss` covers only the steps since the resume. Steps between a checkpoint
    and the row before it count with the row after it: the Trainer forgets their losses.
    """
    total, previous_step = 0.0, 0
    for row in history:
        if "loss" in row:
            total += (row["step"] - previous_step) * row["loss"]
            previous_step = row["step"]
    return total / previous_step if previous_step else None


class Counts(NamedTuple):
    """How far a training has come."""

    tokens: int
    epochs: float
    steps: int


class ThroughputMeter:
    """Tokens, samples and steps per second of training proper, without evaluation and saving."""

    def __init__(self, state: TrainerState) -> None:
        self.total_seconds = 0.0
        self.first = self._counts(state)
        now = time.monotonic()
        self._last, self._since, self._step_end, self._paused = self.first, now, now, 0.0

    @staticmethod
    def _counts(state: TrainerState) -> Counts:
        return Counts(state.num_input_tokens_seen, state.epoch or 0.0, state.global_step)

    def mark(self) -> None:
        """Note the end of a step: the time from here until `resume` is not training."""
        self._step_end = time.monotonic()

    def resume(self) -> None:
        """Note the end of an evaluation or a save."""
        now = time.monotonic()
        self._paused, self._step_end = self._paused + now - self._step_end, now

    def read(
        self, state: TrainerState, *, rows: int | None, counts_tokens: bool
    ) -> dict[str, float | None]:
        """The rates since the last reading; a rate is None if its count or the time is unknown.

        `rows` is the length of the training set. Samples are counted from epochs: steps times batch
        would count the short last batch of an epoch as full.
        """
        now = time.monotonic()
        seconds = now - self._since - self._paused
        counts, before = self._counts(state), self._last
        self.total_seconds += seconds
        self._last, self._since, self._step_end, self._paused = counts, now, now, 0.0
        if seconds <= 0:
            return dict.fromkeys(("tokens_per_second", "samples_per_second", "steps_per_second"))
        tokens = counts.tokens - before.tokens if counts_tokens else None
        samples = None if rows is None else (counts.epochs - before.epochs) * rows
        return {
            "tokens_per_second": None if tokens is None else tokens / seconds,
            "samples_per_second": None if samples is None else samples / seconds,
            "steps_per_second": (counts.steps - before.steps) / seconds,
        }
