"""make journal-commit: the verified ledger and its page, and nothing else, with the head."""

import subprocess
import sys
from datetime import date

import pytest

from forecast.journal.__main__ import main
from forecast.journal.ledger import LEDGER, append_lines, read_ledger
from tests.support import journals
from tests.support.tiny import ROOT


def git(folder, *words):
    result = subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True)
    return result.stdout.strip()


def commit(folder, *more):
    words = ["make", "-f", str(ROOT / "Makefile"), "-o", "setup", f"PY={sys.executable}"]
    return subprocess.run(
        [*words, "journal-commit", "JOURNAL=my journal", *more],
        cwd=folder,
        env={"PATH": "/usr/local/bin:/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
    )


@pytest.fixture
def repository(tmp_path):
    """A repository with a journal that is not committed, and another file that is staged."""
    git(tmp_path, "init", "-q")
    git(tmp_path, "config", "user.name", "x")
    git(tmp_path, "config", "user.email", "x@example.org")
    journals.write(tmp_path / "my journal")
    assert main(["page", "--journal", str(tmp_path / "my journal")]) == 0
    (tmp_path / "my journal/inputs").mkdir()
    (tmp_path / "my journal/inputs/2031-01-05.jsonl").write_text("{}\n")
    (tmp_path / "other").write_text("staged")
    git(tmp_path, "add", "other")
    return tmp_path


def test_the_commit_has_the_ledger_its_page_and_the_head(repository):
    result = commit(repository)
    assert result.returncode == 0, result.stderr
    head = result.stdout.split("head ")[1].split()[0]
    assert git(repository, "log", "--format=%s") == f"Journal: head {head}"
    files = git(repository, "-c", "core.quotepath=off", "show", "--format=", "--name-only", "HEAD")
    assert files.splitlines() == [
        f"my journal/{name}" for name in (LEDGER, "page/index.html", f"page/{LEDGER}")
    ]
    assert commit(repository).returncode == 0, "nothing new is no failure"
    assert git(repository, "rev-list", "--count", "HEAD") == "1"


def test_a_broken_ledger_is_not_committed(repository):
    path = repository / "my journal" / LEDGER
    path.write_bytes(path.read_bytes().replace(b"AAA", b"AAB", 1))
    result = commit(repository)
    assert result.returncode == 2 and "line" in result.stderr
    assert subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=repository, capture_output=True
    ).returncode


def test_the_page_of_the_commit_is_that_of_its_ledger(repository):
    folder = repository / "my journal"
    ledger = read_ledger(folder)
    week = max(ledger.weeks)
    number = (date.fromisoformat(week) - journals.SUNDAY).days // 7
    append_lines(folder, ledger, [journals.week_end(number + 1, 0)])
    (folder / ".lock").write_text("a machine")
    (folder / "page/.index.html.x.tmp").write_text("half")
    assert commit(repository).returncode == 0
    head = read_ledger(folder).head
    assert head in git(repository, "show", "HEAD:my journal/page/index.html")
    assert "/." not in git(repository, "show", "--format=", "--name-only", "HEAD")


@pytest.mark.parametrize("head", ["", "0" * 64])
def test_a_ledger_that_was_cut_is_not_committed(repository, head):
    """Not below the head of the last commit, nor below one that was published."""
    assert commit(repository).returncode == 0
    path = repository / "my journal" / LEDGER
    if not head:
        path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-3]))
    result = commit(repository, *([f"HEAD={head}"] if head else []))
    assert result.returncode == 2 and "lines were cut off or written anew" in result.stderr
    assert git(repository, "rev-list", "--count", "HEAD") == "1"
