"""A W&B server that refuses, hangs or goes away in the middle of a run, and what `make sync` mends.

The real client, in processes of its own; the server is the one of tests/support.
"""

import os
import shutil
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from tests.support.servers.wandb_runs import RunServer, serving
from tests.support.tiny import ROOT
from weekahead.locks import sole_writer
from weekahead.sync import without_replaced
from weekahead.tracking.records import LoggedArtifact, Record
from weekahead.tracking.server_side import OnServer, missing_parts

pytestmark = pytest.mark.slow
LOGGED = [0, 1, 2, 3, 4, 5]
RUN = """
import logging, sys, time
from pathlib import Path
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
from weekahead.tracking.artifacts import ArtifactContent
from weekahead.tracking.run import start_run
folder = Path("outputs/r")
with start_run(folder, name="r", kind="train", config={}) as run:
    for step in range(3):
        run.log({"train/loss": step, "train/global_step": step})
    print("HALF", flush=True)
    sys.stdin.readline()
    for step in range(3, 6):
        run.log({"train/loss": step, "train/global_step": step})
        time.sleep(0.3)
    run.log_table("gen/answers", ["answer"], [["up"]])
    files = {"adapter_model.safetensors": Path("weights.safetensors")}
    run.log_artifact(ArtifactContent("adapter-r", "adapter", files, aliases=("latest",)))
print("FAILED" if run.failed else "RECORDED")
"""


def environment(place, server, **variables):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    own = {"HOME": str(place), "PYTHONPATH": str(ROOT), "WANDB_FINISH_TIMEOUT": "4"}
    return {**kept, **own, **server.environment, **variables}


def tracked(place, server, halfway, **variables):
    """A run that logs six rows, a table and an adapter; `halfway` gets its process."""
    (place / "outputs/r").mkdir(parents=True, exist_ok=True)
    (place / "weights.safetensors").write_bytes(b"weights")
    process = subprocess.Popen(
        [sys.executable, "-c", RUN],
        cwd=place,
        env=environment(place, server, **variables),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    before = []
    while "HALF\n" not in before:
        before.append(process.stdout.readline())
        assert before[-1], "".join(before)
    halfway(process)
    printed = process.communicate("\n", timeout=120)[0]
    assert process.returncode == 0, printed
    return "".join(before) + printed


def sync(place, server, *flags, **variables):
    return subprocess.run(
        [sys.executable, "-m", "weekahead.sync", *flags],
        cwd=place,
        env=environment(place, server, **variables),
        capture_output=True,
        text=True,
        timeout=120,
    )


def check_whole(server):
    """Every row once, the table, and the adapter with its bytes."""
    (run,) = server.runs.values()
    by_step = {row["_step"]: row for row in run["history"]}
    rows = [by_step[step] for step in sorted(by_step)]
    assert [row["train/global_step"] for row in rows if "train/loss" in row] == LOGGED
    assert any(name.startswith("media/table/gen/answers") for name in run["files"])
    (adapter,) = server.committed("adapter")
    assert server.contents(adapter) == {"adapter_model.safetensors": b"weights"}
    assert len(server.committed("run_table")) == 1 and server.errors == []


@contextmanager
def reopened(closed):
    """The server as it comes back: the same address, and what it had."""
    with serving(closed.server_address[1]) as server:
        server.runs, server.artifacts, server.blobs = closed.runs, closed.artifacts, closed.blobs
        yield server


def record_of(place):
    return next(place.glob("outputs/r/wandb/*run-2*"))


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_gets_everything_in_the_end(tmp_path, status):
    with serving() as server:

        def busy(_):
            server.failing = {"file_stream": status}
            threading.Timer(2, server.failing.clear).start()

        printed = tracked(tmp_path, server, busy, WANDB_FINISH_TIMEOUT="60")
        assert "RECORDED" in printed and "WARNING" not in printed
        check_whole(server)


def test_a_server_that_comes_back_gets_everything(tmp_path):
    """Gone for three seconds in the middle of the run."""
    first = RunServer()
    thread = threading.Thread(target=first.serve_forever, args=(0.05,), daemon=True)
    thread.start()

    def goes(_):
        first.shutdown()
        first.server_close()
        timer.start()

    back, done = [], threading.Event()

    def comes():
        with reopened(first) as server:
            back.append(server)
            done.wait(120)

    timer = threading.Timer(3, comes)
    printed = tracked(tmp_path, first, goes, WANDB_FINISH_TIMEOUT="60")
    assert "RECORDED" in printed, printed
    check_whole(back[0])
    done.set()
    timer.join()


@pytest.mark.parametrize("fault", ["gone", "hung"])
def test_a_run_without_its_server_ends_and_is_synced_later(tmp_path, fault):
    """Rows, table and adapter are on disk; before, the client lost the last two."""
    first = RunServer()
    threading.Thread(target=first.serve_forever, args=(0.05,), daemon=True).start()

    def goes(_):
        if fault == "hung":
            first.hanging.clear()
        else:
            first.shutdown()
            first.server_close()

    printed = tracked(tmp_path, first, goes)
    assert "FAILED" in printed and printed.count("WARNING it is not known if W&B has all") == 1
    assert "did not answer as a W&B server within 5 s" in printed and "`make sync`" in printed
    refused = sync(tmp_path, first) if fault == "gone" else None
    assert refused is None or (
        refused.returncode == 2 and "did not answer as a W&B server" in refused.stderr
    )
    if fault == "hung":
        first.hanging.set()
        first.shutdown()
        first.server_close()
    with reopened(first) as server:
        done = sync(tmp_path, server)
        assert done.returncode == 0 and ": complete" in done.stdout, done.stdout + done.stderr
        check_whole(server)


@pytest.mark.parametrize(
    ("refusal", "lost"),
    [
        ("file_stream", "7 of 7 rows of the history"),
        ("/blob/", "artifact adapter-r"),
        ("CommitArtifact", "artifact adapter-r"),
        ("/media/table/", "table media/table/gen/answers"),
    ],
)
def test_a_refusal_is_said_and_mended_by_sync(tmp_path, refusal, lost):
    """The client itself calls such a run synced."""
    with serving() as server:
        printed = tracked(tmp_path, server, lambda _: server.failing.update({refusal: 403}))
        assert "FAILED" in printed and "W&B lacks a part of this run (" in printed, printed
        assert lost in printed
        still = sync(tmp_path, server)
        assert still.returncode == 1 and lost in still.stdout, still.stdout + still.stderr
        assert "1 not complete on http://127.0.0.1" in still.stdout
        server.failing.clear()
        assert sync(tmp_path, server).returncode == 0
        check_whole(server)


def test_a_killed_client_does_not_end_the_run(tmp_path):
    """What it wrote until then is uploaded later; an empty record is named."""

    def kill(process):
        for child in psutil.Process(process.pid).children(recursive=True):
            if "wandb-core" in child.name():
                os.kill(child.pid, signal.SIGKILL)

    with serving() as server:
        printed = tracked(tmp_path, server, kill)
        assert "FAILED" in printed and "WARNING W&B failed" in printed, printed
        done = sync(tmp_path, server)
    held = "(" in done.stdout and ": complete" in done.stdout
    assert held or f"{Path('outputs/r/wandb')}" in done.stdout, done.stdout + done.stderr
    assert done.returncode == (0 if held else 1)


def test_an_artifact_whose_bytes_are_gone_is_named(tmp_path):
    """`wandb sync` alone calls such a run finished."""
    with serving() as server:
        tracked(tmp_path, server, lambda _: None, WANDB_MODE="offline")
        shutil.rmtree(tmp_path / "outputs/r/wandb/data/artifacts")
        done = sync(tmp_path, server)
    assert done.returncode == 1, done.stdout + done.stderr
    assert "missing on the server: artifact run-" in done.stdout
    assert "artifact adapter-r" not in done.stdout, "weights are read where they lie"


def test_a_run_in_two_records_is_one_run(tmp_path):
    """Interrupted offline, gone on with online; the others are left alone if one is named."""
    with serving() as server:
        tracked(tmp_path, server, lambda _: None, WANDB_MODE="offline")
        (tmp_path / "outputs/other").mkdir()
        for name in ("typo", "*", "..", "/abs", "other/../r"):
            refused = sync(tmp_path, server, "--run", name)
            assert refused.returncode == 2 and f"--run {name}: expected the name" in refused.stderr
        assert sync(tmp_path, server, "--run", "other").stdout.startswith("nothing to upload")
        assert server.runs == {}
        assert sync(tmp_path, server, "--run", "r").returncode == 0
        check_whole(server)
        second = record_of(tmp_path)
        assert sync(tmp_path, server).stdout.count(": complete") == 1
        log = next(second.glob("run-*.wandb"))
        log.write_bytes(log.read_bytes()[:-20])  # as a kill leaves it
        assert sync(tmp_path, server).returncode == 0


def test_without_a_key_nothing_is_uploaded(tmp_path):
    with serving() as server:
        told = {**environment(tmp_path, server), "WANDB_API_KEY": ""}
        done = subprocess.run(
            [sys.executable, "-m", "weekahead.sync"],
            cwd=tmp_path, env=told, capture_output=True, text=True, timeout=60,
        )  # fmt: skip
    assert done.returncode == 2
    assert done.stderr.strip().endswith(
        "an upload needs a W&B key, and none is set: set WANDB_API_KEY"
    )


def test_sync_uploads_to_the_entity_it_asks(tmp_path):
    """Also if `wandb offline` was called in this folder."""
    with serving() as server:
        sent, upsert = set(), server._UpsertBucket
        server._UpsertBucket = lambda told: sent.add(told.get("entity")) or upsert(told)
        tracked(tmp_path, server, lambda _: None, WANDB_MODE="offline")
        (tmp_path / "wandb").mkdir()
        (tmp_path / "wandb/settings").write_text("[default]\nmode = offline\n")
        done = sync(tmp_path, server, WANDB_ENTITY="team", WANDB_MODE="")
    assert done.returncode == 0, done.stdout + done.stderr
    assert sent == {"team", "me"}, "the client goes on with the entity that this server names"


def test_a_run_that_is_being_written_is_left_alone(tmp_path):
    with serving() as server:
        tracked(tmp_path, server, lambda _: None, WANDB_MODE="offline")
        with sole_writer(tmp_path / "outputs/r"):
            done = sync(tmp_path, server)
        assert done.returncode == 1 and server.runs == {}
    assert f"since process {os.getpid()} writes there" in done.stdout


def test_an_adapter_that_was_trained_further_is_not_missing():
    """Of one run's records: a second one replaces the adapter, and the first is not sent again."""
    old = Record(Path("a"), "r", "p", None, artifacts=(LoggedArtifact("adapter-r", "1", False),))
    new = replace(old, folder=Path("b"), artifacts=(LoggedArtifact("adapter-r", "2", False),))
    server = OnServer(frozenset(), frozenset(), frozenset({("adapter-r", "2")}), frozenset())
    kept = without_replaced([old, new])
    assert [missing_parts(record, server) for record in kept] == [[], []]
    assert missing_parts(old, server) == ["artifact adapter-r"]


RETRAINED = """
import sys
from pathlib import Path
from weekahead.tracking.artifacts import adapter_content
from weekahead.tracking.run import start_run
for number, folder in enumerate(["a/r", "b/r", "a/r", "a/r"]):
    folder, used = Path(folder), number == 2
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_model.safetensors").write_text(f"weights {number}")
    content = adapter_content(folder, f"{number}" * 64, None, is_best=False)
    with start_run(folder, name="r", kind="train", config={}) as run:
        run.log_artifact(content)
    if used:
        with start_run(Path("e"), name="e", kind="eval", config={}) as run:
            assert run.use_version("adapter-r:latest")
"""


def test_only_an_unused_adapter_of_the_same_folder_is_replaced(tmp_path):
    """Of four trainings named r: two in one folder with the second evaluated, one elsewhere."""
    with serving() as server:
        done = subprocess.run(
            [sys.executable, "-c", RETRAINED],
            cwd=tmp_path, env=environment(tmp_path, server),
            capture_output=True, text=True, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        left = [each["versionIndex"] for each in server.committed("adapter")]
    assert left == [1, 2, 3], "the first was replaced; one is elsewhere, one was used"
