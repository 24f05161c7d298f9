"""Probabilities and bins in a report: differences between runs, baselines, the picture."""

import json
import random
import struct

import pytest
from scipy import stats

from eval.metrics.statistics import clustered_mean
from eval.report.comparisons import ACCURACY, BRIER, RANKED, compare_runs
from eval.report.figures import draw_reliability
from eval.report.runs import load_runs
from eval.report.tables.bins import bins
from eval.report.tables.comparisons import comparisons
from eval.report.tables.probabilities import likelihood
from eval.score import score_files
from tests.support.report_runs import (
    WEEKS,
    generation_rows,
    likelihood_row,
    make_pair,
    make_run,
)
from weekahead.files import read_jsonl, write_json, write_jsonl

ROWS = generation_rows(lambda week: 3)


def asked_run(folder, up_of, **manifest):
    """A run whose probability of a rise is `up_of(row)`, None for a row without likelihoods."""
    ups = [(row, up_of(row)) for row in ROWS]
    lines = [likelihood_row(row, "own", up) for row, up in ups if up is not None]
    write_jsonl(folder / "likelihoods.jsonl", lines)
    return make_run(folder, ROWS, **manifest)


def between_runs(folders):
    compared = compare_runs(load_runs(folders))
    return {shown.measure: shown for shown in compared.comparisons if shown.between_runs}


def rose(row):
    return float(row["label"].startswith("up"))


def test_probabilities_are_compared_on_common_rows(tmp_path):
    """Each run lacks one row of the first week."""

    def informed(row):
        return None if row["id"] == "F0-2024-01-07" else 0.3 + 0.4 * rose(row)

    def blind(row):
        return None if row["id"] == "F1-2024-01-07" else 0.5 + 0.01 * int(row["symbol"][1])

    tuned = asked_run(tmp_path / "tuned", informed, adapter="a")
    found = between_runs([asked_run(tmp_path / "base", blind), tuned])
    assert list(found) == [ACCURACY, BRIER, RANKED]
    common = [row for row in ROWS if row["id"] not in ("F0-2024-01-07", "F1-2024-01-07")]
    differences = [0.3**2 - (blind(row) - rose(row)) ** 2 for row in common]
    expected = clustered_mean(differences, [row["week_end"] for row in common])
    brier = found[BRIER]
    assert (brier.run, brier.other, brier.n) == ("tuned", "base", 38)
    assert (brier.difference, brier.p) == pytest.approx((expected.mean, expected.p))
    assert found[RANKED].difference < 0 and found[RANKED].n == 38


def test_whole_weeks_give_diebold_and_mariano_by_week(tmp_path):
    """With weeks of equal size it is the t test on the weekly mean differences."""
    draw = random.Random(3)
    ours, theirs = ({row["id"]: draw.uniform(0.1, 0.9) for row in ROWS} for _ in range(2))
    base = asked_run(tmp_path / "base", lambda row: theirs[row["id"]])
    tuned = asked_run(tmp_path / "tuned", lambda row: ours[row["id"]], adapter="a")
    means = []
    for week in WEEKS:
        differences = [
            (ours[row["id"]] - rose(row)) ** 2 - (theirs[row["id"]] - rose(row)) ** 2
            for row in ROWS
            if row["week_end"] == week
        ]
        means.append(sum(differences) / 5)
    found = between_runs([base, tuned])[BRIER]
    assert found.difference == pytest.approx(sum(means) / len(WEEKS))
    assert found.p == pytest.approx(stats.ttest_1samp(means, 0).pvalue)


def test_secondary_results_use_no_verdict_words(tmp_path):
    folders = [asked_run(tmp_path / name, lambda row: 0.2 + 0.6 * rose(row)) for name in "ab"]
    compared = compare_runs(load_runs(folders))
    for table in (comparisons, likelihood, bins):
        cells = [cell for row in table(compared).rows for cell in row]
        words = " ".join([cell.text + " ".join(cell.details) for cell in cells])
        assert "better" not in words and "worse" not in words


def test_probabilities_without_a_partner_are_not_compared(tmp_path):
    asked = asked_run(tmp_path / "asked", lambda row: 0.5)
    silent = make_run(tmp_path / "silent", ROWS)
    assert list(between_runs([asked, silent])) == [ACCURACY]
    other = asked_run(tmp_path / "other", lambda row: 0.4)
    older = [
        {key: value for key, value in row.items() if not key.startswith("direct_")}
        for row in read_jsonl(other / "scored.jsonl")
    ]
    write_jsonl(other / "scored.jsonl", older)
    brier = between_runs([asked, other])[BRIER]
    assert brier.difference is None and "run eval.score again" in brier.why


def test_reliability_has_a_panel_for_each_question(tmp_path):
    folder = asked_run(tmp_path / "a", lambda row: 0.3)
    figure = draw_reliability(compare_runs(load_runs([folder])), tmp_path / "figures")
    assert figure.alt == (
        "a, asked at once: 1 tenths with rows; a, asked after its answer: 1 tenths with rows"
    )
    both = png_size(figure.path)
    write_jsonl(folder / "likelihoods.jsonl", [likelihood_row(row, "direct") for row in ROWS])
    score_files([folder / "generations.jsonl"], folder)
    alone = draw_reliability(compare_runs(load_runs([folder])), tmp_path / "figures")
    width, height = png_size(alone.path)
    assert width == both[0] and height < both[1]
    assert draw_reliability(compare_runs(load_runs(make_pair(tmp_path))), tmp_path) is None


def png_size(path):
    """Width and height in pixels."""
    return struct.unpack(">II", path.read_bytes()[16:24])


@pytest.mark.parametrize(
    ("prefixes", "own", "asked"),
    [
        ({"own": 40}, True, "after its answer: 40"),
        ({"own": 30, "direct": 10}, False, "after its answer: 30, at once: 10"),
        ({}, False, "–"),
    ],
    ids=["one question", "mixed", "not stated"],
)
def test_older_probabilities_stand_under_their_question(tmp_path, prefixes, own, asked):
    """A file from before the questions were told apart; mixed ones are in no picture."""
    folder = asked_run(tmp_path / "a", lambda row: 0.3)
    stored = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    for name in ("own", "direct", "rps_skill", "ece_perfect"):
        del stored["likelihood"][name]
    stored["likelihood"]["prefixes"] = prefixes
    write_json(folder / "metrics.json", stored)
    compared = compare_runs(load_runs([folder]))
    found = compared.runs[0].metrics["likelihood"]
    assert (found["own"] is not None) == own and found["direct"] is None
    table = likelihood(compared)
    assert [row[1].text for row in table.rows] == [asked]
    perfect = table.rows[0][table.columns.index("Of a perfect forecaster")]
    assert perfect.text == "–" and "run eval.score again" in perfect.details[0]
    assert (draw_reliability(compared, tmp_path / "figures") is not None) == own


def test_bins_stand_beside_their_baselines(tmp_path):
    labels = {"up by 0-1%": 3, "up by 1-2%": 1}
    folder = make_run(tmp_path / "a", ROWS, train_labels=labels)
    score_files([folder / "generations.jsonl"], folder)
    runs = load_runs([folder])
    table = bins(compare_runs(runs))
    cells = dict(zip(table.columns, table.rows[0], strict=True))
    exact = sum(row["label"] == "up by 0-1%" for row in ROWS) / 40
    assert cells["Train-modal bin"].value == exact
    assert cells["Train-modal bin"].details[0].startswith("run minus it: ")
    assert cells["Distance in bins"].n == 38 and table.note.endswith("in training: up by 0-1%.")
    without = bins(compare_runs(load_runs([make_run(tmp_path / "b", ROWS)])))
    assert "no train_labels in manifest.json" in without.rows[0][2].details[0]


def test_the_skill_of_probabilities_names_its_reference(tmp_path):
    folder = asked_run(tmp_path / "a", lambda row: 0.3 + 0.4 * rose(row))
    score_files([folder / "generations.jsonl"], folder, {"up by 0-1%": 1, "down by 0-1%": 1})
    table = likelihood(compare_runs(load_runs([folder])))
    for row in table.rows:
        cell = row[table.columns.index("Skill over train frequencies")]
        assert cell.value > 0 and cell.ci95 and "their score: 0." in cell.details[-1]
