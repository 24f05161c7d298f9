"""Commands under an ASCII locale: what cannot be printed is escaped, files stay UTF-8."""

import os
import subprocess
import sys

import pytest

from tests.support.report_runs import generation_rows, make_run
from tests.support.tiny import ROOT
from weekahead.cli import run_command
from weekahead.files import read_jsonl, read_text, write_json, write_jsonl

ASCII = [
    {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    {"PYTHONIOENCODING": "ascii:strict"},
]


@pytest.mark.parametrize("variables", ASCII, ids=["locale", "output"])
def test_a_run_of_any_name_is_scored_and_reported(tmp_path, variables):
    rows = generation_rows(lambda week: 3)
    rows[0]["generation"] += " \u4e2d\u00e9 and half a pair \ud83d"
    folder = make_run(tmp_path / "gr\u00f6\u00dfe", rows)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    for words in (
        ["eval.score", folder / "generations.jsonl", "--out", folder],
        ["eval.report", folder, "--out", tmp_path / "report"],
    ):
        command = [sys.executable, "-m", *map(str, words)]
        result = subprocess.run(
            command, cwd=ROOT, env=environment, capture_output=True, text=True, errors="replace"
        )
        assert result.returncode == 0, result.stderr
    assert "right" in read_text(tmp_path / "report/report.md")


def test_half_a_surrogate_pair_survives_a_file(tmp_path):
    rows = [{"text": "a\ud83d", "other": "\U0001f600"}]
    write_jsonl(tmp_path / "x.jsonl", rows)
    assert read_jsonl(tmp_path / "x.jsonl") == rows


def test_a_name_that_cannot_be_written_is_told_with_the_remedy(tmp_path, capsys):
    """A training under LANG=C states its command, which holds such a name, in its manifest."""
    name = "gr\u00f6\u00dfe".encode().decode("ascii", "surrogateescape")

    def work():
        write_json(tmp_path / "manifest.json", {"command": [name]})
        (tmp_path / "bytes").write_text(f"outputs/{name}", encoding="utf-8")
        return 0

    assert run_command("x", work) == 2
    line = capsys.readouterr().err
    assert "holds bytes that are no text in this locale; set LC_ALL=C.UTF-8" in line
    assert line.count("\n") == 1
