"""make forecast: what is written, what is said before and after it, and what is refused."""

import json
import math
import shutil
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from forecast.__main__ import main, print_text
from forecast.company.cautions import Knowledge, cautions
from forecast.company.inputs import (
    Known,
    case_of_prompt,
    cases_of,
    inputs_of_records,
    named_symbols,
)
from forecast.company.measured import measured_record
from forecast.company.model import Said
from forecast.company.result import (
    NOT_IN_INPUTS,
    ModelFacts,
    after_answer,
    before_answer,
    forecast_file,
    markdown,
    marked_answer,
)
from tests.support.market import company as made_company
from tests.support.market import news, write_prices
from tests.support.records import record
from tests.support.servers.completions import Completions
from tests.support.servers.finnhub import UNAUTHORIZED, FinnhubServer
from tests.support.servers.teacher import Teacher
from tests.support.tiny_adapter import metrics
from weekahead.cli import for_terminal
from weekahead.files import read_jsonl, sha256, write_json, write_jsonl, write_text
from weekahead.markdown import escape
from weekahead.models.loading import find_adapter, load_for_generation
from weekahead.models.precision import choose_precision
from weekahead.task.answer import render_answer
from weekahead.task.labels import BINS
from weekahead.task.prompt import render_prompt
from weekahead.task.times import moment

KEYS = ("probabilities", "prediction", "answer", "decision_time", "inputs", "adapter", "base")
NOW = datetime(2026, 1, 7, 12, tzinfo=UTC)


@pytest.fixture
def room(tiny, small, tmp_path, monkeypatch):
    """A folder with the records of the fictional market, in which the command is run."""
    shutil.copytree(tiny / "data/records", tmp_path / "data/records")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FINNHUB_API_KEY", raising=False)
    return tmp_path


def forecast(small, *words, adapter=None):
    model = ["--config", str(small.adapter.parent / "fp32.yaml")]
    model += ["--adapter", str(adapter or small.adapter), "--max_new_tokens", "8"]
    return main([*model, *words])


def last_week(room):
    """(its first day, its symbols) of the last week of the records."""
    rows = read_jsonl(room / "data/records/m.jsonl")
    week = max(row["week_start"] for row in rows)
    return week, sorted(row["symbol"] for row in rows if row["week_start"] == week)


def read(path):
    return json.loads(path.read_text())


def test_a_company_is_forecast_from_its_records(small, room, capsys):
    week, (symbol, *_) = last_week(room)
    words = ["--records", "data/records/m.jsonl", "--date", week, "--symbols", symbol.lower()]
    assert forecast(small, *words) == 0
    made = read(room / f"forecasts/{week}/{symbol}.json")
    assert set(KEYS) <= made.keys()
    assert list(made["probabilities"]) == list(BINS)
    assert math.isclose(sum(made["probabilities"].values()), 1)
    assert made["prediction"] is None and made["unreadable"]  # eight tokens of a random model
    assert made["adapter"] == str(small.adapter)
    assert made["adapter_sha256"] == sha256(small.adapter / "adapter_model.safetensors")
    assert made["record"]["verdict"] == "not measured"
    prompt = made["prompt"][-1]["content"]
    for fact in made["inputs"]:
        assert fact["text"] in prompt and fact["source"] == "data/records/m.jsonl"
        assert moment(fact["known_at"]) <= moment(made["decision_time"])
    printed = capsys.readouterr().out
    assert made["answer"].strip()[:20] in printed and "Call: none that can be read" in printed
    assert f"forecasts/{week}/{symbol}.json" in printed
    page = (room / f"forecasts/{week}/{symbol}.md").read_text()
    assert made["record"]["sentence"] in page and escape(made["inputs"][0]["text"]) in page


def test_a_batch_is_one_table_and_the_base_says_another_thing(small, room, capsys):
    week, symbols = last_week(room)
    words = ["--records", "data/records/m.jsonl", "--date", week, "--text", "none"]
    assert forecast(small, *words) == 0
    table = (room / f"forecasts/{week}/table.txt").read_text()
    assert table in capsys.readouterr().out
    assert [line.split()[0] for line in table.splitlines()[2:]] == symbols
    tuned = read(room / f"forecasts/{week}/{symbols[0]}.json")
    assert tuned["answer"] is None and tuned["prediction_from"] == "probabilities"
    assert tuned["probabilities"][tuned["prediction"]] > 0
    assert forecast(small, *words, "--symbols", symbols[0], adapter="none") == 0
    base = read(room / f"forecasts/{week}/{symbols[0]}.json")
    assert base["adapter"] is None and base["probabilities"] != tuned["probabilities"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--symbols", "NONE"), "has no record of NONE"),
        (("--records", "."), "RECORDS is ., a folder; expected"),
        (("--date", "2026-11-22"), "no record of the week of 2026-11-22 (it reaches from 2031"),
        (("--index", "dow30"), "--index and --records each say what to forecast"),
        (("--prices", "x"), "leave --prices and --news out"),
        (("--weeks", "5"), "--weeks is 5; expected 1 to 4 past weeks"),
        (("--weeks", "0"), "--weeks is 0; expected 1 to 4 past weeks"),
    ],
)
def test_what_cannot_be_forecast_is_refused(small, room, words, said, capsys):
    start = ["--records", "data/records/m.jsonl", "--date", last_week(room)[0]]
    assert forecast(small, *start, *words) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1
    assert not list(room.glob("forecasts/*/*.json"))


def test_prices_and_news_of_files_make_a_forecast(small, room, capsys):
    """Unknown tickers are named; a company may have no news, and a week may lie ahead."""
    first, last = date(2025, 10, 1), date(2026, 2, 1)
    write_prices(room / "prices", ["AAA", "BBB"], first, last)
    write_jsonl(room / "news.jsonl", news("AAA", first, last))
    files = ["--prices", "prices", "--date", "2026-01-07", "--text", "none"]
    with_news = [*files, "--news", "news.jsonl"]
    assert forecast(small, *with_news, "--symbols", "aaa,BBB") == 0
    printed = capsys.readouterr().out
    assert "WARNING (BBB): no news in the inputs" in printed
    made = read(room / "forecasts/2026-01-07/AAA.json")
    assert made["week_start"] == "2026-01-04"
    assert {fact["kind"] for fact in made["inputs"]} == {"prices", "news"}
    assert forecast(small, *files, "--symbols", "AAA") == 0
    assert "is not set: prompts hold no news" in capsys.readouterr().out
    for symbols, day, said in (
        ("AAA ZZZ", "2026-01-07", "nothing is known of ZZZ (no prices: no file)"),
        ("ZZZ", "2026-01-07", "ZZZ"),
        ("A/B", "2026-01-07", "expected a ticker"),
        ("AAA", "2099-01-07", "lies ahead"),
        ("AAA", "2026-03-11", "no prices"),
        ("", "2026-01-07", "no company is named"),
    ):
        words = ["--prices", "prices", "--date", day, "--symbols", symbols]
        assert forecast(small, *words) == 2, symbols
        assert said in capsys.readouterr().err, symbols


def test_without_a_date_the_week_under_way_is_taken(small, room, capsys):
    today = datetime.now(UTC).date()
    write_prices(room / "prices", ["AAA"], today - timedelta(days=90), today)
    assert forecast(small, "--prices", "prices", "--symbols", "AAA", "--text", "none") == 0
    sunday = today - timedelta(days=today.isoweekday() % 7)
    assert f"The week under way began on {sunday}; inputs end at" in capsys.readouterr().out
    made = read(room / f"forecasts/{datetime.now(UTC).date()}/AAA.json")
    assert made["week_start"] == str(sunday)
    assert max(fact["known_at"] for fact in made["inputs"]) < made["decision_time"]


def test_a_prompt_of_ones_own_is_answered(small, room):
    text = render_prompt(record("AAA", 0))[-1]["content"]
    write_text(room / "mine.txt", text)
    assert forecast(small, "--prompt", "mine.txt", "--date", "2026-01-07", "--text", "none") == 0
    made = read(room / "forecasts/2026-01-07/AAA.json")
    assert made["prompt"] == render_prompt(record("AAA", 0))
    assert made["inputs"][0]["kind"] == "prompt" and made["inputs"][0]["known_at"] is None
    assert "the prompt is yours" in made["warnings"][-1]
    write_text(room / "odd.txt", "What now?")
    assert case_of_prompt(room / "odd.txt", NOW.date()).row["symbol"] == "odd"
    write_text(room / "never.txt", text.replace("2026-01-04.", "2026-13-45."))
    with pytest.raises(ValueError, match=r"never.txt asks about is '2026-13-45'; expected a date"):
        case_of_prompt(room / "never.txt", NOW.date())
    write_text(room / "empty.txt", " \n")
    assert forecast(small, "--prompt", "empty.txt") == 2


def test_a_server_without_scores_gives_a_text_and_the_reason(small, room, monkeypatch, capsys):
    """A server of chats alone; without a text there is nothing to be had from it."""
    week, (symbol, *_) = last_week(room)
    words = ["--records", "data/records/m.jsonl", "--date", week, "--symbols", symbol]
    words += ["--model", "loopback"]
    with Teacher() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        assert forecast(small, *words) == 0
        said = capsys.readouterr().out
        assert forecast(small, *words, "--text", "none") == 2
    made = read(room / f"forecasts/{week}/{symbol}.json")
    assert made["prediction"] in BINS and made["probabilities"] is None
    assert made["served_as"] == "loopback" and made["answer"]
    reason = "the server does not score a prompt's tokens (the endpoint has no such model or "
    assert reason in made["why_none"] and f"Probabilities: none, since {reason}" in said
    assert reason in (room / f"forecasts/{week}/{symbol}.md").read_text()
    assert f"no probabilities: {reason}" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["full", "none"])
def test_a_server_with_scores_gives_what_is_given_here(text, small, room, monkeypatch):
    """The probabilities are those of the same adapter in this process, within rounding."""
    week, (symbol, *_) = last_week(room)
    words = ["--records", "data/records/m.jsonl", "--date", week, "--symbols", symbol]
    assert forecast(small, *words, "--text", text) == 0
    path = room / f"forecasts/{week}/{symbol}.json"
    here = read(path)
    adapter = find_adapter(str(small.adapter))
    model, _ = load_for_generation(small.base, adapter, choose_precision())
    with Completions(model, small.tokenizer, small.ends) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        assert forecast(small, *words, "--text", text, "--model", "mine") == 0
    there = read(path)
    assert there["served_as"] == "mine" and there["why_none"] is None
    assert there["probabilities"] == pytest.approx(here["probabilities"], rel=0.01)
    same = ("answer", "prediction", "probabilities_after", "prediction_from")
    assert [there[key] for key in same] == [here[key] for key in same]
    assert (text == "none") == (len(server.asked) == 12)


def case(**change):
    """A company of the real world, forecast in January."""
    (only,) = cases_of(Known([record("AAA", 0, **{"extra": {}} | change)], {}))
    return only


def said_file(answer, probabilities=None):
    said = Said(answer, probabilities, "own" if probabilities else None)
    unmeasured = measured_record_of_nothing()
    return forecast_file(case(), said, ModelFacts(None, None, "b", None), unmeasured, NOW)


def measured_record_of_nothing():
    return measured_record(Path("nowhere"), "r", None, {"name": "b"})


def test_figures_that_stand_nowhere_are_marked():
    text = render_answer(["Sales rose 12.5 %."], ["None."], "up by 1-2%", "Up 1-2% as sales did.")
    made = said_file(text, dict.fromkeys(BINS, 1 / 12))
    assert made["figures_not_in_inputs"] == ["12.5 %"]
    marked = marked_answer(text, made["figures_not_in_inputs"])
    assert "12.5 % (not in the inputs)." in marked and marked.count("(not in") == 1
    assert "Figures of the answer (not in the inputs): 12.5 %" in after_answer(made)


@pytest.mark.parametrize(
    ("text", "figures", "marked"),
    [
        ("Paid $5 out of $5,200.", ["$5"], "Paid $5 (X) out of $5,200."),
        ("Up 2.5% or 12.5%, not 2.5%.", ["2.5%"], "Up 2.5% (X) or 12.5%, not 2.5% (X)."),
        ("Sales of 1.200.000 or 1.200.", ["1.200"], "Sales of 1.200.000 or 1.200 (X)."),
        ("Up 5%, 3-5% and 5%.", ["5%"], "Up 5% (X), 3-5% and 5% (X)."),
        ("$7,5 and $7.", ["$7"], "$7,5 and $7 (X)."),
        ("5 % (X) and 5%", ["5 %", "5%"], "5 % (X) and 5% (X)"),
        ("2031-03-03 1.5%\n3. A 3%", ["1.5%", "3%"], "2031-03-03 1.5% (X)\n3. A 3% (X)"),
    ],
)
def test_a_part_of_a_larger_number_has_no_mark(text, figures, marked):
    text, marked = (each.replace("(X)", NOT_IN_INPUTS) for each in (text, marked))
    assert marked_answer(text, figures) == marked


LINK = "![t](http://evil.example/x.png)"


def test_foreign_text_stays_in_its_place_in_the_markdown():
    """An answer cannot end its fence, and a fact cannot leave its cell or fetch a picture."""
    made = said_file("a\n````\n# out <img>\n````", dict.fromkeys(BINS, 1 / 12))
    fact = {"known_at": None, "kind": "news", "link": None}
    made["inputs"] = [fact | {"text": f"a \\| b {LINK} | <img>", "source": "s\n| x"}]
    made["notes"], made["warnings"] = [LINK], ["w\n\n# " + LINK]
    page = markdown(made)
    assert "\n`````text\na\n````\n# out <img>\n````\n`````\n" in page
    (row,) = [line for line in page.splitlines() if line.startswith("| - | news")]
    assert row.endswith(r"a \\\| b !\[t\](http://evil.example/x.png) \| \<img\> | s \| x |")
    assert LINK not in page and "\n# !" not in page


def test_control_characters_are_not_printed_or_written():
    made = said_file("\x1b[31mred\u202e", None)
    made["why_none"] = "it said \x1b[2K\r\nRecord: good"
    made["inputs"] = [
        {"text": "t\x1b[1m", "source": "s\nx", "known_at": None, "kind": "news", "link": None}
    ]
    told = for_terminal(before_answer(replace(case(), inputs=made["inputs"]), ["w\nv"]))
    told += for_terminal(after_answer(made)) + markdown(made)
    assert "since it said \ufffd[2K Record: good" in told and "WARNING: w v" in told
    assert "\ufffd[31mred\ufffd" in told and "s x" in told
    assert not any(character in told for character in "\x1b\r\u202e")


def test_an_answer_is_printed_without_control_characters(capsys):
    print_text("a\r\n\tb \x1b[31m\x00 \u202e")
    assert capsys.readouterr().out == "a\n\tb \ufffd[31m\ufffd \ufffd"


def test_an_answer_that_cannot_be_read_still_has_probabilities():
    made = said_file("Nobody knows.", dict.fromkeys(BINS, 1 / 12))
    assert made["prediction"] is None and made["direction"] is None
    assert "of a rise 0.50" in after_answer(made)


def test_the_record_is_that_of_the_same_weights(tmp_path):
    """Of several evaluations that of the run; a broken one counts for nothing."""
    results = tmp_path / "results"
    for name, digest, n in (("a", "x", 4), ("b", "y", 9), ("c", "y", 5)):
        write_json(results / name / "metrics.json", metrics() | {"n": n})
        write_json(results / name / "manifest.json", generation_manifest(digest))
    write_text(results / "broken/metrics.json", "{")
    write_json(results / "broken/manifest.json", generation_manifest("y"))
    assert measured_record(results, "c", "y", {})["run"] == "c"
    record = measured_record(results, "other", "y", {})
    assert record["run"] == "b" and record["verdict"] in record["sentence"].lower()
    assert "always-down" in record["sentence"]
    assert measured_record(results, "a", "z", {})["run"] is None
    assert measured_record(results, "a", None, {"name": "base"})["run"] is None


def generation_manifest(digest):
    return {"kind": "generate", "adapter_sha256": digest}


def knowledge(cutoff=None, **change):
    training = {"dataset": {"last_train_week": "2026-01-11"}, "synthetic": False}
    training |= {"prompt_versions": ["w1"]} | change
    return Knowledge(training, has_adapter=True, cutoff=cutoff)


def test_a_reader_is_warned_of_what_the_model_may_know():
    passed = datetime(2026, 6, 1, tzinfo=UTC)
    said = " | ".join(cautions(case(), knowledge(NOW.date()), passed))
    for part in (
        "lies in the weeks that the adapter was trained on (up to that of 2026-01-11)",
        "prompts of version w1",
        "before the base's knowledge cut-off, 2026-01-07",
    ):
        assert part in said
    of_a_market = " | ".join(cautions(case(), knowledge(synthetic=True), passed))
    assert "trained on a fictional market" in of_a_market
    assert "lies in the weeks" not in of_a_market, "those weeks are of another world"
    nothing = knowledge(prompt_versions=[], dataset={"last_train_week": None})
    (only,) = cautions(case(), nothing, passed)
    assert "states no knowledge_cutoff" in only
    assert cautions(case(), nothing, NOW) == []
    assert "has no manifest" in cautions(case(), Knowledge(None, True, None), NOW)[0]
    assert "inputs close at" in cautions(case(), nothing, datetime(2026, 1, 3, tzinfo=UTC))[0]
    fictional = case(extra={"synthetic": True})
    assert cautions(fictional, nothing, passed) == []


def test_a_record_with_a_late_fact_is_refused(tmp_path):
    late = record("AAA", 0)
    item = late.to_json()
    item["weeks"][-1]["news"] = [
        {"headline": "Later.", "summary": "", "known_at": "2026-01-06T10:00:00+00:00"}
    ]
    write_jsonl(tmp_path / "r.jsonl", [item])
    with pytest.raises(ValueError, match="not known at its decision time"):
        inputs_of_records(tmp_path / "r.jsonl", moment(late.week_start).date())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"decision_time": "2026-01-05T00:00:00+00:00"}, "expected 2026-01-04T00:00:00"),
        ({"decision_time": "tomorrow"}, "decision_time is 'tomorrow'; expected a time"),
        ({"weeks": ()}, "weeks is empty"),
    ],
)
def test_a_record_that_cannot_be_used_is_named(change, said, tmp_path):
    write_jsonl(tmp_path / "r.jsonl", [record("AAA", 0, **change).to_json()])
    with pytest.raises(
        ValueError, match=rf"r.jsonl.*AAA-2026-01-04: .*{said}.*(make|fetch) the records"
    ):
        inputs_of_records(tmp_path / "r.jsonl", date(2026, 1, 4))


def test_weeks_that_a_record_lacks_are_of_those_before_it(tmp_path):
    """Fewer weeks are the last ones; too many, or prices in other shares, are refused."""
    path, day = tmp_path / "r.jsonl", date(2026, 1, 11)
    first, second = record("AAA", 0), record("AAA", 1)
    (past,) = second.weeks
    follows = replace(second, weeks=(replace(past, open_price=first.weeks[-1].close_price),))
    write_jsonl(path, (one.to_json() for one in (first, follows)))
    (shown,) = inputs_of_records(path, day, (), 2).records
    assert shown.weeks == (*first.weeks, *follows.weeks)
    write_jsonl(path, [replace(shown, weekly_return=0.01).to_json()])
    assert inputs_of_records(path, day, (), 1).records[0].weeks == follows.weeks
    with pytest.raises(ValueError, match="--weeks is 3, and there are 2 weeks before AAA"):
        inputs_of_records(path, day, (), 3)
    write_jsonl(path, (one.to_json() for one in (first, second)))
    with pytest.raises(ValueError, match="give 1 or fewer"):
        inputs_of_records(path, day, (), 2)


def test_a_link_of_a_record_is_checked_again(tmp_path):
    one = record("AAA", 0)
    item = one.to_json()
    item["weeks"][-1]["news"][0]["link"] = "javascript:alert(1)"
    item["weeks"][-1]["news"] += (
        {"headline": "More.", "summary": "", "known_at": "2026-01-02T12:00:00+00:00"}
        | {"link": "https://example.com/more"},
    )
    write_jsonl(tmp_path / "r.jsonl", [item])
    (only,) = cases_of(inputs_of_records(tmp_path / "r.jsonl", moment(one.week_start).date()))
    assert [fact["link"] for fact in only.inputs] == [None, None, "https://example.com/more"]
    assert "example.com" not in str(only.row["prompt"])


@pytest.mark.slow
def test_a_provider_that_fails_in_the_middle_loses_nothing(small, room, monkeypatch, capsys):
    """The same command goes on with what is stored, and asks for the rest alone."""
    first, last = date(2025, 10, 1), date(2026, 2, 1)
    write_prices(room / "prices", ["AAA", "BBB"], first, last)
    companies = {symbol: made_company(symbol, first, last) for symbol in ("AAA", "BBB")}
    words = ["--prices", "prices", "--date", "2026-01-07", "--text", "none", "--symbols", "AAA BBB"]
    with FinnhubServer(companies) as finnhub:
        for name, value in finnhub.environment().items():
            monkeypatch.setenv(name, value)
        finnhub.fail("company-news", UNAUTHORIZED, times=1, symbol="BBB")
        assert forecast(small, *words) == 2
        assert "FINNHUB_API_KEY" in capsys.readouterr().err
        assert not list(room.glob("forecasts/*/*.json"))
        asked = finnhub.calls.copy()
        assert forecast(small, *words) == 0
        again = finnhub.calls - asked
    assert again["company-news"] < asked["company-news"]
    made = read(room / "forecasts/2026-01-07/BBB.json")
    assert {"prices", "news"} <= {fact["kind"] for fact in made["inputs"]}
    assert {fact["source"] for fact in made["inputs"]} == {"prices", "Finnhub"}


def test_records_of_later_weeks_change_no_prompt(tmp_path):
    now = [record("AAA", week) for week in range(3)]
    write_jsonl(tmp_path / "r.jsonl", (one.to_json() for one in now))
    before = cases_of(inputs_of_records(tmp_path / "r.jsonl", date(2026, 1, 18)))
    later = [*now, *(record(symbol, week) for week in (3, 4) for symbol in ("AAA", "BBB"))]
    write_jsonl(tmp_path / "r.jsonl", (one.to_json() for one in later))
    assert cases_of(inputs_of_records(tmp_path / "r.jsonl", date(2026, 1, 18))) == before


@pytest.mark.parametrize("text", [",", " , "])
def test_a_list_that_names_no_symbol_is_refused(text):
    with pytest.raises(ValueError, match="expected symbols, such as SYMBOLS='AAPL MSFT'"):
        named_symbols(text)
    assert named_symbols("") == [] and named_symbols("aapl, msft") == ["AAPL", "MSFT"]
