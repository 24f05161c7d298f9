"""metrics.json from rows: hand-worked numbers, and the ways in which metrics can mislead."""

import json
import random

import pytest

from eval.metrics.evaluate import evaluate
from eval.metrics.rouge import section_rouge
from tests.support.scorable_rows import UNREADABLE, answer, answer_with, market, scorable_row
from weekahead.schema.metrics import AnswerMetrics, Metrics
from weekahead.schema.metrics_files import REQUIRED_KEYS, read_metrics
from weekahead.task.labels import BINS, direction_of, magnitude_of
from weekahead.task.prediction_reading import UNKNOWN_WORDS

NULL_WITHOUT_INPUT = [
    "bin_acc",
    "bin_acc_ci95",
    "bin12_acc",
    "mse",
    "mse_uncapped",
    "mse_versus_zero_move",
    "weeks",
    "detectable_effect",
    "design_effect",
    "effective_n",
    "pros_rouge_scores",
    "cons_rouge_scores",
    "anal_rouge_scores",
    "inference_seconds",
    "latency",
    "stop_rate",
    "new_tokens",
    "tokens_per_second",
]


def test_hand_worked_file():
    rows = [
        scorable_row("Up by 1-2%", "up by 1-2%"),  # right, same bin
        scorable_row("Up by 3-4%", "up by more than 5%"),  # right direction, error 2
        scorable_row("Down by 0-1%", "up by 0-1%"),  # wrong, error 1
        scorable_row("Neutral", "up by 0-1%"),  # neutral: wrong, error 0.5
        {
            "generation": UNREADABLE,
            "answer": answer_with("down by 2-3%"),
            "label": "down by 2-3%",
        },  # wrong, no error
    ]
    metrics, scored = evaluate(rows)
    assert (metrics["n"], metrics["n_no_truth"], metrics["valid_lenient"]) == (5, 0, 4)
    assert metrics["bin_acc"] == 2 / 5
    assert (metrics["bin12_acc"], metrics["bin12_n"]) == (1 / 5, 5)
    assert (metrics["mse"], metrics["mse_n"]) == ((0 + 4 + 1 + 0.25) / 4, 4)
    no_move = metrics["mse_versus_zero_move"]
    assert no_move["zero_move_mse"] == (2.25 + 30.25 + 0.25 + 0.25) / 4  # the same four rows
    assert no_move["difference"] == metrics["mse"] - no_move["zero_move_mse"]
    assert metrics["directions"] == {"up": 2, "down": 1, "neutral": 1, "unreadable": 1}
    assert [row["direction"] for row in scored] == [1, 1, -1, 0, None]
    assert [row["magnitude"] for row in scored] == [1.5, 3.5, -0.5, 0.0, None]
    assert scored[4]["reason"]
    assert sum(metrics["reasons"].values()) == 1


def test_one_absurd_size_cannot_own_the_squared_error():
    """A stated size counts as the outermost bin's at most; the magnitude stays as said."""
    rows = [
        {"generation": answer_with("up by 900%"), "answer": "", "label": "up by more than 5%"},
        {"generation": answer_with("down by 900%"), "answer": "", "label": "up by 0-1%"},
    ]
    metrics, scored = evaluate(rows)
    assert [row["magnitude"] for row in scored] == [900.0, -900.0]
    assert metrics["mse"] == (0 + 36) / 2
    assert metrics["mse_uncapped"] == ((900 - 5.5) ** 2 + (900.5) ** 2) / 2
    assert metrics["mse_versus_zero_move"]["mse"] == metrics["mse"]


@pytest.mark.parametrize(
    "letters",
    ["\u589e\u957f\u5f3a\u52b2", "\u0440\u043e\u0441\u0442", "\u0440ost\u0430\u0442\u0435\u043c"],
    ids=["Chinese", "Cyrillic", "mixed"],
)
def test_rouge_is_null_for_text_that_it_cannot_read(letters):
    """Of other scripts only figures are left: two unrelated texts would share all of them."""
    reference = answer_with("up by 1-2%").replace("Sales grew fast.", f"{letters} 12")
    generation = reference.replace(letters, "\u0434\u0440\u0443\u0433\u043e\u0435")
    assert reference != generation
    metrics, scored = evaluate([{"generation": generation, "answer": reference}])
    assert metrics["pros_rouge_scores"] is None and scored[0]["pros_rouge_scores"] is None
    assert metrics["rouge_reasons"]["pros"].startswith("1 of 1 rows: ROUGE's tokenizer keeps less")
    assert metrics["anal_rouge_scores"]["rouge1"] == 1.0 and "anal" not in metrics["rouge_reasons"]


def test_a_reference_without_a_word_has_no_rouge():
    """Of "***" the tokenizer keeps nothing: even against itself it would score 0."""
    text = answer_with("up by 1-2%").replace("1. Sales grew fast.", "***")
    metrics, _ = evaluate([{"generation": text, "answer": text}])
    assert metrics["pros_rouge_scores"] is None and metrics["rouge_n"]["pros"] == 0
    assert metrics["rouge_reasons"]["pros"].startswith("1 of 1 rows")


def test_an_older_file_does_not_claim_capped_sizes(tmp_path):
    """Before the cap one "900 %" owned `mse`: its number stays, under the name that is true."""
    rows = [{"generation": answer_with("up by 900%"), "answer": "", "label": "up by 0-1%"}]
    stored, _ = evaluate(rows)
    source = {"file": "x", "sha256": "0"}
    older = {"source": source, **stored, "mse": stored["mse_uncapped"]}
    del older["mse_uncapped"]
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(older))
    metrics = read_metrics(path, "score again")
    assert metrics["mse"] is None and metrics["mse_versus_zero_move"] is None
    assert metrics["mse_uncapped"] == (900 - 0.5) ** 2


@pytest.mark.parametrize(
    "fields",
    [
        {"last_week_return": 1e308},
        {"last_week_return": 10**400},
        {"seconds": 1e308},
        {"seconds": -1},
        {"latency_seconds": 10**400},
        {"new_tokens": -5},
    ],
    ids=["return", "huge return", "seconds", "negative", "latency", "tokens"],
)
def test_numbers_that_no_metric_can_hold_are_refused(fields):
    """The row and the value are named, where the metrics would overflow or be nonsense."""
    (name,) = fields
    row = scorable_row("Up by 1-2%", "up by 1-2%", **fields)
    with pytest.raises(ValueError, match=rf"row 2: {name} is .*; expected a number from"):
        evaluate([scorable_row("Up by 1-2%", "up by 1-2%"), row])


def test_a_clock_that_stood_still_gives_no_speed():
    row = scorable_row("Up by 1-2%", "up by 1-2%", seconds=5e-324, new_tokens=100)
    assert evaluate([row])[0]["tokens_per_second"] is None


def test_unknown_words_are_one_reason():
    rows = [{"generation": answer_with(text), "answer": ""} for text in ("Wobble 2%", "Shrug off")]
    metrics, scored = evaluate(rows)
    assert [row["reason"].split(": ")[1] for row in scored] == ["wobble", "shrug off"]
    assert metrics["reasons"] == {UNKNOWN_WORDS: 2}


def test_few_good_answers_do_not_beat_many():
    rows = market()
    all_right = [{**row, "generation": answer_with(row["label"])} for row in rows]
    unreadable = [{**row, "generation": UNREADABLE} for row in rows]
    ten_right = [*all_right[:10], *unreadable[10:]]
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
    reference = answer_with("up by 1-2%")
    metrics, scored = evaluate(
        [{"generation": reference.split("[Prediction")[0], "answer": reference}]
    )
    assert scored[0]["valid_lenient"] is False
    assert metrics["pros_rouge_scores"] == {"rouge1": 0.0, "rouge2": 0.0, "rougeL": 0.0}


def test_written_sections_have_their_own_rouge():
    """A cut answer scores 0 in the one and its own sections in the other; silence is in neither."""
    reference = answer_with("up by 1-2%")
    whole, cut = reference, reference.split("[Prediction")[0].replace("grew fast", "fell")
    rows = [{"generation": text, "answer": reference} for text in (whole, cut, UNREADABLE, None)]
    metrics, _ = evaluate(rows)
    by_hand = section_rouge("1. Sales grew fast.", "1. Sales fell.")["rouge1"]
    assert by_hand == pytest.approx(2 * 2 / 7), "2 of 4 words and 2 of 3 words in common"
    assert metrics["rouge_written_n"] == {"pros": 2, "cons": 2, "anal": 1}
    assert metrics["rouge_written"]["pros"]["rouge1"] == pytest.approx((1 + by_hand) / 2)
    assert metrics["rouge_written"]["anal"]["rouge1"] == 1.0
    assert metrics["pros_rouge_scores"]["rouge1"] == 1 / 4, "those that cannot be read count as 0"
    silent, _ = evaluate(rows[2:])
    assert silent["rouge_written"] == {"pros": None, "cons": None, "anal": None}


def test_written_sections_in_other_scripts_are_left_out():
    reference = answer_with("up by 1-2%")
    cut = "[Positive Developments]:\n1. \u589e\u957f\u5f3a\u52b2 12"
    metrics, _ = evaluate([{"generation": cut, "answer": reference}])
    assert metrics["rouge_written_n"]["pros"] == 0


def test_swapped_reference_and_generation_are_noticed():
    rows = [{"generation": UNREADABLE, "answer": answer_with("up by 1-2%")}]
    swapped = [{"generation": row["answer"], "answer": row["generation"]} for row in rows]
    right, wrong = evaluate(rows)[0], evaluate(swapped)[0]
    assert (right["n_no_truth"], right["bin_acc"], right["valid_lenient"]) == (0, 0.0, 0)
    assert (wrong["n_no_truth"], wrong["bin_acc"], wrong["valid_lenient"]) == (1, None, 1)


def test_permutation_of_rows_changes_nothing():
    rows = market()
    metrics, scored = evaluate(rows)
    order = random.Random(2).sample(range(100), 100)
    mixed, mixed_scored = evaluate([rows[index] for index in order])
    assert mixed_scored == [scored[index] for index in order]
    assert numbers(mixed) == pytest.approx(numbers(metrics))


def numbers(value, name=""):
    """All leaves of a nested value by path, so that two can be compared with a tolerance."""
    if isinstance(value, list):
        value = dict(enumerate(value))
    if not isinstance(value, dict):
        return {name: value}
    leaves = {}
    for key, child in value.items():
        leaves |= numbers(child, f"{name}/{key}")
    return leaves


def test_metrics_are_json_with_the_keys_of_the_schema_in_order():
    metrics, scored = evaluate(market())
    assert json.loads(json.dumps(metrics, allow_nan=False)) == metrics
    assert list(metrics) == list(AnswerMetrics.__annotations__)
    names = {"always_up", "always_down", "train_majority", "last_week", "reversal", "zero_move"}
    assert names <= set(metrics["baselines"]) == set(metrics["versus"])
    low, high = metrics["bin_acc_ci95"]
    assert low < metrics["bin_acc"] < high
    row_keys = {"direction", "magnitude", "valid_strict", "valid_lenient", "reason"}
    assert row_keys <= set(scored[0])


def test_metrics_of_an_older_version_are_filled(tmp_path):
    metrics, _ = evaluate(market())
    older = {name: metrics[name] for name in REQUIRED_KEYS}
    older["versus"] = {"always_up": {"difference": 0.1, "verdict": "not shown", "n": 100}}
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps(older))
    filled = read_metrics(path, "score again")
    assert set(filled) == set(Metrics.__annotations__) - {"source"}
    assert filled["bin_acc"] == metrics["bin_acc"]
    assert filled["classes"]["distance"] is filled["breakdown"]["sector"] is None
    assert filled["versus"]["always_up"]["p"] is None


def test_a_null_group_is_read_like_one_that_is_absent(tmp_path):
    metrics, _ = evaluate(market())
    path = tmp_path / "metrics.json"
    nulls = dict.fromkeys(("text_quality", "classes", "baseline_reasons", "n_no_truth"))
    path.write_text(json.dumps({**metrics, **nulls}))
    filled = read_metrics(path, "score again")
    assert filled["text_quality"]["n"] == filled["n_no_truth"] == 0
    assert filled["classes"]["confusion"] == filled["baseline_reasons"] == {}


def test_other_json_is_refused_with_the_remedy(tmp_path):
    path = tmp_path / "metrics.json"
    path.write_text('{"n": 4, "bin_acc": 0.5}')
    message = "has no valid_strict, valid_lenient, baselines, versus; .*: score again"
    with pytest.raises(ValueError, match=message):
        read_metrics(path, "score again")


def test_versus_is_the_difference_of_the_two_accuracies():
    metrics, _ = evaluate(market(seed=3))
    for name in ("always_up", "always_down", "train_majority", "last_week"):
        own, other = metrics["bin_acc"], metrics["baselines"][name]["bin_acc"]
        assert metrics["versus"][name]["difference"] == pytest.approx(own - other)


def test_strict_and_lenient_are_counted_apart():
    generation = "<think>\n\n</think>\n\n" + answer_with("up by 1-2%").replace(
        "[Positive Developments]:", "## Positive Developments"
    )
    metrics, scored = evaluate([{"generation": generation, "answer": answer_with("up by 1-2%")}])
    assert (metrics["valid_strict"], metrics["valid_lenient"], metrics["bin_acc"]) == (0, 1, 1.0)
    assert scored[0]["reason"] is None
    assert scored[0]["reason_strict"]
    assert sum(metrics["reasons_strict"].values()) == 1


@pytest.mark.parametrize("label", BINS)
def test_truth_is_the_label_before_the_answer(label):
    other = "down by 1-2%" if direction_of(label) > 0 else "up by 1-2%"
    _, scored = evaluate(
        [{"generation": answer_with(label), "answer": answer_with(other), "label": label.upper()}]
    )
    assert scored[0]["truth_direction"] == direction_of(label) == scored[0]["direction"]
    assert scored[0]["truth_magnitude"] == magnitude_of(label) == scored[0]["magnitude"]


def test_rows_without_truth_are_counted_and_left_out():
    rows = [
        {
            "generation": answer_with("up by 1-2%"),
            "answer": answer_with("up by 1-2%"),
        },  # truth from the answer
        {"generation": answer_with("up by 1-2%"), "answer": UNREADABLE, "label": None},
        {
            "generation": answer_with("up by 1-2%"),
            "answer": answer("Neutral"),
        },  # a week is up or down
        {"generation": answer_with("up by 1-2%"), "answer": None},
    ]
    metrics, scored = evaluate(rows)
    assert (metrics["n"], metrics["n_no_truth"], metrics["bin_acc"]) == (4, 3, 1.0)
    assert metrics["mse_n"] == 1
    assert [row["truth_direction"] for row in scored] == [1, None, None, None]
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


def test_rows_of_a_week_that_share_its_luck_count_less():
    apart = evaluate(market())[0]
    assert apart["effective_n"] == pytest.approx(100 / max(1, apart["design_effect"]))
    labels = ["up by 1-2%" if index % 10 < 5 else "down by 1-2%" for index in range(100)]
    by_week = [
        scorable_row("Up by 1-2%", label, period=f"{index % 10}")
        for index, label in enumerate(labels)
    ]
    together = evaluate(by_week)[0]  # a week is right or wrong as a whole
    assert together["effective_n"] == pytest.approx(10, rel=0.1)
    mixed = [{**row, "period": f"{index // 7}"} for index, row in enumerate(by_week)]
    balanced = evaluate(mixed)[0]
    assert balanced["design_effect"] < 1 and balanced["effective_n"] == 100
    assert balanced["effective_n_reason"] is None


def test_no_effective_rows_is_null_with_a_reason():
    few_weeks = evaluate(market(weeks=5))[0]
    assert few_weeks["effective_n"] is None
    assert few_weeks["effective_n_reason"] == few_weeks["interval_reason"]
    all_right = [scorable_row("Up by 1-2%", "up by 1-2%", period=f"{i % 10}") for i in range(100)]
    same = evaluate(all_right)[0]
    assert same["effective_n"] is None
    assert same["effective_n_reason"] == "rows or weeks do not differ"


def test_classes_and_breakdown_are_over_the_rows_with_a_truth():
    metrics, _ = evaluate([*market(), {"generation": answer_with("up by 1-2%"), "answer": None}])
    confusion = metrics["classes"]["confusion"]
    assert sum(sum(counts.values()) for counts in confusion.values()) == 100
    same = sum(counts.get(true_bin, 0) for true_bin, counts in confusion.items())
    assert same / 100 == metrics["bin12_acc"]
    right = sum(group["n"] * group["bin_acc"] for group in metrics["breakdown"]["move"])
    assert right == pytest.approx(100 * metrics["bin_acc"])
    assert metrics["text_quality"]["n"] == 101


def test_rouge_is_computed_once_per_pair_of_texts():
    pairs = []

    def rouge(reference, generation):
        pairs.append((reference, generation))
        return dict.fromkeys(("rouge1", "rouge2", "rougeL"), 1.0)

    metrics, _ = evaluate([scorable_row("Up by 1-2%", "up by 1-2%")], rouge=rouge)
    assert metrics["fingpt_compatible"]["valid_count"] == 1
    assert len(pairs) == len(set(pairs)) == 3


def test_intervals_need_six_weeks():
    five, six = evaluate(market(weeks=5))[0], evaluate(market(weeks=6))[0]
    assert (five["bin_acc_ci95"], five["versus"]["always_up"]["p"]) == (None, None)
    assert five["versus"]["always_up"]["verdict"] == "not shown"
    assert five["interval_reason"] == "5 weeks; an interval needs at least 6"
    assert six["interval_reason"] is None
    assert (six["weeks"], len(six["bin_acc_ci95"])) == (6, 2)


def test_speed_over_the_rows_that_state_it():
    timed = {"seconds": 2.0, "new_tokens": 100, "finish_reason": "stop", "latency_measured": True}
    rows = [scorable_row("Up by 1-2%", "up by 1-2%", **timed) for _ in range(19)]
    rows.append(
        scorable_row(
            "Up by 1-2%", "up by 1-2%", **{**timed, "seconds": 22.0, "finish_reason": "length"}
        )
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


def test_latency_is_that_of_requests_without_refused_rows():
    refused = {"seconds": 0.0, "new_tokens": 0, "finish_reason": "refused"}
    rows = [
        scorable_row(
            "Up by 1-2%", "up by 1-2%", seconds=1.0, latency_seconds=latency, finish_reason="stop"
        )
        for latency in (2.0, 4.0)
    ]
    metrics = evaluate([*rows, scorable_row("", "up by 1-2%", **refused)])[0]
    assert metrics["latency"]["mean"] == 3.0
    assert metrics["inference_seconds"] == metrics["stop_rate"] == 1.0
    assert metrics["n"] == 3, "it is left out only of the times"
    alone = evaluate([scorable_row("", "up by 1-2%", **refused)])[0]
    assert (alone["latency"], alone["inference_seconds"], alone["stop_rate"]) == (None, None, None)


def test_one_synthetic_row_marks_the_metrics():
    rows = market(n=3)
    assert evaluate(rows)[0]["synthetic"] is False
    assert evaluate([*rows[:2], {**rows[2], "synthetic": True}])[0]["synthetic"] is True
