"""A file that is not there, or is none, is named with what to do, in one line, before any work."""

import pytest

from eval import publish, score
from sft import plan
from tests.support.tiny import ROOT
from weekahead.cli import run_command
from weekahead.files import unopened


def error_of(capsys, work) -> str:
    assert work() == 2
    error = capsys.readouterr().err.splitlines()[-1]
    assert "Errno" not in error
    return error


def test_what_is_there_instead_is_named(capsys):
    error = error_of(
        capsys,
        lambda: plan.main(["--config", f"{ROOT}/recipes/lama.yaml", "--dataset", str(ROOT)]),
    )
    assert f"there is no {ROOT}/recipes/lama.yaml; beside it there are: " in error
    assert "llama.yaml" in error and "smollm2.yaml" in error


def test_of_many_files_the_nearest_are_named(tmp_path):
    for number in range(200):
        (tmp_path / f"unlike{number}.jsonl").touch()
    (tmp_path / "generations.jsonl").touch()
    (tmp_path / ".generation.jsonl").touch()
    with pytest.raises(FileNotFoundError) as error:
        (tmp_path / "generation.jsonl").read_text()
    assert unopened(error.value).endswith("; beside it there are: generations.jsonl")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("none.jsonl", "there is no none.jsonl in {folder}; check the path"),
        ("a/b/none.jsonl", "there is no a/b/none.jsonl in {folder}, nor its folder a/b; check"),
        ("empty", "empty: Is a directory; name a file in it"),
        ("file.txt/x.jsonl", "file.txt/x.jsonl: Not a directory; a file is where a folder"),
    ],
)
def test_the_path_and_the_remedy_are_named(tmp_path, monkeypatch, capsys, name, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file.txt").touch()
    monkeypatch.chdir(tmp_path)
    error = error_of(capsys, lambda: score.main([name, "--out", "out"]))
    assert f"eval.score: {message.format(folder=tmp_path)}" in error
    assert not (tmp_path / "out").exists()


def test_an_error_that_names_no_file_says_its_own_text(capsys):
    def work() -> int:
        raise ConnectionRefusedError("no server at 127.0.0.1:9; start it first")

    error = error_of(capsys, lambda: run_command("x", work))
    assert error == "x: no server at 127.0.0.1:9; start it first"


def test_no_run_is_started_for_a_folder_that_is_not_there(tmp_path, capsys):
    folder = tmp_path / "none"
    error = error_of(capsys, lambda: publish.main([str(folder)]))
    assert f"{folder / 'metrics.json'} is missing: run eval.generate and eval.score" in error
    assert not folder.exists()


@pytest.mark.parametrize("content", ["[]", "{}", '{"n": "many"}', "{"])
def test_no_run_is_started_for_scores_that_cannot_be_read(content, tmp_path, capsys):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "metrics.json").write_text(content)
    (folder / "generations.jsonl").write_text("")
    error = error_of(capsys, lambda: publish.main([str(folder)]))
    assert f"{folder / 'metrics.json'}" in error
    assert sorted(path.name for path in folder.iterdir()) == ["generations.jsonl", "metrics.json"]
