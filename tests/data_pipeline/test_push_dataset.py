"""A dataset pushed to the loopback Hub by the public command, and loaded back by its id."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import records as made_records
from tests.support.servers.hub import Fault, Hub
from weekahead.files import sha256

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
        ("hf_reader", "user/made", "may only read"),
        ("hf_other", "user/made", "not yours to write.*--push other/made"),
        ("hf_owner", "no/such/name", "'no/such/name' is not a repository id"),
    ],
)
def test_a_push_that_is_refused_is_one_line(hub, tmp_path, token, repo, message):
    """The dataset stays."""
    pushed = build_and_push(hub, tmp_path, token, repo)
    assert pushed.returncode == 2, pushed.stderr
    assert re.search(message, pushed.stderr) and pushed.stderr.strip().count("\n") == 0
    # The name is looked at before anything is built.
    assert (tmp_path / "d" / "made" / "manifest.json").is_file() == (repo == "user/made")


def push(hub, tmp_path, *flags):
    folder = tmp_path / "d/made"
    return run(hub, tmp_path, "hf_owner", "-m", "data_pipeline.push", folder, *flags)


def test_a_folder_is_audited_and_pushed_with_its_findings(hub, tmp_path):
    """Publicly only if that is said; a busy Hub is asked again; nothing changed is no commit."""
    assert build(hub, tmp_path, None).returncode == 0
    hub.faults.append(Fault("POST", "/commit/main", 429, {"Retry-After": "1"}))
    told = ("--repo", "user/made")
    first = push(hub, tmp_path, *told)
    assert first.returncode == 0 and "no leak found" in first.stdout, first.stderr
    repo = hub.repo("user/made", "dataset")
    files = repo.at("main").files
    assert repo.private and {"audit.json", "README.md", "manifest.json"} <= set(files)
    assert json.loads(files["audit.json"].data)["split_overlap"]["leak"] is False
    assert str(tmp_path).encode() not in b"".join(blob.data for blob in files.values())
    assert push(hub, tmp_path, *told).returncode == 0 and len(repo.commits) == 2
    refused = push(hub, tmp_path, *told, "--public")
    assert refused.returncode == 2 and "exists and is private" in refused.stderr
    assert push(hub, tmp_path, "--repo", "user/open", "--public").returncode == 0
    assert not hub.repo("user/open", "dataset").private


def test_a_leak_and_changed_rows_are_not_published(hub, tmp_path):
    assert build(hub, tmp_path, None).returncode == 0
    path = tmp_path / "d/made/train.jsonl"
    rows = path.read_text().splitlines(keepends=True)
    path.write_text("".join([*rows, rows[0]]))
    changed = push(hub, tmp_path, "--repo", "user/made")
    assert changed.returncode == 2 and "not the file that manifest.json states" in changed.stderr

    manifest = json.loads((tmp_path / "d/made/manifest.json").read_text())
    late = [json.loads(row) | {"known_at": "2030-01-01T00:00:00+00:00"} for row in rows]
    path.write_text("".join(json.dumps(row) + "\n" for row in late))
    manifest["splits"]["train"]["sha256"] = sha256(path)
    (tmp_path / "d/made/manifest.json").write_text(json.dumps(manifest))
    leaking = push(hub, tmp_path, "--repo", "user/made")
    assert leaking.returncode == 1 and "so it is not published" in leaking.stderr, leaking.stderr
    assert hub.store.repos == {}
