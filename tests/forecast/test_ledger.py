"""The ledger and its verification: what is written stays, and any change of it is found."""

import json
import math
import random
import re
import subprocess
import sys

import pytest

from forecast.journal.__main__ import main
from forecast.journal.ledger import (
    LEDGER,
    BrokenLedger,
    append_lines,
    hash_of,
    open_ledger,
    parse_ledger,
    read_ledger,
)
from forecast.journal.verify import check, check_head
from tests.support import journals
from tests.support.tiny import ROOT
from weekahead.locks import sole_writer
from weekahead.schema.journal import NO_LINE


@pytest.fixture
def journal(tmp_path):
    """A folder with a ledger of three weeks, two of them settled."""
    journals.write(tmp_path)
    return tmp_path


def signed(lines):
    """The bytes of `lines` with their chain made anew, as a forger would."""
    previous, written = NO_LINE, []
    for line in lines:
        raw = json.dumps({**line, "previous": previous}, ensure_ascii=False).encode()
        written.append(raw)
        previous = hash_of(raw)
    return b"".join(raw + b"\n" for raw in written)


def fault(content, head=None):
    """What verify says of these bytes; None if it finds nothing."""
    try:
        ledger = parse_ledger(content)
        check(ledger, LEDGER)
        if head:
            check_head(ledger, head, LEDGER)
    except BrokenLedger as broken:
        return str(broken)
    return None


def test_a_ledger_reads_back(journal):
    ledger = read_ledger(journal)
    lines = [
        {key: value for key, value in line.items() if key != "previous"} for line in ledger.lines
    ]
    assert lines == journals.facts()
    raw = (journal / LEDGER).read_bytes().splitlines()
    assert [json.loads(line)["previous"] for line in raw[1:]] == [
        hash_of(line) for line in raw[:-1]
    ]
    assert ledger.head == hash_of(raw[-1])
    assert fault((journal / LEDGER).read_bytes(), ledger.head) is None


# Each takes the lines of a whole ledger and a generator, and gives bytes that are not that ledger.
def edited(lines, draw):
    """One character of the file is another."""
    content = bytearray(signed(lines))
    place = draw.randrange(len(content))
    content[place] ^= draw.choice((1, 2, 4, 8))
    return bytes(content)


def deleted(lines, draw):
    raw = signed(lines).splitlines(keepends=True)
    first = draw.randrange(len(raw))
    del raw[first : first + draw.choice((1, 1, 2, 5))]
    return b"".join(raw)


def inserted(lines, draw):
    raw = signed(lines).splitlines(keepends=True)
    raw.insert(draw.randrange(len(raw) + 1), draw.choice(raw))
    return b"".join(raw)


def reordered(lines, draw):
    raw = signed(lines).splitlines(keepends=True)
    first, second = draw.sample(range(len(raw)), 2)
    raw[first], raw[second] = raw[second], raw[first]
    return b"".join(raw)


def late(lines, draw):
    """A better forecast, put in after the week, the chain made anew."""
    changed = [dict(line) for line in lines]
    places = [index for index, line in enumerate(lines) if line["kind"] == "forecast"]
    line = changed[draw.choice(places)]
    line["direction"], line["prediction"] = -1, "down by 1-2%"
    line["written_at"] = line["opens_at"]
    return signed(changed)


def signed_anew(lines, draw):
    """A fact is another, or the end is cut off, and every later line is signed again."""
    changed = [dict(line) for line in lines]
    place = draw.randrange(len(lines))
    if draw.random() < 0.3:
        return signed(changed[:place])
    line = changed[place]
    key = draw.choice(sorted(line))
    old = line[key]
    line[key] = {str: f"{old}x", bool: not old, type(None): "x"}.get(type(old))
    if isinstance(old, int | float):
        line[key] = old + draw.choice((1, -0.5))
    return signed(changed)


TAMPERINGS = (edited, deleted, inserted, reordered, late, signed_anew)


def missed(count):
    """Which of `count` tampered ledgers verify takes for whole, given the last published head."""
    lines = journals.facts()
    whole = signed(lines)
    head = parse_ledger(whole).head
    found_none = []
    for seed in range(count):
        draw = random.Random(seed)
        tampering = draw.choice(TAMPERINGS)
        content = tampering(lines, draw)
        if content != whole and not (fault(content, head) or "").startswith(f"{LEDGER}, line"):
            found_none.append((seed, tampering.__name__))
    return found_none


def test_300_tampered_ledgers_are_found():
    assert missed(300) == []


@pytest.mark.slow
def test_10_000_tampered_ledgers_are_found():
    assert missed(10_000) == []


def test_the_message_names_the_first_line_at_fault(journal):
    raw = (journal / LEDGER).read_bytes().splitlines(keepends=True)
    raw[3] = raw[3].replace(b"up by", b"up  by")
    assert re.search("line 5: previous is .*: line 4 or 5 was changed", str(fault(b"".join(raw))))


def one_week(*lines):
    return [journals.start(), *lines]


WEEK = [journals.forecast("AAA", 0, name) for name in journals.PANEL]
END = journals.week_end(0, 2)
PAID = journals.outcome("AAA", 0, 0.02)
SHARES = WEEK[0]["probabilities"]
MONDAY, TUESDAY = "2031-01-06T00:00:00+00:00", "2031-01-07T12:00:00+00:00"
BREACHES = {
    "late": (one_week(WEEK[0] | {"written_at": MONDAY}), "line 2: late: written at"),
    "early": (one_week(WEEK[0] | {"decision_time": MONDAY}), "before its decision time"),
    "no session": (one_week(WEEK[0] | {"opens_at": "2031-01-13T14:30:00+00:00"}), "after the week"),
    "stranger": (one_week(WEEK[0] | {"forecaster": "x"}), "x is not of the panel"),
    "twice": (one_week(WEEK[0], WEEK[0]), "line 3: adapter forecast AAA-2031-01-05 before"),
    "id": (one_week(WEEK[0] | {"symbol": "ABB"}), "id is AAA-2031-01-05, of ABB"),
    "bin": (one_week(WEEK[0] | {"prediction": "up"}), "and a bin or null"),
    "sum": (one_week(WEEK[0] | {"probabilities": {"up by 0-1%": 1.0}}), "the twelve bins"),
    "after the end": (one_week(*WEEK, END, journals.forecast("BBB", 0)), "had ended"),
    "no end": (
        one_week(*WEEK, journals.forecast("AAA", 1)),
        "ends the week of 2031-01-05 is missing",
    ),
    "count": (one_week(*WEEK, journals.week_end(0, 3)), "states 3 forecasts of the week, 2 are"),
    "panel": (one_week(WEEK[0], journals.week_end(0, 1)), "forecasts are missing"),
    "early return": (one_week(*WEEK, END, PAID | {"written_at": TUESDAY}), "before the week ended"),
    "paid twice": (one_week(*WEEK, END, PAID, PAID), "has a return already"),
    "unknown": (one_week(*WEEK, END, journals.outcome("BBB", 0, 0.1)), "nothing was forecast"),
    "correction": (
        one_week(*WEEK, END, PAID, PAID | {"kind": "correction", "corrects": "ab" * 32}),
        "is not the line that held for AAA-2031-01-05",
    ),
    "clock": (
        one_week(*WEEK, END, PAID, journals.start() | {"kind": "week"}),
        "it has no forecasts",
    ),
    "start": ([*one_week(), journals.start()], "line 2: a ledger begins"),
    "no start": ([END], "line 1: a ledger begins"),
    "version": ([journals.start() | {"version": 2}], "version is 2"),
    "kind of clock": ([journals.start() | {"clock": "moon"}], "expected machine or simulated"),
    "contradiction": (one_week(WEEK[0] | {"direction": -1}), "and the prediction 'up by 0-1%'"),
    "negative": (one_week(WEEK[0] | {"probabilities": SHARES | {"up by 0-1%": -1.0}}), "twelve"),
    "nan": (one_week(WEEK[0] | {"probabilities": dict.fromkeys(SHARES, math.nan)}), "twelve"),
    "no week": (one_week(WEEK[0] | {"week_end": "2031-01-13"}), "expected Sunday to Sunday"),
    "endless return": (one_week(*WEEK, END, PAID | {"weekly_return": math.inf}), "expected retur"),
    "nan source": (one_week(*WEEK, END, PAID | {"sources": {"x": math.nan}}), "expected returns"),
    "label": (one_week(*WEEK, END, PAID | {"weekly_return": -0.3}), "and that of its return 'down"),
    "doubt": (one_week(*WEEK, END, PAID | {"doubt": "why"}), "and that of its return None"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_signed_line_must_have_been_allowed(name):
    lines, said = BREACHES[name]
    assert said in (fault(signed(lines)) or "nothing")


@pytest.mark.parametrize(
    ("symbol", "opens_at", "is_late"),
    [
        ("AAA", "2026-01-05T14:30:00+00:00", False),
        ("AAA", "2026-01-05T13:30:00+00:00", False),
        ("AAA", "2026-01-09T14:30:00+00:00", True),
        ("SAP.DE", "2026-01-05T14:30:00+00:00", True),
        ("BTC-GBP", "2026-01-05T14:30:00+00:00", True),
        ("X.QQ", "2026-01-09T14:30:00+00:00", False),
    ],
)
def test_a_line_cannot_choose_when_its_week_opens(symbol, opens_at, is_late):
    """Not later than its exchange's calendar has it; a rehearsal's market may be fictional."""
    first = journals.start() | {"written_at": "2026-01-04T10:00:00+00:00"}
    days = {"id": f"{symbol}-2026-01-04", "week_start": "2026-01-04", "week_end": "2026-01-11"}
    times = {"written_at": "2026-01-04T10:00:00+00:00", "decision_time": "2026-01-04"}
    line = journals.forecast(symbol, 0, opens_at=opens_at, **days, **times)
    said = fault(signed([first | {"clock": "machine"}, line])) or ""
    assert (f"but {symbol} opened at 2026-01-0" in said) == is_late == bool(said)
    assert fault(signed([first, line])) is None


def test_an_unfinished_week_says_so():
    end = journals.week_end(0, 1, unfinished="stopped")
    assert fault(signed(one_week(WEEK[0], end))) is None


def test_a_correction_replaces_what_holds(tmp_path):
    ledger = journals.write(tmp_path, one_week(*WEEK, END, PAID))
    change = journals.outcome("AAA", 0, -0.01) | {"kind": "correction", "corrects": ledger.head}
    ledger = append_lines(tmp_path, ledger, [change])
    assert fault((tmp_path / LEDGER).read_bytes(), ledger.head) is None
    outcome, digest = ledger.outcomes()["AAA-2031-01-05"]
    assert (outcome["weekly_return"], digest) == (-0.01, ledger.head)


def test_a_clock_that_was_set_back_writes_nothing(journal):
    before = (journal / LEDGER).read_bytes()
    with pytest.raises(ValueError, match="the clock was set back; set it right"):
        append_lines(journal, read_ledger(journal), [journals.forecast("AAA", 1)])
    assert (journal / LEDGER).read_bytes() == before


def test_a_line_that_was_cut_off_is_removed(journal):
    whole = (journal / LEDGER).read_bytes()
    (journal / LEDGER).write_bytes(whole + b'{"previous": "ab')
    with pytest.raises(BrokenLedger, match=r"line 29: it is cut off .* removes it"):
        read_ledger(journal)
    assert open_ledger(journal).head == hash_of(whole.splitlines()[-1])
    assert (journal / LEDGER).read_bytes() == whole


def test_nothing_is_cut_from_a_ledger_broken_elsewhere(journal):
    content = (journal / LEDGER).read_bytes().replace(b"AAA", b"AAB", 1) + b"{"
    (journal / LEDGER).write_bytes(content)
    with pytest.raises(BrokenLedger):
        open_ledger(journal)
    assert (journal / LEDGER).read_bytes() == content


def run(journal, *words):
    return main(["verify", "--journal", str(journal), *words])


def test_verify_says_what_is_there(journal, capsys):
    head = read_ledger(journal).head
    assert run(journal, "--head", head) == 0
    printed = capsys.readouterr().out
    assert "28 lines, 3 weeks entered, 6 returns known, 3 awaited" in printed
    assert "the published head stands; lines since: 0" in printed
    assert printed.endswith(f"head {head}\n")
    assert run(journal, "--head", read_ledger(journal).hashes[20].upper()) == 0
    assert "lines since: 7" in capsys.readouterr().out


def test_verify_without_a_head_says_what_it_cannot_see(journal, capsys):
    assert run(journal) == 0
    assert "no HEAD given" in capsys.readouterr().out


def test_verify_ends_with_1_if_the_ledger_is_broken(journal, capsys):
    raw = (journal / LEDGER).read_bytes().splitlines(keepends=True)
    head = read_ledger(journal).head
    (journal / LEDGER).write_bytes(b"".join(raw[:-1]))
    assert run(journal) == 0, "the end alone cannot tell"
    assert run(journal, "--head", head) == 1
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("journal-verify: ") and f"the published hash {head}" in error


@pytest.mark.parametrize(
    ("words", "said"), [(["--head", "abc"], "expected the 64 hex digits"), ([], "holds no journal")]
)
def test_verify_refuses_what_it_cannot_hold_against(tmp_path, words, said, capsys):
    if words:
        journals.write(tmp_path)
    assert run(tmp_path, *words) == 2
    assert said in capsys.readouterr().err


def test_two_writers_never_share_a_ledger(journal):
    code = (
        "import sys, pathlib; from weekahead.locks import sole_writer\n"
        "with sole_writer(pathlib.Path(sys.argv[1])): print('in', flush=True); sys.stdin.read()"
    )
    other = subprocess.Popen(
        [sys.executable, "-c", code, str(journal)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert other.stdout.readline() == "in\n"
    with pytest.raises(BlockingIOError, match=f"process {other.pid}"), sole_writer(journal):
        pass
    other.communicate("")
