"""A limit on work that has to grow with its input alone."""

import time
from collections.abc import Iterator
from contextlib import contextmanager

SECONDS = 10.0
"""Of CPU time. Linear work on these tests' inputs takes about 2 s on the slowest CPU measured, and
work that grows with the square of the input takes minutes: neither the machine nor what runs beside
the test decides."""


@contextmanager
def linear_work() -> Iterator[None]:
    """Fail if the block takes what only work beyond linear takes."""
    start = time.process_time()
    yield
    spent = time.process_time() - start
    assert spent < SECONDS, f"{spent:.0f} s of CPU time: more than linear work can take"
