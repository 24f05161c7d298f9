"""Accuracy by parts of the rows: the parts add up, and what a row lacks is said."""

from datetime import date

import pytest

from eval.metrics.baselines import Prediction
from eval.metrics.breakdown import breakdown, knowledge_cutoff
from eval.metrics.evaluate import evaluate

WEEKS = [f"2024-0{1 + week // 4}-{1 + 7 * (week % 4):02}" for week in range(8)]


def made(firms=("AAA", "BBB"), **fields):
    """Eight weeks of two firms: rows, truths that grow with the week, hits of the first firm alone, weeks."""
    rows, truths, hits, weeks = [], [], [], []
    for place, start in enumerate(WEEKS):
        for firm in firms:
            rows.append(
                {"symbol": firm, "id": f"{firm}-{start}", "period": f"{start} to later", **fields}
            )
            truths.append(Prediction(1, place + 0.5))
            hits.append(firm == firms[0])
            weeks.append(start)
    return rows, truths, hits, weeks


def test_each_way_to_cut_by_hand():
    found = breakdown(*made(sector="Tools"), date(2024, 1, 20))
    assert found["symbol"] == [
        {"name": "AAA", "n": 8, "bin_acc": 1.0},
        {"name": "BBB", "n": 8, "bin_acc": 0.0},
    ]
    assert [one["name"] for one in found["week"]] == WEEKS
    assert found["week"][0] == {"name": "2024-01-01", "n": 2, "bin_acc": 0.5}
    assert [(one["name"], one["n"]) for one in found["move"]] == [
        ("0-1%", 2), ("1-2%", 2), ("2-5%", 6), ("more than 5%", 6),
    ]  # fmt: skip
    assert [(one["name"], one["n"]) for one in found["cutoff"]] == [("after", 10), ("before", 6)]
    (sector,) = found["sector"]
    assert (sector["name"], sector["n"], sector["bin_acc"]) == ("Tools", 16, 0.5)
    assert sector["ci95"][0] <= 0.5 <= sector["ci95"][1]
    assert found["reasons"] == {}


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
def test_the_sector_is_the_one_that_the_prompt_tells(prompt, sector):
    found = breakdown(*made(prompt=prompt))
    assert (found["sector"] and found["sector"][0]["name"]) == sector
    assert ("sector" in found["reasons"]) == (sector is None)


def test_an_interval_needs_six_weeks_of_that_part():
    rows, truths, hits, weeks = made(sector="Tools")
    for row in rows[6:]:
        row["sector"] = "Banks"  # five weeks
    tools, banks = sorted(breakdown(rows, truths, hits, weeks)["sector"], key=lambda one: one["n"])
    assert (tools["n"], tools["ci95"], banks["n"]) == (6, None, 10)
    assert banks["ci95"] is None
    rows[6]["sector"] = rows[4]["sector"] = rows[2]["sector"] = "Banks"
    assert next(
        one for one in breakdown(rows, truths, hits, weeks)["sector"] if one["name"] == "Banks"
    )["ci95"]


def test_what_rows_lack_is_null_with_a_reason():
    rows, truths, hits, _ = made()
    del rows[3]["symbol"]
    truths[0] = Prediction(1, None)
    found = breakdown(rows, truths, hits, None)
    assert all(found[way] is None for way in ("symbol", "sector", "week", "move", "cutoff"))
    assert found["reasons"]["symbol"] == "1 of 16 rows: no `symbol`"
    assert found["reasons"]["sector"].startswith("16 of 16 rows")
    assert set(found["reasons"]) == {"symbol", "sector", "week", "move", "cutoff"}
    assert breakdown([], [], [], None)["reasons"]["week"] == "no row with a truth"


def test_a_week_that_begins_on_the_day_of_the_cutoff_is_before_it():
    rows, truths, hits, weeks = made(knowledge_cutoff="2024-01-08")
    sides = {one["name"]: one["n"] for one in breakdown(rows, truths, hits, weeks)["cutoff"]}
    assert sides == {"before": 4, "after": 12}
    # The argument goes before the rows' own word.
    sides = {
        one["name"]: one["n"]
        for one in breakdown(rows, truths, hits, weeks, date(2023, 1, 1))["cutoff"]
    }
    assert sides == {"after": 16}


def test_the_cutoff_of_a_run_is_that_of_its_base():
    cutoffs = {"Llama-3.1-8B": date(2023, 12, 31), "SmolLM2-135M-Instruct": date(2024, 11, 2)}
    assert knowledge_cutoff({"base": {"name": "meta-llama/Llama-3.1-8B"}}, cutoffs) == date(
        2023, 12, 31
    )
    embedded = {"name": "data/base", "hub_id": "HuggingFaceTB/SmolLM2-135M-Instruct"}
    assert knowledge_cutoff({"base": embedded}, cutoffs) == date(2024, 11, 2)
    assert knowledge_cutoff({"base": {"name": "org/other", "hub_id": None}}, cutoffs) is None
    assert knowledge_cutoff({}, cutoffs) is None


def test_the_metrics_carry_it_and_a_bad_date_is_named():
    text = ("[Positive Developments]:\n1. A b.\n\n[Potential Concerns]:\n1. C d.\n\n[Prediction & Analysis]:\n"
            "Prediction: Up by 1-2%\nAnalysis: E f.")  # fmt: skip
    row = {"symbol": "AAA", "id": "AAA-2024-01-07", "generation": text, "answer": text}
    metrics, _ = evaluate([row], date(2024, 6, 1))
    assert metrics["breakdown"]["cutoff"] == [
        {"name": "before", "n": 1, "bin_acc": 1.0, "ci95": None}
    ]
    assert (metrics["design_effect"], metrics["effective_n"]) == (None, None)
    with pytest.raises(
        ValueError, match=r"row 1 \(id AAA-2024-01-07\): knowledge_cutoff is 'May'; expected a date"
    ):
        evaluate([{**row, "knowledge_cutoff": "May"}])
