"""Work that calls back, such as a model that writes, as a stream that somebody else reads."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

Item = TypeVar("Item")
Emit = Callable[[Item], None]
"""Passes one item on. Raises Stopped if nobody waits for it any more."""

_turn = threading.Lock()
"""One work at a time: a model that a reader has left may still be writing its next word."""


class Stopped(Exception):
    """The reader has left, or the time is up."""


class _Stream(Generic[Item]):
    """What the two threads share."""

    def __init__(self, seconds: float) -> None:
        self._items: queue.Queue[Item | BaseException | None] = queue.Queue()
        self._end = time.monotonic() + seconds
        self._seconds = seconds
        self.closed = threading.Event()

    def emit(self, item: Item) -> None:
        if self.closed.is_set() or self.left() <= 0:
            raise Stopped
        self._items.put(item)

    def left(self) -> float:
        """Seconds until the time is up."""
        return max(0.0, self._end - time.monotonic())

    def run(self, work: Callable[[Emit[Item]], None]) -> None:
        """Do the work in its own thread."""
        if not _turn.acquire(timeout=self.left()):
            return
        try:
            work(self.emit)
            self._items.put(None)
        except Stopped:
            pass
        except BaseException as error:  # it belongs to the reader's thread
            self._items.put(error)
        finally:
            _turn.release()

    def read(self) -> Iterator[Item]:
        while True:
            try:
                item = self._items.get(timeout=self.left())
            except queue.Empty:
                raise TimeoutError(
                    f"no whole answer within {self._seconds:g} s; ask for one model alone, or give "
                    'more time: ARGS="--timeout 600"'
                ) from None
            if item is None:
                return
            if isinstance(item, BaseException):
                raise item
            yield item


def streamed(work: Callable[[Emit[Item]], None], seconds: float) -> Iterator[Item]:
    """What `work` emits, as soon as it does; it runs in a thread of its own.

    If the reader closes the iterator, the work gets Stopped with the next item that it emits.
    Raises what the work raises, and TimeoutError after `seconds`, waiting for an earlier work
    included.
    """
    stream = _Stream[Item](seconds)
    threading.Thread(target=stream.run, args=(work,), name="forecast", daemon=True).start()
    try:
        yield from stream.read()
    finally:
        stream.closed.set()
