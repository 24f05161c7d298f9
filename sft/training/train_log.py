"""`train_log.jsonl` as one clean series, and the speed of training between two of its rows."""

import math
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerState

from weekahead.files import Row, append_jsonl, read_log, write_jsonl


class TrainLog:
    """`train_log.jsonl`: one series of rows, also over interrupts. Safe to add to from several threads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        self._zero = time.monotonic()

    def begin(self, step: int) -> None:
        """Start the clock at `step` (0 is a new training).

        What an interrupted attempt wrote beyond `step` is cut off, since it is about to be done again, and so is
        the row that ended an earlier training. The clock goes on from the last row kept.
        """
        rows = read_log(self.path) if step else []
        kept = [row for row in rows if row["step"] <= step and row["kind"] != "end"]
        write_jsonl(self.path, kept)
        self._zero = time.monotonic() - (kept[-1]["time"] if kept else 0.0)

    def add(self, kind: str, step: int, epoch: float, values: dict[str, Any]) -> dict[str, Any]:
        """Write one row and return it; a number that is not finite is unknown, so null."""
        row = {
            "step": step,
            "epoch": round(epoch, 6),
            "time": round(time.monotonic() - self._zero, 3),
            "kind": kind,
        }
        row |= {name: _finite(value) for name, value in values.items()}
        with self._lock:
            append_jsonl(self.path, [row])
        return row


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not math.isfinite(value) else value


def mean_loss(history: Sequence[Row]) -> float | None:
    """The mean over steps of the logged losses, each the mean since the one before; steps after the last are left out.

    The Trainer's own `train_loss` is of the steps since the resume. Steps between a checkpoint and the log row before
    it count with the row after it: the Trainer forgets their losses.
    """
    logged = [(row["step"], row["loss"]) for row in history if "loss" in row]
    steps = [
        step - before for (step, _), (before, _) in zip(logged, [(0, 0.0), *logged], strict=False)
    ]
    return (
        sum(n * loss for n, (_, loss) in zip(steps, logged, strict=True)) / sum(steps)
        if logged
        else None
    )


class ThroughputMeter:
    """Tokens, samples and steps a second of training proper: evaluation and saving are left out of the time."""

    def __init__(self, state: TrainerState) -> None:
        self.total_seconds = 0.0
        self.first = self._counts(state)
        self._last, self._since, self._mark, self._paused = (
            self.first,
            time.monotonic(),
            time.monotonic(),
            0.0,
        )

    @staticmethod
    def _counts(state: TrainerState) -> tuple[int, float, int]:
        return state.num_input_tokens_seen, state.epoch or 0.0, state.global_step

    def mark(self) -> None:
        """The end of a step: what comes until `resume` is no training."""
        self._mark = time.monotonic()

    def resume(self) -> None:
        """The end of an evaluation or a save."""
        now = time.monotonic()
        self._paused, self._mark = self._paused + now - self._mark, now

    def read(
        self, state: TrainerState, rows: int | None, counts_tokens: bool
    ) -> dict[str, float | None]:
        """Rates since the last reading; `rows` is the length of the training set (None: no rate of samples)."""
        now = time.monotonic()
        seconds = now - self._since - self._paused
        speeds = _rates(self._last, self._counts(state), seconds, rows, counts_tokens)
        self.total_seconds += seconds
        self._last, self._since, self._mark, self._paused = self._counts(state), now, now, 0.0
        return speeds


def _rates(
    before: tuple[int, float, int],
    after: tuple[int, float, int],
    seconds: float,
    rows: int | None,
    counts_tokens: bool,
) -> dict[str, float | None]:
    """Rates between two counts of (tokens, epochs, steps); None where the count or the time is unknown.

    Samples come from the epochs and not from steps times batch, which counts an epoch's short last batch as full.
    """
    tokens, epochs, steps = (b - a for a, b in zip(before, after, strict=True))
    known = seconds > 0
    return {
        "tokens_per_second": tokens / seconds if known and counts_tokens else None,
        "samples_per_second": epochs * rows / seconds if known and rows is not None else None,
        "steps_per_second": steps / seconds if known else None,
    }
