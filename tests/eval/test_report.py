"""The report as files: complete in itself, safe to open, never half-written."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from eval.report.__main__ import main
from eval.report.comparisons import compare_runs
from eval.report.forest import signed
from eval.report.page import build_report
from eval.report.runs import load_runs
from eval.report.write import write_report
from eval.score import score_files
from tests.support.report_runs import Page, generation_rows, make_pair, make_run, read_page
from weekahead.files import write_json, write_jsonl
from weekahead.markdown import escape, fence


@pytest.fixture
def pair(tmp_path):
    """Two runs to change."""
    return make_pair(tmp_path)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """Two runs and the report over them, only to be read: (folders, folder of the report)."""
    folder = tmp_path_factory.mktemp("written")
    folders = make_pair(folder)
    return folders, write_report(folders, folder / "report", "Two runs").parent


def test_the_command_prints_the_page_last(tmp_path):
    run, out = make_run(tmp_path / "one", generation_rows(lambda week: 3)), tmp_path / "report"
    command = [sys.executable, "-m", "eval.report", str(run), "--out", str(out)]
    command += ["--title", "One run"]
    root = Path(__file__).parents[2]
    process = subprocess.run(command, capture_output=True, text=True, cwd=root)
    assert process.returncode == 0, process.stderr
    assert process.stdout.splitlines()[-1] == str(out / "report.html")
    assert "One run" in read_page(out / "report.html").text
    assert (out / "report.md").read_text(encoding="utf-8").startswith("# One run\n")


def test_a_report_is_a_page_markdown_tables_and_figures(written):
    _, out = written
    files = {"report.html", "report.md", "manifest.json", "tables", "figures", "answers"}
    assert {path.name for path in out.iterdir()} == files
    figures = {"skill.png", "accuracy.png", "training.png", "1-tuned"}
    assert {path.name for path in (out / "figures").iterdir()} == figures
    markdown = (out / "report.md").read_text(encoding="utf-8")
    for target in re.findall(r"!\[.*?\]\((.*?)\)", markdown):
        assert (out / target).read_bytes().startswith(b"\x89PNG"), target


def test_the_leaderboard_csv_holds_the_numbers_of_metrics_json(written):
    pair, out = written
    with (out / "tables" / "leaderboard.csv").open(encoding="utf-8", newline="") as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    metrics = json.loads((pair[1] / "metrics.json").read_text())
    assert float(rows["demo-tuned"]["Direction accuracy"]) == metrics["bin_acc"]
    assert float(rows["demo-tuned"]["Direction accuracy low"]) == metrics["bin_acc_ci95"][0]
    assert rows["demo-tuned"]["Direction accuracy n"] == str(metrics["n"])
    assert float(rows["always-down"]["Squared error"]) == metrics["baselines"]["always_down"]["mse"]


def test_the_page_and_the_markdown_have_the_same_sections(pair, tmp_path):
    page = write_report(pair, tmp_path / "report", "T")
    report = build_report(load_runs(pair), "T", tmp_path / "figures")
    html, markdown = page.read_text("utf-8"), (tmp_path / "report/report.md").read_text("utf-8")
    for section in report.sections:
        assert f"<summary>{section.title}</summary>" in html.replace("&#39;", "'")
        assert f"### {section.title}\n" in markdown
    in_page = re.findall(r'<table id="(\w+)"', html)
    assert in_page == [table.key for table in report.tables() if table.rows]
    assert in_page[:2] == ["leaderboard", "comparisons"]
    assert (page.parent / "tables" / "tuning_changes.csv").is_file()
    at_first = Page(html.partition("<details")[0]).text
    assert len(at_first.split()) < 500, "what is open at first is short"


def test_the_page_needs_nothing_outside_itself_and_runs_nothing(written):
    page = read_page(written[1] / "report.html")
    names = {tag for tag, _ in page.tags}
    assert not names & {"script", "iframe", "object", "embed", "audio", "video", "form"}
    assert ("meta", "Content-Security-Policy") in {
        (tag, attrs.get("http-equiv")) for tag, attrs in page.tags
    }
    for tag, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")], (tag, attrs)
        for name in ("src", "href", "srcset"):
            target = attrs.get(name, "data:")
            is_answers = tag == "a" and (written[1] / target).is_file()
            assert target.startswith("data:") or is_answers, (tag, attrs)
    css = (Path(__file__).parents[2] / "eval" / "report" / "page.css").read_text(encoding="utf-8")
    assert "url(" not in css and "@import" not in css


def test_model_text_is_printed_and_never_interpreted(written):
    out = written[1]
    page = read_page(out / "report.html")
    assert "<script>alert(1)</script>" in page.text  # as text, in an example
    assert "{{ 7*7 }}" in page.text
    assert "\u202e" not in page.text and "\x07" not in page.text
    markdown = (out / "report.md").read_text(encoding="utf-8")
    assert "````text\n<script>" in markdown  # the fence is longer than the backticks inside


def test_page_states_hindsight_and_advice(written):
    text = read_page(written[1] / "report.html").text
    assert "written in hindsight" in text
    assert text.count("Not financial advice") == 1
    assert "Fictional market" not in text


def test_every_answer_stands_once_under_its_outcome(written):
    """Also hostile text and names: nothing but text, no link leaves the folder."""
    pair, out = written
    for number, folder in enumerate(pair, start=1):
        book = out / "answers" / f"{number}-{folder.name}"
        scored = [json.loads(line) for line in (folder / "scored.jsonl").open(encoding="utf-8")]
        index = read_page(book / "index.html")
        links = [attrs["href"] for tag, attrs in index.tags if tag == "a" and "#" in attrs["href"]]
        assert len(links) == len(set(links)) == len(scored)
        for link, row in zip(links, scored, strict=True):
            file, anchor = link.split("#")
            page = read_page(book / file)
            assert ("article", {"id": anchor}) in page.tags
            right = row["direction"] == row["truth_direction"]
            outcome = ("right" if right else "wrong") if row["valid_lenient"] else "unreadable"
            assert file.startswith(f"{outcome}-"), (file, row["id"])
            assert {tag for tag, _ in page.tags}.isdisjoint({"script", "img", "iframe"})
            targets = [attrs.get("href", "data:").split("#")[0] for tag, attrs in page.tags]
            assert all(t.startswith("data:") or (book / t).is_file() for t in targets)


def test_a_run_name_cannot_lead_out_of_the_report_folder(pair, tmp_path):
    manifest = json.loads((pair[1] / "manifest.json").read_text())
    manifest["train"]["run"] = "../../../escape"
    manifest["adapter"] = str(tmp_path / "outputs" / "tuned")
    write_json(pair[1] / "manifest.json", manifest)
    out = tmp_path / "deep" / "report"
    write_report(pair, out, "T")
    assert not list(tmp_path.glob("**/escape*")) and (out / "figures" / "1-_escape").is_dir()


def without_metrics(folder):
    (folder / "metrics.json").unlink()


def broken_metrics(folder):
    (folder / "metrics.json").write_text('{"n": 4')


def foreign_metrics(folder):
    write_json(folder / "metrics.json", {"accuracy": 1})


def longer_answers(folder):
    with (folder / "generations.jsonl").open("a") as file:
        file.write(json.dumps({"generation": "late", "answer": ""}) + "\n")


def shorter_scores(folder):
    lines = (folder / "scored.jsonl").read_text().splitlines()
    (folder / "scored.jsonl").write_text("\n".join(lines[:-1]) + "\n")


def broken_scores(folder):
    (folder / "scored.jsonl").write_text('{"direction": 1}\n{"dir')


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (without_metrics, "metrics.json is not there; run: python -m eval.score"),
        (broken_metrics, "metrics.json cannot be read"),
        (
            foreign_metrics,
            "has no n, valid_strict, valid_lenient, bin_acc, baselines, versus; it is not one of",
        ),
        (
            longer_answers,
            "generations.jsonl is not the file that metrics.json was made from; run: python -m",
        ),
        (
            shorter_scores,
            "its files differ in their number of rows (metrics.json 40, scored.jsonl 39",
        ),
        (broken_scores, "scored.jsonl, line 2: not JSON"),
    ],
)
def test_a_damaged_folder_is_named_with_its_remedy(tmp_path, damage, message, capsys):
    run = make_run(tmp_path / "demo-base", generation_rows(lambda week: 3))
    damage(run)
    assert main([str(run), "--out", str(tmp_path / "report")]) == 2
    error = capsys.readouterr().err
    assert message in error and "demo-base" in error
    assert not (tmp_path / "report").exists()


def test_an_error_leaves_the_older_report_as_it_was(tmp_path, monkeypatch):
    run, out = make_run(tmp_path / "run", generation_rows(lambda week: 3)), tmp_path / "report"
    write_report([run], out, "older")
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr("eval.report.write.render_html", full_disk)
    with pytest.raises(OSError, match="no space left"):
        write_report([run], out, "newer")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before


def test_two_runs_of_one_name_are_refused(pair, tmp_path):
    twin = make_run(tmp_path / "elsewhere" / "demo-base", generation_rows(lambda week: 1))
    with pytest.raises(ValueError, match=r"two runs are named 'demo-base'.*rename one"):
        load_runs([*pair, twin])


def test_a_report_replaces_only_its_own_files(pair, tmp_path):
    out = tmp_path / "report"
    write_report(pair, out, "T")
    (out / "figures" / "mine.png").write_bytes(b"mine")
    write_report(pair[:1], out, "T")
    assert not (out / "figures" / "training.png").exists()
    assert (out / "figures" / "mine.png").read_bytes() == b"mine"
    for folder in (pair[0], tmp_path / "outputs" / "tuned"):
        with pytest.raises(ValueError, match="such as results/compare"):
            write_report(pair, folder, "T")


def test_every_printed_skill_is_the_one_of_metrics_json(written):
    pair, out = written
    text = read_page(out / "report.html").text
    for folder in pair:
        metrics = json.loads((folder / "metrics.json").read_text())
        skill, low, high = (
            signed(value)
            for value in (metrics["skill"]["excess_accuracy"], *metrics["skill"]["ci95"])
        )
        assert f"{folder.name} {metrics['valid_lenient']} of 40 answers could be read {skill} " in (
            text
        )
        assert f"{skill} {low} to {high}" in text
        assert f"{metrics['bin_acc']:.3f} right" in text


def test_markdown_escapes_marks_and_fences_backticks():
    assert escape("a_b *c* |d|\n<e> _f_") == r"a_b \*c\* \|d\| \<e\> \_f\_"
    assert fence("x ```` y").startswith("`````text\n")


def test_real_answers_of_four_models(shared_data, tmp_path):
    with (shared_data / "dow30" / "test.jsonl").open(encoding="utf-8") as file:
        references = {
            (row["symbol"], row["period"]): row["answer"] for row in map(json.loads, file)
        }
    folders = []
    for source in sorted((shared_data / "generations").glob("*.jsonl")):
        rows = [json.loads(line) for line in source.read_text(encoding="utf-8").splitlines()]
        joined = [{**row, "answer": references[row["symbol"], row["period"]]} for row in rows]
        folder = tmp_path / source.stem
        write_jsonl(folder / "generations.jsonl", joined)
        score_files([folder / "generations.jsonl"], folder)
        folders.append(folder)
    page = read_page(write_report(folders, tmp_path / "report", "T"))
    comparisons = compare_runs(load_runs(folders)).comparisons
    between = [comparison for comparison in comparisons if comparison.between_runs]
    assert len(between) == 6  # rows without an id are identified by symbol and period
    assert "answered nothing that can be read" in page.text  # the base of Llama
    assert "No run has shown skill." in page.text
