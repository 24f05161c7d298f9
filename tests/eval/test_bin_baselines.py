"""Forecasts from training frequencies, by hand: exact bins, distances, ranked probability."""

import pytest
from scipy import stats

from eval.metrics.baselines import Prediction
from eval.metrics.bin_baselines import bin_metrics, modal_bin, train_shares
from eval.metrics.evaluate import evaluate
from eval.metrics.probability_scores import expected_distance, rps
from tests.support.scorable_rows import UNREADABLE, market
from weekahead.task.labels import BINS

LABELS = {"up by 0-1%": 3, "up by 1-2%": 1}
"""In the order of the twelve bins these are numbers 6 and 7, next to each other."""


def predicted(bins):
    """Predictions by the number of their bin; None cannot be read."""
    sizes = {number: step - 0.5 for number, step in zip(range(6, 12), range(1, 7), strict=True)}
    sizes |= {number: -size for number, size in zip(range(5, -1, -1), sizes.values(), strict=True)}
    return [
        Prediction(None, None)
        if number is None
        else Prediction(1 if number > 5 else -1, sizes[number])
        for number in bins
    ]


def test_shares_and_the_modal_bin():
    shares = train_shares(LABELS)
    assert list(shares) == list(BINS) and sum(shares.values()) == 1
    assert shares["up by 0-1%"] == 0.75 and shares[BINS[0]] == 0
    assert modal_bin(shares) == "up by 0-1%"
    assert modal_bin(train_shares({"up by 0-1%": 2, "down by 0-1%": 2})) == "down by 0-1%"


@pytest.mark.parametrize(
    "labels", [{}, {"up by 0-1%": 0}, {"up": 3}, {"up by 0-1%": 3, "up by 1-2%": -1}]
)
def test_labels_that_are_no_counts_of_bins_are_refused(labels):
    with pytest.raises(ValueError, match="expected rows of each of the twelve bins"):
        train_shares(labels)


def test_expected_distance_by_hand():
    shares = train_shares(LABELS)
    assert expected_distance(shares, BINS[6]) == 0.25
    assert expected_distance(shares, BINS[0]) == pytest.approx(0.75 * 6 + 0.25 * 7)
    certain = {name: float(name == BINS[4]) for name in BINS}
    # Of a certain forecast the ranked probability score is its distance in elevenths.
    assert rps(certain, BINS[9]) == pytest.approx(expected_distance(certain, BINS[9]) / 11)


def test_baselines_by_hand():
    """Truths 6, 7, 5, 6; the run says 6, 7, nothing, 9: two exact of four, 3 bins off in three."""
    truths, said = predicted([6, 7, 5, 6]), predicted([6, 7, None, 9])
    found = bin_metrics(said, truths, None, LABELS)["bin_baselines"]
    modal, shares = found["train_modal_bin"], found["train_frequencies"]
    assert (modal["label"], shares["label"]) == ("up by 0-1%", None)
    assert modal["bin12_acc"] == 2 / 4 and shares["bin12_acc"] == (0.75 + 0.25 + 0 + 0.75) / 4
    assert modal["bin12_difference"]["difference"] == 0 and modal["bin12_difference"]["n"] == 4
    # On the three rows with a bin: the modal bin is 0, 1 and 0 off; the run 0, 0 and 3.
    assert modal["distance"] == pytest.approx(1 / 3)
    assert modal["distance_difference"]["difference"] == pytest.approx(3 / 3 - 1 / 3)
    assert shares["distance"] == pytest.approx((0.25 + 0.75 + 0.25) / 3)
    assert modal["rps"] == pytest.approx((0 + 1 + 1 + 0) / 4 / 11)
    # 6: 0.25^2; 7: 0.75^2; 5: 1 and 0.25^2; over eleven steps.
    assert shares["rps"] == pytest.approx((0.0625 + 0.5625 + 1.0625 + 0.0625) / 4 / 11)


def test_differences_are_the_t_test_on_weekly_means():
    rows = market(n=120, weeks=12)
    metrics, _ = evaluate(rows, train_labels=LABELS)
    difference = metrics["bin_baselines"]["train_modal_bin"]["bin12_difference"]
    truths = [row["label"] == "up by 0-1%" for row in rows]
    assert metrics["bin_baselines"]["train_modal_bin"]["bin12_acc"] == sum(truths) / 120
    hits = [
        row["generation"].split("Prediction: ")[1].split("\n")[0].lower() == row["label"]
        for row in rows
    ]
    means = [
        sum(hits[index] - truths[index] for index in range(week, 120, 12)) / 10
        for week in range(12)
    ]
    assert difference["p"] == pytest.approx(stats.ttest_1samp(means, 0).pvalue)
    assert difference["difference"] == pytest.approx(metrics["bin12_acc"] - sum(truths) / 120)


def test_what_cannot_be_known_is_null_with_a_reason():
    rows = market(n=12, weeks=12)
    unknown, _ = evaluate(rows)
    assert unknown["bin_baselines"] is None and "--train_data" in unknown["bin_baselines_reason"]
    silent, _ = evaluate([{**row, "generation": UNREADABLE} for row in rows], train_labels=LABELS)
    modal = silent["bin_baselines"]["train_modal_bin"]
    assert modal["distance"] is None and modal["distance_difference"]["difference"] is None
    assert modal["bin12_difference"]["n"] == 12
    one_week, _ = evaluate([{**row, "period": "w"} for row in rows], train_labels=LABELS)
    assert one_week["bin_baselines"]["train_modal_bin"]["bin12_difference"]["p"] is None
    no_truth, _ = evaluate([{"generation": None, "answer": ""}], train_labels=LABELS)
    assert no_truth["bin_baselines_reason"] == "no row has a true bin"
