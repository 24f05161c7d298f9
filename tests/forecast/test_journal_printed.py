"""What the journal prints of a ledger that others wrote: one line each, and nothing hidden."""

import json

import pytest

from forecast.journal.__main__ import main
from forecast.journal.ledger import LEDGER, hash_of
from tests.support import journals

FORGED = "x\x1b[2K\rledger.jsonl: whole; 30 lines\nthe published head stands; lines since: 0"


def append(folder, line):
    """Add a line to the ledger that the journal itself would not write."""
    path = folder / LEDGER
    last = path.read_bytes().splitlines()[-1]
    with path.open("ab") as file:
        file.write(json.dumps(line | {"previous": hash_of(last)}).encode() + b"\n")


@pytest.mark.parametrize("name", ["verify", "score", "page", "settle"])
def test_a_ledger_cannot_forge_what_is_printed(name, tmp_path, capsys):
    journals.write(tmp_path, [journals.start()])
    append(tmp_path, journals.forecast("BBB", 0, FORGED))
    assert main([name, "--journal", str(tmp_path)]) in (1, 2)
    printed = capsys.readouterr().err
    assert printed.startswith(f"journal-{name}: ") and printed.count("\n") == 1
    assert "\x1b" not in printed and "\r" not in printed


def test_a_name_keeps_to_its_cell_in_the_scores(tmp_path, capsys):
    names = ("a\x00\x1b[31m\nb: skill shown", "always_up")
    forecasts = [journals.forecast("AAA", 0, name) for name in names]
    lines = [journals.start(names), *forecasts, journals.week_end(0, 2)]
    journals.write(tmp_path, [*lines, journals.outcome("AAA", 0, 0.01)])
    assert main(["score", "--journal", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "\na\ufffd\ufffd[31m b: skill shown: " in printed
    assert "\x00" not in printed and "\x1b" not in printed
    assert not any(line.startswith("b: ") for line in printed.splitlines())
