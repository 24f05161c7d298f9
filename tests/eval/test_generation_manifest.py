"""The manifest of a folder of results, what starts that share it must agree on, and no run."""

import pytest

from data_pipeline.dataset.load import EvalData
from eval.generation.results_folder import ResultsFolder, rows_in_training_weeks
from eval.likelihoods.run import LIKELIHOOD_RESULTS
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
    data = EvalData(rows=rows, split="all", source="x", sha256="0")
    assert rows_in_training_weeks(trained, data) == count


def test_likelihoods_in_other_arithmetic_are_not_mixed_in(tmp_path):
    manifest = {"adapter": None, "dataset": {"rows": 2}}
    folder = ResultsFolder(tmp_path, LIKELIHOOD_RESULTS)
    assert folder.resume(manifest) == set()
    folder.begin("plain")
    folder.append([{"id": "a"}])
    again = ResultsFolder(tmp_path, LIKELIHOOD_RESULTS)
    assert again.resume(manifest) == {"a"}
    with pytest.raises(ValueError, match=r"begun on plain, and .* now makes it NF4"):
        again.begin("NF4")


def test_a_start_that_left_no_likelihoods_binds_nobody(tmp_path):
    first = ResultsFolder(tmp_path, LIKELIHOOD_RESULTS)
    first.resume({"adapter": None})
    first.begin("plain")
    again = ResultsFolder(tmp_path, LIKELIHOOD_RESULTS)
    assert again.resume({"adapter": "another"}) == set()
    again.begin("NF4")
    again.append([{"id": "a"}])
    with pytest.raises(ValueError, match="likelihoods made with other settings: adapter"):
        ResultsFolder(tmp_path, LIKELIHOOD_RESULTS).resume({"adapter": None})


@pytest.mark.parametrize(
    "reference", ["outputs/nothing-yet", "./nothing-yet", "/nowhere/nothing-yet"]
)
def test_a_run_that_is_not_here_is_never_asked_of_the_hub(reference, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    with pytest.raises(ValueError, match="train it first: make train RUN=nothing-yet"):
        find_adapter(reference)
