"""The real generation command on a model of two layers: its rows, its resume, its refusals."""

import json
import shutil

import pytest

from eval.generate import main
from weekahead.files import read_jsonl


@pytest.fixture
def ask(tiny, monkeypatch):
    """Call the command on the tiny base; flags may name another one."""
    monkeypatch.chdir(tiny)

    def call(out, *flags, adapter="none"):
        names = f"--config recipe.yaml --adapter {adapter} --dataset data/datasets/m".split()
        sizes = ["--limit", "6", "--max_new_tokens", "6", "--batch_size", "4"]
        return main([*names, "--out", str(out), *sizes, *flags])

    return call


def answers(folder):
    return [
        {k: v for k, v in row.items() if k != "seconds"}
        for row in read_jsonl(folder / "generations.jsonl")
    ]


def test_one_row_for_each_id_in_the_order_of_the_split(ask, tiny, tmp_path):
    assert ask(tmp_path / "a") == 0
    rows, wanted = answers(tmp_path / "a"), read_jsonl(tiny / "data/datasets/m/test.jsonl")[:6]
    assert [row["id"] for row in rows] == [row["id"] for row in wanted]
    for row in rows:
        assert row["synthetic"] is True and row["split"] == "test"
        assert row["finish_reason"] in ("stop", "length") and row["new_tokens"] <= 6
        assert row["train_majority"] in (1, -1) and row["last_week_return"] is not None
        assert row["weekly_return"] is not None and row["teacher_told"] is True
    manifest = json.loads((tmp_path / "a/manifest.json").read_text())
    assert manifest["complete"] and manifest["n"] == 6 and manifest["form"] == "NF4 dequantized"
    train = read_jsonl(tiny / "data/datasets/m/train.jsonl")
    assert sum(manifest["train_labels"].values()) == len(train)


def test_an_interrupted_run_ends_like_a_whole_one(ask, tmp_path):
    assert ask(tmp_path / "whole") == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    log = tmp_path / "cut/generations.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]) + b'{"id": "cut off in the mid')
    assert ask(tmp_path / "cut") == 0
    assert answers(tmp_path / "cut") == answers(tmp_path / "whole")


def test_an_answer_belongs_to_its_id_and_not_to_its_line(ask, tmp_path):
    assert ask(tmp_path / "whole") == 0
    shutil.copytree(tmp_path / "whole", tmp_path / "cut")
    log = tmp_path / "cut/generations.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(lines[4] + lines[1] + lines[3])
    assert ask(tmp_path / "cut") == 0
    assert answers(tmp_path / "cut") == answers(tmp_path / "whole")


def test_a_finished_run_is_never_mixed_with_another(ask, tmp_path, capsys):
    assert ask(tmp_path / "a") == 0
    before = (tmp_path / "a/generations.jsonl").read_bytes()
    assert ask(tmp_path / "a") == 0
    assert ask(tmp_path / "a", "--max_new_tokens", "5") == 2
    assert "other settings" in capsys.readouterr().err
    assert (tmp_path / "a/generations.jsonl").read_bytes() == before


@pytest.mark.parametrize(
    ("flags", "adapter", "message"),
    [
        (("--limit", "0"), "none", "--limit is 0"),
        (("--split", "exam"), "none", "exam"),
        (
            (),
            "data",
            "not a complete adapter: adapter_config.json, adapter_model.safetensors missing",
        ),
    ],
)
def test_bad_input_is_one_clear_line(ask, tmp_path, capsys, flags, adapter, message):
    assert ask(tmp_path / "x", *flags, adapter=adapter) == 2
    assert message in capsys.readouterr().err and not (tmp_path / "x").exists()


def test_an_adapter_of_another_base_is_refused(ask, small, tmp_path, capsys):
    shutil.copytree(small.adapter, tmp_path / "a")
    (tmp_path / "a/manifest.json").write_text(
        '{"base": {"name": "other/base"}, "train_majority": 1, "result": {"steps": 1}}'
    )
    assert ask(tmp_path / "x", adapter=str(tmp_path / "a")) == 2
    assert "wrong adapter for the base" in capsys.readouterr().err
