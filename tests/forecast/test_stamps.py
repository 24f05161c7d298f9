"""Stamps of the head: made by an authority over the wire, and held against the ledger."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from forecast.journal.__main__ import main
from forecast.journal.ledger import LEDGER, append_lines, read_ledger
from tests.support import journals
from tests.support.servers.timestamps import Authority


@pytest.fixture(scope="module")
def tsa(tmp_path_factory):
    with Authority(tmp_path_factory.mktemp("tsa")) as authority:
        yield authority


@pytest.fixture
def told(tmp_path, tsa, capsys):
    """Runs a command of the journal in `tmp_path`: its status and all that it said."""
    tsa.answers = None

    def run(command, *words):
        status = main([command, "--journal", str(tmp_path), *words])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def hours(count):
    return (datetime.now(UTC) + timedelta(hours=count)).isoformat(timespec="seconds")


def week(number, opens, written=-1):
    """A week by the machine's clock whose first session opens in `opens` hours."""
    times = {"written_at": hours(written), "decision_time": hours(-99), "opens_at": hours(opens)}
    return [
        *(journals.forecast("AAA", number, name, **times) for name in journals.PANEL),
        journals.week_end(number, len(journals.PANEL), written_at=hours(written)),
    ]


def machine_journal(folder, *weeks, written=-2):
    first = {**journals.start(), "clock": "machine", "written_at": hours(written)}
    return journals.write(folder, [first, *(line for lines in weeks for line in lines)])


def test_a_week_is_stamped_before_it_opens(told, tmp_path, tsa):
    """The reply is kept as it came, is bound to the head, and a second call asks nobody."""
    ledger = machine_journal(tmp_path, week(0, opens=-0.5), week(1, opens=5))
    asked = len(tsa.asked)
    status, said = told("stamp", "--tsa", tsa.url, "--tsa_ca", str(tsa.root))
    assert status == 0 and "before they opened: 1 of 2 (not 2031-01-05)" in said, said
    path = tmp_path / "stamps" / f"{ledger.head}.tsr"
    content = path.read_bytes()
    assert str(path) in said and tsa.asked[asked][0] == "application/timestamp-query"
    openssl = ["openssl", "ts", "-verify", "-digest", ledger.head, "-CAfile", tsa.root, "-in", path]
    assert subprocess.run(openssl, capture_output=True).returncode == 0, "as anybody checks it"
    status, said = told("stamp", "--tsa", tsa.url)
    assert status == 0 and "nothing is changed" in said and len(tsa.asked) == asked + 1
    assert path.read_bytes() == content
    status, said = told("verify")
    assert status == 0 and "stamps: 1, the last of line 7; who signed them is not" in said, said
    status, said = told("verify", "--tsa_ca", str(tsa.root))
    assert status == 0 and f"signed by an authority of {tsa.root}" in said


def test_a_stamp_after_the_open_proves_no_week(told, tmp_path, tsa):
    machine_journal(tmp_path, week(0, opens=-0.5))
    status, said = told("stamp", "--tsa", tsa.url)
    assert status == 0 and "before they opened: 0 of 1 (not 2031-01-05)" in said, said


def test_a_stamp_of_half_a_week_does_not_prove_it(told, tmp_path, tsa):
    """All forecasts of the week lie at or before the stamped line."""
    lines = week(0, opens=5)
    ledger = machine_journal(tmp_path, lines[:1])
    assert told("stamp", "--tsa", tsa.url)[0] == 0
    append_lines(tmp_path, ledger, lines[1:])
    status, said = told("verify")
    assert status == 0 and "before they opened: 0 of 1" in said, said
    assert told("stamp", "--tsa", tsa.url)[0] == 0
    assert "stamps: 2" in told("verify")[1] and "opened: 1 of 1" in told("verify")[1]


def test_a_rehearsal_is_told_what_its_stamp_is_worth(told, tmp_path, tsa):
    journals.write(tmp_path)
    status, said = told("stamp", "--tsa", tsa.url)
    assert status == 0 and "rehearsal" in said and "opened" not in said, said


def cut(folder, path, tsa):
    content = (folder / LEDGER).read_bytes().splitlines(keepends=True)
    (folder / LEDGER).write_bytes(b"".join(content[:-1]))
    return "no line of the ledger has this hash"


def renamed(folder, path, tsa):
    path.rename(path.with_name(f"{read_ledger(folder).hashes[0]}.tsr"))
    return "not the head in its name"


def damaged(folder, path, tsa):
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    return "signature does not fit"


def halved(folder, path, tsa):
    path.write_bytes(path.read_bytes()[:200])
    return "not a time-stamp reply"


def emptied(folder, path, tsa):
    path.write_bytes(b"")
    return "not a time-stamp reply"


def a_folder(folder, path, tsa):
    path.unlink()
    path.mkdir()
    return "it cannot be read (Is a directory)"


def of_a_later_line(folder, path, tsa):
    """The machine's clock was ahead of the authority's."""
    shutil.rmtree(folder)
    head = machine_journal(folder, week(0, opens=9, written=3), written=2).head
    path.parent.mkdir()
    (path.parent / f"{head}.tsr").write_bytes(tsa.stamp(head))
    return "but its line says that it was written at"


@pytest.mark.parametrize(
    "tamper", [cut, renamed, damaged, halved, emptied, a_folder, of_a_later_line]
)
def test_a_wrong_stamp_is_named(tamper, told, tmp_path, tsa):
    ledger = machine_journal(tmp_path, week(0, opens=5))
    assert told("stamp", "--tsa", tsa.url)[0] == 0
    reason = tamper(tmp_path, tmp_path / "stamps" / f"{ledger.head}.tsr", tsa)
    status, said = told("verify")
    assert status == 1 and reason in said and ".tsr: " in said, said
    assert len(said.splitlines()) == 1
    assert told("stamp", "--tsa", tsa.url)[0] == 2, "nothing is stamped on top of it"


def test_another_authority_is_named(told, tmp_path, tsa):
    machine_journal(tmp_path, week(0, opens=5))
    other = Authority(tmp_path / "other")
    status, said = told("stamp", "--tsa", tsa.url, "--tsa_ca", str(other.root))
    assert status == 2 and f"no authority of {other.root} signed it" in said, said
    assert not (tmp_path / "stamps").exists(), "what is of no use is not kept"
    assert told("stamp", "--tsa", tsa.url)[0] == 0
    status, said = told("verify", "--tsa_ca", str(other.root))
    assert status == 1 and f"no authority of {other.root} signed it" in said, said
    status, said = told("verify", "--tsa_ca", "absent.pem")
    assert status == 2 and "absent.pem is not a file; TSA_CA" in said


@pytest.mark.parametrize(
    ("answers", "reason"),
    [
        (("status", 503), "answered with status 503"),
        (("body", b"<html>"), "it is not a time-stamp reply"),
        (("stamps", "ab" * 32), "it stamps abab"),
        (("body", bytes.fromhex("30073005020102a100")), "of no use"),
    ],
)
def test_a_wrong_answer_leaves_nothing(answers, reason, told, tmp_path, tsa):
    machine_journal(tmp_path, week(0, opens=5))
    tsa.answers = answers
    status, said = told("stamp", "--tsa", tsa.url)
    assert status == 2 and reason in said and len(said.splitlines()) == 1, said
    assert sorted(path.name for path in tmp_path.iterdir()) == [LEDGER]


@pytest.mark.parametrize("address", ["", "freetsa.org", "file:///etc/passwd", "ftp://x/y"])
def test_an_address_that_is_none_is_refused(address, told, tmp_path):
    machine_journal(tmp_path, week(0, opens=5))
    status, said = told("stamp", "--tsa", address)
    assert status == 2 and "TSA is" in said and "TSA=https://" in said, said


def test_what_cannot_answer_is_one_line(told, tmp_path, monkeypatch):
    machine_journal(tmp_path, week(0, opens=5))
    status, said = told("stamp", "--tsa", "http://127.0.0.1:9/")
    assert status == 2 and "no answer from http://127.0.0.1:9/" in said, said
    status, said = told("stamp", "--tsa", "http://me:" + "word@127.0.0.1:9/")
    assert status == 2 and "word@" not in said and "a password" in said, said
    monkeypatch.setenv("PATH", "")
    status, said = told("stamp", "--tsa", "http://127.0.0.1:9/")
    assert status == 2 and "openssl, which is not installed" in said, said


def test_a_clock_that_is_ahead_gets_no_stamp(told, tmp_path, tsa):
    machine_journal(tmp_path, week(0, opens=9, written=3), written=2)
    status, said = told("stamp", "--tsa", tsa.url)
    assert status == 2 and "set its clock right" in said, said
    assert not (tmp_path / "stamps").exists()
