"""What a manifest tells of the rows beside the training, and a run that is not here."""

import pytest

from data_pipeline.dataset.load import EvalData
from eval.generation.results_folder import rows_in_training_weeks
from weekahead.models.loading import find_adapter


@pytest.mark.parametrize(
    ("trained", "count"),
    [
        ({"dataset": {"last_train_week": "2026-01-11"}}, 2),
        ({"dataset": {"last_train_week": "2025-12-28"}}, 0),
        ({"dataset": {}}, None),  # trained before this was written down
        (None, None),
    ],
)
def test_rows_of_weeks_that_training_reached_are_counted(trained, count):
    rows = [{"week_start": day} for day in ("2026-01-04", "2026-01-11", "2026-01-18")]
    assert rows_in_training_weeks(trained, EvalData(rows=rows, split="all", source="x", sha256="0")) == count


@pytest.mark.parametrize(
    "reference", ["outputs/nothing-yet", "./nothing-yet", "/nowhere/nothing-yet"]
)
def test_a_run_that_is_not_here_is_never_asked_of_the_hub(reference, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(ValueError, match="train it first: make train RUN=nothing-yet"):
        find_adapter(reference)
