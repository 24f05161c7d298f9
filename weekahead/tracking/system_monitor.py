"""A thread that looks at cards, processor and memory every few seconds, whatever the training does."""

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from weekahead.tracking.gpu import read_gpus

log = logging.getLogger(__name__)

Sample = dict[str, Any]
_FIRST_WAIT_SECONDS = 0.2  # processor time can only be measured over a while


class HostMeter:
    """Processor and memory of this process and its children."""

    def __init__(self) -> None:
        self._time, self._used = time.monotonic(), 0.0
        self._used, _ = self._measure()

    def read(self) -> Sample:
        """`cpu_percent` since the last reading (100 is one core fully used) and `rss_bytes` (resident memory).

        Memory shared between the processes counts once for each of them.
        """
        used, rss = self._measure()
        now = time.monotonic()
        seconds = now - self._time
        percent = None if seconds <= 0 else round(100 * max(used - self._used, 0.0) / seconds, 1)
        self._time, self._used = now, used
        return {"cpu_percent": percent, "rss_bytes": rss}

    def _measure(self) -> tuple[float, int]:
        """Processor seconds used so far, those of ended children included, and resident bytes now."""
        import psutil

        own = psutil.Process()
        used, rss = 0.0, 0
        for process in [own, *own.children(recursive=True)]:
            try:
                times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:  # it ended in between
                continue
            used += times.user + times.system + times.children_user + times.children_system
            rss += memory.rss
        return used, rss


def read_system(meter: HostMeter) -> Sample:
    """One sample: `gpu` (a list of cards, or None), `gpu_reason` (why None), `cpu_percent`, `rss_bytes`."""
    gpus, reason = read_gpus()
    return {"gpu": gpus, "gpu_reason": reason, **meter.read()}


class SystemMonitor:
    """Calls `on_sample` with one sample soon after `start` and then every `interval_seconds` until `stop`.

    A sampler that was started and stopped has always given at least one sample. An error in it is a warning
    and ends the sampling, never the program.
    """

    def __init__(self, on_sample: Callable[[Sample], None], interval_seconds: float = 5.0) -> None:
        self.latest: Sample | None = None
        self._on_sample, self._interval = on_sample, interval_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system-sampler", daemon=True)

    def start(self) -> None:
        """Start the thread; a sampler can be started once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for a sample that is under way. Harmless twice or before `start`."""
        self._stopped.set()
        if self._thread.is_alive():
            self._thread.join(timeout=10)

    def _work(self) -> None:
        try:
            meter = HostMeter()
            self._stopped.wait(_FIRST_WAIT_SECONDS)
            while True:
                self.latest = read_system(meter)
                self._on_sample(self.latest)
                if self._stopped.wait(self._interval):
                    return
        except (
            Exception
        ) as error:  # a thread's last frame: whatever it is, training must not end for it
            log.warning("system sampling ended: %s: %s", type(error).__name__, error)
