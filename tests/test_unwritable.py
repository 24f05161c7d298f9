"""Every command says in one line, before its work, that it cannot write where it was told to.

A file in the place of a folder cannot be written into by anybody, root included.
"""

import errno
import json
import os
import re
import resource
import shutil
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from tests.support import records
from tests.support.report_runs import make_pair
from tests.support.tiny import ROOT
from weekahead.cli import run_command
from weekahead.files import with_remedy, write_jsonl
from weekahead.models import loading

MODEL = "--config {tiny}/fp32.yaml --adapter {tiny}/adapter --dataset {tiny}/data/datasets/m"
RECORDS = "{tiny}/data/records/m.jsonl"
FETCH = "--symbols AAA --start 2025-03-02 --end 2025-06-21 --prices {tiny} --data {bad}"
COMMANDS = {
    "data_pipeline": f"{FETCH} --model m",
    "data_pipeline.audit": "{tiny}/data/datasets/m --out {bad}/a",
    "data_pipeline.build": f"{RECORDS} --answers {{work}}/log.jsonl --name m --datasets {{bad}}",
    "data_pipeline.controls": "{tiny}/data/datasets/m --out {bad}/c --control no_news",
    "data_pipeline.fetch": FETCH,
    "data_pipeline.fingpt": f"{ROOT}/tests/fixtures/fingpt_rows.jsonl --out {{bad}}/f",
    "data_pipeline.synthetic": "--out {bad}/s --name m",
    "data_pipeline.teacher": f"{RECORDS} --kind forecast --model m --out {{bad}}",
    "eval.generate": f"{MODEL} --out {{bad}}",
    "eval.inspect_log": "{work}/results/demo-base --out {bad}/x.eval",
    "eval.likelihood": f"{MODEL} --out {{bad}}",
    "eval.memorization": f"{MODEL} --out {{bad}}",
    "eval.publish": "{bad}",
    "eval.report": "{work}/results/demo-base --out {bad}",
    "eval.score": "{work}/results/demo-base/generations.jsonl --out {bad}",
    "eval.tfidf": "--dataset {tiny}/data/datasets/m --out {bad}",
    "sft.export": "{tiny}/adapter --config {tiny}/fp32.yaml --out {bad}/x",
    "sft.train": "--config {tiny}/recipe.yaml --dataset {tiny}/data/datasets/m --output_dir {bad}",
    "benchmarks.generate": "--config {tiny}/fp32.yaml --shapes llama8b --results {bad}/g.jsonl",
    "benchmarks.shapes": "--shape tiny --tokenizer {tiny}/base --out {bad}/b",
    "benchmarks.teacher": "--results {bad}/t.jsonl",
    "benchmarks.train": "--config {tiny}/recipe.yaml --results {bad}/t.jsonl",
    "benchmarks.trl_cli": "--config {tiny}/recipe.yaml --results {bad}/t.jsonl",
    "weekahead.models.embedded": "--out {bad}/m",
}
"""The flags of each command; {bad} is a file."""
WRITES_NOTHING = {
    "benchmarks.build": "works in a temporary folder and prints",
    "benchmarks.correlations": "prints",
    "benchmarks.forecast": "prints",
    "benchmarks.gpu_table": "prints",
    "benchmarks.scoring": "works in a temporary folder and prints",
    "benchmarks.statistics": "prints",
    "data_pipeline.forecasts": "writes into the dataset it reads, without work before",
    "data_pipeline.push": "writes the audit into the dataset it reads, then to the Hub",
    "eval.parity": "prints",
    "eval.steps": "each step is a command of this list",
    "sft.doctor": "prints",
    "sft.plan": "prints",
    "sft.publish": "writes to the Hub alone",
    "weekahead.hardware.cpu": "prints",
    "weekahead.dashboard": "writes to W&B alone",
    "weekahead.live": "writes one picture beside the log that it reads",
    "weekahead.preflight": "prints",
    "weekahead.sync": "writes to W&B alone",
    "weekahead.sweep": "starts make, whose commands are tried",
    "weekahead.launch": "passes on",
}


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("work")
    make_pair(folder)
    write_jsonl(folder / "log.jsonl", [records.answer_row(records.record("AA", 0))])
    return folder


def modules_that_run():
    """The modules of the project that can be run with `python -m`."""
    for room in ("weekahead", "data_pipeline", "sft", "eval", "benchmarks"):
        for path in (ROOT / room).rglob("*.py"):
            if re.search(r'^if __name__ == "__main__":', path.read_text(), re.MULTILINE):
                parts = path.relative_to(ROOT).with_suffix("").parts
                yield ".".join(part for part in parts if part not in ("__main__", "run"))


def test_every_command_has_an_entry():
    """A new command fails here until it is tried on a folder and a disk that take nothing."""
    assert set(modules_that_run()) == {*COMMANDS, *WRITES_NOTHING}
    assert set(NOT_TRIED) < set(COMMANDS)


@pytest.fixture
def run(tiny, small, work, tmp_path, capsys, monkeypatch):
    """Runs a command that is to write into a folder: its status and the lines that it said."""
    monkeypatch.chdir(tmp_path)
    for key in ("OPENAI_API_KEY", "FINNHUB_API_KEY"):
        monkeypatch.setenv(key, "none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(loading, "load_base", lambda *_: pytest.fail("the model was loaded first"))

    def run(name, folder):
        words = COMMANDS[name].format(tiny=tiny, work=work, bad=folder).split()
        status = main_of(name)(words)
        return status, capsys.readouterr().err.strip().splitlines()

    return run


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_cannot_be_written_is_one_line(name, run, tmp_path):
    bad = tmp_path / "bad"
    bad.write_text("mine")
    status, said = run(name, bad)
    assert status == 2, said
    assert re.search(rf"{re.escape(str(bad))}\S* could not be written \(.*\): .*choose", said[-1])
    assert not [line for line in said if "Traceback" in line]
    assert bad.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["bad"]


@pytest.mark.parametrize("name", COMMANDS)
def test_a_full_disk_is_said_before_the_work(name, run, work, tmp_path):
    """A limit of no bytes on the size of files stands for the disk; the folder stays as it was."""
    out = tmp_path / "out"
    if name == "eval.publish":
        shutil.copytree(work / "results/demo-base", out)
    before = sorted(tmp_path.rglob("*"))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        status, said = run(name, out)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert status == 2, said
    assert re.search(rf"{re.escape(str(out))}\S* could not be written \(.*\): raise", said[-1])
    assert not [line for line in said if "Traceback" in line]
    assert sorted(tmp_path.rglob("*")) == before


NOT_TRIED = {
    "data_pipeline": "needs providers; its stages are tried",
    "data_pipeline.fetch": "needs providers",
    "data_pipeline.teacher": "needs a server; tests/data_pipeline/test_teacher.py",
    "data_pipeline.audit": "writes one small file",
    "eval.publish": "W&B's process has a log of its own; tests/weekahead/test_tracking.py",
    "benchmarks.generate": "needs minutes, and writes one line",
    "benchmarks.shapes": "its weights are as large as a base; a benchmark's own folder",
    "benchmarks.teacher": "writes one line",
    "benchmarks.train": "needs minutes, and writes one line",
    "benchmarks.trl_cli": "needs minutes, and writes one line",
}
"""Commands that are not run into a disk that gets full in the middle of their work."""
FULL = """import resource, runpy, sys
_, name, *words = sys.argv
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, resource.RLIM_INFINITY))
sys.argv = [name, *words]
runpy.run_module(name, run_name="__main__", alter_sys=True)"""


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in COMMANDS if name not in NOT_TRIED])
def test_a_disk_that_gets_full_in_the_work_is_one_line(name, tiny, small, work, tmp_path):
    """The limit lets the first try pass; no half of a JSON file stays, and a file or OUT is named.

    Also where the work writes through a library that names no file. With space it then ends well.
    """
    out = tmp_path / "out"
    more = {
        "eval.generate": "--limit 4 --max_new_tokens 300",
        "sft.train": "--max_steps 2 --eval_strategy no --per_device_train_batch_size 1 "
        "--gradient_accumulation_steps 1 --report_to none",
    }
    flags = f"{COMMANDS[name]} {more.get(name, '')}".format(tiny=tiny, work=work, bad=out)
    words = [sys.executable, "-c", FULL, name, *flags.split()]
    env = {**os.environ, "HOME": str(tmp_path / "home"), "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert ended.returncode == 2 and "Traceback" not in ended.stderr, ended.stderr[-3000:]
    last = ended.stderr.strip().splitlines()[-1]
    assert re.search(rf"{re.escape(str(out))}\S* could not be written \(", last), last
    assert not re.search(r"/\.[\w-]+\.?[\w-]{8}/", last), "a temporary folder is no place"
    for path in [*out.rglob("*.json"), *out.rglob("*.jsonl")]:
        for line in (
            path.read_text().splitlines() if path.suffix == ".jsonl" else [path.read_text()]
        ):
            json.loads(line)
    words = [sys.executable, "-m", name, *flags.split()]
    again = subprocess.run(words, cwd=tmp_path, env=env, capture_output=True, text=True)
    assert again.returncode == 0, again.stderr[-3000:]


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        OSError(errno.EROFS, os.strerror(errno.EROFS), "x"),
        Exception("I/O error: No space left on device (os error 28)"),
        RuntimeError("Disk quota exceeded"),
    ],
)
def test_any_error_of_a_full_disk_is_one_line_with_a_remedy(error, capsys):
    """Of whatever library; any other error of a library keeps its traceback."""

    def work():
        raise error

    assert run_command("it", work) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.match(r"it: (a file|x) could not be written \(.*\): (free|check|make it)", line)
    said = str(with_remedy(error))
    error = ValueError(f"fetch: {said}")
    assert run_command("it", work) == 2
    assert capsys.readouterr().err == f"it: fetch: {said}\n", "once is enough"
    error = Exception("no space for improvement")
    with pytest.raises(Exception, match="improvement"):
        run_command("it", work)


def main_of(name):
    """The function `main` of a command."""
    folder = Path(ROOT, *name.split("."))
    return import_module(f"{name}.__main__" if folder.is_dir() else name).main
