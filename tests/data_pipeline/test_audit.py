"""The audit: each check finds its fault and passes clean rows; files and exit status."""

import json
from dataclasses import replace
from datetime import date, timedelta

import pytest

from data_pipeline.audit import run as audit
from data_pipeline.audit.defects import bins_of
from data_pipeline.audit.leaks import outcome_in_prompt
from data_pipeline.audit.rows import audit_rows
from data_pipeline.dataset.reader import Source, read_source
from data_pipeline.dataset.row import dataset_row
from data_pipeline.records.calendar import decision_time, exchange_of
from data_pipeline.synthetic.__main__ import main as write_fictional
from sft.training.arguments import ScriptArguments
from weekahead.files import read_jsonl, sha256, write_jsonl
from weekahead.recipe import RECIPES, knowledge_cutoffs
from weekahead.task.labels import BINS, label_of_return
from weekahead.task.prompt import SYSTEM, completion, render_prompt
from weekahead.task.prompt_reader import read_prompt
from weekahead.task.record import Capitalization, Financials, News, PastWeek, Record

ANSWER = (
    "[Positive Developments]:\n1. The new depot opened.\n\n"
    "[Potential Concerns]:\n1. Freight costs rose.\n\n"
    "[Prediction & Analysis]:\nPrediction: {}\nAnalysis: The depot weighs more."
)
FIRST = date(2031, 1, 5)
PRICES = (
    50.0,
    50.6,
    49.9,
    51.7,
    51.9,
    50.2,
)  # PRICES[n] stands at the start of week n, PRICES[n + 1] at its end
WEEKS = range(1, len(PRICES) - 1)


def day(week):
    return (FIRST + timedelta(weeks=week)).isoformat()


def record(week, symbol="LKMR", **changes):
    """A clean record with one week of context, a filed quarter and a capitalization."""
    sunday = f"{day(week)}T05:00:00+00:00"
    clean = Record(
        symbol=symbol,
        company=f"Larkmoor Tools ({symbol}), a maker of lathes.",
        weeks=(
            PastWeek(
                day(week - 1),
                day(week),
                PRICES[week - 1],
                PRICES[week],
                (News("A depot opens.", "", sunday),),
            ),
        ),
        week_start=day(week),
        week_end=day(week + 1),
        decision_time=sunday,
        weekly_return=PRICES[week + 1] / PRICES[week] - 1,
        last_week_return=PRICES[week] / PRICES[week - 1] - 1,
        financials=Financials("2030-09-30", "2030-11-04T22:00:00+00:00", {"eps": 1.5}),
        capitalization=Capitalization(PRICES[week] * 1e9, "2030-11-04T22:00:00+00:00"),
    )
    return replace(clean, **changes)


def ours(week, symbol="LKMR", **changes):
    """A clean row of ours."""
    clean = record(week, symbol)
    row = {
        "id": clean.id,
        "symbol": symbol,
        "week_start": clean.week_start,
        "week_end": clean.week_end,
        "decision_time": clean.decision_time,
        "prompt": render_prompt(clean),
        "completion": completion(ANSWER.format(clean.label.capitalize())),
        "label": clean.label,
        "weekly_return": clean.weekly_return,
        "known_at": clean.decision_time,
        "financials_known_at": clean.financials.known_at,
    }
    return {**row, **changes}


def fictional(week):
    """The columns of a row of a fictional market, which decides at midnight in UTC."""
    return {"decision_time": f"{day(week)}T00:00:00+00:00", "synthetic": True}


def with_user(row, old, new):
    """The row with `old` replaced in the user part of its prompt."""
    system, user = row["prompt"]
    assert old in user["content"]
    return {**row, "prompt": [system, {**user, "content": user["content"].replace(old, new)}]}


def public(
    week,
    cap="1200.50",
    quarter="2030-09-30",
    asset="stock",
    symbol="LKMR",
    news="A depot opens.",
    **changes,
):
    """A row in the public shape; clean unless told otherwise."""
    start, end = PRICES[week - 1], PRICES[week]
    prompt = (
        "[INST]<<SYS>>\nYou are a seasoned stock market analyst.\n<</SYS>>\n\n"
        "[Company Introduction]:\n\nLarkmoor Tools makes lathes. "
        f"As of today, it has a market capitalization of {cap} in USD.\n\n"
        f"From {day(week - 1)} to {day(week)}, {symbol}'s stock price moved from {start:.2f} "
        f"to {end:.2f}. News:\n\n"
        f"[Headline]: {news}\n[Summary]: It is large.\n\n"
        f"Some recent basic financials of {symbol}, reported at {quarter}, are presented below:\n\n"
        "eps: 1.5\n\n"
        f"Then make your prediction of the {symbol} {asset} price movement for next week.[/INST]"
    )
    label = label_of_return(PRICES[week + 1] / PRICES[week] - 1)
    row = {
        "prompt": prompt,
        "answer": ANSWER.format(label.capitalize()),
        "period": f"{day(week)} to {day(week + 1)}",
        "label": label,
        "symbol": symbol,
    }
    return {**row, **changes}


def checks(lag=30, cutoffs=None, **splits):
    """Every finding over rows by split."""
    source = Source("rows", splits, {name: name for name in splits}, {}, single=len(splits) == 1)
    return audit.audit(audit_rows(source), lag, cutoffs or {})


def counts(findings):
    return {name: check.count for name, check in findings.items() if check.count}


CLEAN_PUBLIC = [public(week, cap=f"12{week}0.50") for week in WEEKS]


@pytest.mark.parametrize(
    "rows",
    [[ours(week) for week in WEEKS], [record(week).to_json() for week in WEEKS], CLEAN_PUBLIC],
    ids=["ours", "records", "public"],
)
def test_clean_rows_of_every_shape_have_no_finding(rows):
    assert counts(checks(train=rows)) == {}


def test_a_public_prompt_without_wrapping_is_audited_as_it_is():
    bare = public(
        1, quarter=day(0), prompt=public(1, quarter=day(0))["prompt"].removesuffix("[/INST]")
    )
    assert counts(checks(train=[bare])) == {"young_quarter": 1}


def test_a_check_that_does_not_apply_has_count_0_and_says_so():
    findings = checks(train=CLEAN_PUBLIC)
    notes = {name: check.note for name, check in findings.items() if not check.of}
    assert notes == {
        "known_at": "no row says when its facts were known",
        "label_against_return": "no row carries a weekly_return",
        "split_gap": "one split: no gap to measure",
    }
    assert findings["split_overlap"].note == "one split: nothing to overlap with"
    assert (
        checks(train=[record(1).to_json()])["missing_prediction"].note == "records have no answers"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"known_at": f"{day(2)}T05:00:01+00:00"},
        {"known_at": f"{day(2)}T06:00:00+00:30"},
        {"financials_known_at": f"{day(2)}T09:00:00+00:00"},
        {"decision_time": f"{day(3)}T05:00:00+00:00"},
        {"decision_time": f"{day(2)}T05:00:01+00:00"},
        {"decision_time": f"{day(2)}T00:00:01+00:00", "synthetic": True},
        {"known_at": f"{day(2)}T05:00:00+00:00", **fictional(2)},
        {"known_at": f"{day(2)}T00:00:01+00:00", **fictional(2)},
        {"known_at": f"{day(2)}T00:00:00+00:00", **fictional(2), "synthetic": "no"},
        {"financials_known_at": f"{day(2)}T00:00:00+00:00", **fictional(2)},
    ],
    ids=[
        "a second late",
        "another zone",
        "financials",
        "decided a week later",
        "a second after the exchange's midnight",
        "decided after a fictional midnight",
        "fictional, five hours late",
        "fictional, a second late",
        "not fictional",
        "fictional financials",
    ],
)
def test_a_fact_known_after_the_decision_is_a_leak(change):
    finding = checks(train=[ours(1), ours(2, **change)])["known_at"]
    assert (finding.count, finding.of, finding.leak) == (1, 2, True)
    assert finding.examples[0].startswith(f"LKMR-{day(2)}: ")


@pytest.mark.parametrize(
    "row",
    [
        ours(2, known_at=f"{day(2)}T00:00:00+00:00", **fictional(2)),
        ours(2, known_at=day(2), **fictional(2)),
        ours(2, symbol="X.UNKNOWN", decision_time=f"{day(2)}T12:00:00+00:00"),
        record(
            2,
            decision_time=f"{day(2)}T00:00:00+00:00",
            weeks=(PastWeek(day(1), day(2), 50.6, 49.9),),
            extra={"synthetic": True},
        ).to_json(),
    ],
    ids=["fictional midnight", "fictional day", "no exchange", "fictional record"],
)
def test_what_was_known_and_decided_in_time_is_no_leak(row):
    assert checks(train=[row])["known_at"].count == 0


@pytest.mark.parametrize("symbol", ["LKMR", "VOD.L"])
@pytest.mark.parametrize(("news_on", "late"), [(None, 0), (1, 0), (2, 1)])
def test_a_row_says_no_less_than_its_record_of_times_without_a_clock(symbol, news_on, late):
    """London decides at midnight in UTC, as the days of its facts are written."""
    saturday = (date.fromisoformat(day(2)) - timedelta(days=1)).isoformat()
    dates = {1: saturday, 2: day(2)}
    news = () if news_on is None else (News("It opened. " * 20, "", dates[news_on]),)
    decided = decision_time(exchange_of(symbol), date.fromisoformat(day(2)))
    made = record(
        2,
        symbol,
        decision_time=decided,
        weeks=(PastWeek(day(1), day(2), PRICES[1], PRICES[2], news),),
    )
    row = dataset_row(made, ANSWER.format(made.label.capitalize()), "", told=True)
    assert checks(train=[made.to_json()])["known_at"].count == late
    assert checks(train=[dict(row)])["known_at"].count == late


def test_without_a_known_exchange_the_last_midnight_of_all_counts():
    late = ours(2, symbol="X.UNKNOWN", decision_time=f"{day(2)}T12:00:01+00:00")
    assert checks(train=[late])["known_at"].count == 1


def test_a_record_of_a_fictional_market_is_held_against_its_midnight():
    late = record(2, extra={"synthetic": True}).to_json()
    finding = checks(train=[late])["known_at"]
    assert finding.examples == [f"LKMR-{day(2)}: decision_time {day(2)}T05:00:00+00:00"]


def test_the_fictional_dataset_has_no_leak_until_one_is_planted(tmp_path, capsys):
    assert write_fictional(["--out", str(tmp_path)]) == 0
    folder = tmp_path / "datasets" / "fictional"
    for source in (folder, tmp_path / "records" / "fictional.jsonl"):
        assert audit.main([str(source), "--out", str(tmp_path / "audit")]) == 0
        assert "no leak found" in capsys.readouterr().out
    first, *rest = read_jsonl(folder / "test.jsonl")
    late = first["decision_time"].replace("T00:00:00", "T00:00:01")
    write_jsonl(folder / "test.jsonl", [{**first, "known_at": late}, *rest])
    assert audit.main([str(folder), "--out", str(tmp_path / "audit")]) == 1
    assert f"{first['id']}: known_at {late}" in capsys.readouterr().out


def test_a_record_with_news_from_the_forecast_week_is_a_leak():
    late = PastWeek(
        day(1), day(2), 50.6, 49.9, (News("It burned down. " * 20, "", f"{day(2)}T20:00:00+00:00"),)
    )
    finding = checks(train=[record(1).to_json(), record(2, weeks=(late,)).to_json()])["known_at"]
    assert (finding.count, finding.of) == (1, 2)
    assert len(finding.examples[0]) <= 100


def test_a_constant_market_cap_is_a_leak_in_every_row():
    """Of the symbol: those of other symbols do not count."""
    moving = [public(week, cap=f"9{week}.5", symbol="QHBF") for week in WEEKS]
    finding = checks(train=[public(1), public(2)], test=[public(4), *moving])["constant_market_cap"]
    assert (finding.count, finding.of, finding.leak) == (3, 7, True)
    assert finding.examples == ["LKMR: 1200.50 in 3 weeks"]


def test_a_market_cap_in_our_prompts_must_move_with_the_price():
    still = Capitalization(50.6e9, "2030-11-04T22:00:00+00:00")
    rows = [record(week, capitalization=still).to_json() for week in WEEKS]
    assert checks(train=rows)["constant_market_cap"].count == len(rows)
    same_close = [PastWeek(day(week - 1), day(week), 50.0, 50.6) for week in WEEKS]
    rows = [
        record(week, capitalization=still, weeks=(same_close[week - 1],)).to_json()
        for week in WEEKS
    ]
    assert checks(train=rows)["constant_market_cap"].count == 0


@pytest.mark.parametrize(
    "row",
    [public(1, cap="7"), public(1, news="A market capitalization of 99.5 billion")],
    ids=["one week", "in news"],
)
def test_one_week_or_a_news_item_proves_no_constant_market_cap(row):
    other = public(2, cap="8", news="A market capitalization of 99.5 billion")
    assert checks(train=[row, other])["constant_market_cap"].count == 0


@pytest.mark.parametrize(("age", "count"), [(-3, 1), (0, 1), (30, 1), (31, 0)])
def test_a_quarter_is_young_up_to_and_with_the_filing_lag(age, count):
    ended = (date.fromisoformat(day(1)) - timedelta(days=age)).isoformat()
    finding = checks(train=[public(1, quarter=ended)])["young_quarter"]
    assert (finding.count, finding.of, finding.leak) == (count, 1, bool(count))


@pytest.mark.parametrize(
    ("filed", "count"),
    [
        ("2031-01-09T22:00:00+00:00", 0),
        (None, 1),
        ("2030-11-04T22:00:00+00:00", 1),
        (f"{day(2)}T00:00:00+00:00", 1),
    ],
    ids=["between end and decision", "unknown", "before the quarter ended", "after the decision"],
)
def test_a_young_quarter_is_excused_by_proof_of_its_filing_alone(filed, count):
    row = with_user(ours(1), "quarter ended 2030-09-30", "quarter ended 2030-12-31")
    assert checks(train=[{**row, "financials_known_at": filed}])["young_quarter"].count == count


LABEL = "up by 3-4%"
LEAKS = [
    "Let's assume your prediction for next week (2031-01-12 to 2031-01-19) is up by 3-4%.",
    "The stock will go Up  by 3\u20134 %.",
    "[Prediction & Analysis]:\nPrediction: Down by 1-2%\nAnalysis: ...",
    "**Prediction:** Up by more than 5%",
    "label: 7",
    '"weekly_return": 0.034',
    "- Analysts agree: your prediction should be up by 3-4%",
    "From 2031-01-12 to 2031-01-19, LKMR's stock price increased from 50.60 to 52.40.",
    "[Week to 2031-01-19]: 50.60 to 52.40 (+3.6%)",
]
INNOCENT = [
    "[Headline]: Shares of LKMR up by 3-4% on the depot's opening",
    "- Sales are expected to be up by 3-4%, private label included.",
    "[Headline]: Prediction: This will be the largest depot",
    "Prediction: Up or Down by 0-1%, 1-2%, 2-3%, 3-4%, 4-5% or more than 5%",
    "Choose one of up by 2-3%, up by 3-4%, up by 4-5%.",
    "The price went up by 3%, then down by 3-4%.",
    "From 2031-01-05 to 2031-01-12, LKMR's stock price increased from 50.00 to 50.60.",
    "[Week to 2031-01-12]: 50.00 to 50.60 (+1.2%)",
]


def outcome(*, system, user, label=LABEL):
    """What `outcome_in_prompt` says of a row of the week that begins on 2031-01-12."""
    prompt = [{"role": "system", "content": system}, {"role": "user", "content": user}]
    rows = [ours(1, prompt=prompt, label=label)]
    return outcome_in_prompt(audit_rows(Source("rows", {"train": rows}, {}, {}, single=True))[0])


@pytest.mark.parametrize("line", LEAKS)
def test_a_prompt_that_tells_its_outcome_is_a_leak(line):
    assert outcome(system="", user=f"[Company]: Larkmoor.\n\n{line}")


@pytest.mark.parametrize("line", INNOCENT)
def test_moves_in_news_and_choices_of_bins_are_not_leaks(line):
    assert outcome(system=line, user=f"[Company]: Larkmoor.\n\n{line}") is None


def test_the_layout_in_our_own_system_prompt_tells_nothing():
    assert [label for label in BINS if outcome(system=SYSTEM, user="", label=label)] == []


def test_the_label_in_any_part_of_the_prompt_is_counted_by_row():
    in_user = with_user(ours(1), "Forecast LKMR", f"It will be {ours(1)['label']}. Forecast LKMR")
    system = [{"role": "system", "content": f"Say {ours(2)['label']}."}, ours(2)["prompt"][1]]
    finding = checks(train=[in_user, ours(2, prompt=system), ours(3)])["label_in_prompt"]
    assert (finding.count, finding.of, finding.leak) == (2, 3, True)
    assert finding.examples[0] == f"LKMR-{day(1)}: the label's words"


def test_a_week_or_an_id_in_two_splits_is_a_leak():
    findings = checks(
        train=[ours(1), ours(2)],
        validation=[ours(3)],
        test=[ours(2, "QHBF"), ours(4, id=f"LKMR-{day(1)}")],
    )
    overlap = findings["split_overlap"]
    assert (overlap.count, overlap.of, overlap.leak) == (4, 5, True)
    assert overlap.examples == [f"LKMR-{day(1)} in test and train", f"{day(2)} in test and train"]


def test_two_test_splits_may_share_a_week():
    assert (
        checks(train=[ours(1)], test=[ours(3)], test_new=[ours(3, "QHBF")])["split_overlap"].count
        == 0
    )


def test_a_repeated_id_and_a_repeated_prompt_are_duplicates():
    copied = ours(2, prompt=ours(1)["prompt"])
    finding = checks(train=[ours(1), copied, ours(3)], test=[ours(3)])["duplicate"]
    assert (finding.count, finding.of, finding.leak) == (2, 4, True)
    assert finding.examples == [
        f"LKMR-{day(2)}: the prompt of LKMR-{day(1)}",
        f"LKMR-{day(3)}: the id",
    ]


def test_answers_without_their_labels_bin_are_defects():
    """Whether no bin can be read or another one is named."""
    rows = [
        public(1, cap="1", answer=ANSWER.format("").replace("Prediction: \n", "")),
        public(2, cap="2", answer=""),
        public(3, cap="3", answer=ANSWER.format("Down by more than 5%")),
        public(4, cap="4"),
    ]
    findings = checks(train=rows)
    assert counts(findings) == {"missing_prediction": 2, "answer_against_label": 1}
    assert findings["missing_prediction"].of == 4 and findings["answer_against_label"].of == 2
    assert findings["answer_against_label"].examples == [f"LKMR-{day(3)}"]
    assert not any(check.leak for check in findings.values())


def test_only_a_company_can_be_asked_about_the_wrong_asset():
    coin = public(3, cap="3", asset="cryptocurrency")
    coin["prompt"] = coin["prompt"].replace("stock market analyst", "crypto market analyst")
    news = public(2, cap="2", news="A cryptocurrency price movement for next week")
    finding = checks(train=[public(1, cap="1", asset="cryptocurrency"), news, coin])[
        "wrong_asset_wording"
    ]
    assert (finding.count, finding.examples) == (1, [f"LKMR-{day(1)}"])


def test_a_label_that_is_not_the_bin_of_its_return_is_a_defect():
    finding = checks(train=[ours(1), ours(2, weekly_return=-0.2)])["label_against_return"]
    assert (finding.count, finding.of, finding.leak) == (1, 2, False)


def test_a_label_that_later_prices_contradict_is_a_defect():
    """In either split: the prices may be in a prompt of the other one."""
    rows = [public(week, cap=str(week)) for week in WEEKS]
    finding = checks(train=rows[:1], test=rows[1:])["label_against_prices"]
    assert (finding.count, finding.of) == (0, len(rows) - 1)
    wrong = {**rows[0], "label": "up by 0-1%"}
    finding = checks(train=[wrong], test=rows[1:])["label_against_prices"]
    assert (finding.count, finding.examples) == (
        1,
        [f"LKMR-{day(1)}: up by 0-1%, but 50.6 to 49.9"],
    )


@pytest.mark.parametrize(
    ("line", "bins"),
    [
        (
            "From 2031-01-05 to 2031-01-12, LKMR's stock price rose from 1,000.00 to 1,015.00.",
            ("up by 1-2%",),
        ),
        (
            "From 2031-01-05 to 2031-01-12, LKMR's stock price rose from 0.50 to 0.52.",
            ("up by 1-2%", "up by more than 5%"),
        ),
        ("[Week to 2031-01-12]: 100.00 to 98.50 (-1.5%)", ("down by 1-2%", "up by 0-1%")),
    ],
    ids=["adjusted", "rounded cents", "raw, with room for a dividend"],
)
def test_the_bins_that_a_price_line_allows(line, bins):
    allowed = bins_of(read_prompt(line).price_moves[0])
    assert (allowed[0], allowed[-1]) == (bins[0], bins[-1])


def test_weeks_missing_inside_a_split_are_holes():
    """The gap between two splits is not one."""
    finding = checks(train=[ours(1), ours(1, "QHBF"), ours(2, "QHBF")], test=[ours(4)])[
        "symbol_week_holes"
    ]
    assert (finding.count, finding.of) == (0, 4)
    finding = checks(train=[ours(1), ours(4)])["symbol_week_holes"]
    assert (finding.count, finding.of, finding.examples) == (
        2,
        4,
        [f"LKMR-{day(2)}", f"LKMR-{day(3)}"],
    )


def test_broken_text_is_counted_by_row_and_its_places_are_noted():
    rows = [
        public(1, cap="1", news="Larkmoor\u00e2\u0080\u0099s \u00c2\u00ae lathe"),
        public(2, cap="2", news="R&amp;D"),
    ]
    findings = checks(train=rows)
    assert [
        (findings[name].count, findings[name].note) for name in ("mojibake", "html_entity")
    ] == [
        (1, "2 places"),
        (1, "1 places"),
    ]


def test_a_gap_shorter_than_the_context_is_told_with_its_weeks():
    finding = checks(train=[ours(1)], validation=[ours(3)], test=[ours(4)])["split_gap"]
    assert (finding.count, finding.of, finding.leak) == (1, 2, False)
    assert finding.examples == [
        "train to validation: 1 weeks, context 1",
        "validation to test: 0 weeks, context 1",
    ]
    assert checks(train=[ours(4)], test=[ours(2)])["split_gap"].examples == [
        "train to test: -3 weeks, context 1"
    ]


def test_weeks_before_a_knowledge_cutoff_are_told_by_base():
    bases = {"early": date.fromisoformat(day(0)), "late": date.fromisoformat(day(2))}
    finding = checks(cutoffs=bases, train=[ours(1), ours(2), ours(2, "QHBF"), ours(3)])[
        "weeks_before_cutoff"
    ]
    assert (finding.count, finding.of, finding.leak) == (3, 4, False)
    assert finding.examples == [
        f"late, {day(2)}: 3 rows, 2 weeks",
        f"early, {day(0)}: 0 rows, 0 weeks",
    ]


def test_every_recipe_states_a_knowledge_cutoff():
    cutoffs = knowledge_cutoffs(RECIPES)
    assert cutoffs["Llama-3.1-8B"] == date(2023, 12, 31)
    assert len(cutoffs) == len({path.stem.removesuffix("_t4") for path in RECIPES.glob("*.yaml")})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("knowledge_cutoff: December 2023", "knowledge_cutoff is 'December 2023'"),
        ("- a list", "not a recipe"),
        ("a: [", "not YAML"),
    ],
)
def test_a_recipe_that_cannot_be_read_is_named(tmp_path, text, message):
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(ValueError, match=f"mine.yaml: {message}"):
        knowledge_cutoffs(tmp_path)


def test_of_two_recipes_for_one_base_the_later_cutoff_counts(tmp_path):
    for name, stated in (("a", "2024-02-01"), ("b", "2024-01-01")):
        (tmp_path / f"{name}.yaml").write_text(
            f"model_name_or_path: lab/base\nknowledge_cutoff: {stated}\n"
        )
    (tmp_path / "c.yaml").write_text("model_name_or_path: lab/silent\n")
    assert knowledge_cutoffs(tmp_path) == {"base": date(2024, 2, 1)}


@pytest.mark.parametrize(
    "stated", ["2023-12-31", date(2023, 12, 31)], ids=["quoted", "as YAML reads it unquoted"]
)
def test_training_takes_a_recipes_cutoff_as_a_day(stated):
    assert ScriptArguments(knowledge_cutoff=stated).knowledge_cutoff == "2023-12-31"


def test_training_refuses_a_cutoff_that_is_no_day():
    with pytest.raises(ValueError, match="knowledge_cutoff is 'December 2023'; expected a date"):
        ScriptArguments(knowledge_cutoff="December 2023")


def test_the_command_exits_0_without_a_leak(tmp_path, capsys):
    """It writes what it prints."""
    write_jsonl(tmp_path / "rows" / "train.jsonl", [ours(1)])
    write_jsonl(tmp_path / "rows" / "test.jsonl", [ours(3, completion=completion("no answer"))])
    assert audit.main([str(tmp_path / "rows"), "--out", str(tmp_path / "out")]) == 0
    report = json.loads((tmp_path / "out" / "audit.json").read_text())
    assert (
        report["missing_prediction"]["count"] == 1 and report["missing_prediction"]["leak"] is False
    )
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == list(report)
    assert lines[-1] == "2 rows: no leak found"
    manifest = json.loads((tmp_path / "out" / "audit.manifest.json").read_text())
    assert (
        manifest["sha256"]["test"] == sha256(tmp_path / "rows" / "test.jsonl")
        and manifest["filing_lag"] == 30
    )


def test_a_leak_is_exit_1_and_the_file_is_written_all_the_same(tmp_path, capsys):
    write_jsonl(
        tmp_path / "records.jsonl", [record(1, decision_time="2031-01-11T00:00:00+00:00").to_json()]
    )
    assert audit.main([str(tmp_path / "records.jsonl"), "--out", str(tmp_path)]) == 1
    report = json.loads((tmp_path / "audit.json").read_text())
    assert {name for name, check in report.items() if check["leak"]} == {"known_at"}
    assert all({"count", "examples", "leak"} <= check.keys() for check in report.values())
    assert capsys.readouterr().out.splitlines()[-1] == "1 rows: leaks: known_at"


def test_the_filing_lag_is_taken_from_the_command(tmp_path):
    write_jsonl(tmp_path / "rows.jsonl", [public(1, quarter="2030-12-31")])
    for lag, status in (("12", 1), ("11", 0)):
        assert (
            audit.main([str(tmp_path / "rows.jsonl"), "--out", str(tmp_path), "--filing-lag", lag])
            == status
        )


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "no rows to audit"),
        ([{"text": "hello"}], "row 1: missing column id, symbol"),
        ([ours(1), ours(2, label="up a lot")], "row 2: unknown label 'up a lot'"),
        ([ours(1, week_end=day(1))], "expected two days in order"),
        ([ours(1, known_at="yesterday")], "known_at is 'yesterday'; expected a time"),
        ([ours(1, prompt="Tell me.")], "prompt is 'Tell me.'; expected a list of"),
        ([ours(1, weekly_return="much")], "weekly_return is 'much'; expected a finite fraction"),
        ([public(1, period="2031")], "period is '2031'; expected two dates"),
        ([public(1, answer=None)], "answer is None; expected a text"),
        ([{**record(1).to_json(), "company_name": "x"}], "expected the fields of Record.to_json"),
    ],
)
def test_a_source_that_cannot_be_audited_is_one_line_and_exit_2(tmp_path, capsys, rows, message):
    write_jsonl(tmp_path / "rows.jsonl", rows)
    assert audit.main([str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "out")]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_bad_arguments_and_a_crash_are_exit_2_too(tmp_path, capsys, monkeypatch):
    rows = tmp_path / "rows.jsonl"
    write_jsonl(rows, [ours(1)])
    for arguments, message in [
        ([str(tmp_path / "none.jsonl"), "--out", str(tmp_path)], "there is no such file or folder"),
        ([str(rows), "--out", str(rows)], "which is a file; give a folder"),
        (
            [str(rows), "--out", str(tmp_path), "--filing-lag", "-1"],
            "--filing-lag is -1; expected days, 0 or more",
        ),
    ]:
        assert audit.main(arguments) == 2
        error = capsys.readouterr().err
        assert message in error and error.count("\n") == 1
    write_jsonl(
        rows,
        [record(1, financials=Financials("2030-09-30", "2030-11-04", {"eps": None})).to_json()],
    )
    assert audit.main([str(rows), "--out", str(tmp_path)]) == 2


def test_the_real_rows_leak_what_is_known_of_them(shared_data, tmp_path, capsys):
    assert audit.main([str(shared_data / "dow30" / "test.jsonl"), "--out", str(tmp_path)]) == 1
    report = json.loads((tmp_path / "audit.json").read_text())
    assert {name for name, check in report.items() if check["leak"]} == {
        "constant_market_cap",
        "young_quarter",
    }
    assert {name: check["count"] for name, check in report.items() if check["count"]} == {
        "constant_market_cap": 300,
        "young_quarter": 79,
        "missing_prediction": 3,
        "wrong_asset_wording": 300,
        "mojibake": 35,
        "html_entity": 9,
        "weeks_before_cutoff": 300,
    }
    assert [text.split(":")[0] for text in report["missing_prediction"]["examples"]] == [
        "GS-2024-04-14",
        "KO-2024-03-31",
        "UNH-2024-03-17",
    ]


def test_the_real_rows_obey_the_label_rule_seen_from_outside(shared_data):
    source = read_source(shared_data / "dow30")
    findings = audit.audit(audit_rows(source), 30, {})
    assert (findings["label_against_prices"].count, findings["label_against_prices"].of) == (0, 357)
    assert findings["missing_prediction"].count == 4 and findings["answer_against_label"].count == 0
    rows = read_jsonl(shared_data / "dow30" / "test.jsonl")
    turned = [
        {**row, "label": "up by 4-5%" if "down" in row["label"] else "down by 4-5%"} for row in rows
    ]
    wrong = audit.audit(
        audit_rows(replace(source, splits={**source.splits, "test": turned})), 30, {}
    )
    assert wrong["label_against_prices"].count == 270
