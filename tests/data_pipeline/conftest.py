"""Fixtures for the tests of the data pipeline."""

import os

import pytest

from data_pipeline.providers.table import FUNDAMENTALS_PROVIDERS, NEWS_PROVIDERS


@pytest.fixture(autouse=True)
def no_keys_of_the_developer(monkeypatch, tmp_path):
    """A test has the keys that it sets, and a folder without the checkout's `.env`."""
    keys = {provider.KEY_VARIABLE for provider in (*NEWS_PROVIDERS, *FUNDAMENTALS_PROVIDERS)}
    for name in list(os.environ):
        if name in keys or name.startswith("OPENAI_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
