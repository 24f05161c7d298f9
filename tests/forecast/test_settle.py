"""Returns of weeks that have passed: lines of their own, from one source or two, corrected never
changed."""

import json
import re
from datetime import UTC, date, datetime, timedelta

import pytest

from data_pipeline.providers.price_files import PriceFiles
from forecast.journal.__main__ import main
from forecast.journal.clock import clock_for, time_of
from forecast.journal.ledger import LEDGER, Ledger, append_lines, read_ledger
from forecast.journal.settle import (
    Returns,
    passed_weeks,
    returns_of_prices,
    returns_of_records,
    settle,
)
from forecast.journal.verify import check
from tests.support import journals
from tests.support.records import record
from weekahead.files import write_jsonl

KEYS = [f"{symbol}-2031-01-05" for symbol in ("AAA", "BBB")]
NEXT = datetime(2031, 1, 12, 12, tzinfo=UTC)


@pytest.fixture
def entered(tmp_path):
    """A folder with a ledger of one week of two companies, not settled."""
    lines = [journals.start()]
    lines += [journals.forecast(s, 0, name) for s in ("AAA", "BBB") for name in journals.PANEL]
    journals.write(tmp_path, [*lines, journals.week_end(0, 4)])
    return tmp_path


def settled(folder, *sources, now=NEXT):
    """The ledger with what these sources say written into it, and what is awaited."""
    ledger = read_ledger(folder)
    found = settle(ledger, sources, now)
    ledger = append_lines(folder, ledger, found.lines)
    check(ledger, LEDGER)
    return ledger, found


def says(source="Yahoo", aaa=0.0123, bbb=-0.031, **missing):
    values = {key: value for key, value in zip(KEYS, (aaa, bbb), strict=True) if value is not None}
    return Returns(source, values, missing or dict.fromkeys(KEYS, "halted"))


def test_returns_are_lines_of_their_own(entered):
    ledger, found = settled(entered, says())
    assert not found.waiting
    outcomes = {key: line for key, (line, _) in ledger.outcomes().items()}
    assert outcomes[KEYS[0]]["label"] == "up by 1-2%"
    assert outcomes[KEYS[1]]["label"] == "down by 3-4%"
    assert outcomes[KEYS[0]]["sources"] == {"Yahoo": 0.0123}


def test_a_second_time_changes_no_byte(entered):
    settled(entered, says())
    before = (entered / LEDGER).read_bytes()
    _, found = settled(entered, says(aaa=0.01231))
    assert not found.lines and (entered / LEDGER).read_bytes() == before


def test_nothing_is_settled_before_the_week_has_ended(entered):
    now = datetime(2031, 1, 11, 23, tzinfo=UTC)
    assert passed_weeks(read_ledger(entered), now) == []
    assert settled(entered, says(), now=now)[1] == ([], {}, [])


def test_what_is_not_known_waits_with_its_reason(entered):
    _, found = settled(entered, says(bbb=None), Returns("files", {}, {}))
    assert found.waiting == {KEYS[1]: "Yahoo: halted; files: not there"}
    _, found = settled(entered, says())
    assert [line["id"] for line in found.lines] == [KEYS[1]]


@pytest.mark.parametrize(
    ("second", "doubt"),
    [(0.012, None), (0.0185, "0.0123, files +0.0185"), (-0.0001, "files -0.0001")],
)
def test_two_sources_must_agree(entered, second, doubt):
    ledger, _ = settled(entered, says(), says("files", aaa=second))
    line, _ = ledger.outcomes()[KEYS[0]]
    assert line["sources"] == {"Yahoo": 0.0123, "files": second}
    assert (line["label"] is None) == (line["doubt"] is not None) == (doubt is not None)
    assert doubt is None or doubt in line["doubt"]


def test_a_change_is_a_correction_and_the_first_line_stays(entered):
    before, _ = settled(entered, says())
    ledger, found = settled(entered, says(aaa=-0.02), now=NEXT + timedelta(weeks=1))
    (line,) = found.lines
    assert line["kind"] == "correction" and line["corrects"] in before.hashes
    assert ledger.lines[: len(before.lines)] == before.lines
    assert ledger.outcomes()[KEYS[0]][0]["label"] == "down by 1-2%"


def test_a_source_that_contradicts_the_ledger_alone_is_named(entered):
    """It cannot correct what another source stated, and it is not passed over."""
    settled(entered, says())
    _, found = settled(entered, says("files", aaa=-0.3))
    assert not found.lines
    assert found.notes[0] == (
        f"{KEYS[0]}: files -0.3000, and the ledger +0.0123; a correction needs Yahoo too, which "
        "the ledger has: give both"
    )


def test_a_doubt_is_corrected_when_the_sources_agree(entered):
    settled(entered, says(), says("files", aaa=0.05))
    assert not settled(entered, says())[1].lines, "one of the two sources says nothing now"
    ledger, _ = settled(entered, says(), says("files", aaa=0.0124))
    assert ledger.outcomes()[KEYS[0]][0]["label"] == "up by 1-2%"


def test_records_state_returns(entered):
    made = [record("AAA", 0, 0.02), record("BBB", 0, 0.01)]
    text = [{**row.to_json(), "week_start": "2031-01-05"} for row in made]
    write_jsonl(entered / "r.jsonl", [text[0], {**text[1], "weekly_return": None}])
    found = returns_of_records(entered / "r.jsonl", read_ledger(entered).forecasts)
    assert found.values == {KEYS[0]: 0.02}
    assert found.missing == {KEYS[1]: "its record has no return"}


@pytest.mark.parametrize(
    ("value", "said"),
    [(-1.5, "-1.5"), (10**400, "1000"), (float("nan"), "nan"), (float("inf"), "inf")],
)
def test_what_is_no_return_is_named_and_nothing_is_written(entered, value, said, capsys):
    rows = [{**record(s, 0, 0.02).to_json(), "week_start": "2031-01-05"} for s in ("AAA", "BBB")]
    write_jsonl(entered / "r.jsonl", rows)
    text = (entered / "r.jsonl").read_text().splitlines()
    text[1] = json.dumps({**rows[1], "weekly_return": value})
    (entered / "r.jsonl").write_text("\n".join(text))
    before = (entered / LEDGER).read_bytes()
    assert run(entered, "--records", str(entered / "r.jsonl"), "--date", "2031-01-12") == 2
    (error,) = capsys.readouterr().err.splitlines()
    assert "r.jsonl" in error and KEYS[1] in error
    assert re.search(
        rf"weekly_return .*is {said}.*; expected a fraction|is {said}.*, expected", error
    )
    assert (entered / LEDGER).read_bytes() == before


def test_a_return_that_is_stated_twice_is_refused(entered, capsys):
    rows = [{**record("AAA", 0, r).to_json(), "week_start": "2031-01-05"} for r in (0.02, -0.02)]
    write_jsonl(entered / "r.jsonl", rows)
    assert run(entered, "--records", str(entered / "r.jsonl"), "--date", "2031-01-12") == 2
    assert f"r.jsonl has {KEYS[0]} more than once; leave one" in capsys.readouterr().err


def prices(folder, symbol, closes):
    """Price files with these closes on the sessions from 2025-12-29 on."""
    day, rows = date(2025, 12, 29), ["Date,Open,High,Low,Close,Adj Close,Volume"]
    for close in closes:
        while day.weekday() > 4 or day == date(2026, 1, 1):
            day += timedelta(days=1)
        rows.append(f"{day}{f',{close}' * 5},1000")
        day += timedelta(days=1)
    folder.mkdir(exist_ok=True)
    (folder / f"{symbol}.csv").write_text("\n".join(rows))


def test_prices_give_returns(tmp_path):
    week = {"week_start": "2026-01-04", "week_end": "2026-01-11"}
    wanted = [
        {**journals.forecast(symbol, 0), **week, "id": f"{symbol}-2026-01-04"}
        for symbol in ("AAA", "BBB", "CCC")
    ]
    prices(tmp_path / "p", "AAA", [98, 99, 99, 100, 101, 102, 101, 100, 103])
    prices(tmp_path / "p", "BBB", [98, 99, 99, 100, 101, 102])
    found = returns_of_prices(PriceFiles(tmp_path / "p"), wanted, date(2026, 1, 12))
    assert found.source == "price files" and found.values == {"AAA-2026-01-04": 0.03}
    assert "sessions" in found.missing["BBB-2026-01-04"]
    assert found.missing["CCC-2026-01-04"] == "no file"


def run(folder, *words):
    return main(["settle", "--journal", str(folder), *words])


def test_the_command_settles_from_records(entered, capsys):
    rows = [{**record(s, 0, 0.02).to_json(), "week_start": "2031-01-05"} for s in ("AAA", "BBB")]
    write_jsonl(entered / "r.jsonl", rows)
    words = ("--records", str(entered / "r.jsonl"), "--date", "2031-01-12")
    assert run(entered, *words) == 0
    printed = capsys.readouterr().out
    ledger = read_ledger(entered)
    assert "returns written: 2, corrections: 0, awaited: 0" in printed
    assert printed.endswith(f"head {ledger.head}\n")
    assert ledger.lines[-1]["written_at"] == "2031-01-12T12:00:00+00:00"
    before = (entered / LEDGER).read_bytes()
    assert run(entered, *words) == 0
    assert (entered / LEDGER).read_bytes() == before


def test_the_command_goes_on_after_a_line_that_was_cut_off(entered):
    rows = [{**record(s, 0, 0.02).to_json(), "week_start": "2031-01-05"} for s in ("AAA", "BBB")]
    write_jsonl(entered / "r.jsonl", rows)
    words = ("--records", str(entered / "r.jsonl"), "--date", "2031-01-12")
    assert run(entered, *words) == 0
    whole = (entered / LEDGER).read_bytes()
    for end in range(len(whole) - 500, len(whole), 37):
        (entered / LEDGER).write_bytes(whole[:end])
        assert run(entered, *words) == 0
        assert (entered / LEDGER).read_bytes() == whole


def test_a_rehearsal_needs_its_date(entered, capsys):
    assert run(entered, "--records", "none.jsonl") == 2
    assert "a rehearsal whose clock is DATE" in capsys.readouterr().err


def test_a_source_that_fails_is_named_and_the_other_one_counts(entered, capsys):
    prices(entered / "p", "AAA", [1, 2])
    (entered / "r.jsonl").write_text(json.dumps(record("AAA", 0).to_json()) + "\n")
    words = ("--records", str(entered / "r.jsonl"), "--prices", str(entered / "none"))
    assert run(entered, *words, "--date", "2031-01-12") == 0
    captured = capsys.readouterr()
    assert "without price files:" in captured.err and "awaited: 2" in captured.out


def test_a_source_that_lacks_what_another_states_is_named(entered, capsys):
    rows = [{**record(s, 0, 0.02).to_json(), "week_start": "2031-01-05"} for s in ("AAA", "BBB")]
    write_jsonl(entered / "r.jsonl", rows)
    prices(entered / "p", "AAA", [1, 2])
    words = ("--records", str(entered / "r.jsonl"), "--prices", str(entered / "p"))
    assert run(entered, *words, "--date", "2031-01-12") == 0
    printed = capsys.readouterr().out
    assert "price files: no return for 2 that another source states, such as AAA-2031" in printed


NOW = datetime(2026, 11, 22, 13, 5, 7, 9, tzinfo=UTC)


@pytest.mark.parametrize(("given", "kind"), [(None, "machine"), (date(2026, 11, 22), "machine")])
def test_todays_date_is_the_machines_clock(given, kind):
    assert clock_for(None, given, NOW) == clock_for({"clock": "machine"}, given, NOW) == kind
    assert time_of(kind, given, NOW).isoformat() == "2026-11-22T13:05:07+00:00"


def test_another_date_starts_a_rehearsal():
    day = date(2031, 1, 5)
    assert clock_for(None, day, NOW) == clock_for({"clock": "simulated"}, day, NOW) == "simulated"
    assert time_of("simulated", day, NOW).isoformat() == "2031-01-05T12:00:00+00:00"


def test_a_record_takes_no_date_of_choice():
    with pytest.raises(ValueError, match=r"keeps the machine's clock \(2026-11-22\)"):
        clock_for({"clock": "machine"}, date(2026, 11, 15), NOW)


def test_an_empty_ledger_has_nothing_to_settle():
    assert settle(Ledger(), [], NEXT) == ([], {}, [])
