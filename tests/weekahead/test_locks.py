"""One folder, one writer: who is kept out, what a killed writer leaves, what cannot be written."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.tiny import ROOT
from weekahead.locks import LOCK, check_writable, sole_writer, writer_of

HOLD = """import sys, time
from pathlib import Path
from weekahead.locks import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("held", flush=True)
    {}
    time.sleep(60)"""


def holder(folder, then=""):
    """A process that holds the lock of `folder`."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD.format(then), str(folder)], cwd=ROOT, stdout=subprocess.PIPE
    )
    assert process.stdout and process.stdout.readline() == b"held\n"
    return process


@pytest.fixture
def held(tmp_path):
    process = holder(tmp_path / "run")
    yield tmp_path / "run", process
    process.kill()
    process.communicate()


def test_a_second_writer_is_told_folder_and_process(held):
    folder, process = held
    with pytest.raises(BlockingIOError) as refusal, sole_writer(folder):
        pass
    assert str(folder) in str(refusal.value) and f"process {process.pid}:" in str(refusal.value)
    assert writer_of(folder) == f"process {process.pid}"


def test_the_lock_goes_with_its_process(held):
    folder, process = held
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert (folder / LOCK).exists() and writer_of(folder) is None
    with sole_writer(folder):
        assert writer_of(folder) == f"process {os.getpid()}"
    assert not (folder / LOCK).exists() and writer_of(folder) is None


def test_a_forked_worker_does_not_keep_the_lock(tmp_path):
    process = holder(
        tmp_path,
        """import os
    worker = os.fork()
    if worker: print(worker, flush=True)""",
    )
    worker = int(process.stdout.readline())
    try:
        process.kill()
        process.wait()
        os.kill(worker, 0)  # it lives
        deadline = time.monotonic() + 10  # a loaded machine may not have run the worker yet
        while writer_of(tmp_path) is not None and time.monotonic() < deadline:
            time.sleep(0.05)
        assert writer_of(tmp_path) is None
    finally:
        os.kill(worker, signal.SIGKILL)
        process.stdout.close()


def test_a_folder_that_stays_empty_goes_again(tmp_path):
    with pytest.raises(ValueError, match="no"), sole_writer(tmp_path / "a" / "b"):
        raise ValueError("no")
    assert not (tmp_path / "a").exists()
    with sole_writer(tmp_path / "a" / "b"):
        (tmp_path / "a" / "b" / "row").write_text("1")
    assert [path.name for path in (tmp_path / "a" / "b").iterdir()] == ["row"]
    check_writable(tmp_path / "c" / "d")
    assert not (tmp_path / "c").exists()


def test_many_at_once_only_one_writes(tmp_path):
    """Twelve processes, each of which adds one to a number, one after another."""
    add = """import sys, time
from pathlib import Path
from weekahead.locks import sole_writer
folder = Path(sys.argv[1])
while True:
    try:
        with sole_writer(folder):
            number = int((folder / "number").read_text())
            time.sleep(0.01)
            (folder / "number").write_text(str(number + 1))
            break
    except BlockingIOError:
        time.sleep(0.003)"""
    (tmp_path / "number").write_text("0")
    words = [sys.executable, "-c", add, str(tmp_path)]
    processes = [subprocess.Popen(words, cwd=ROOT) for _ in range(12)]
    assert [process.wait(30) for process in processes] == [0] * 12
    assert (tmp_path / "number").read_text() == "12"


@pytest.mark.parametrize("take", [sole_writer, check_writable])
@pytest.mark.parametrize("inner", ["", "deeper"])
def test_a_file_in_the_place_of_a_folder_is_named(tmp_path, take, inner):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(OSError, match=r"run.* could not be written .*choose another name"):
        enter(take(tmp_path / "run" / inner))
    assert (tmp_path / "run").read_text() == "mine"


def enter(manager):
    if manager is not None:
        with manager:
            pass


def test_a_lock_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / LOCK).symlink_to(tmp_path / "precious")
    with pytest.raises(OSError, match="could not be written"), sole_writer(tmp_path / "run"):
        pass
    assert (tmp_path / "precious").read_text() == "kept"


FULL = """import resource, sys
from pathlib import Path
from weekahead.locks import check_writable, sole_writer
resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
for take in (check_writable, lambda folder: sole_writer(folder).__enter__()):
    try:
        take(Path(sys.argv[1]))
    except OSError as error:
        print(error)"""


def test_a_disk_without_room_is_named(tmp_path):
    """A limit on the size of files stands for the disk."""
    words = [sys.executable, "-c", FULL, str(tmp_path / "run")]
    out = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert out.count(f"{tmp_path / 'run'} could not be written (File too large): raise") == 2


def test_the_lock_waits_for_nobody(held):
    began = time.monotonic()
    with pytest.raises(BlockingIOError), sole_writer(held[0]):
        pass
    assert time.monotonic() - began < 10


def test_a_folder_that_is_written_is_not_published(tmp_path):
    from sft.publish import push_adapter
    from weekahead.hub.client import HubError
    from weekahead.hub.upload import Target

    with sole_writer(tmp_path), pytest.raises(HubError, match=rf"process {os.getpid()}"):
        push_adapter(tmp_path, Target("user/name"))
