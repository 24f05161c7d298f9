"""Tests of all rooms; one thread per worker, because workers share the CPUs."""

import os

# torch reads it when it is loaded; the commands that tests start inherit it.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
# `make test ARGS=...` would hand its ARGS on to each make that a test starts.
for _name in ("ARGS", "MAKEFLAGS", "MAKEOVERRIDES", "MFLAGS"):
    os.environ.pop(_name, None)
