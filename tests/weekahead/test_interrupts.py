"""Signals to a command: its last line, its exit status, and that it ends with its launcher."""

import os
import signal
import subprocess
import sys
import time

import pytest

from tests.support.tiny import ROOT

WORK = """import sys, time
from weekahead.cli import run_command
from weekahead.interrupts import noted, postponed, whole
def wait():
    {}
    {}
    return 0
sys.exit(run_command("work", wait, resumable=True))"""
READY = 'print("ready", flush=True); '
SLEEP = f"{READY}time.sleep(60)"
POSTPONED = """with postponed("the step"):
        print("ready", flush=True)
        while not noted(): time.sleep(0.01)
        time.sleep({})
    print("saved")"""


def start(code, cwd=ROOT, **variables):
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT), **variables},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout and process.stdout.readline() == "ready\n"
    return process


@pytest.mark.parametrize(
    ("number", "word"),
    [
        (signal.SIGINT, "interrupted"),
        (signal.SIGTERM, "interrupted by SIGTERM"),
        (signal.SIGHUP, "interrupted by SIGHUP"),
    ],
)
def test_a_signal_ends_a_command_with_one_line(number, word):
    # The tests themselves may run under nohup, whose children ignore SIGHUP.
    default = "import signal; signal.signal(signal.SIGHUP, signal.SIG_DFL)\n"
    process = start(default + WORK.format("", SLEEP))
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert err == f"work: {word}; the same command goes on where it stopped\n"
    assert process.returncode == 128 + number


def test_the_line_is_last_also_after_a_progress_bar():
    bar = "import tqdm; bar = tqdm.tqdm(total=9); bar.update(3)"
    process = start(WORK.format(bar, SLEEP))
    process.terminate()
    _, err = process.communicate(timeout=10)
    assert err.splitlines()[-1].startswith("work: interrupted")


def test_what_must_end_ends_before_the_command():
    process = start(WORK.format("", POSTPONED.format(0)))
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert out == "saved\n" and "SIGTERM: waiting for the step" in err and process.returncode == 0


WHOLE = """with whole("the start"):
        print("ready", flush=True)
        while not noted(): time.sleep(0.01)
        print("started", flush=True)
    print("went on")"""


def test_a_signal_raises_after_what_must_be_whole():
    process = start(WORK.format("", WHOLE))
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert out == "started\n" and "SIGTERM: waiting for the start" in err
    assert err.splitlines()[-1].startswith("work: interrupted") and process.returncode == 143


def test_a_signal_is_not_lost_if_what_must_be_whole_fails():
    failing = """with contextlib.suppress(OSError), whole("the start"):
        print("ready", flush=True)
        while not noted(): time.sleep(0.01)
        raise OSError("the disk is full")
    print("went on")"""
    process = start(WORK.format("import contextlib", failing))
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert out == "" and err.splitlines()[-1].startswith("work: interrupted")
    assert process.returncode == 143


def test_what_must_be_whole_waits_inside_what_is_postponed():
    inside = WHOLE.replace("\n", "\n    ")
    process = start(WORK.format("", f"with postponed('the step'):\n        {inside}"))
    process.terminate()
    out, err = process.communicate(timeout=10)
    assert out == "started\nwent on\n" and process.returncode == 0
    assert "SIGTERM: waiting for the step; a second signal" in err


IN_THE_LOG = """import logging, os, signal
    from weekahead.tracking.run import start_run
    made = logging.Handler.__init__
    def and_a_signal(handler, level=0):
        made(handler, level)
        if isinstance(handler, logging.FileHandler):
            os.kill(os.getpid(), signal.SIGTERM)
    logging.Handler.__init__ = and_a_signal
    print("ready", flush=True)
    with start_run(".", name="n", kind="train", config={}):
        print("went on")"""


def test_a_signal_while_wandb_starts_leaves_no_half_made_log(tmp_path):
    """An exception while the client made its log left a handler that fails as Python ends."""
    process = start(WORK.format("", IN_THE_LOG), cwd=tmp_path, WANDB_MODE="offline")
    out, err = process.communicate(timeout=60)
    assert out == "" and "Traceback" not in err and process.returncode == 143
    assert err.splitlines()[-1].startswith("work: interrupted by SIGTERM")


def test_a_second_signal_does_not_wait():
    process = start(WORK.format("", POSTPONED.format(60)))
    process.terminate()
    process.terminate()  # at the same moment: it counts as the first
    time.sleep(1.2)
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=10)
    assert err.splitlines()[-1].startswith("work: interrupted") and process.returncode == 143


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_work_leaves_its_status(number):
    """While Python shuts down: the work is done, and nobody has to run it again."""
    at_exit = f"import atexit; atexit.register(lambda: ({READY.rstrip('; ')}, time.sleep(0.5)))"
    process = start(WORK.format(at_exit, "pass"))
    process.send_signal(number)
    _, err = process.communicate(timeout=10)
    assert (process.returncode, err) == (0, "")


def test_nohup_stays_in_force():
    ignore = "import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN)\n"
    process = start(ignore + WORK.format("", f"{READY}time.sleep(0.5)"))
    process.send_signal(signal.SIGHUP)
    assert process.wait(10) == 0
    process.communicate()


LAUNCH = """import subprocess, sys
worker = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
print(worker.pid, flush=True)
worker.wait()"""


@pytest.mark.parametrize("variable", ["ACCELERATE_MIXED_PRECISION", "TORCHELASTIC_RUN_ID"])
def test_a_worker_ends_with_a_launcher_that_is_killed(variable):
    launcher = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, WORK.format("", SLEEP)],
        cwd=ROOT,
        env={**os.environ, variable: "no"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = {launcher.stdout.readline(), launcher.stdout.readline()}
    assert "ready\n" in lines
    launcher.kill()
    _, err = launcher.communicate(timeout=10)  # ends when nobody holds the pipe any more
    assert err.startswith("work: interrupted by SIGTERM")


def test_a_command_ends_with_make_but_not_with_a_shell():
    make = subprocess.Popen(["sleep", "60"])
    with_make = start(WORK.format("", SLEEP), WEEKAHEAD_LAUNCHER=str(make.pid))
    alone = start(WORK.format("", f"{READY}time.sleep(0.6)"))
    make.kill()  # and nobody waits for it: a zombie
    _, err = with_make.communicate(timeout=10)
    assert "interrupted by SIGTERM" in err and with_make.returncode == 143
    assert alone.wait(10) == 0
    alone.communicate()
    make.wait()


@pytest.mark.slow
def test_the_launcher_gives_signals_and_status_through(tmp_path):
    """The real launcher, which is slow to import: signals before and while the command runs."""
    (tmp_path / "command.py").write_text(WORK.format("", SLEEP))
    env = {**os.environ, "PYTHONPATH": f"{tmp_path}:{ROOT}"}
    words = [sys.executable, "-m", "weekahead.launch", "--config_file"]
    words += [f"{ROOT}/accelerate_configs/cpu.yaml", "-m", "command"]
    process = subprocess.Popen(
        words, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    process.terminate()
    _, err = process.communicate(timeout=20)
    assert err.splitlines()[-1].startswith("work: interrupted by SIGTERM")
    assert process.returncode == 143 and "Traceback" not in err
