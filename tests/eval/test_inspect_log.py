"""The log for `inspect view`: what it says of each answer and of the run."""

import json
import shutil
import subprocess
import zipfile

import pytest

from eval.inspect_log import main
from tests.support.report_runs import generation_rows, make_run
from weekahead.files import write_jsonl


def read(path):
    with zipfile.ZipFile(path) as archive:
        return {name: json.loads(archive.read(name)) for name in archive.namelist()}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of 40 answers, two of them unreadable, as the commands leave it."""
    rows = generation_rows(lambda week: 3, synthetic=True)
    rows[0]["prompt"], rows[1]["finish_reason"] = "Up or down?", "length"
    rows[2]["prompt_tokens"] = 100
    return make_run(tmp_path_factory.mktemp("results") / "mine", rows, adapter="outputs/mine")


@pytest.fixture(scope="module")
def log(run):
    assert main([str(run)]) == 0
    return read(run / "mine.eval")


def test_every_answer_is_a_sample_with_its_scores(log, run):
    rows = [json.loads(line) for line in (run / "generations.jsonl").read_text().splitlines()]
    samples = [log[f"samples/{row['id']}_epoch_1.json"] for row in rows]
    assert [sample["output"]["completion"] for sample in samples] == [
        row["generation"] for row in rows
    ]
    assert samples[0]["messages"][0] == {"role": "user", "content": "Up or down?"}
    assert samples[0]["target"] == rows[0]["label"]
    assert samples[0]["metadata"]["reference"] == rows[0]["answer"]
    reasons = [sample["output"]["choices"][0]["stop_reason"] for sample in samples[:2]]
    assert reasons == ["stop", "max_tokens"]
    assert samples[2]["model_usage"]["outputs/mine"]["total_tokens"] == 140


def test_grades_are_those_of_the_score(log, run):
    """C, I and N: right, wrong, and no answer; their share is the accuracy of metrics.json."""
    metrics = json.loads((run / "metrics.json").read_text())
    samples = [value for name, value in log.items() if name.startswith("samples/")]
    grades = [sample["scores"]["direction"]["value"] for sample in samples]
    assert grades.count("N") == 2 and len(grades) == 40
    assert grades.count("C") / 40 == pytest.approx(metrics["bin_acc"])
    stated = {score["name"]: score["metrics"] for score in log["header.json"]["results"]["scores"]}
    assert stated["direction"]["accuracy"]["value"] == metrics["bin_acc"]
    bins = [sample["scores"]["bin"]["value"] for sample in samples]
    assert bins.count("C") / metrics["bin12_n"] == pytest.approx(metrics["bin12_acc"])
    unread = next(sample for sample in samples if sample["scores"]["direction"]["value"] == "N")
    assert "not readable" in unread["scores"]["direction"]["explanation"]
    assert unread["scores"]["layout"]["value"] is False


def test_the_header_has_the_verdict(log, run):
    metrics = json.loads((run / "metrics.json").read_text())
    header = log["header.json"]
    assert header["eval"]["tags"] == [metrics["verdict"]]
    assert header["eval"]["metadata"]["verdict_reasons"] == metrics["verdict_reasons"]
    assert (header["eval"]["model"], header["status"]) == ("outputs/mine", "success")
    assert header["eval"]["created"]
    assert header["eval"]["dataset"]["samples"] == len(log["summaries.json"]) == 40


def test_rows_without_ids_of_their_own_are_numbered(tmp_path):
    rows = generation_rows(lambda week: 3)
    for row in rows:
        del row["id"]
    assert main([str(make_run(tmp_path / "a", rows)), "--out", str(tmp_path / "b.eval")]) == 0
    assert "samples/40_epoch_1.json" in read(tmp_path / "b.eval")


def test_half_a_surrogate_pair_does_not_break_the_file(tmp_path):
    rows = generation_rows(lambda week: 3)
    rows[0]["generation"] += " \ud83d"
    folder = make_run(tmp_path / "a", rows)
    assert main([str(folder)]) == 0
    texts = [sample["output"]["completion"] for sample in _samples(read(folder / "a.eval"))]
    assert texts[0].endswith(" ?")


def _samples(log):
    return [value for name, value in log.items() if name.startswith("samples/")]


@pytest.mark.parametrize("lost", ["scored.jsonl", "generations.jsonl", "metrics.json"])
def test_a_folder_that_is_not_scored_is_refused(lost, tmp_path, capsys):
    folder = make_run(tmp_path / "a", generation_rows(lambda week: 3))
    (folder / lost).unlink()
    assert main([str(folder)]) == 2
    assert lost in capsys.readouterr().err
    assert not (folder / "a.eval").exists()


def test_answers_added_after_scoring_are_refused(tmp_path, capsys):
    folder = make_run(tmp_path / "a", generation_rows(lambda week: 3))
    write_jsonl(folder / "generations.jsonl", generation_rows(lambda week: 2))
    assert main([str(folder)]) == 2
    assert "score" in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("inspect") is None, reason="no inspect-ai on this machine")
def test_inspect_reads_it(log, run):
    """Its own reader checks every field against its classes."""
    told = subprocess.run(
        ["inspect", "log", "dump", str(run / "mine.eval")], capture_output=True, text=True
    )
    assert told.returncode == 0, told.stderr
    stored = json.loads(told.stdout)
    assert len(stored["samples"]) == 40 and stored["eval"]["task"] == "mine"
    shown = {sample["id"]: sample["scores"]["direction"]["value"] for sample in stored["samples"]}
    written = {value["id"]: value["scores"]["direction"]["value"] for value in _samples(log)}
    assert shown == written
