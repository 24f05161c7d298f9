"""A llama-server of llama.cpp for one GGUF file, as long as a block runs."""

import logging
import os
import shutil
import socket
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO

log = logging.getLogger(__name__)

PROGRAM = "llama-server"
_LONGEST_START = 900.0
"""Seconds until a model is loaded, from a slow disk too."""
_ADDRESS, _KEY = "OPENAI_BASE_URL", "OPENAI_API_KEY"


def check_can_serve(path: Path) -> None:
    """Raise ValueError if there is no file `path`, or no llama-server on this machine."""
    if not path.is_file():
        raise ValueError(f"no file {path}; write it first: make export RUN=.. FORM=gguf")
    if shutil.which(PROGRAM) is None:
        raise ValueError(
            f"no {PROGRAM} on this machine; install llama.cpp, or compare on a machine that has it"
        )


@contextmanager
def serving_gguf(path: Path, window: int) -> Generator[None]:
    """Serve the file `path`, and let this process's client ask it, while the block runs.

    `window` is how many tokens prompt and answer have together.
    Raises the errors of `check_can_serve`, and RuntimeError with the server's last words if it does
    not start.
    """
    check_can_serve(path)
    port = _free_port()
    command = [PROGRAM, "--model", str(path), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--ctx-size", str(window), "--parallel", "1"]
    with tempfile.TemporaryFile("w+", errors="replace") as words:
        server = subprocess.Popen(command, stdout=words, stderr=subprocess.STDOUT)
        try:
            _wait_until_ready(server, f"http://127.0.0.1:{port}/health", words)
            with _asked_at(f"http://127.0.0.1:{port}/v1"):
                yield
        finally:
            server.terminate()
            try:
                server.wait(timeout=10)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _wait_until_ready(server: subprocess.Popen[bytes], url: str, words: IO[str]) -> None:
    """Wait until the model is loaded. Raises RuntimeError if the server ends, or takes too long."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # it is this machine
    end = time.monotonic() + _LONGEST_START
    while time.monotonic() < end:
        code = server.poll()
        if code is not None:
            words.seek(0)
            raise RuntimeError(
                f"{PROGRAM} ended with {code} before it answered: {_last(words.readlines())}"
            )
        try:
            with opener.open(url, timeout=5):
                return
        except (urllib.error.URLError, OSError):  # 503 while it loads
            time.sleep(0.2)
    raise RuntimeError(f"{PROGRAM} has not loaded the model in {_LONGEST_START:.0f} s")


def _last(lines: Sequence[str]) -> str:
    said = [line.strip() for line in lines if line.strip()]
    return " / ".join(said[-3:]) or "it said nothing"


@contextmanager
def _asked_at(url: str) -> Generator[None]:
    """Let the client of this process ask `url`, without the key that is for another server."""
    before = {name: os.environ.get(name) for name in (_ADDRESS, _KEY, "NO_PROXY")}
    direct = ",".join(filter(None, (before["NO_PROXY"], "127.0.0.1")))
    os.environ |= {_ADDRESS: url, _KEY: "none", "NO_PROXY": direct}
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
