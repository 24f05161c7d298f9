"""Scores of probabilities against numbers worked by hand, and their place in metrics.json."""

import json
import math
from datetime import date, timedelta

import numpy
import pytest
from scipy import stats as scipy_stats

from eval.metrics.perfect_calibration import perfect_calibration
from eval.metrics.probability import (
    agreement,
    likelihood_metrics,
    probability_metrics,
    reliability_points,
    with_probabilities,
)
from eval.metrics.probability_scores import (
    brier,
    calibration,
    direction_hits,
    expected_calibration_error,
    log_score,
    rps,
)
from eval.metrics.statistics import clustered_mean, paired_difference, skill_score
from eval.score import main
from tests.support.scorable_rows import market
from weekahead.files import read_jsonl, write_jsonl
from weekahead.schema.metrics import Metrics
from weekahead.task.labels import BINS

EVEN = dict.fromkeys(BINS, 1 / 12)


def row(up, label, number=0, **more):
    """A row whose up bins share `up` evenly, and its down bins the rest; weeks from its number."""
    probs = {name: (up if name.startswith("up") else 1 - up) / 6 for name in BINS}
    logs = {name: math.log(p) - 2 if p else -1000.0 for name, p in probs.items()}
    week = str(date(2024, 1, 1) + timedelta(weeks=number))
    return {
        "id": f"A-{week}",
        "week_end": week,
        "label": label,
        "probs": probs,
        "logprobs": logs,
        "up": up,
        **more,
    }


def certain(label):
    return {name: float(name == label) for name in BINS}


def test_the_likelier_direction_is_predicted_and_a_tie_is_wrong():
    assert direction_hits(
        [0.6, 0.6, 0.4, 0.4, 0.5, 0.5], [True, False, True, False, True, False]
    ) == [
        True,
        False,
        False,
        True,
        False,
        False,
    ]


def test_brier_is_the_squared_distance():
    assert [
        brier(0.8, True),
        brier(0.8, False),
        brier(0.5, True),
        brier(1.0, True),
    ] == pytest.approx([0.04, 0.64, 0.25, 0])


def test_rps_by_hand():
    assert rps(certain("up by 2-3%"), "up by 2-3%") == 0
    # One bin off: one of the eleven cumulative steps is wrong by 1; from end to end all eleven are.
    assert rps(certain("up by 1-2%"), "up by 2-3%") == pytest.approx(1 / 11)
    assert rps(certain("up by 2-3%"), "up by 1-2%") == pytest.approx(1 / 11)
    assert rps(certain("up by 0-1%"), "down by 0-1%") == pytest.approx(1 / 11)
    assert rps(certain(BINS[0]), BINS[-1]) == rps(certain(BINS[-1]), BINS[0]) == 1
    # Even odds, the best week comes: the sum of (k/12)^2 for k = 1..11 is 506/144.
    assert rps(EVEN, BINS[-1]) == pytest.approx(506 / 144 / 11)
    # Half of it one bin below the truth, half one above: (1/2)^2 for each of the two steps.
    half = {**certain(BINS[0]), BINS[0]: 0.5, BINS[2]: 0.5}
    assert rps(half, BINS[1]) == pytest.approx((0.25 + 0.25) / 11)


def test_log_score_is_the_log_of_the_true_bins_probability():
    assert log_score(dict.fromkeys(BINS, -40.0), "up by 0-1%") == pytest.approx(-math.log(12))
    logs = {**dict.fromkeys(BINS, -math.inf), BINS[0]: -3.0, BINS[1]: -3.0 + math.log(3)}
    assert log_score(logs, BINS[1]) == pytest.approx(math.log(3 / 4))
    # A probability too small for a float still has a log.
    assert log_score({**dict.fromkeys(BINS, -5000.0), BINS[0]: -1.0}, BINS[3]) == pytest.approx(
        -4999
    )


def test_calibration_bins_and_their_error_by_hand():
    bins = calibration([0.0, 0.05, 0.1, 0.72, 0.78, 1.0], [False, True, False, True, True, False])
    assert [name["n"] for name in bins] == [2, 1, 0, 0, 0, 0, 0, 2, 0, 1]
    assert (bins[0]["mean_p"], bins[0]["share_up"]) == (0.025, 0.5)
    assert (bins[7]["low"], bins[7]["high"], bins[7]["mean_p"]) == (0.7, 0.8, 0.75)
    assert (bins[2]["mean_p"], bins[2]["share_up"]) == (None, None)
    # (2 * 0.475 + 1 * 0.1 + 2 * 0.25 + 1 * 1) / 6
    assert expected_calibration_error(bins) == pytest.approx(2.55 / 6)
    assert expected_calibration_error(calibration([], [])) is None


def test_every_boundary_belongs_to_the_bin_above_it():
    bins = calibration([tenth / 10 for tenth in range(10)], [True] * 10)
    assert [name["n"] for name in bins] == [1] * 10


def test_agreement_is_over_answers_that_state_a_direction():
    rows = [{"up": up} for up in (0.9, 0.9, 0.2, 0.2, 0.5, 0.7)]
    assert agreement(rows, [1, -1, -1, 0, 1, None]) == {"share": 2 / 4, "n": 4}
    assert agreement(rows[:1], [None]) == {"share": None, "n": 0}


def test_scores_have_clustered_intervals_and_two_references():
    ups, rose = [0.8, 0.8, 0.3, 0.6, 0.9, 0.5, 0.7, 0.2], [1, 1, 0, 0, 1, 1, 1, 0]
    labels = ["up by 0-1%" if is_up else "down by 0-1%" for is_up in rose]
    rows = [
        row(up, label, number, train_up_share=0.6)
        for number, (up, label) in enumerate(zip(ups, labels, strict=True))
    ]
    squares = [0.04, 0.04, 0.09, 0.36, 0.01, 0.25, 0.09, 0.04]
    metrics = probability_metrics(rows)
    estimate = clustered_mean(squares, range(8))
    assert metrics["brier"]["mean"] == pytest.approx(0.92 / 8)
    assert metrics["brier"]["ci95"] == pytest.approx(list(estimate.ci95))
    assert (metrics["direction_accuracy"]["mean"], metrics["direction_accuracy"]["n"]) == (6 / 8, 8)
    # The constant 0.6: five rises cost 0.16 each, three falls 0.36 each.
    assert metrics["brier_skill"] == pytest.approx(
        {"even": 1 - 0.92 / 2, "train_share": 1 - 0.92 / 1.88}
    )
    against = paired_difference(squares, [0.25] * 8, range(8))
    even = metrics["versus"]["even"]
    assert (even["difference"], even["p"]) == pytest.approx((0.92 / 8 - 0.25, against.p))
    assert even["p"] < 0.05 and even["verdict"] == "better"  # a lower score is the better one
    assert metrics["versus"]["train_share"]["brier"] == pytest.approx(1.88 / 8)
    assert metrics["rps"]["n"] == metrics["log_score"]["n"] == 8


def test_what_cannot_be_known_is_none_with_a_reason():
    metrics = probability_metrics([row(0.8, "up by 0-1%")])
    assert (
        metrics["versus"]["train_share"] is None and metrics["brier_skill"]["train_share"] is None
    )
    assert metrics["brier"]["ci95"] is None and "needs at least 6" in metrics["interval_reason"]
    assert metrics["mass"] is None
    perfect = probability_metrics([row(1.0, "up by 0-1%", train_up_share=1.0)])
    assert (
        perfect["brier_skill"]["train_share"] is None
    )  # nothing is better than a constant without error


def test_rows_meet_by_id_and_missing_ones_are_counted():
    answers = [row(0.5, "up by 0-1%", number) for number in range(3)]
    likelihoods = [row(0.9, "up by 0-1%", 2), row(0.2, "up by 0-1%", 0)]
    directions = [{"direction": 1}, {"direction": 1}, {"direction": 1}]
    metrics = likelihood_metrics(answers, directions, likelihoods)
    assert metrics["likelihood_reason"] is None
    assert (metrics["likelihood"]["n"], metrics["likelihood"]["n_missing"]) == (2, 1)
    assert metrics["likelihood"]["agreement"] == {"share": 0.5, "n": 2}
    assert likelihood_metrics(answers, directions, None)["likelihood"] is None
    assert (
        "no id"
        in likelihood_metrics(answers[:1], directions[:1], likelihoods[:1])["likelihood_reason"]
    )


def test_direct_questions_are_scored_beside_the_others():
    answers = [row(0.5, "up by 0-1%", number) for number in range(3)]
    directions = [{"direction": 1}] * 3
    fields = ("probs", "logprobs", "up", "mass")
    direct_row = row(0.2, "", mass=0.1)
    direct = {field: direct_row[field] for field in fields}
    own = [row(0.9, "up by 0-1%", number, prefix="own") for number in range(3)]
    both = [{**likelihood, "direct": direct} for likelihood in own]
    scores = likelihood_metrics(answers, directions, both)["likelihood"]
    assert (scores["prefixes"], scores["direct"]["prefixes"]) == ({"own": 3}, {"direct": 3})
    assert (scores["agreement"]["share"], scores["direct"]["agreement"]["share"]) == (1.0, 0.0)
    assert scores["direct"]["brier"]["mean"] == pytest.approx(0.64)
    assert scores["direct"]["mass"] == pytest.approx(0.1)
    assert scores["direct"]["brier"]["weeks"] == 3, "the weeks are the rows' own"
    assert likelihood_metrics(answers, directions, own)["likelihood"]["direct"] is None


def test_questions_are_never_mixed():
    """An answer that cannot be read was asked at once alone: its row is not in `own`."""
    answers = [row(0.5, "up by 0-1%", number) for number in range(4)]
    fields = ("probs", "logprobs", "up", "mass")
    direct_row = row(0.25, "", mass=0.1)
    direct = {field: direct_row[field] for field in fields}
    likelihoods = [
        row(0.95, "up by 0-1%", 0, prefix="own", direct=direct),
        row(0.25, "up by 0-1%", 1, prefix="direct", direct=direct),
        row(0.35, "up by 0-1%", 2, prefix="direct"),
        row(0.65, "up by 0-1%", 3),
    ]
    found = likelihood_metrics(answers, [{"direction": 1}] * 4, likelihoods)
    scores = found["likelihood"]
    assert (scores["n"], scores["own"]["n"], scores["direct"]["n"]) == (4, 1, 3)
    assert [point.stated for point in reliability_points(found, "own")] == [0.95]
    assert [(point.stated, point.n) for point in reliability_points(found, "direct")] == [
        (0.25, 2),
        (0.35, 1),
    ]
    columns = with_probabilities(answers, [{}] * 4, likelihoods)
    assert [row["direct_up_probability"] for row in columns] == [0.25, 0.25, 0.35, None]
    assert columns[0]["up_probability"] == 0.95 and columns[3]["direct_rps"] is None
    assert columns[2]["direct_rps"] == rps(likelihoods[2]["probs"], "up by 0-1%")


def test_skill_over_the_train_frequencies():
    """Half of the training rows in each of two bins; the forecast is certain of the right one."""
    labels = ["up by 0-1%", "down by 0-1%"] * 4
    rows = [
        {**row(0.5, label, number), "probs": certain(label)} for number, label in enumerate(labels)
    ]
    train = {"up by 0-1%": 5, "down by 0-1%": 5}
    skill = probability_metrics(rows, train)["rps_skill"]
    assert skill["train_frequencies"] == pytest.approx(0.25 / 11)
    assert (skill["skill"], skill["n"], skill["weeks"]) == (1, 8, 8)
    shares = {**certain(BINS[0]), BINS[0]: 0.0, "up by 0-1%": 0.5, "down by 0-1%": 0.5}
    same = probability_metrics([{**one, "probs": shares} for one in rows], train)["rps_skill"]
    assert same["skill"] == pytest.approx(0) and same["ci95"] == pytest.approx([0, 0])
    assert probability_metrics(rows)["rps_skill"] is None


def test_skill_score_is_the_ratio_with_its_interval():
    """Against the jackknife over weeks, and as good as the reference if p says no difference."""
    draw = numpy.random.default_rng(5)
    weeks = [number // 5 for number in range(200)]
    reference = draw.uniform(0.05, 0.4, 200)
    ours = reference * draw.uniform(0.4, 1.4, 200)
    estimate = skill_score(ours.tolist(), reference.tolist(), weeks)
    assert estimate.mean == pytest.approx(1 - ours.sum() / reference.sum())
    left = [numpy.array(weeks) != week for week in range(40)]
    jackknife = [1 - ours[rest].sum() / reference[rest].sum() for rest in left]
    error = (39 / 40 * sum((value - numpy.mean(jackknife)) ** 2 for value in jackknife)) ** 0.5
    low, high = estimate.ci95
    half_width = (high - low) / 2
    assert half_width == pytest.approx(scipy_stats.t.ppf(0.975, 39) * error, rel=0.02)
    assert (low + high) / 2 == pytest.approx(estimate.mean) and estimate.p is None
    assert skill_score([0.1], [0.0], None).mean is None


def test_skill_intervals_cover_the_truth():
    """A forecast of 30 weeks that is truly a fifth better than the reference."""
    draw = numpy.random.default_rng(6)
    covered = 0
    for _ in range(300):
        luck = numpy.repeat(draw.gamma(4, 0.25, 30), 5)
        reference = luck * draw.gamma(2, 0.05, 150)
        ours = 0.8 * luck * draw.gamma(2, 0.05, 150)
        weeks = [number // 5 for number in range(150)]
        low, high = skill_score(ours.tolist(), reference.tolist(), weeks).ci95
        covered += low <= 0.2 <= high
    assert 0.91 <= covered / 300 <= 0.98


def test_a_perfect_forecaster_has_a_calibration_error_too():
    """One tenth, 100 independent rows of 0.5: the mean of |share - 0.5| is sqrt(2 / pi) * 0.05."""
    alone = perfect_calibration([0.5] * 100, None)
    assert alone["mean"] == pytest.approx(math.sqrt(2 / math.pi) * 0.05, rel=0.06)
    assert alone["p95"] == pytest.approx(1.96 * 0.05, rel=0.1)
    assert perfect_calibration([0.5] * 100, None) == alone, "the seed is fixed"
    certain_of_all = perfect_calibration([0.0, 1.0] * 10, None)
    assert certain_of_all == {"mean": 0, "p95": 0}
    assert perfect_calibration([], None) is None
    assert perfect_calibration([1.0000000000000002] * 8, None) == certain_of_all
    assert perfect_calibration([0.3], ["one week"])["mean"] == pytest.approx(0.42, abs=0.03)


def test_weeks_make_the_perfect_error_larger():
    """Ten weeks of 30 with a correlation of 0.126: the variance is 4.65 times as large."""
    weeks = [number // 30 for number in range(300)]
    alone, by_week = (perfect_calibration([0.5] * 300, given) for given in (None, weeks))
    assert by_week["mean"] / alone["mean"] == pytest.approx(4.65**0.5, rel=0.08)
    each_alone = perfect_calibration([0.5] * 300, range(300))
    assert each_alone["mean"] == pytest.approx(alone["mean"], rel=0.08)


def test_many_rows_are_simulated_in_parts():
    draw = numpy.random.default_rng(1)
    found = perfect_calibration(draw.random(20_000).tolist(), None)
    # Ten tenths of 2,000 rows: about sqrt(2 / pi) * sqrt(p (1 - p) / 2000) each.
    expected = numpy.mean([(p * (1 - p) / 2000) ** 0.5 for p in numpy.arange(0.05, 1, 0.1)])
    assert found["mean"] == pytest.approx(math.sqrt(2 / math.pi) * expected, rel=0.05)


@pytest.mark.parametrize(
    ("likelihoods", "message"),
    [
        (
            [row(0.9, "up by 0-1%"), row(0.9, "up by 0-1%")],
            "row 2: the id A-2024-01-01 came before",
        ),
        ([row(0.9, "down by 0-1%")], "id A-2024-01-01: label 'up by 0-1%', but 'down by 0-1%'"),
        ([{"id": "x"}], "row 1: no label, probs, logprobs, up"),
        ([{**row(0.9, "up by 0-1%"), "probs": {"up": 1.0}}], "row 1: its bins are not the twelve"),
        (
            [{**row(0.9, "up by 0-1%"), "direct": {"up": 0.5, "probs": {"up": 1.0}}}],
            "row 1: its bins are not the twelve",
        ),
        (
            [{**row(0.9, "up by 0-1%"), "up": 1.2}],
            r"row 1 \(id A-2024-01-01\): the probability of 'up' is 1.2; expected 0 to 1",
        ),
        ([{**row(0.9, "up by 0-1%"), "up": -0.1}], "the probability of 'up' is -0.1"),
        ([{**row(0.9, "up by 0-1%"), "up": math.nan}], "the probability of 'up' is nan"),
        ([{**row(0.9, "up by 0-1%"), "up": 0.2}], "those of up to 0.9000; expected 1 and its `up`"),
        ([{**row(0.9, "up by 0-1%"), "mass": 7.0}], "the probability of 'mass' is 7.0"),
        ([{**row(0.9, "up by 0-1%"), "mass": -0.1}], "the probability of 'mass' is -0.1"),
        (
            [{**row(0.9, "up by 0-1%"), "probs": dict.fromkeys(BINS, 0.9)}],
            "its probabilities add up to 10.8000",
        ),
        (
            [{**row(0.9, "up by 0-1%"), "logprobs": dict.fromkeys(BINS, 0.5)}],
            "the log-probability of '.*' is 0.5; expected a finite one",
        ),
        (
            [{**row(0.9, "up by 0-1%"), "direct": {**row(0.9, "up by 0-1%"), "up": 2.0}}],
            "the probability of 'up' is 2.0",
        ),
        (
            [{**row(0.9, "up by 0-1%"), "direct": {"probs": EVEN, "logprobs": EVEN}}],
            "no `up`; run eval.likelihood again",
        ),
    ],
)
def test_likelihoods_that_do_not_fit_are_refused(likelihoods, message):
    with pytest.raises(ValueError, match=message):
        likelihood_metrics([row(0.5, "up by 0-1%")], [{"direction": 1}], likelihoods)


def score(source, out):
    return main([str(source), "--out", str(out)])


def read_metrics_of(folder):
    return json.loads((folder / "metrics.json").read_text())


@pytest.fixture
def scored(tmp_path):
    """A folder of answers with likelihoods for all but the first of them, scored."""
    answers = market()
    write_jsonl(tmp_path / "generations.jsonl", answers)
    likelihoods = [
        {**row(0.7, answer["label"], number % 10), "id": answer["id"], "prefix": "own", "mass": 0.5}
        for number, answer in enumerate(answers[1:], start=1)
    ]
    write_jsonl(tmp_path / "likelihoods.jsonl", likelihoods)
    assert score(tmp_path / "generations.jsonl", tmp_path) == 0
    return tmp_path


def test_score_reads_the_likelihoods_beside_the_answers(scored):
    metrics = read_metrics_of(scored)
    assert list(metrics) == list(Metrics.__annotations__)
    rose = sum(answer["label"].startswith("up") for answer in market()[1:]) / 99
    likelihood = metrics["likelihood"]
    assert likelihood["direction_accuracy"]["mean"] == pytest.approx(rose)
    assert (likelihood["n"], likelihood["n_missing"]) == (99, 1)
    assert likelihood["direction_accuracy"]["ci95"] is not None
    assert reliability_points(metrics, "own") == [(pytest.approx(0.7), pytest.approx(rose), 99)]
    assert reliability_points(metrics, "direct") == []
    rows = read_jsonl(scored / "scored.jsonl")
    assert [answer["up_probability"] for answer in rows] == [None] + [0.7] * 99


def test_texts_that_were_read_apart_may_add_up_to_a_little_more_than_one(scored):
    """A server rounds the logits of each request on its own: 1.006 was seen in bf16."""
    first, *rest = read_jsonl(scored / "likelihoods.jsonl")
    write_jsonl(scored / "likelihoods.jsonl", [{**first, "mass": 1.0064}, *rest])
    assert score(scored / "generations.jsonl", scored) == 0


def test_without_likelihoods_only_their_keys_differ(scored, tmp_path):
    metrics = read_metrics_of(scored)
    (scored / "likelihoods.jsonl").unlink()
    assert score(scored / "generations.jsonl", scored) == 0
    without = read_metrics_of(scored)
    assert without["likelihood"] is None and "eval.likelihood" in without["likelihood_reason"]
    assert "up_probability" not in read_jsonl(scored / "scored.jsonl")[0]
    assert reliability_points(without, "own") == []
    for key in without:
        assert key.startswith("likelihood") or metrics[key] == without[key]


def test_likelihoods_belong_only_to_generations_jsonl(scored):
    write_jsonl(scored / "other.jsonl", market())
    assert score(scored / "other.jsonl", scored / "other") == 0
    assert read_metrics_of(scored / "other")["likelihood"] is None


def test_damaged_likelihoods_are_exit_2(scored, capsys):
    (scored / "likelihoods.jsonl").write_text('{"id": "cut o')
    assert score(scored / "generations.jsonl", scored) == 2
    assert "likelihoods.jsonl, line 1: not JSON" in capsys.readouterr().err
