"""The cheap model: what it leaves, that it learns a signal, that it never looks at test."""

import json
import math

import pytest

from data_pipeline.controls.__main__ import main as control
from data_pipeline.dataset.load import load_dataset
from data_pipeline.synthetic.market import write_market
from data_pipeline.synthetic.world import Market
from eval.generation.word_model import UNCHOSEN, bin_shares, fit, stated_bins
from eval.score import main as score
from eval.tfidf import main
from tests.data_pipeline.test_fingpt import FIXTURE
from weekahead.files import read_jsonl, write_jsonl
from weekahead.task.answer import parse_answer
from weekahead.task.labels import BINS, direction_of


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return write_market(Market(), tmp_path_factory.mktemp("market"), "m")


@pytest.fixture(scope="module")
def run(market, tmp_path_factory):
    """The folder of a run on the fictional market, scored."""
    out = tmp_path_factory.mktemp("results") / "tfidf"
    assert main(["--dataset", str(market), "--out", str(out)]) == 0
    assert score([str(out / "generations.jsonl"), "--out", str(out)]) == 0
    return out


def metrics(folder):
    return json.loads((folder / "metrics.json").read_text())


def test_it_finds_the_signal_of_the_fictional_market(run):
    found = metrics(run)
    assert found["bin_acc"] > 0.75
    assert found["versus"]["train_majority"]["verdict"] == "better"
    assert found["valid_strict"] == found["n"] == 64


def test_shuffled_labels_leave_it_no_better_than_the_majority(market, tmp_path):
    assert (
        control([str(market), "--control", "shuffled_labels", "--out", str(tmp_path / "data")]) == 0
    )
    assert main(["--dataset", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 0
    assert score([str(tmp_path / "out/generations.jsonl"), "--out", str(tmp_path / "out")]) == 0
    assert metrics(tmp_path / "out")["versus"]["train_majority"]["verdict"] != "better"


def test_its_folder_is_that_of_a_run(run, market):
    rows, test = read_jsonl(run / "generations.jsonl"), read_jsonl(market / "test.jsonl")
    assert [row["id"] for row in rows] == [row["id"] for row in test]
    assert all(
        row["synthetic"]
        and row["last_week_return"] is not None
        and row["train_majority"]
        and row["weekly_return"] is not None
        and row["teacher_told"]
        for row in rows
    )
    manifest = json.loads((run / "manifest.json").read_text())
    assert (manifest["kind"], manifest["adapter"], manifest["n"]) == ("tfidf", None, 64)
    assert manifest["dataset"]["sha256"] == load_dataset(market).split().sha256
    assert manifest["train_labels"] == load_dataset(market).train.train_labels
    assert metrics(run)["inference_seconds"] is None


def test_probabilities_add_up_and_agree_with_the_answer(run):
    for row, answer in zip(
        read_jsonl(run / "likelihoods.jsonl"), read_jsonl(run / "generations.jsonl"), strict=True
    ):
        assert tuple(row["probs"]) == BINS
        assert sum(row["probs"].values()) == pytest.approx(1)
        assert row["up"] == pytest.approx(
            sum(p for label, p in row["probs"].items() if direction_of(label) > 0)
        )
        assert all(
            row["logprobs"][label] == pytest.approx(math.log(p))
            for label, p in row["probs"].items()
        )
        assert (parse_answer(answer["generation"]).direction == 1) == (row["up"] >= 0.5)
    assert metrics(run)["likelihood"]["n"] == 64


def test_it_is_the_same_twice_whatever_the_test_rows(run, market, tmp_path):
    changed = tmp_path / "data"
    for name in ("train", "validation"):
        write_jsonl(changed / f"{name}.jsonl", read_jsonl(market / f"{name}.jsonl"))
    test = read_jsonl(market / "test.jsonl")
    write_jsonl(changed / "test.jsonl", [{**row, "label": "up by 0-1%"} for row in test[:1]])
    assert main(["--dataset", str(changed), "--out", str(tmp_path / "out")]) == 0
    assert main(["--dataset", str(market), "--out", str(tmp_path / "again")]) == 0
    assert (tmp_path / "again/generations.jsonl").read_bytes() == (
        run / "generations.jsonl"
    ).read_bytes()
    one, same = (
        read_jsonl(tmp_path / "out/likelihoods.jsonl")[0],
        read_jsonl(run / "likelihoods.jsonl")[0],
    )
    assert one["probs"] == same["probs"]


def test_the_penalty_is_the_best_on_validation(market):
    fitted = fit(load_dataset(market).train)
    assert fitted.losses[fitted.strength] == min(fitted.losses.values())
    assert fitted.losses[fitted.strength] < math.log(2)  # a coin


def test_one_week_of_rows_leaves_nothing_to_choose_on(market, tmp_path):
    rows = read_jsonl(market / "train.jsonl")[:8]
    write_jsonl(
        tmp_path / "week.jsonl",
        [{**row, "id": str(i), "week_start": "2031-01-05"} for i, row in enumerate(rows)],
    )
    fitted = fit(load_dataset(tmp_path / "week.jsonl").train)
    assert (fitted.strength, fitted.losses) == (UNCHOSEN, {})


def test_bin_shares_add_one_and_stated_bins_are_medians():
    labels = ["up by 0-1%", "up by 1-2%", "up by 3-4%", "down by 2-3%", "down by 4-5%"]
    shares = bin_shares(labels)
    assert (shares["up by 0-1%"], shares["up by 2-3%"], shares["down by 2-3%"]) == (
        2 / 9,
        1 / 9,
        2 / 8,
    )
    assert stated_bins(labels) == {1: "up by 1-2%", -1: "down by 4-5%"}


def test_public_rows_are_read_too(tmp_path):
    write_jsonl(tmp_path / "in/train.jsonl", read_jsonl(FIXTURE)[:14])
    write_jsonl(tmp_path / "in/test.jsonl", read_jsonl(FIXTURE)[14:])
    assert main(["--dataset", str(tmp_path / "in"), "--out", str(tmp_path / "out")]) == 0
    rows = read_jsonl(tmp_path / "out/generations.jsonl")
    assert len(rows) == 2 and all(
        parse_answer(row["generation"], strict=True).valid for row in rows
    )


def test_an_end_between_its_files_does_not_lock_the_folder(market, tmp_path):
    """Such as a full disk: what is there says whose it is, so that the same command goes on."""
    flags = ["--dataset", str(market), "--out", str(tmp_path)]
    (tmp_path / "likelihoods.jsonl").mkdir()
    assert main(flags) == 2
    assert json.loads((tmp_path / "manifest.json").read_text())["complete"] is False
    (tmp_path / "likelihoods.jsonl").rmdir()
    assert main(flags) == 0
    assert json.loads((tmp_path / "manifest.json").read_text())["complete"] is True


def test_bad_input_is_one_line_and_touches_nothing(market, tmp_path, capsys):
    rows = [row for row in read_jsonl(market / "train.jsonl") if direction_of(row["label"]) > 0]
    write_jsonl(tmp_path / "up/train.jsonl", rows)
    write_jsonl(tmp_path / "up/test.jsonl", read_jsonl(market / "test.jsonl"))
    assert main(["--dataset", str(tmp_path / "up"), "--out", str(tmp_path / "out")]) == 2
    assert "training rows are up; expected both directions" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    answers = tmp_path / "llama/generations.jsonl"
    write_jsonl(answers, [{"id": "a"}])
    assert main(["--dataset", str(market), "--out", str(tmp_path / "llama")]) == 2
    assert "holds another run's answers" in capsys.readouterr().err
    assert read_jsonl(answers) == [{"id": "a"}]
