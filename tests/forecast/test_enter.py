"""Entering a week: before it opens, once, with inputs of its decision time, whatever interrupts."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest

from data_pipeline.records.calendar import first_open
from data_pipeline.synthetic.market import write_market
from data_pipeline.synthetic.world import Market
from forecast.company.inputs import Known, inputs_of_records
from forecast.journal.__main__ import main
from forecast.journal.enter import (
    INPUTS,
    Entry,
    enter,
    inputs_sha256,
    opens_at,
)
from forecast.journal.ledger import LEDGER, Ledger, open_ledger, read_ledger
from forecast.journal.panel import Baseline, Call, unpinned
from forecast.journal.verify import check
from tests.support.records import SUNDAY, record
from tests.support.tiny import ROOT
from weekahead.files import read_json, read_jsonl, write_jsonl
from weekahead.task.record import look_ahead

PANEL = ["tfidf", "always_up", "always_down", "train_majority", "last_week", "reversal"]


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Two fictional markets: the first is learned from, the second is forecast."""
    folder = tmp_path_factory.mktemp("markets")
    write_market(Market(seed=0), folder, "learned")
    write_market(Market(seed=7), folder, "next")
    return folder


def flags(data, journal, name, day):
    words = [name, "--journal", str(journal), "--date", day]
    words += ["--records", str(data / "records/next.jsonl")]
    return words + (["--dataset", str(data / "datasets/learned")] if name == "enter" else [])


def run(data, journal, name, day, *more):
    return main([*flags(data, journal, name, day), *more])


WEEKS = (("enter", "2031-01-05"), ("settle", "2031-01-12"), ("enter", "2031-01-12"))


@pytest.fixture(scope="module")
def whole(data, tmp_path_factory):
    """The ledger of two weeks, entered and settled without a disturbance."""
    folder = tmp_path_factory.mktemp("whole")
    for name, day in WEEKS:
        assert run(data, folder, name, day) == 0
    return folder


def test_a_week_is_forecast_by_the_whole_panel(whole, data):
    ledger = read_ledger(whole)
    check(ledger, LEDGER)
    assert [member["name"] for member in ledger.start["panel"]] == PANEL
    assert ledger.start["clock"] == "simulated"
    assert ledger.start["panel"][0]["dataset_sha256"]
    first = [line for line in ledger.forecasts if line["week_start"] == "2031-01-05"]
    assert len(first) == 48 and {line["forecaster"] for line in first} == set(PANEL)
    assert {line["written_at"] for line in first} == {"2031-01-05T12:00:00+00:00"}
    assert ledger.weeks["2031-01-12"]["forecasts"] == 48
    assert len(ledger.outcomes()) == 8


def test_the_hash_is_that_of_the_inputs_without_the_label(whole, data):
    known = {
        r.id: r
        for r in inputs_of_records(data / "records/next.jsonl", date(2031, 1, 5), ()).records
    }
    rows = read_jsonl(whole / INPUTS / "2031-01-05.jsonl")
    assert len(rows) == 9 and all(row.get("weekly_return") is None for row in rows)
    assert "label" not in json.dumps(rows)
    for line in read_ledger(whole).forecasts[:48]:
        assert line["inputs_sha256"] == inputs_sha256(known[line["id"]])
        assert not look_ahead(known[line["id"]])


def test_a_week_that_is_there_changes_no_byte(whole, data, capsys):
    before = (whole / LEDGER).read_bytes()
    for day in ("2031-01-12", "2031-01-05", "2031-01-15"):
        assert run(data, whole, "enter", day) == 0
        assert "entered already; nothing is changed" in capsys.readouterr().out
    assert (whole / LEDGER).read_bytes() == before


def test_an_entry_goes_on_where_it_stopped(whole, data, tmp_path):
    """Cut at any byte, the same commands make the same ledger."""
    content = (whole / LEDGER).read_bytes()
    draw = random.Random(0)
    run(data, tmp_path, *WEEKS[0])
    for _ in range(6):
        (tmp_path / LEDGER).write_bytes(content[: draw.randrange(len(content))])
        entered = open_ledger(tmp_path).weeks
        for name, day in WEEKS[1 if "2031-01-05" in entered else 0 :]:
            assert run(data, tmp_path, name, day) == 0
        assert (tmp_path / LEDGER).read_bytes() == content


def killed(words, path, size):
    """Start a command and kill it when the file has `size` bytes; whether it was killed."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen([sys.executable, "-m", "forecast.journal", *words], env=environment)
    while process.poll() is None and not (path.exists() and path.stat().st_size >= size):
        time.sleep(0.0002)
    process.send_signal(signal.SIGKILL)
    return process.wait(timeout=60) == -signal.SIGKILL


@pytest.mark.slow
def test_ten_random_kills_leave_the_same_ledger(whole, data, tmp_path):
    draw, kills, path = random.Random(1), 0, tmp_path / LEDGER
    content = (whole / LEDGER).read_bytes()
    ends = [content.index(b'"return"'), content.index(b'"return"') + 3000, len(content)]
    begin = 0
    for (name, day), end in zip(WEEKS, ends, strict=True):
        words = flags(data, tmp_path, name, day)
        for size in sorted(draw.randrange(begin, end) for _ in range(5)):
            kills += killed(words, path, size)
        assert main(words) == 0
        begin = end
    assert kills >= 10
    assert path.read_bytes() == content


@pytest.mark.slow
def test_the_real_commands_show_a_strong_signal(data, tmp_path):
    """TF-IDF that learned one fictional market, entered and settled week by week in another."""
    for week in range(17):
        day = str(date(2031, 1, 5) + timedelta(weeks=week))
        assert run(data, tmp_path, "settle", day) == (0 if week else 2)
        assert run(data, tmp_path, "enter", day) == 0
    assert main(["score", "--journal", str(tmp_path)]) == 0
    tfidf, always_up, *_ = read_json(tmp_path / "scores.json", "")["forecasters"]
    assert tfidf["anytime"]["verdict"] == "skill shown"
    assert tfidf["anytime"]["shown_in"] <= "2031-04-06"
    assert always_up["anytime"]["verdict"] == "no skill shown"


def test_nothing_is_entered_once_the_session_has_opened(data, tmp_path, capsys):
    assert run(data, tmp_path, "enter", "2031-01-06") == 2
    error = capsys.readouterr().err
    assert "nothing is entered for the week of 2031-01-05" in error
    assert "its first session opened at 2031-01-06T00:00:00+00:00" in error
    assert not list(tmp_path.iterdir())


def test_a_symbol_that_is_not_there_is_named(data, tmp_path, capsys):
    assert run(data, tmp_path, "enter", "2031-01-05", "--symbols", "BRNT,XYZ") == 2
    assert "has no record of XYZ" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
    assert run(data, tmp_path, "enter", "2031-01-05", "--symbols", "BRNT ALDW") == 0
    assert {line["symbol"] for line in read_ledger(tmp_path).forecasts} == {"ALDW", "BRNT"}


def test_a_week_without_records_says_what_there_is(data, tmp_path, capsys):
    assert run(data, tmp_path, "enter", "2026-11-22") == 2
    error = capsys.readouterr().err
    assert "no record of the week of 2026-11-22 (it reaches from 2031-01-05 to 20" in error


def test_a_panel_that_changed_is_refused(whole, data, capsys):
    before = (whole / LEDGER).read_bytes()
    words = flags(data, whole, "enter", "2031-01-19")
    assert main(words[:-2]) == 2, "without the dataset"
    assert "the panel of this journal is fixed: tfidf is kind tfidf" in capsys.readouterr().err
    words[-1] = str(data / "datasets/next")
    assert main(words) == 2
    assert "give what it began with" in capsys.readouterr().err
    assert (whole / LEDGER).read_bytes() == before


def test_a_clock_that_was_set_back_is_refused(data, tmp_path, capsys):
    assert run(data, tmp_path, "enter", "2031-01-12") == 0
    before = (tmp_path / LEDGER).read_bytes()
    assert run(data, tmp_path, "enter", "2031-01-05") == 2
    assert "the clock was set back; set it right" in capsys.readouterr().err
    assert (tmp_path / LEDGER).read_bytes() == before
    assert [path.stem for path in (tmp_path / INPUTS).iterdir()] == ["2031-01-12"]


class Slow:
    """A member that takes its time: the clock moves with each call."""

    def __init__(self, clock, times):
        self.clock, self.times = clock, times
        self.pinned = unpinned("slow")

    def forecast(self, records, on_call):
        for number, (_, moment) in enumerate(zip(records, self.times, strict=False)):
            self.clock[0] = datetime.fromisoformat(moment)
            on_call(number, Call(1, "up by 0-1%", None))


def entry_of(folder, clock, times):
    return Entry(
        folder, "machine", lambda: clock[0], [Slow(clock, times), Baseline("always_up", 1)]
    )


def test_what_opens_meanwhile_ends_the_entry(tmp_path):
    """The forecasts made in time stay, the rest of the week is missing and said to be."""
    clock = [datetime(2026, 1, 4, 12, tzinfo=UTC)]
    known = Known([record(symbol, 0) for symbol in ("AA", "BBB", "CC")], {})
    times = ["2026-01-04T23:00:00+00:00", "2026-01-04T23:59:59+00:00", "2026-01-05T00:00:00+00:00"]
    with pytest.raises(ValueError, match="first session of CC opened at 2026-01-05T00"):
        enter(Ledger(), entry_of(tmp_path, clock, times), lambda: known)
    ledger = read_ledger(tmp_path)
    assert [line["symbol"] for line in ledger.forecasts] == ["AA", "BBB"]
    clock[0] = datetime(2026, 1, 11, 12, tzinfo=UTC)
    later = Known([record("AA", 1)], {})
    again = entry_of(tmp_path, clock, ["2026-01-11T12:00:00+00:00"])
    ledger = enter(ledger, again, lambda: later)
    check(ledger, LEDGER)
    first = ledger.weeks["2026-01-04"]
    assert first["forecasts"] == 2 and "AA-2026-01-04, BBB-2026-01-04" in first["unfinished"]
    assert ledger.weeks["2026-01-11"]["unfinished"] is None


def test_a_company_that_opens_earlier_is_left_out(tmp_path):
    clock = [datetime(2026, 1, 5, 10, tzinfo=UTC)]
    german = {"extra": {}, "decision_time": "2026-01-03T23:00:00+00:00"}
    records = [record(symbol, 0, extra={}) for symbol in ("AA", "BBB")]
    known = Known([*records, record("SAP.DE", 0, **german)], {})
    entry = replace(entry_of(tmp_path, clock, []), panel=[Baseline("always_up", 1)])
    ledger = enter(Ledger(), entry, lambda: known)
    check(ledger, LEDGER)
    assert {line["symbol"] for line in ledger.forecasts} == {"AA", "BBB"}
    assert ledger.weeks["2026-01-04"]["left_out"] == {
        "SAP.DE": "its first session opened at 2026-01-05T08:00:00+00:00"
    }


def test_an_entry_before_all_inputs_close_loses_no_company(tmp_path):
    """The week would end without it."""
    clock = [datetime(2026, 1, 4, 2, tzinfo=UTC)]
    american = {"extra": {}, "decision_time": "2026-01-04T05:00:00+00:00"}
    known = Known([record("AA", 0), record("CC", 0, **american)], {"DD": "no prices: halted"})
    entry = replace(entry_of(tmp_path, clock, []), panel=[Baseline("always_up", 1)])
    with pytest.raises(
        ValueError, match=r"inputs of CC close at 2026-01-04T05:00:00.*from then on"
    ):
        enter(Ledger(), entry, lambda: known)
    assert files_of(tmp_path) == {}
    clock[0] = datetime(2026, 1, 4, 6, tzinfo=UTC)
    ledger = enter(Ledger(), entry, lambda: known)
    assert {line["symbol"] for line in ledger.forecasts} == {"AA", "CC"}
    assert ledger.weeks["2026-01-04"]["left_out"] == {"DD": "no prices: halted"}


def test_when_a_week_opens():
    real = record("AA", 0, extra={})
    assert opens_at(real) == "2026-01-05T14:30:00+00:00"
    assert opens_at(record("AA", 0)) == "2026-01-05T00:00:00+00:00"
    assert first_open("XNYS", date(2026, 1, 18)) == "2026-01-20T14:30:00+00:00", "a holiday"
    assert first_open("XNYS", date(2001, 9, 9)) == "2001-09-10T13:30:00+00:00"


def calls(baseline, rows):
    found = []
    baseline.forecast(rows, lambda number, call: found.append(call))
    return found


def test_baselines_say_what_the_report_says():
    rows = [record("AA", 0, last_week_return=-0.031), record("BB", 0, last_week_return=None)]
    assert calls(Baseline("last_week", None), rows) == [
        Call(-1, "down by 3-4%", None),
        Call(None, None, None),
    ]
    assert calls(Baseline("reversal", None), rows[:1]) == [Call(1, "up by 3-4%", None)]
    assert calls(Baseline("train_majority", -1), rows[:1]) == [Call(-1, "down by 1-2%", None)]


def test_records_without_a_return_can_be_entered(tmp_path):
    """The week to come has none yet."""
    rows = [replace(record(symbol, 0), weekly_return=None) for symbol in ("AA", "BB")]
    write_jsonl(tmp_path / "r.jsonl", (row.to_json() for row in rows))
    words = ["--records", str(tmp_path / "r.jsonl"), "--date", str(SUNDAY)]
    assert main(["enter", "--journal", str(tmp_path / "j"), *words]) == 0
    assert len(read_ledger(tmp_path / "j").forecasts) == 8


def small_entry(tmp_path, symbols=("AA", "BB")):
    """The flags of an entry from a few records."""
    write_jsonl(tmp_path / "r.jsonl", (record(symbol, 0).to_json() for symbol in symbols))
    words = ["enter", "--journal", str(tmp_path / "j"), "--records", str(tmp_path / "r.jsonl")]
    return [*words, "--date", str(SUNDAY)]


def test_a_company_that_is_there_twice_is_refused(tmp_path, capsys):
    """Its second forecast would break the ledger for good."""
    assert main(small_entry(tmp_path, ("AA", "BB", "AA"))) == 2
    assert f"r.jsonl has AA-{SUNDAY} more than once; leave one" in capsys.readouterr().err
    assert not (tmp_path / "j").exists()


@pytest.mark.parametrize(
    "content",
    ["", "{}\n", "[]\n", '{"left_out": 1}\n', '{"left_out": {}}\n{}\n', '{"left_out": {}}\n{"sym'],
)
def test_inputs_that_were_changed_are_named(content, tmp_path, capsys):
    words, path = small_entry(tmp_path), tmp_path / "j" / INPUTS / f"{SUNDAY}.jsonl"
    assert main(words) == 0
    ledger, kept = tmp_path / "j" / LEDGER, path.read_text()
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:3]))
    path.write_text(content)
    assert main(words) == 2
    assert f"{path} is not as it was written; remove it" in capsys.readouterr().err
    path.write_text(kept)
    assert main(words) == 0


def test_inputs_of_which_nothing_was_forecast_are_gathered_anew(tmp_path, capsys):
    """A model that could not be loaded, say: the next command may name other companies."""
    words, path = small_entry(tmp_path), tmp_path / "j" / INPUTS / f"{SUNDAY}.jsonl"
    assert main(words) == 0
    ledger = tmp_path / "j" / LEDGER
    ledger.write_bytes(ledger.read_bytes().splitlines(keepends=True)[0])
    path.write_text("{}")
    assert main(words) == 0
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:3]))
    assert main([*words, "--symbols", "ZZ"]) == 2
    assert "began with AA, BB, without ZZ" in capsys.readouterr().err


@pytest.mark.parametrize("left", [INPUTS, "stamps", "scores.json"])
def test_a_journal_whose_ledger_is_lost_is_not_begun_anew(left, tmp_path, capsys):
    words = small_entry(tmp_path)
    (tmp_path / "j" / left).mkdir(parents=True)
    assert main(words) == 2
    assert f"holds {left} of a journal, and no line of its ledger" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--index", "dow30"], "--records and --index each say what to forecast from"),
        (["--prices", "p"], "--records and --prices each say"),
        (["--news", "n"], "--records and --news each say"),
        (["--config", "r.yaml"], "--config is of a model, and none is named; give --adapter"),
        (["--twin", "t"], "--twin is of a model"),
        (["--model", "served"], "--model is of a model"),
        (["--text", "none"], "--text is of a model"),
    ],
)
def test_a_flag_that_would_not_be_obeyed_is_refused(words, said, tmp_path, capsys):
    assert main([*small_entry(tmp_path), *words]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "j").exists()


def test_a_week_whose_forecasts_are_all_there_ends_after_it_opened(tmp_path):
    clock = [datetime(2026, 1, 4, 12, tzinfo=UTC)]
    known = Known([record("AA", 0), record("BB", 0)], {"DD": "halted"})
    entry = replace(entry_of(tmp_path, clock, []), panel=[Baseline("always_up", 1)])
    whole = enter(Ledger(), entry, lambda: known)
    path = tmp_path / LEDGER
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    clock[0] = datetime(2026, 1, 6, 12, tzinfo=UTC)
    ended = enter(read_ledger(tmp_path), entry, lambda: known).weeks["2026-01-04"]
    assert (ended["forecasts"], ended["unfinished"]) == (2, None)
    assert ended["left_out"] == {"DD": "halted"} == whole.weeks["2026-01-04"]["left_out"]


def test_the_inputs_hash_is_of_all_that_the_panel_sees():
    one = record("AA", 0)
    assert inputs_sha256(one) != inputs_sha256(replace(one, last_week_return=-0.5))
    assert inputs_sha256(one) == inputs_sha256(replace(one, weekly_return=None))
    # A dividend that was paid later restates what lies before it, in digits that nobody sees.
    restated = replace(one, last_week_return=one.last_week_return + 2e-9)
    assert inputs_sha256(one) == inputs_sha256(restated)


def interrupted(tmp_path):
    """(folder, clock) of a journal whose first week stopped after two of three companies."""
    clock = [datetime(2026, 1, 4, 12, tzinfo=UTC)]
    known = Known([record(symbol, 0) for symbol in ("AA", "BBB", "CC")], {"DD": "halted"})
    times = ["2026-01-04T23:00:00+00:00", "2026-01-04T23:59:59+00:00", "2026-01-05T00:00:00+00:00"]
    with pytest.raises(ValueError, match="first session of CC opened"):
        enter(Ledger(), entry_of(tmp_path, clock, times), lambda: known)
    return clock


def files_of(folder):
    """Path -> content of every file below."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_another_panel_appends_nothing_after_an_interrupted_week(tmp_path):
    clock = interrupted(tmp_path)
    before, ledger = files_of(tmp_path), read_ledger(tmp_path)
    clock[0] = datetime(2026, 1, 11, 12, tzinfo=UTC)
    later = entry_of(tmp_path, clock, ["2026-01-11T12:00:00+00:00"])
    for panel in (later.panel[:1], [*later.panel, Baseline("always_down", 1)]):
        with pytest.raises(ValueError, match="the panel of this journal is fixed"):
            enter(ledger, replace(later, panel=panel), lambda: Known([record("AA", 1)], {}))
        assert files_of(tmp_path) == before
    ledger = enter(ledger, later, lambda: Known([record("AA", 1)], {}))
    check(ledger, LEDGER)
    first = ledger.weeks["2026-01-04"]
    assert first["left_out"] == {
        "CC": "the week opened before anything was forecast of it",
        "DD": "halted",
    }
    assert "AA-2026-01-04, BBB" in first["unfinished"]


ODD_RECORDS = {
    "a Monday": ({"week_end": "2026-01-12"}, "expected 2026-01-11, a week after"),
    "no day": ({"week_end": "soon"}, "week_end is 'soon'; expected a date"),
    "a time": ({"week_end": "2026-01-11T00:00:00+00:00"}, "+00:00'; expected a date"),
    "no weeks": ({"weeks": ()}, "weeks is empty; expected one past week or more"),
    "no time": ({"decision_time": "tomorrow"}, "decision_time is 'tomorrow'; expected a time"),
    "late": ({"decision_time": "2026-01-04T00:00:01+00:00"}, "expected 2026-01-04T00:00:00+00:00"),
    "late abroad": (
        {"extra": {}, "symbol": "SAP.DE", "decision_time": "2026-01-04T00:00:00+00:00"},
        "expected 2026-01-03T23:00:00+00:00, when its week begins, or earlier",
    ),
    "end of time": ({"decision_time": "9999-12-31T23:00:00-23:00"}, "of the years 1900 to 9000"),
    "slash": ({"symbol": "A/B"}, "A/B-2026-01-04: symbol is 'A/B'"),
    "nan": ({"last_week_return": float("nan")}, "last_week_return is nan, expected a number"),
    "less than all": ({"last_week_return": -1.5}, "expected a fraction from -1 to"),
    "small letters": ({"symbol": "bb"}, "symbol is 'bb'; expected 'BB'"),
    "huge": ({"last_week_return": 10**400}, "last_week_return is 1000"),
}


def with_weeks(**change):
    (week,) = record("AA", 0).weeks
    return {"weeks": (replace(week, **change),)}


def with_news(**change):
    (week,) = record("AA", 0).weeks
    return with_weeks(news=(replace(week.news[0], **change),))


ODD_RECORDS |= {
    "odd news": (
        with_news(known_at="tomorrow"),
        "known_at of news 'AA opens plant 0' is 'tomorrow'",
    ),
    "last news": (with_news(known_at="9999-12-31"), "of the years 1900 to 9000"),
    "no price": (
        with_weeks(close_price=float("nan")),
        "weeks.1.close_price is nan, expected a number",
    ),
    "price of 0": (with_weeks(open_price=0.0), "prices 0.0 to 101.0; expected finite numbers"),
    "odd close": (
        with_weeks(closed_at="noon"),
        "known_at of week ending 2026-01-04 is 'noon'; expected",
    ),
    "a later week": (with_weeks(end="2026-01-11"), "expected two days in order, up to 2026-01-04"),
}


@pytest.mark.parametrize("name", ODD_RECORDS)
def test_a_record_that_cannot_be_used_is_named_and_leaves_nothing(name, tmp_path, capsys):
    """Good records of the same week are entered afterwards."""
    change, said = ODD_RECORDS[name]
    words, path = small_entry(tmp_path), tmp_path / "r.jsonl"
    good = path.read_text()
    odd = replace(record("BB", 0), **change)
    path.write_text(good.splitlines()[0] + "\n" + json.dumps(odd.to_json()) + "\n")
    assert main(words) == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert str(path) in error and odd.id in error and said in error, error
    assert not (tmp_path / "j").exists()
    with pytest.raises(ValueError, match=odd.id):
        enter(Ledger(), small_machine_entry(tmp_path / "j"), lambda: Known([odd], {}))
    assert not (tmp_path / "j").exists()
    path.write_text(good)
    assert main(words) == 0


def small_machine_entry(folder):
    clock = [datetime(2026, 1, 4, 12, tzinfo=UTC)]
    return replace(entry_of(folder, clock, []), panel=[Baseline("always_up", 1)])


def test_kept_inputs_are_those_of_the_forecasts(tmp_path):
    """They are held against time and against the lines that state their hash."""
    interrupted(tmp_path)
    ledger, clock = read_ledger(tmp_path), [datetime(2026, 1, 4, 23, 59, 59, tzinfo=UTC)]
    path = tmp_path / INPUTS / "2026-01-04.jsonl"
    kept = path.read_text()
    again = entry_of(tmp_path, clock, ["2026-01-04T23:59:59+00:00"])
    first, *rows = map(json.loads, kept.splitlines())
    for odd, said in (
        (kept.replace("opens plant 0", "opens plant 1"), f"{path}: the hash of the inputs of AA-"),
        (
            kept.replace(json.dumps(rows[0]), ""),
            r"inputs of AA-2026-01-04 is none; expected [0-9a-f]",
        ),
        (kept.replace("2026-01-04T00:00:00", "2026-01-05T00:00:00"), "decision_time is 2026-01-05"),
        (kept.replace("2026-01-04", "2025-12-28"), f"{path} is not as it was .* not of the week"),
    ):
        path.write_text(odd)
        before = files_of(tmp_path)
        with pytest.raises(ValueError, match=said):
            enter(ledger, again, lambda: Known([], {}))
        assert files_of(tmp_path) == before
    path.write_text(kept)
    assert enter(ledger, again, lambda: Known([], {})).weeks["2026-01-04"]["unfinished"] is None
    assert first["left_out"] == {"DD": "halted"}


def test_notes_of_the_sources_are_kept_and_said(tmp_path, monkeypatch, capsys):
    """Inputs that were kept before there were notes can be read."""
    known = Known([record("AA", 0)], {}, {"prices": "a shelf"}, ["no news on Monday"])
    monkeypatch.setattr("forecast.journal.__main__.inputs_of_records", lambda *_: known)
    assert main(small_entry(tmp_path)) == 0
    assert "note: no news on Monday" in capsys.readouterr().out
    path = tmp_path / "j" / INPUTS / f"{SUNDAY}.jsonl"
    first = read_jsonl(path)[0]
    assert first["sources"] == {"prices": "a shelf"}
    ledger = tmp_path / "j" / LEDGER
    ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:3]))
    path.write_text(path.read_text().replace(json.dumps(first), '{"left_out": {}}'))
    assert main(small_entry(tmp_path)) == 0
    assert "note" not in capsys.readouterr().out


def test_the_clock_is_not_blamed_for_what_is_missing(tmp_path):
    entry, pair = small_machine_entry(tmp_path), record("BTC-USD", 0, extra={})
    for known, said in (
        (Known([], {"AAA": "no prices: no file"}), "AAA: no prices: no file; name companies"),
        (Known([pair], {}), "BTC-USD: it trades day and night"),
    ):
        with pytest.raises(ValueError, match=said) as error:
            enter(Ledger(), entry, lambda known=known: known)
        assert "the clock says" not in str(error.value)


def test_symbols_may_be_written_small(tmp_path):
    assert main([*small_entry(tmp_path), "--symbols", "aa"]) == 0
    assert {line["symbol"] for line in read_ledger(tmp_path / "j").forecasts} == {"AA"}
