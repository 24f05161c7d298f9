"""metrics.json from rows: hand-worked numbers, and the ways in which a table of metrics can lie."""

import json
import random

import pytest

from eval.metrics.evaluate import evaluate
from weekahead.task.labels import BINS, direction_of, magnitude_of

CONTRACT_KEYS = [
    *(
        "n",
        "valid_strict",
        "valid_lenient",
        "n_no_truth",
        "bin_acc",
        "bin_acc_ci95",
        "bin12_acc",
        "mse",
        "mse_n",
    ),
    *(
        "pros_rouge_scores",
        "cons_rouge_scores",
        "anal_rouge_scores",
        "inference_seconds",
        "stop_rate",
    ),
    *("baselines", "versus", "fingpt_compatible"),
]
NULL_WITHOUT_INPUT = [
    *(
        "bin_acc",
        "bin_acc_ci95",
        "bin12_acc",
        "mse",
        "mse_versus_zero_move",
        "weeks",
        "detectable_effect",
    ),
    *("design_effect", "effective_n"),
    *("pros_rouge_scores", "cons_rouge_scores", "anal_rouge_scores"),
    *("inference_seconds", "latency", "stop_rate", "new_tokens", "tokens_per_second"),
]
UNREADABLE = "I cannot say anything about this company."


def answer(
    prediction,
    positives="Sales grew fast.",
    concerns="Debt is high.",
    analysis="The week looks calm.",
):
    return (
        f"[Positive Developments]:\n1. {positives}\n\n[Potential Concerns]:\n1. {concerns}\n\n"
        f"[Prediction & Analysis]:\nPrediction: {prediction}\nAnalysis: {analysis}"
    )


def said(label):
    return answer(label.capitalize())


def row(prediction, label, **fields):
    return {"generation": answer(prediction), "answer": said(label), "label": label, **fields}


def market(n=100, weeks=10, seed=1):
    """Rows with random labels and a model that is right on about half of them."""
    rng = random.Random(seed)
    rows = []
    for place in range(n):
        label, called = rng.choice(BINS), rng.choice(BINS)
        rows.append(
            row(
                called.capitalize(),
                label,
                id=f"S{place}-2024-01-01",
                period=f"week {place % weeks}",
                train_majority=1,
                last_week_return=rng.uniform(-0.07, 0.07),
                seconds=rng.uniform(1, 3),
                new_tokens=rng.randrange(50, 400),
                finish_reason="stop",
            )
        )
    return rows


def test_hand_worked_file():
    rows = [
        row("Up by 1-2%", "up by 1-2%"),  # right, same bin
        row("Up by 3-4%", "up by more than 5%"),  # right direction, error 2
        row("Down by 0-1%", "up by 0-1%"),  # wrong, error 1
        row("Neutral", "up by 0-1%"),  # neutral: wrong, error 0.5
        {
            "generation": UNREADABLE,
            "answer": said("down by 2-3%"),
            "label": "down by 2-3%",
        },  # wrong, no error
    ]
    metrics, scored = evaluate(rows)
    assert (metrics["n"], metrics["n_no_truth"], metrics["valid_lenient"]) == (5, 0, 4)
    assert metrics["bin_acc"] == 2 / 5
    assert (metrics["bin12_acc"], metrics["bin12_n"]) == (1 / 5, 5)
    assert (metrics["mse"], metrics["mse_n"]) == ((0 + 4 + 1 + 0.25) / 4, 4)
    still = metrics["mse_versus_zero_move"]
    assert still["zero_move_mse"] == (2.25 + 30.25 + 0.25 + 0.25) / 4  # the same four rows
    assert still["difference"] == metrics["mse"] - still["zero_move_mse"]
    assert metrics["directions"] == {"up": 2, "down": 1, "neutral": 1, "unreadable": 1}
    assert [one["direction"] for one in scored] == [1, 1, -1, 0, None]
    assert [one["magnitude"] for one in scored] == [1.5, 3.5, -0.5, 0.0, None]
    assert scored[4]["reason"]
    assert sum(metrics["reasons"].values()) == 1


def test_c7_few_good_answers_do_not_beat_many():
    rows = market()
    all_right = [{**one, "generation": said(one["label"])} for one in rows]
    ten_right = [
        one if place < 10 else {**one, "generation": UNREADABLE}
        for place, one in enumerate(all_right)
    ]
    everything, few = evaluate(all_right)[0], evaluate(ten_right)[0]
    assert everything["bin_acc"] == 1.0
    assert few["bin_acc"] == few["bin12_acc"] == 0.1
    assert few["n"] == everything["n"] == 100
    assert few["mse_n"] == 10
    for name in ("pros", "cons", "anal"):
        scores = few[f"{name}_rouge_scores"]
        assert scores["rouge1"] == pytest.approx(0.1 * everything[f"{name}_rouge_scores"]["rouge1"])
        assert few["rouge_n"][name] == 100
    assert few["versus"]["always_up"]["verdict"] == "worse"


def test_a_readable_section_of_an_invalid_answer_scores_nothing():
    reference = said("up by 1-2%")
    metrics, scored = evaluate(
        [{"generation": reference.split("[Prediction")[0], "answer": reference}]
    )
    assert scored[0]["valid_lenient"] is False
    assert metrics["pros_rouge_scores"] == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}


def test_c19_reference_and_generation_cannot_be_swapped_silently():
    rows = [{"generation": UNREADABLE, "answer": said("up by 1-2%")}]
    swapped = [{"generation": one["answer"], "answer": one["generation"]} for one in rows]
    right, wrong = evaluate(rows)[0], evaluate(swapped)[0]
    assert (right["n_no_truth"], right["bin_acc"], right["valid_lenient"]) == (0, 0.0, 0)
    assert (wrong["n_no_truth"], wrong["bin_acc"], wrong["valid_lenient"]) == (1, None, 1)


def test_permutation_of_rows_changes_nothing():
    rows = market()
    metrics, scored = evaluate(rows)
    order = random.Random(2).sample(range(100), 100)
    mixed, mixed_scored = evaluate([rows[place] for place in order])
    assert mixed_scored == [scored[place] for place in order]
    assert numbers(mixed) == pytest.approx(numbers(metrics))


def numbers(value, name=""):
    """All leaves of a nested value by path, so that two can be compared with a tolerance."""
    if isinstance(value, dict):
        return {k: v for key in value for k, v in numbers(value[key], f"{name}/{key}").items()}
    if isinstance(value, list):
        return {
            k: v
            for place, one in enumerate(value)
            for k, v in numbers(one, f"{name}/{place}").items()
        }
    return {name: value}


def test_metrics_are_json_and_every_contract_key_is_there():
    metrics, scored = evaluate(market())
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert set(CONTRACT_KEYS) <= set(metrics)
    names = {"always_up", "always_down", "train_majority", "last_week", "reversal", "zero_move"}
    assert names <= set(metrics["baselines"]) == set(metrics["versus"])
    assert {"bin_acc", "mse"} <= set(metrics["baselines"]["last_week"])
    assert {"difference", "ci95", "p", "verdict"} <= set(metrics["versus"]["last_week"])
    low, high = metrics["bin_acc_ci95"]
    assert low < metrics["bin_acc"] < high
    row_keys = {"direction", "magnitude", "valid_strict", "valid_lenient", "reason"}
    assert row_keys <= set(scored[0])


def test_difference_is_the_difference_of_the_two_printed_accuracies():
    metrics, _ = evaluate(market(seed=3))
    for name in ("always_up", "always_down", "train_majority", "last_week"):
        own, other = metrics["bin_acc"], metrics["baselines"][name]["bin_acc"]
        assert metrics["versus"][name]["difference"] == pytest.approx(own - other)


def test_strict_and_lenient_are_counted_apart():
    generation = "<think>\n\n</think>\n\n" + said("up by 1-2%").replace(
        "[Positive Developments]:", "## Positive Developments"
    )
    metrics, scored = evaluate([{"generation": generation, "answer": said("up by 1-2%")}])
    assert (metrics["valid_strict"], metrics["valid_lenient"], metrics["bin_acc"]) == (0, 1, 1.0)
    assert scored[0]["reason"] is None
    assert scored[0]["reason_strict"]
    assert sum(metrics["reasons_strict"].values()) == 1


@pytest.mark.parametrize("label", BINS)
def test_truth_is_the_label_before_the_answer(label):
    other = "down by 1-2%" if direction_of(label) > 0 else "up by 1-2%"
    _, scored = evaluate(
        [{"generation": said(label), "answer": said(other), "label": label.upper()}]
    )
    assert scored[0]["truth_direction"] == direction_of(label) == scored[0]["direction"]
    assert scored[0]["truth_magnitude"] == magnitude_of(label) == scored[0]["magnitude"]


def test_rows_without_truth_are_counted_and_left_out():
    rows = [
        {"generation": said("up by 1-2%"), "answer": said("up by 1-2%")},  # truth from the answer
        {"generation": said("up by 1-2%"), "answer": UNREADABLE, "label": None},
        {"generation": said("up by 1-2%"), "answer": answer("Neutral")},  # a week is up or down
        {"generation": said("up by 1-2%"), "answer": None},
    ]
    metrics, scored = evaluate(rows)
    assert (metrics["n"], metrics["n_no_truth"], metrics["bin_acc"]) == (4, 3, 1.0)
    assert metrics["mse_n"] == 1
    assert [one["truth_direction"] for one in scored] == [1, None, None, None]
    assert metrics["baselines"]["always_up"]["n"] == 1


def test_what_cannot_be_computed_is_null():
    metrics, scored = evaluate([{"generation": None, "answer": ""}])
    assert scored[0] == {
        "direction": None,
        "magnitude": None,
        "valid_strict": False,
        "valid_lenient": False,
        "reason": scored[0]["reason"],
        "reason_strict": scored[0]["reason_strict"],
        "truth_direction": None,
        "truth_magnitude": None,
        "pros_rouge_scores": None,
        "cons_rouge_scores": None,
        "anal_rouge_scores": None,
    }
    assert {key: metrics[key] for key in NULL_WITHOUT_INPUT} == dict.fromkeys(NULL_WITHOUT_INPUT)
    assert set(metrics["baselines"].values()) == {None}
    assert metrics["interval_reason"] == "no row with a truth"


def test_rows_of_a_week_that_share_its_luck_count_for_fewer():
    apart = evaluate(market())[0]
    assert apart["effective_n"] == pytest.approx(100 / max(1, apart["design_effect"]))
    rows = [
        row("Up by 1-2%", "up by 1-2%" if i % 10 < 5 else "down by 1-2%", period=f"{i % 10}")
        for i in range(100)
    ]
    together = evaluate(rows)[0]
    assert together["effective_n"] == pytest.approx(
        10, rel=0.1
    )  # a week is right or wrong as a whole
    balanced = evaluate(
        [row("Up by 1-2%", r["label"], period=f"{i // 7}") for i, r in enumerate(rows)]
    )[0]
    assert balanced["design_effect"] < 1 and balanced["effective_n"] == 100
    assert balanced["effective_n_reason"] is None
    few, all_right = (
        evaluate(market(weeks=5))[0],
        evaluate([{**r, "label": "up by 1-2%"} for r in rows])[0],
    )
    assert (few["effective_n"], few["effective_n_reason"]) == (None, few["interval_reason"])
    assert (all_right["effective_n"], all_right["effective_n_reason"]) == (
        None,
        "rows or weeks do not differ",
    )


def test_classes_and_breakdown_are_over_the_rows_with_a_truth():
    metrics, _ = evaluate([*market(), {"generation": said("up by 1-2%"), "answer": None}])
    assert sum(sum(called.values()) for called in metrics["classes"]["confusion"].values()) == 100
    same = sum(called.get(true, 0) for true, called in metrics["classes"]["confusion"].items())
    assert same / 100 == metrics["bin12_acc"]
    right = sum(one["n"] * one["bin_acc"] for one in metrics["breakdown"]["move"])
    assert right == pytest.approx(100 * metrics["bin_acc"])
    assert metrics["text_quality"]["n"] == 101


def test_rouge_is_counted_once_for_a_pair_of_texts():
    asked = []

    def rouge(reference, generation):
        asked.append((reference, generation))
        return dict.fromkeys(("rouge1", "rouge2", "rougeL"), 1.0)

    metrics, _ = evaluate([row("Up by 1-2%", "up by 1-2%")], rouge=rouge)
    assert metrics["fingpt_compatible"]["valid_count"] == 1
    assert len(asked) == len(set(asked)) == 3


def test_intervals_need_six_weeks():
    five, six = evaluate(market(weeks=5))[0], evaluate(market(weeks=6))[0]
    assert (five["bin_acc_ci95"], five["versus"]["always_up"]["p"]) == (None, None)
    assert five["versus"]["always_up"]["verdict"] == "not shown"
    assert five["interval_reason"] == "5 weeks; an interval needs at least 6"
    assert six["interval_reason"] is None
    assert (six["weeks"], len(six["bin_acc_ci95"])) == (6, 2)


def test_speed_over_the_rows_that_state_it():
    timed = {"seconds": 2.0, "new_tokens": 100, "finish_reason": "stop", "latency_measured": True}
    rows = [row("Up by 1-2%", "up by 1-2%", **timed) for _ in range(19)]
    rows.append(
        row("Up by 1-2%", "up by 1-2%", **{**timed, "seconds": 22.0, "finish_reason": "length"})
    )
    metrics, _ = evaluate(rows)
    assert (metrics["inference_seconds"], metrics["inference_seconds_n"]) == (3.0, 20)
    assert metrics["latency"] == pytest.approx({"mean": 3.0, "p50": 2.0, "p95": 3.0})
    assert (metrics["stop_rate"], metrics["new_tokens"]) == (0.95, 100)
    assert metrics["tokens_per_second"] == pytest.approx(100 / 3)
    del rows[0]["latency_measured"]
    assert evaluate(rows)[0]["latency"] is None
    del rows[0]["seconds"]
    metrics, _ = evaluate(rows)
    assert (metrics["inference_seconds_n"], metrics["tokens_per_second"]) == (19, None)


def test_a_requests_own_time_is_its_latency_and_a_refused_row_took_none():
    refused = {"seconds": 0.0, "new_tokens": 0, "finish_reason": "refused"}
    rows = [
        row("Up by 1-2%", "up by 1-2%", seconds=1.0, latency_seconds=wait, finish_reason="stop")
        for wait in (2.0, 4.0)
    ]
    metrics = evaluate([*rows, row("", "up by 1-2%", **refused)])[0]
    assert (metrics["latency"]["mean"], metrics["inference_seconds"], metrics["stop_rate"]) == (
        3.0,
        1.0,
        1.0,
    )
    assert metrics["n"] == 3, "it is left out of the times alone"
    alone = evaluate([row("", "up by 1-2%", **refused)])[0]
    assert (alone["latency"], alone["inference_seconds"], alone["stop_rate"]) == (None, None, None)


def test_synthetic_rows_are_named():
    rows = market(n=3)
    assert evaluate(rows)[0]["synthetic"] is False
    assert evaluate([*rows[:2], {**rows[2], "synthetic": True}])[0]["synthetic"] is True
