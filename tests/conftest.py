"""Fixtures for all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real rows named by WEEKAHEAD_DATA (default `../shared/data`); skips where it is absent."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("WEEKAHEAD_DATA") or default)
    if not folder.is_dir():
        pytest.skip(
            f"no real rows at {folder}; name their folder in the environment variable WEEKAHEAD_DATA"
        )
    return folder
