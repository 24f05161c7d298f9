"""A dataset pushed to the loopback Hub by the public command, and loaded back by its id."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import records as made_records
from tests.support.servers.hub import Hub

pytestmark = pytest.mark.slow  # each push is a process of its own

ROOT = Path(__file__).parents[2]
LOAD = """
import sys
from data_pipeline.dataset.load import load_dataset
data = load_dataset(sys.argv[1]).train
print(len(data.train), data.revision)
"""


def run(hub, tmp_path, token, *command):
    command = [sys.executable, *map(str, command)]
    env = hub.environment(tmp_path, token) | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(
        command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=120
    )


@pytest.fixture
def hub():
    with Hub() as running:
        yield running


def build(hub, tmp_path, token, *flags, records=None):
    """Build the made-up records into `d/made`."""
    path, log = made_records.write(tmp_path, records or made_records.records())
    places = ("--answers", log, "--name", "made", "--datasets", tmp_path / "d")
    return run(hub, tmp_path, token, "-m", "data_pipeline.build", path, *places, *flags)


def build_and_push(hub, tmp_path, token="hf_owner", repo="user/made", records=None):
    return build(hub, tmp_path, token, "--push", repo, records=records)


def test_a_dataset_is_pushed_privately_and_trained_on_by_its_id(hub, tmp_path):
    pushed = build_and_push(hub, tmp_path)
    assert pushed.returncode == 0, pushed.stderr
    repo = hub.repo("user/made", "dataset")
    assert repo.private
    files = repo.at("main").files
    splits = {f"data/{name}-00000-of-00001.parquet" for name in ("train", "validation", "test")}
    assert set(files) - {".gitattributes"} == splits | {
        "dropped.jsonl",
        "README.md",
        "manifest.json",
    }
    assert str(tmp_path).encode() not in b"".join(blob.data for blob in files.values())
    loaded = run(hub, tmp_path, "hf_owner", "-c", LOAD, "user/made")
    assert loaded.returncode == 0, loaded.stderr
    rows, revision = loaded.stdout.split()[-2:]
    train = json.loads((tmp_path / "d" / "made" / "manifest.json").read_text())["splits"]["train"]
    assert (int(rows), revision) == (train["rows"], repo.at("main").oid)


def test_jsonl_that_was_uploaded_by_hand_reads_the_same(hub, tmp_path):
    """`datasets` takes the dates in its texts for moments."""
    assert build(hub, tmp_path, None).returncode == 0
    hub.add_folder("user/by-hand", tmp_path / "d" / "made", "dataset")
    loaded = run(hub, tmp_path, "hf_owner", "-c", LOAD, "user/by-hand")
    assert loaded.returncode == 0, loaded.stderr
    train = json.loads((tmp_path / "d" / "made" / "manifest.json").read_text())["splits"]["train"]
    assert int(loaded.stdout.split()[-2]) == train["rows"]


def test_a_second_push_removes_a_split_that_is_gone(hub, tmp_path):
    assert build_and_push(hub, tmp_path).returncode == 0
    one_week = [made_records.record(symbol, 0) for symbol in ("AA", "BBB")]
    assert build_and_push(hub, tmp_path, records=one_week).returncode == 0
    files = hub.repo("user/made", "dataset").at("main").files
    assert [name for name in files if name.endswith(".parquet")] == [
        "data/train-00000-of-00001.parquet"
    ]


@pytest.mark.parametrize(
    ("token", "repo", "message"),
    [
        (None, "user/made", "no Hugging Face token found"),
        ("hf_reader", "user/made", "the Hub refused user/made"),
        ("hf_owner", "no/such/name", "'no/such/name' is not a repository id"),
    ],
)
def test_a_push_that_is_refused_is_one_line(hub, tmp_path, token, repo, message):
    """The dataset stays."""
    pushed = build_and_push(hub, tmp_path, token, repo)
    assert pushed.returncode == 2, pushed.stderr
    assert message in pushed.stderr and pushed.stderr.strip().count("\n") == 0
    assert (tmp_path / "d" / "made" / "manifest.json").is_file()
