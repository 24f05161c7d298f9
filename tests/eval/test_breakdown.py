"""Accuracy by parts of the rows, and predictions as classes, by hand."""

from datetime import date

import pytest

from eval.metrics.baselines import Prediction
from eval.metrics.breakdown import breakdown, class_metrics, knowledge_cutoff, matthews
from eval.metrics.evaluate import evaluate
from weekahead.schema.manifests import generation_manifest
from weekahead.task.labels import BINS, direction_of, magnitude_of

WEEKS = [f"2024-0{1 + week // 4}-{1 + 7 * (week % 4):02}" for week in range(8)]


UNREADABLE, NEUTRAL, NO_SIZE = Prediction(None, None), Prediction(0, 0.0), Prediction(1, None)


def two_firms(**fields):
    """Eight weeks of two firms: truths grow with the week, and only the first firm is right."""
    rows, predictions, truths, hits, weeks = [], [], [], [], []
    for number, start in enumerate(WEEKS):
        for firm in ("AAA", "BBB"):
            rows.append(
                {"symbol": firm, "id": f"{firm}-{start}", "period": f"{start} to later", **fields}
            )
            predictions.append(Prediction(1, 1.5) if firm == "AAA" else NEUTRAL)
            truths.append(Prediction(1, number + 0.5))
            hits.append(firm == "AAA")
            weeks.append(start)
    return {
        "rows": rows,
        "predictions": predictions,
        "truths": truths,
        "hits": hits,
        "weeks": weeks,
    }


def sizes(groups):
    """Group name -> rows."""
    return {group["name"]: group["n"] for group in groups}


def test_each_cut_by_hand():
    cuts = breakdown(**two_firms(sector="Tools"), knowledge_cutoff=date(2024, 1, 20))
    assert cuts["symbol"] == [
        {"name": "AAA", "n": 8, "bin_acc": 1.0},
        {"name": "BBB", "n": 8, "bin_acc": 0.0},
    ]
    assert list(sizes(cuts["week"])) == WEEKS
    assert cuts["week"][0] == {"name": "2024-01-01", "n": 2, "bin_acc": 0.5}
    assert sizes(cuts["move"]) == {"0-1%": 2, "1-2%": 2, "2-5%": 6, "more than 5%": 6}
    assert sizes(cuts["stated_size"]) == {"1-2%": 8, "no direction or no size": 8}
    assert [group["bin_acc"] for group in cuts["stated_size"]] == [1.0, 0.0]
    assert sizes(cuts["cutoff"]) == {"after": 10, "before": 6}
    (sector,) = cuts["sector"]
    assert (sector["name"], sector["n"], sector["bin_acc"]) == ("Tools", 16, 0.5)
    assert sector["ci95"][0] <= 0.5 <= sector["ci95"][1]
    assert cuts["reasons"] == {}


@pytest.mark.parametrize(
    ("prompt", "sector"),
    [
        (
            "[Company]: Amazon.com, Inc. (AMZN), Hotels, Restaurants & Leisure.\n\n[Week to",
            "Hotels, Restaurants & Leisure",
        ),
        ("[Company]: Quillford (QUIL), a publishing company.\n", "publishing"),
        ("Apple Inc is a leading entity in the Technology sector. Incorporated", "Technology"),
        (
            [{"role": "user", "content": "3M Co is a leading entity in the Industrial sector."}],
            "Industrial",
        ),
        ("[Company]: ZZZ.\n", None),
        ("- Analysts see Dell (DELL), a rival.\n", None),
    ],
)
def test_the_sector_is_the_one_of_the_prompt(prompt, sector):
    cuts = breakdown(**two_firms(prompt=prompt))
    assert (cuts["sector"] and cuts["sector"][0]["name"]) == sector
    assert ("sector" in cuts["reasons"]) == (sector is None)


def test_an_interval_needs_six_weeks_of_that_part():
    scored = two_firms(sector="Tools")
    for row in scored["rows"][6:]:
        row["sector"] = "Banks"  # five weeks
    groups = {group["name"]: group for group in breakdown(**scored)["sector"]}
    assert (groups["Tools"]["n"], groups["Tools"]["ci95"]) == (6, None)
    assert (groups["Banks"]["n"], groups["Banks"]["ci95"]) == (10, None)
    for index in (2, 4, 6):
        scored["rows"][index]["sector"] = "Banks"
    groups = {group["name"]: group for group in breakdown(**scored)["sector"]}
    assert groups["Banks"]["ci95"]


def test_a_cut_without_its_input_is_null_with_a_reason():
    scored = two_firms() | {"weeks": None}
    del scored["rows"][3]["symbol"], scored["rows"][3]["id"]
    scored["truths"][0] = Prediction(1, None)
    cuts = breakdown(**scored)
    names = {"symbol", "sector", "week", "move", "cutoff"}
    assert all(cuts[name] is None for name in names)
    assert cuts["reasons"]["symbol"] == "1 of 16 rows: no `symbol`"
    assert cuts["reasons"]["sector"].startswith("16 of 16 rows")
    assert set(cuts["reasons"]) == names
    empty = breakdown(rows=[], predictions=[], truths=[], hits=[], weeks=None)
    assert empty["reasons"]["week"] == "no row with a truth"


def test_a_week_that_begins_on_the_cutoff_is_before_it():
    scored = two_firms(knowledge_cutoff="2024-01-08")
    assert sizes(breakdown(**scored)["cutoff"]) == {"before": 4, "after": 12}
    earlier = breakdown(**scored, knowledge_cutoff=date(2023, 1, 1))["cutoff"]
    assert sizes(earlier) == {"after": 16}, "the argument counts before the rows' own key"


def test_the_cutoff_of_a_run_is_that_of_its_base():
    cutoffs = {"Llama-3.1-8B": date(2023, 12, 31), "SmolLM2-135M-Instruct": date(2024, 11, 2)}

    def cutoff_of(manifest):
        return knowledge_cutoff(generation_manifest(manifest), cutoffs)

    assert cutoff_of({"base": {"name": "meta-llama/Llama-3.1-8B"}}) == date(2023, 12, 31)
    embedded = {"name": "data/base", "hub_id": "HuggingFaceTB/SmolLM2-135M-Instruct"}
    assert cutoff_of({"base": embedded}) == date(2024, 11, 2)
    assert cutoff_of({"base": {"name": "org/other", "hub_id": None}}) is None
    assert cutoff_of({}) is None


def test_the_metrics_hold_the_cuts_and_a_bad_date_is_named():
    text = (
        "[Positive Developments]:\n1. A b.\n\n[Potential Concerns]:\n1. C d.\n\n"
        "[Prediction & Analysis]:\nPrediction: Up by 1-2%\nAnalysis: E f."
    )
    row = {"symbol": "AAA", "id": "AAA-2024-01-07", "generation": text, "answer": text}
    metrics, _ = evaluate([row], date(2024, 6, 1))
    before = {"name": "before", "n": 1, "bin_acc": 1.0, "ci95": None}
    assert metrics["breakdown"]["cutoff"] == [before]
    assert (metrics["design_effect"], metrics["effective_n"]) == (None, None)
    message = r"row 1 \(id AAA-2024-01-07\): knowledge_cutoff is 'May'; expected a date"
    with pytest.raises(ValueError, match=message):
        evaluate([{**row, "knowledge_cutoff": "May"}])


def prediction_of(label):
    return Prediction(direction_of(label), magnitude_of(label))


def test_matthews_of_four_cells_by_hand():
    # 4 up predicted up, 1 up predicted down, 2 down predicted up, 3 down predicted down.
    truths = [1] * 5 + [-1] * 5
    predictions = [1, 1, 1, 1, -1, 1, 1, -1, -1, -1]
    opposite = [-direction for direction in predictions]
    expected = (4 * 3 - 2 * 1) / (6 * 5 * 4 * 5) ** 0.5
    assert matthews(truths=truths, predictions=predictions) == pytest.approx(expected)
    assert matthews(truths=truths, predictions=opposite) == pytest.approx(-expected)
    assert matthews(truths=truths, predictions=truths) == 1.0


def test_an_unreadable_prediction_is_wrong_but_not_the_opposite():
    def correlation(*predictions):
        return matthews(truths=[1, 1, 1, -1, -1, -1], predictions=predictions)

    all_right = correlation(1, 1, 1, -1, -1, -1)
    opposite = correlation(1, 1, -1, -1, -1, 1)
    assert opposite < correlation(1, 1, None, -1, -1, None) < all_right
    assert correlation(1, None, None, None, -1, None) > 0  # the two that it stated were right
    assert correlation(*[None] * 6) is None


@pytest.mark.parametrize(
    ("truths", "predictions"), [([1, -1], [1, 1]), ([1, 1], [1, -1]), ([], [])]
)
def test_one_class_has_no_correlation(truths, predictions):
    assert matthews(truths=truths, predictions=predictions) is None


def test_truths_and_predictions_must_be_of_one_length():
    with pytest.raises(ValueError, match="argument"):
        matthews(truths=[1], predictions=[1, -1])


def test_class_metrics_by_hand():
    labels = ("up by 1-2%", "up by 1-2%", "down by 0-1%", "down by more than 5%", "up by 0-1%")
    truths = [prediction_of(label) for label in labels]
    readable = [prediction_of("up by 1-2%"), prediction_of("down by 0-1%")]
    metrics = class_metrics([*readable, UNREADABLE, NEUTRAL, NO_SIZE], truths)
    assert metrics["confusion"] == {
        "down by more than 5%": {"none": 1},
        "down by 0-1%": {"none": 1},
        "up by 0-1%": {"none": 1},
        "up by 1-2%": {"down by 0-1%": 1, "up by 1-2%": 1},
    }
    assert list(metrics["confusion"]) == [label for label in BINS if label in metrics["confusion"]]
    assert metrics["confusion_n"] == 5
    # Down by 0-1% is two bins below up by 1-2%.
    assert (metrics["distance"], metrics["signed_distance"], metrics["distance_n"]) == (1, -1, 2)
    # Right 2 of 5; true 3 up, 2 down; predicted 2 up, 1 down, 2 neither.
    expected = (2 * 5 - (3 * 2 + 2 * 1)) / ((25 - 9) * (25 - 13)) ** 0.5
    assert metrics["matthews"] == pytest.approx(expected)
    assert metrics["matthews_reason"] is None


def test_a_truth_without_a_size_counts_only_for_directions():
    predictions = [prediction_of("up by 1-2%"), prediction_of("down by 1-2%")]
    metrics = class_metrics(predictions, [NO_SIZE, prediction_of("down by 1-2%")])
    assert (metrics["matthews"], metrics["confusion_n"], metrics["distance_n"]) == (1.0, 1, 1)


def test_class_metrics_without_rows_are_null_with_a_reason():
    metrics = class_metrics([], [])
    assert metrics["matthews"] is metrics["distance"] is metrics["signed_distance"] is None
    assert metrics["matthews_reason"]
