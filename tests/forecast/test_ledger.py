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
    extended,
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
        text = json.dumps({**line, "previous": previous}, ensure_ascii=False)
        raw = text.encode("utf-8", "backslashreplace")
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
HUGE = 10**400
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
    "nan": (
        one_week(WEEK[0] | {"probabilities": dict.fromkeys(SHARES, math.nan)}),
        "is nan, expected a num",
    ),
    "no week": (one_week(WEEK[0] | {"week_end": "2031-01-13"}), "expected Sunday to Sunday"),
    "endless return": (
        one_week(*WEEK, END, PAID | {"weekly_return": math.inf}),
        "is inf, expected",
    ),
    "nan source": (one_week(*WEEK, END, PAID | {"sources": {"x": math.nan}}), "x is nan, expected"),
    "label": (one_week(*WEEK, END, PAID | {"weekly_return": -0.3}), "and that of its return 'down"),
    "doubt": (one_week(*WEEK, END, PAID | {"doubt": "why"}), "and that of its sources None"),
    "other inputs": (
        one_week(WEEK[0], WEEK[1] | {"inputs_sha256": "cd" * 32}),
        "line 3: inputs_sha256 of AAA-2031-01-05 is 'cdcd",
    ),
    "late decision": (
        one_week(WEEK[0] | {"decision_time": "2031-01-05T11:00:00+00:00"}),
        "line 2: its decision time is 2031-01-05T11:00:00+00:00; expected 2031-01-05T05",
    ),
    "time for a day": (one_week(WEEK[0] | {"week_end": MONDAY}), "expected a date such as"),
    "day by another name": (one_week(WEEK[0] | {"week_start": "20310105"}), "expected a date such"),
    "end of time": (one_week(WEEK[0] | {"week_end": "9999-12-31"}), "of the years 1900 to 9000"),
    "before time": (
        one_week(WEEK[0] | {"decision_time": "0001-01-01T00:00:00+23:00"}),
        "line 2: decision_time is '0001-01-01T00:00:00+23:00'; expected a time in ISO",
    ),
    "no names": ([journals.start() | {"panel": [{}]}], "line 1: a forecaster of the panel is {}"),
    "fraction": (one_week(WEEK[0] | {"direction": 1.0}), "expected 1, -1 or null"),
    "huge share": (
        one_week(WEEK[0] | {"probabilities": SHARES | {"up by 0-1%": HUGE}}),
        "expected a num",
    ),
    "huge return": (one_week(*WEEK, END, PAID | {"weekly_return": HUGE}), "weekly_return is 1000"),
    "large return": (one_week(*WEEK, END, PAID | {"weekly_return": 1e307}), "expected returns"),
    "huge source": (one_week(*WEEK, END, PAID | {"sources": {"x": HUGE}}), "expected a num"),
    "no source": (one_week(*WEEK, END, PAID | {"sources": {}}), "return of the first source"),
    "other source": (one_week(*WEEK, END, PAID | {"sources": {"x": 0.01}}), "of the first source"),
    "other symbol": (
        one_week(*WEEK, END, PAID | {"symbol": "BBB"}),
        "id is AAA-2031-01-05, of BBB",
    ),
    "other week": (
        one_week(*WEEK, END, PAID | {"week_start": "2031-01-12"}),
        "id is AAA-2031-01-05",
    ),
    "week of a Monday": (one_week(journals.week_end(0, 0, week_start="2031-01-06")), "a Sunday"),
}


@pytest.mark.parametrize("name", BREACHES)
def test_a_signed_line_must_have_been_allowed(name):
    lines, said = BREACHES[name]
    assert said in (fault(signed(lines)) or "nothing")


ODD = (
    *(None, True, -1, 0, 2.5, 1e307, HUGE, -HUGE, math.nan, -math.inf, [], {}, [None], {"a": None}),
    *("", "soon", "-", "A/B", "\ud800", "2031-01-05", "2031-01-06", MONDAY, "2031-01-05T06:00:00"),
    *("9999-12-31", "0001-01-01", "0001-01-01T00:00:00+23:00", "9999-12-31T23:00:00-23:00"),
    *("20310105", "2031-W01-7", "-2031-01-05", "AAA-2031-01-12", "BTC-USD", "X.QQ"),
)


def small_ledger(clock):
    """A ledger with a line of every kind."""
    lines = [journals.start() | {"clock": clock}, *WEEK, END, PAID]
    head = parse_ledger(signed(lines)).head
    change = {"kind": "correction", "corrects": head, "weekly_return": -0.01}
    change |= {"sources": {"records": -0.01}, "label": "down by 0-1%"}
    return [*lines, PAID | change]


APART = {"Yahoo": 0.02, "files": -0.02}
FORGED = {
    "a doubt of nothing": (
        {"doubt": "I do not like it", "label": None},
        "that of its sources None",
    ),
    "the same again": ({}, "says of AAA-2031-01-05 what the line that held for it says"),
    "rounding": ({"weekly_return": 0.0198, "sources": {"records": 0.0198}}, "what the line that"),
    "another source": (
        {"weekly_return": -0.3, "sources": {"x": -0.3}, "label": "down by more than 5%"},
        "lacks one of its sources",
    ),
}


@pytest.mark.parametrize("name", FORGED)
def test_a_return_that_holds_cannot_be_taken_back(name):
    """Without its label a forecast would not be scored, and a published head would still stand."""
    change, said = FORGED[name]
    lines = one_week(*WEEK, END, PAID)
    head = parse_ledger(signed(lines)).head
    forged = PAID | {"kind": "correction", "corrects": head} | change
    assert said in (fault(signed([*lines, forged])) or "nothing")


@pytest.mark.parametrize("doubt", [None, "why"])
def test_sources_that_contradict_each_other_are_in_doubt(doubt):
    stated = {"weekly_return": 0.02, "sources": APART, "doubt": doubt}
    label = PAID["label"] if doubt is None else None
    said = fault(signed(one_week(*WEEK, END, PAID | stated | {"label": label})))
    assert (said is None) == (doubt is not None)
    assert doubt or "doubt is None, and that of its sources 'the sources contradict" in said


def with_odd_values(value):
    """`value` with one of its parts, in any depth, odd or absent."""
    yield from ODD
    if isinstance(value, dict):
        for key, inner in value.items():
            yield {name: other for name, other in value.items() if name != key}
            yield from ({**value, key: odd} for odd in with_odd_values(inner))
    if isinstance(value, list) and value:
        yield from ([odd, *value[1:]] for odd in with_odd_values(value[0]))


@pytest.mark.parametrize("clock", ["machine", "simulated"])
def test_an_odd_value_is_a_breach_or_allowed(clock):
    """A forger may write anything and sign it again: the line is named, whatever it holds."""
    lines = small_ledger(clock)
    assert fault(signed(lines)) is None
    found = 0
    for place, line in enumerate(lines):
        after = lines[place + 1 : -1]  # the correction names the hash of what it corrects
        for odd in filter(is_object, with_odd_values(line)):
            said = fault(signed([*lines[:place], odd, *after]))
            assert said is None or said.startswith(f"{LEDGER}, line "), (odd, said)
            found += said is not None
    assert found > 1000


def is_object(value):
    return isinstance(value, dict)


def test_what_verify_refuses_is_never_written(journal):
    """The same rules for who reads and who writes: a line that they forbid is not appended."""
    before, ledger = (journal / LEDGER).read_bytes(), read_ledger(journal)
    made = [journals.forecast("AAA", 3), journals.week_end(3, 0), journals.outcome("AAA", 2, 0.01)]
    refused = 0
    for line in made:
        for odd in filter(is_object, with_odd_values(line)):
            try:
                longer = extended(ledger, [odd])
            except ValueError:
                refused += 1
                continue
            assert fault(signed(longer.lines)) is None, odd
    assert refused > 500
    with pytest.raises(
        ValueError, match=r"^AAA-2031-01-19: weekly_return is nan, expected a number"
    ):
        append_lines(journal, ledger, [made[-1] | {"weekly_return": math.nan}])
    assert (journal / LEDGER).read_bytes() == before


def test_a_ledger_goes_on_from_what_its_lines_said(journal):
    """Held against the rules once; each appended line is held against what is known by then."""
    ledger = check(read_ledger(journal), LEDGER)
    longer = append_lines(journal, ledger, [journals.outcome("AAA", 2, 0.01)])
    assert longer.seen == check(read_ledger(journal), LEDGER).seen
    with pytest.raises(ValueError, match="AAA-2031-01-19 has a return already"):
        extended(longer, [journals.outcome("AAA", 2, 0.01)])
    assert extended(ledger, [journals.outcome("AAA", 2, 0.01)]) == longer


@pytest.mark.parametrize(
    ("symbol", "opens_at", "is_late"),
    [
        ("AAA", "2026-01-05T14:30:00+00:00", False),
        ("AAA", "2026-01-05T13:30:00+00:00", False),
        ("AAA", "2026-01-09T14:30:00+00:00", True),
        ("SAP.DE", "2026-01-05T14:30:00+00:00", True),
        ("BTC-GBP", "2026-01-05T14:30:00+00:00", True),
        ("X.QQ", "2026-01-09T14:30:00+00:00", True),
        ("7203.T", "2026-01-05T00:00:01+00:00", True),
        ("X.QQ", "2026-01-05T00:00:00+00:00", False),
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


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content.replace(b"\n", b"\r"),
        lambda content: content.replace(b"\n", b""),
        lambda content: b"<html>404 not found</html>",
        lambda content: content + b'{"previous": "ab"}',
        lambda content: content + content.splitlines()[-1],
    ],
)
def test_an_end_that_no_writer_left_is_never_removed(journal, change):
    content = change((journal / LEDGER).read_bytes())
    (journal / LEDGER).write_bytes(content)
    with pytest.raises(BrokenLedger, match="take the ledger from a copy"):
        open_ledger(journal)
    assert (journal / LEDGER).read_bytes() == content


@pytest.mark.parametrize("mark", [b"\xef\xbb\xbf", b""])
def test_other_line_ends_are_named(journal, mark, capsys):
    content = (journal / LEDGER).read_bytes()
    (journal / LEDGER).write_bytes(mark + content.replace(b"\n", b"\r\n" if not mark else b"\n"))
    assert run(journal) == 1
    assert "line 1: it has other line ends, or a byte order mark" in capsys.readouterr().err


def test_a_line_that_lacks_its_line_end_alone_stays(journal, capsys):
    """An editor may strip it: nothing is lost."""
    whole = (journal / LEDGER).read_bytes()
    (journal / LEDGER).write_bytes(whole[:-1])
    assert run(journal) == 1
    assert "line 28: it has no line end; the next journal-enter" in capsys.readouterr().err
    assert open_ledger(journal).head == hash_of(whole.splitlines()[-1])
    assert (journal / LEDGER).read_bytes() == whole


@pytest.mark.parametrize(("cut", "said"), [(1, "has one now"), (9, "bytes are removed")])
def test_a_mended_end_is_told(journal, cut, said, capsys):
    whole = (journal / LEDGER).read_bytes()
    rest = len(whole.splitlines()[-1]) + 1 - cut
    (journal / LEDGER).write_bytes(whole[:-cut])
    words = ["--journal", str(journal), "--records", "none.jsonl", "--date", "2031-01-19"]
    assert main(["settle", *words]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"{journal / LEDGER}, line 28: it ") and said in first
    assert (cut == 1) or f"its {rest} bytes" in first
    assert "none.jsonl" in second


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


@pytest.mark.parametrize("is_there", [True, False])
def test_an_empty_ledger_is_tampering_if_a_head_was_published(journal, is_there, capsys):
    head = read_ledger(journal).head
    (journal / LEDGER).write_bytes(b"")
    if not is_there:
        (journal / LEDGER).unlink()
    assert run(journal, "--head", head) == 1
    assert (
        f"{LEDGER}, line 1 is missing; none has the published hash {head}"
        in capsys.readouterr().err
    )
    assert run(journal) == 2
    assert run(journal, "--head", "abc") == 2


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
