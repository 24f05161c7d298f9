"""Tests of all rooms. One thread per worker: several workers with all CPUs each get in each other's way."""

import os

# Read by torch and its libraries when they are loaded, and inherited by the commands that tests start.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"
