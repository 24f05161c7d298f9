"""Every command says in one line, before its work, that it cannot write where it was told to.

A file in the place of a folder cannot be written into by anybody, root included.
"""

import re
from importlib import import_module
from pathlib import Path

import pytest

from tests.support import records
from tests.support.report_runs import make_pair
from tests.support.tiny import ROOT
from weekahead.files import write_jsonl
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
    "eval.likelihood": f"{MODEL} --out {{bad}}",
    "eval.memorization": f"{MODEL} --out {{bad}}",
    "eval.publish": "{bad}",
    "eval.report": "{work}/results/demo-base --out {bad}",
    "eval.score": "{work}/results/demo-base/generations.jsonl --out {bad}",
    "eval.tfidf": "--dataset {tiny}/data/datasets/m --out {bad}",
    "sft.train": "--config {tiny}/recipe.yaml --dataset {tiny}/data/datasets/m --output_dir {bad}",
    "benchmarks.generate": "--config {tiny}/fp32.yaml --shapes llama8b --results {bad}/g.jsonl",
    "benchmarks.teacher": "--results {bad}/t.jsonl",
    "benchmarks.train": "--config {tiny}/recipe.yaml --results {bad}/t.jsonl",
    "weekahead.models.embedded": "--out {bad}/m",
}
"""The flags of each command; {bad} is a file."""
WRITES_NOTHING = {
    "benchmarks.build": "works in a temporary folder and prints",
    "benchmarks.statistics": "prints",
    "data_pipeline.forecasts": "writes into the dataset it reads, without work before",
    "eval.parity": "prints",
    "sft.doctor": "prints",
    "sft.publish": "writes to the Hub alone",
    "weekahead.preflight": "prints",
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
    assert set(modules_that_run()) == {*COMMANDS, *WRITES_NOTHING}


@pytest.mark.parametrize("name", COMMANDS)
def test_a_folder_that_cannot_be_written_is_one_line(
    name, tiny, small, work, tmp_path, capsys, monkeypatch
):
    bad = tmp_path / "bad"
    bad.write_text("mine")
    monkeypatch.chdir(tmp_path)
    for key in ("OPENAI_API_KEY", "FINNHUB_API_KEY"):
        monkeypatch.setenv(key, "none")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(loading, "load_base", lambda *_: pytest.fail("the model was loaded first"))
    words = COMMANDS[name].format(tiny=tiny, work=work, bad=bad).split()
    status = main_of(name)(words)
    said = capsys.readouterr().err.strip().splitlines()
    assert status == 2, said
    assert re.search(rf"{re.escape(str(bad))}\S* could not be written \(.*\): .*choose", said[-1])
    assert not [line for line in said if "Traceback" in line]
    assert bad.read_text() == "mine" and [path.name for path in tmp_path.iterdir()] == ["bad"]


def main_of(name):
    """The function `main` of a command."""
    folder = Path(ROOT, *name.split("."))
    return import_module(f"{name}.__main__" if folder.is_dir() else name).main
