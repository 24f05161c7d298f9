"""A thread that reads GPUs, processor and memory every few seconds while a model trains."""

import logging
import threading
import time
from collections.abc import Callable

from weekahead.schema.rows import HostSample, SystemSample
from weekahead.tracking.gpu import read_gpus

log = logging.getLogger(__name__)

_FIRST_WAIT_SECONDS = 0.2  # processor time can only be measured over a while


class HostMeter:
    """Processor and memory of this process and its children."""

    def __init__(self) -> None:
        self._time = time.monotonic()
        self._cpu_seconds, _ = self._measure()

    def read(self) -> HostSample:
        """The processor time since the last reading and the memory now."""
        cpu_seconds, rss = self._measure()
        now = time.monotonic()
        seconds = now - self._time
        percent = None
        if seconds > 0:
            percent = round(100 * max(cpu_seconds - self._cpu_seconds, 0.0) / seconds, 1)
        self._time, self._cpu_seconds = now, cpu_seconds
        return {"cpu_percent": percent, "rss_bytes": rss}

    def _measure(self) -> tuple[float, int]:
        """Processor seconds used so far, with those of ended children, and resident bytes now."""
        import psutil

        own = psutil.Process()
        cpu_seconds, rss = 0.0, 0
        for process in [own, *own.children(recursive=True)]:
            try:
                times, memory = process.cpu_times(), process.memory_info()
            except psutil.Error:  # it ended in between
                continue
            cpu_seconds += times.user + times.system + times.children_user + times.children_system
            rss += memory.rss
        return cpu_seconds, rss


def read_system(meter: HostMeter) -> SystemSample:
    """What the machine does now."""
    gpus, reason = read_gpus()
    return {"gpu": gpus, "gpu_reason": reason, **meter.read()}


class SystemMonitor:
    """Calls `on_sample` soon after `start` and then every `interval_seconds` until `stop`.

    A monitor that was started and stopped has given at least one sample. An error in it is a
    warning and ends the monitoring, never the program.
    """

    def __init__(
        self, on_sample: Callable[[SystemSample], None], interval_seconds: float = 5.0
    ) -> None:
        self.latest: SystemSample | None = None
        self._on_sample, self._interval = on_sample, interval_seconds
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system-monitor", daemon=True)

    def start(self) -> None:
        """Start the thread; a monitor can be started once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop the thread and wait for a sample that is under way.

        Harmless if called twice or before `start`.
        """
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
        except Exception as error:  # the last frame of a thread: no error here may end a training
            log.warning("system sampling ended: %s: %s", type(error).__name__, error)
