"""Signals that ask a command to end: Ctrl-C, SIGTERM of a scheduler, SIGHUP of a closed terminal.

The first one raises `Interrupted`, or is noted while something must come to its end (`postponed`).
A second one ends the process at once. A process that a launcher started ends with it, so that no
launcher leaves an orphan, even if it was killed.
"""

import asyncio
import atexit
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

SIGNALS = tuple(
    getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name)
)
HANGUP = getattr(signal, "SIGHUP", None)
LAUNCHER = "WEEKAHEAD_LAUNCHER"
"""The variable with the ids of processes without which this one has to end, such as make's."""

_OF_A_LAUNCHER = ("ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID")
"""Variables that `accelerate launch` and torchrun set for the processes they start."""
_ONE_SIGNAL_SECONDS = 1.0
"""Signals within this time count as one: a terminal, make and a launcher may each pass it on."""
_WATCH_SECONDS = 0.25


class Interrupted(KeyboardInterrupt):
    """A signal asked this process to end. `note` says what was done before, such as saving."""

    def __init__(self, number: int = signal.SIGINT, note: str = "") -> None:
        super().__init__(number)
        self.number = number
        self.note = note

    @property
    def what(self) -> str:
        """What follows the word "interrupted": the signal, unless it was Ctrl-C, and the note."""
        by = "" if self.number == signal.SIGINT else f" by {signal.Signals(self.number).name}"
        return f"{by}; {self.note}" if self.note else by

    @property
    def status(self) -> int:
        """The exit status, as a shell gives it: 130 after SIGINT, 143 after SIGTERM."""
        return 128 + self.number


@dataclass
class _State:
    """What the handler knows; there is one, as there is one table of handlers per process."""

    owner: int = 0
    """The process that listens; a process forked from it has inherited the handlers."""
    line: str = ""
    """What is printed if the process ends at once."""
    number: int | None = None
    """The first signal."""
    when: float = 0.0
    waiting_for: str | None = None
    """What a signal has to wait for; None if it raises."""


_state = _State()


@contextmanager
def listening(line: str) -> Generator[None]:
    """Handle the signals while this is open; `line` is what an end without delay prints.

    Inside another `listening`, and in another thread than the main one, it does nothing. A SIGHUP
    that is ignored (`nohup`) stays so.
    """
    in_main_thread = threading.current_thread() is threading.main_thread()
    if _state.owner == os.getpid() or not in_main_thread:
        yield
        return
    _state.__dict__.update(_State(owner=os.getpid(), line=line).__dict__)
    with _handled_by(_handle):
        _end_with_the_launcher()
        try:
            yield
        finally:
            _state.owner = 0
            # Last registered, first called: while Python shuts down there is nothing to save, and
            # the status of what was done must stay.
            atexit.unregister(_ignore_signals)
            atexit.register(_ignore_signals)


def _ignore_signals() -> None:
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)


@contextmanager
def postponed(what: str) -> Generator[_State]:
    """Only note a signal while this is open (see `noted`): it has to wait for `what`."""
    before, _state.waiting_for = _state.waiting_for, what
    try:
        yield _state
    finally:
        _state.waiting_for = before


@contextmanager
def whole(what: str) -> Generator[None]:
    """Let `what` come to its end, such as the start of a library; a signal raises after it.

    An exception in the middle of a library may be lost there, or leave it half made. It raises
    also if `what` fails. Inside `postponed` the signal goes on waiting for what it waits for.
    """
    before = _state.number
    try:
        with postponed(_state.waiting_for or what):
            yield
    finally:
        if _state.number != before and _state.waiting_for is None:
            raise Interrupted(_state.number or signal.SIGINT)


def noted() -> int | None:
    """The number of the signal that came; None if none did."""
    return _state.number


@contextmanager
def handled_by_loop(handler: Callable[[int], None]) -> Generator[None]:
    """Give the number of every signal to `handler`, in the running event loop, while this is open.

    Signals that count as one (see `listening`) are given once. In another thread than the main one
    it does nothing, since no signal comes there.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = _not_ignored(before)

    def pass_on(number: int) -> None:
        now = time.monotonic()
        if _state.number is not None and now - _state.when < _ONE_SIGNAL_SECONDS:
            return
        _state.number, _state.when = number, now
        handler(number)

    for number in ours:
        loop.add_signal_handler(number, pass_on, number)
    try:
        yield
    finally:
        for number in ours:
            loop.remove_signal_handler(number)
            signal.signal(number, before[number])


@contextmanager
def _handled_by(handler: Any) -> Generator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    ours = _not_ignored(before)
    for number in ours:
        signal.signal(number, handler)
    try:
        yield
    finally:
        # The same signal may come once more, from make or a launcher, while Python shuts down.
        ended = _state.number is not None
        for number in ours:
            signal.signal(number, signal.SIG_IGN if ended else before[number])


def _not_ignored(handlers: Mapping[int, Any]) -> list[int]:
    """The signals to handle: all but a SIGHUP that `nohup` has switched off.

    A shell starts background commands with SIGINT switched off; a SIGINT to one of them is meant.
    """
    return [
        number
        for number, handler in handlers.items()
        if number != HANGUP or handler is not signal.SIG_IGN
    ]


def _handle(number: int, frame: FrameType | None) -> None:
    del frame
    if os.getpid() != _state.owner:  # a worker that was forked: it dies as it would without us
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        return
    now = time.monotonic()
    if _state.number is not None:
        if now - _state.when >= _ONE_SIGNAL_SECONDS:
            _end_at_once(_state.number)
        return
    _state.number, _state.when = number, now
    if _state.waiting_for is None:
        raise Interrupted(number)
    _say(
        f"{signal.Signals(number).name}: waiting for {_state.waiting_for}; "
        "a second signal does not wait"
    )


def _end_at_once(number: int) -> None:
    import psutil

    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            child.kill()
    _say(_state.line)
    os._exit(128 + number)


def _say(text: str) -> None:
    """Print one line on standard error, in the first of several processes; safe in a handler."""
    if os.environ.get("RANK", "0") == "0":
        with contextlib.suppress(OSError):
            os.write(2, f"\n{text}\n".encode())


def close_progress_bars() -> None:
    """End the line of every progress bar, so that the next text begins a line."""
    tqdm = sys.modules.get("tqdm")
    for bar in list(getattr(getattr(tqdm, "tqdm", None), "_instances", ())):
        with contextlib.suppress(Exception):
            bar.close()


def _end_with_the_launcher() -> None:
    """Start a thread that sends this process SIGTERM when a process that launched it is gone."""
    launchers = [int(word) for word in os.environ.get(LAUNCHER, "").split() if word.isdecimal()]
    parent = os.getppid() if any(name in os.environ for name in _OF_A_LAUNCHER) else None
    if not launchers and parent is None:
        return

    def watch() -> None:
        while _state.owner == os.getpid():
            lost_parent = parent is not None and os.getppid() != parent
            if lost_parent or not all(map(_is_alive, launchers)):
                os.kill(os.getpid(), signal.SIGTERM)
                return
            time.sleep(_WATCH_SECONDS)

    threading.Thread(target=watch, name="launcher-watch", daemon=True).start()


def _is_alive(process_id: int) -> bool:
    """Whether a process runs; one that ended and that nobody has waited for does not."""
    try:
        os.kill(process_id, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    with contextlib.suppress(OSError):
        stat = Path(f"/proc/{process_id}/stat").read_text()
        return stat.rpartition(")")[2].split()[0] not in "ZX"
    return True
