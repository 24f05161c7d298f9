"""The real commands, killed, shared between processes, and asked of a real server.

The answers stay the same.
"""

import importlib.util
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.support.tiny import ROOT, command
from weekahead.files import read_jsonl

TIMES = ("seconds", "latency_seconds")
pytestmark = pytest.mark.slow


def flags(out, *more):
    names = ["--config", "fp32.yaml", "--adapter", "adapter", "--dataset", "data/datasets/m"]
    sizes = ["--limit", "12", "--max_new_tokens", "24", "--batch_size", "2"]
    return [*names, "--out", str(out), *sizes, *more]


def answers(out):
    rows = read_jsonl(out / "generations.jsonl")
    return [{key: value for key, value in row.items() if key not in TIMES} for row in rows]


@pytest.fixture(scope="module")
def whole(small, tiny, tmp_path_factory):
    """The answers of a run that nothing disturbed."""
    out = tmp_path_factory.mktemp("whole") / "run"
    done = command(tiny, "-m eval.generate", *flags(out))
    assert done.returncode == 0, done.stderr
    return answers(out)


def wait_for_rows(process, out, count):
    """Until the log files hold `count` lines, or the process has ended."""
    while process.poll() is None:
        if sum(path.read_bytes().count(b"\n") for path in out.glob("generations*.jsonl")) >= count:
            return
        time.sleep(0.002)


def test_killed_at_random_moments_a_run_ends_like_a_whole_one(whole, tiny, tmp_path):
    out, rng, kills = tmp_path / "run", random.Random(4), 0
    for count in (1, 5, 9):
        process = command(tiny, "-m eval.generate", *flags(out), wait=False)
        wait_for_rows(process, out, count)
        time.sleep(rng.uniform(0, 0.02))
        process.kill()
        process.communicate()
        kills += process.returncode == -signal.SIGKILL
        if log := next(out.glob("generations*.jsonl"), None):  # and the last line half-written
            log.write_bytes(log.read_bytes()[: -rng.randrange(1, 40)])
    assert kills >= 2
    done = command(tiny, "-m eval.generate", *flags(out))
    assert done.returncode == 0, done.stderr
    assert answers(out) == whole


def launched(tiny, launcher, out):
    env = {
        **os.environ,
        "HOME": str(tiny / "home"),
        "PYTHONPATH": str(ROOT),
        "CUDA_VISIBLE_DEVICES": "",
    }
    words = [sys.executable, "-m", *launcher.split(), "-m", "eval.generate", *flags(out)]
    return subprocess.Popen(
        words, cwd=tiny, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


ACCELERATE = (
    "accelerate.commands.launch --multi_gpu --num_processes 2 --num_machines 1 "
    "--mixed_precision no --dynamo_backend no --main_process_port 0"
)
TORCHRUN = "torch.distributed.run --nproc_per_node 2 --standalone"


@pytest.mark.parametrize("launcher", [ACCELERATE, TORCHRUN], ids=["accelerate", "torchrun"])
def test_two_processes_answer_as_one(whole, tiny, tmp_path, launcher):
    out = tmp_path / "run"
    process = launched(tiny, launcher, out)
    try:
        said, error = process.communicate(timeout=300)
    finally:
        process.terminate()  # the launcher ends its workers
    assert process.returncode == 0, error
    assert answers(out) == whole and said.count("answers: ") == 1
    assert '"processes": 2' in (out / "manifest.json").read_text()
    assert not list(out.glob("*part*"))


def test_two_killed_processes_are_continued_by_one(whole, tiny, tmp_path):
    out = tmp_path / "run"
    process = launched(tiny, TORCHRUN, out)
    wait_for_rows(process, out, 3)
    for pid in processes_of(out):  # the workers too: they have sessions of their own
        os.kill(pid, signal.SIGKILL)
    process.communicate()
    assert list(out.glob("generations.part*.jsonl"))
    done = command(tiny, "-m eval.generate", *flags(out))
    assert done.returncode == 0, done.stderr
    assert answers(out) == whole and not list(out.glob("*part*"))


def processes_of(out):
    """Ids of the processes that were started with `out` among their words."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            if str(out).encode() in path.read_bytes():
                yield int(path.parent.name)
        except OSError:
            continue


@pytest.fixture
def transformers_serve(small, tiny):
    """The address of a real `transformers serve`; any model folder is named by its path."""
    for name in ("fastapi", "uvicorn"):
        if importlib.util.find_spec(name) is None:
            pytest.skip(f"transformers serve needs {name}")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [
        sys.executable,
        "-m",
        "transformers.cli.transformers",
        "serve",
        "--host",
        "127.0.0.1",
        "--port",
    ]
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "HOME": str(tiny / "home")}
    with subprocess.Popen(
        [*words, str(port), "--dtype", "float32", "--device", "cpu"],
        env=env,
        stderr=subprocess.DEVNULL,
    ) as server:
        try:
            for _ in range(1200):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                assert server.poll() is None, "transformers serve ended"
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()


@pytest.mark.parametrize("prompt", ["chat", "text"])
def test_transformers_serve_answers_as_this_process_does(
    small, tiny, tmp_path, transformers_serve, prompt
):
    from tests.support.tiny import FP32
    from weekahead.models.loading import find_adapter, load_for_generation

    model, _ = load_for_generation(small.base, find_adapter(str(small.adapter)), FP32)
    model.generation_config.eos_token_id = small.ends
    model.generation_config.pad_token_id = small.tokenizer.pad_token_id
    model.save_pretrained(tmp_path / "merged")
    small.tokenizer.save_pretrained(tmp_path / "merged")
    env = {"OPENAI_BASE_URL": transformers_serve, "NO_PROXY": "127.0.0.1", "OPENAI_API_KEY": "none"}
    served = ["--backend", "endpoint", "--model", str(tmp_path / "merged")]
    # A random model is nearly indifferent between tokens: bf16 here may part from fp32 there.
    served += ["--endpoint_prompt", prompt, "--parity", "off"]
    words = [sys.executable, "-m", "eval.generate", *flags(tmp_path / "served", *served)]
    everything = {
        **os.environ,
        **env,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
    }
    done = subprocess.run(
        words, cwd=tiny, env=everything, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr
    there, here = answers(tmp_path / "served"), in_process(small, tiny, tmp_path / "here")
    assert [row["generation"] for row in there] == [row["generation"] for row in here]
    assert [row["new_tokens"] for row in there] == [row["new_tokens"] for row in here]
    rows = read_jsonl(tmp_path / "served/generations.jsonl")
    assert all(row["latency_seconds"] > 0 for row in rows)


def in_process(small, tiny, out):
    from data_pipeline.dataset.load import load_dataset
    from eval.generate import generate, new_job
    from eval.generation.backends import BackendOptions, Batched
    from tests.support.tiny import FP32
    from weekahead.models.decoding import SamplingParams

    data, backend = load_dataset(tiny / "data/datasets/m").split(), Batched(BackendOptions())
    del data.rows[12:]
    sampling = SamplingParams(24, 2)
    job = new_job(small.recipe, str(small.adapter), data, sampling, FP32, backend)
    generate(job, backend, out)
    return answers(out)
