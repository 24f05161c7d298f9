"""Runs of the real W&B client without an account, read back with `wandb leet inspect`."""

import json
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from eval.publish import flatten, origins
from weekahead.tracking.artifacts import artifact_name, dataset_content
from weekahead.tracking.run import saved_run_id, start_run
from weekahead.tracking.wandb_server import Account, TrackingError, check_server

ROOT = Path(__file__).resolve().parents[2]
KEY = "k" * 40

HEAD = """
import logging, os, sys
from pathlib import Path
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s")
from weekahead.tracking.run import saved_run_id, start_run
folder = Path(sys.argv[1])
"""


def run_python(code, folder, home, **variables):
    """A fresh process with an empty home: the client keeps state for the whole process."""
    kept = {
        k: v
        for k, v in os.environ.items()
        if not k.startswith("WANDB_") and k not in ("RANK", "LOCAL_RANK")
    }
    environment = (
        kept
        | {"HOME": str(home), "NETRC": str(home / ".netrc"), "PYTHONPATH": str(ROOT)}
        | variables
    )
    command = [sys.executable, "-c", HEAD + code, str(folder)]
    return subprocess.run(
        command, cwd=home, env=environment, capture_output=True, text=True, timeout=180
    )


def records(folder):
    """The records of all W&B runs under `folder`, oldest run first, by the client's own reader."""
    wandb = shutil.which("wandb", path=str(Path(sys.executable).parent)) or "wandb"
    found = []
    for run in sorted((folder / "wandb").glob("offline-run-*")):
        done = subprocess.run(
            [wandb, "leet", "inspect", "--json", str(run)],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        found += [json.loads(line) for line in done.stdout.splitlines()]
    return found


@pytest.fixture
def home(tmp_path):
    """An empty home folder."""
    path = tmp_path / "home"
    path.mkdir()
    return path


def test_without_a_key_a_run_is_offline(tmp_path, home):
    """Its record lies inside its folder, and it resumes with its id."""
    code = """
for attempt in range(2):
    settings = {"name": "demo", "kind": "train", "config": {"lr": 1e-3}}
    with start_run(folder, **settings, resume_id=saved_run_id(folder)) as run:
        run.log({
            "speed/tokens_per_second": 100.0 + attempt,
            "gpu/0/power_watts": None,
            "train/global_step": attempt,
        })
        print("STATE", run.mode, run.id, run.record)
        assert run._client.url is None
assert "WANDB_DATA_DIR" not in os.environ
"""
    folder = tmp_path / "run"
    done = run_python(code, folder, home, WANDB_BASE_URL="", WANDB_API_KEY="")
    assert done.returncode == 0, done.stderr
    states = [line.split() for line in done.stdout.splitlines() if line.startswith("STATE")]
    assert [state[1] for state in states] == ["offline", "offline"]
    assert states[0][2] == states[1][2] == saved_run_id(folder)
    line = next(
        line for line in done.stderr.splitlines() if "W&B: offline (no W&B key is set)" in line
    )
    assert f"wandb leet {states[0][3]}" in line
    assert "upload later: make sync" in line
    assert "wandb: " not in done.stderr, "our line says all there is to say"
    text = json.dumps(records(folder))
    assert text.count("speed/tokens_per_second") >= 2
    assert "power_watts" not in text, "an unknown value is left out"
    assert "stats" in {record.get("type") for record in records(folder)}, (
        "a short run has system metrics"
    )
    assert list(home.iterdir()) == [], "nothing lies outside the folder of the run"


def test_an_evaluation_is_logged_inside_its_folder(tmp_path, home):
    """As scalars, a table and an artifact."""
    results = tmp_path / "demo run"
    results.mkdir()
    metrics = {
        "n": 64,
        "valid_strict": 60,
        "valid_lenient": 64,
        "bin_acc": 0.5,
        "bin_acc_ci95": [0.4, 0.6],
        "mse": None,
        "baselines": {"up": {"mse": 2.5}},
        "versus": {},
    }
    (results / "metrics.json").write_text(json.dumps(metrics))
    (results / "generations.jsonl").write_text('{"id": "A"}\n')
    code = """
from eval.publish import log_evaluation
with start_run(folder, name="demo", kind="eval", config={}) as run:
    log_evaluation(folder, run)
"""
    done = run_python(code, results, home)
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr
    found = records(results)
    text = json.dumps(found)
    assert "evaluation-demo-run" in text
    assert "eval/bin_acc_ci95/low" in text
    staged = [
        path.read_text() for path in (results / "wandb" / "data").rglob("*") if path.is_file()
    ]
    assert '{"id": "A"}\n' in staged
    assert json.dumps(metrics) in staged
    table = next((results / "wandb").rglob("*.table.json"))
    assert ["baselines/up/mse", 2.5] in json.loads(table.read_text())["data"]


@pytest.mark.slow
def test_a_log_of_wandb_that_cannot_be_written_prints_no_traceback(tmp_path, home):
    """A limit on the size of files stands for the full disk; a folder is tried before the start."""
    code = """
import resource
(folder / "wandb").write_text("in the place of the folder")
try:
    start_run(folder, name="demo", kind="train", config={})
except OSError as error:
    print(error)
(folder / "wandb").unlink()
with start_run(folder, name="demo", kind="train", config={}) as run:
    resource.setrlimit(resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    logging.getLogger("wandb").warning("restore done")
    run.log({"loss": 1.0})
"""
    done = run_python(code, tmp_path, home)
    assert done.returncode == 0 and "Logging error" not in done.stderr, done.stderr
    assert f"{tmp_path}/wandb could not be written (" in done.stdout


def test_an_evaluation_names_its_training_adapter_and_data(tmp_path, home):
    """In the run's config and in the artifact's metadata, also without an account."""
    counts = {"n": 64, "valid_strict": 64, "valid_lenient": 64, "bin_acc": 0.5}
    metrics = {**counts, "baselines": {}, "versus": {}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "generations.jsonl").write_text('{"id": "A"}\n')
    expected = {
        "adapter_sha256": "a" * 64,
        "dataset_sha256": "b" * 64,
        "train_run_id": "0a1b2c3d",
        "train_dataset_sha256": "c" * 64,
    }
    manifest = {
        "adapter_sha256": expected["adapter_sha256"],
        "dataset": {"source": "demo", "split": "test", "sha256": expected["dataset_sha256"]},
        "train": {
            "run_id": expected["train_run_id"],
            "dataset": {"source": "demo", "sha256": expected["train_dataset_sha256"]},
        },
    }
    (tmp_path / "manifest.json").write_text(json.dumps(manifest))
    code = "import eval.publish; sys.exit(eval.publish.main([str(folder)]))"
    done = run_python(code, tmp_path, home)
    assert done.returncode == 0, done.stderr
    found = records(tmp_path)
    for kind in ("run", "artifact"):
        text = json.dumps([record for record in found if record.get("type") == kind])
        missing = [value for value in expected.values() if value not in text]
        assert not missing, f"the {kind} record lacks {missing}: {text}"


def test_the_base_alone_has_no_training_and_no_adapter(tmp_path):
    """A folder without a manifest or with an old one says less; a damaged one is refused."""
    assert origins(tmp_path) == {}
    path = tmp_path / "manifest.json"
    path.write_text(json.dumps({"train": None, "dataset": {"sha256": "b" * 64}}))
    assert origins(tmp_path) == {"dataset_sha256": "b" * 64}
    path.write_text("{}")
    assert origins(tmp_path) == {}
    path.write_text("{")
    with pytest.raises(ValueError, match=r"manifest\.json"):
        origins(tmp_path)


@pytest.mark.slow
def test_an_evaluation_that_was_not_all_recorded_is_no_success(tmp_path, home):
    """The command does nothing else, so its status says it; in a training it is a warning."""
    counts = {"n": 64, "valid_strict": 64, "valid_lenient": 64, "bin_acc": 0.5}
    metrics = {**counts, "baselines": {}, "versus": {}}
    (tmp_path / "metrics.json").write_text(json.dumps(metrics))
    (tmp_path / "generations.jsonl").write_text('{"id": "A"}\n')
    code = "import sys, eval.publish; sys.exit(eval.publish.main([str(folder)]))"
    (tmp_path / "wandb").mkdir()
    (tmp_path / "wandb" / "data").write_text("in the place of the folder of artifacts")
    done = run_python(code, tmp_path, home)
    assert done.returncode == 2 and "W&B failed (" in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert f"eval.publish: W&B has not recorded all of {tmp_path}: mend what" in last
    (tmp_path / "wandb" / "data").unlink()
    assert run_python(code, tmp_path, home).returncode == 0


def test_a_missing_score_is_named_with_the_command_that_makes_it(tmp_path, home):
    code = """
from eval.publish import log_evaluation
with start_run(folder, name="demo", kind="eval", config={}) as run:
    log_evaluation(folder, run)
"""
    done = run_python(code, tmp_path, home, WANDB_MODE="disabled")
    assert done.returncode == 1
    assert "metrics.json is missing: run eval.generate and eval.score" in done.stderr


def test_a_key_and_a_dead_server_fail_at_once(tmp_path, home):
    """The error names the remedy and not the key."""
    code = """
import time
from weekahead.tracking.wandb_server import TrackingError
start = time.monotonic()
try:
    start_run(folder, name="demo", kind="train", config={})
except TrackingError as error:
    print(error)
assert time.monotonic() - start < 20
assert "WANDB_DATA_DIR" not in os.environ
"""
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        address = f"http://127.0.0.1:{server.server_address[1]}"  # closed again before it is used
    done = run_python(code, tmp_path / "run", home, WANDB_BASE_URL=address, WANDB_API_KEY=KEY)
    assert done.returncode == 0, done.stderr
    for part in (address, "Connection refused", "WANDB_MODE=offline"):
        assert part in done.stdout
    assert KEY not in done.stdout + done.stderr
    assert saved_run_id(tmp_path / "run") is None


@pytest.mark.parametrize(
    ("variables", "netrc", "expected"),
    [
        ({}, False, "offline: no W&B key is set"),
        ({}, True, "online: a key is set"),
        ({"WANDB_API_KEY": KEY}, False, "online: a key is set"),
        (
            {"WANDB_API_KEY": "", "WANDB_MODE": "", "WANDB_BASE_URL": ""},
            False,
            "offline: no W&B key is set",
        ),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "offline"}, False, "offline: WANDB_MODE=offline"),
        ({"WANDB_API_KEY": KEY, "WANDB_MODE": "dryrun"}, False, "offline: WANDB_MODE=dryrun"),
        ({"WANDB_MODE": "disabled"}, False, "disabled: WANDB_MODE=disabled"),
        ({"WANDB_MODE": "online"}, False, "TrackingError: WANDB_MODE=online but no W&B key is set"),
        (
            {"WANDB_MODE": "of"},
            False,
            "TrackingError: WANDB_MODE is 'of'; expected online, offline or disabled",
        ),
        (
            {"WANDB_BASE_URL": "example.org"},
            False,
            "TrackingError: WANDB_BASE_URL is 'example.org'; expected",
        ),
        ({"WANDB_API_KEY": " " + KEY}, False, "TrackingError: the W&B settings cannot be used"),
    ],
)
def test_the_mode_follows_from_the_environment_and_the_keys(
    tmp_path, home, variables, netrc, expected
):
    if netrc:
        (home / ".netrc").write_text(f"machine wandb.example.org\n  login user\n  password {KEY}\n")
        (home / ".netrc").chmod(0o600)
        variables = variables | {"WANDB_BASE_URL": "https://wandb.example.org"}
    code = """
from weekahead.tracking.wandb_server import TrackingError, find_account
try:
    account = find_account()
    print(f"{account.mode}: {account.reason}", account)
except TrackingError as error:
    print(f"TrackingError: {error}")
"""
    done = run_python(code, tmp_path, home, **variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(expected)
    assert KEY not in done.stdout + done.stderr


class Answers(BaseHTTPRequestHandler):
    """Answers every POST with the status and body that the server was given."""

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.server.authorization = self.headers["Authorization"]
        body = self.server.body.encode()
        self.send_response(self.server.status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words):
        """Keep the test's output quiet."""


@pytest.fixture
def server():
    """A loopback server to give `status` and `body`."""
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


@pytest.mark.parametrize(
    ("status", "body", "refusal"),
    [
        (200, '{"data": {"viewer": {"id": "VXNlcjox"}}}', None),
        (401, '{"error": "unauthorized"}', "does not know the W&B key"),
        (403, "{}", "does not know the W&B key"),
        (200, '{"data": {"viewer": null}}', "does not know the W&B key"),
        (200, "<html>a portal of some hotel</html>", "did not answer as a W&B server"),
        (200, "[]", "did not answer as a W&B server"),
        (503, "{}", "answered HTTP 503"),
        (404, "{}", "answered HTTP 404"),
    ],
)
def test_the_server_is_asked_once_who_the_key_belongs_to(server, status, body, refusal):
    server.status, server.body = status, body
    account = Account(f"http://127.0.0.1:{server.server_address[1]}", "online", "a key is set", KEY)
    if refusal is None:
        check_server(account)
        assert server.authorization.startswith("Basic ")
        return
    with pytest.raises(TrackingError, match=refusal) as caught:
        check_server(account)
    assert "WANDB_MODE=offline" in str(caught.value)
    assert KEY not in str(caught.value)


def test_only_the_first_process_of_a_launch_records(tmp_path, home):
    code = """
with start_run(folder, name="demo", kind="train", config={}) as run:
    run.log({"a": 1}); run.log_table("t", ["a"], [[1]])
    run.log_artifact(None); run.use_artifact(None); run.use_version("x")
    print(run.mode, run.id)
"""
    done = run_python(code, tmp_path / "run", home, RANK="1", LOCAL_RANK="1", WANDB_API_KEY=KEY)
    assert (done.returncode, done.stdout.strip()) == (0, "disabled None"), done.stderr
    assert not (tmp_path / "run").exists()


def test_a_client_that_dies_in_the_middle_is_one_warning(tmp_path, home):
    code = """
import psutil, time
with start_run(folder, name="demo", kind="train", config={}) as run:
    run.log({"a": 1})
    children = psutil.Process().children(recursive=True)
    core = next(child for child in children if child.name() == "wandb-core")
    core.kill(); core.wait()
    time.sleep(0.5)
    for value in range(5):
        run.log({"a": value})
    run.log_table("t", ["a"], [[1]])
print("done")
"""
    done = run_python(code, tmp_path / "run", home)
    assert (done.returncode, done.stdout.strip()) == (0, "done"), done.stderr
    assert done.stderr.count("W&B failed") == 1


def test_flatten_keeps_numbers_and_names_their_path():
    metrics = {
        "n": 3,
        "ok": True,
        "a": {"b": {"c": 0.5}},
        "ci": [0.1, None],
        "text": "x",
        "none": None,
        "l": [1, 2, 3],
        "parts": [{"name": "after", "n": 4, "ci95": [0.2, 0.3]}, {"name": "before", "n": 5}],
    }
    assert dict(flatten(metrics)) == {
        "n": 3, "a/b/c": 0.5, "ci/low": 0.1, "parts/after/n": 4, "parts/after/ci95/low": 0.2,
        "parts/after/ci95/high": 0.3, "parts/before/n": 5,
    }  # fmt: skip
    assert dict(flatten({"a\ud800": 1})) == {r"a\ud800": 1}


@pytest.mark.parametrize("run", ["a b/ü:c", "x" * 200, "half\udc80"])
def test_artifact_names_are_ones_wandb_accepts(run):
    """Two names that W&B does not accept stay two: the older of one run's adapters is removed."""
    assert artifact_name("evaluation", "demo-tuned") == "evaluation-demo-tuned"
    name = artifact_name("evaluation", run)
    assert re.fullmatch(r"evaluation-[A-Za-z0-9_.-]{1,117}", name)
    assert name != artifact_name("evaluation", f"{run}!") != artifact_name("evaluation", f"{run}?")


def test_a_file_that_is_no_split_stands_for_itself(tmp_path):
    """Also beside a manifest, as that of answers; a split stands for its folder."""
    for name in ("manifest.json", "train.jsonl", "extra.jsonl"):
        (tmp_path / name).write_text("{}\n")
    extra = dataset_content(str(tmp_path / "extra.jsonl"), ["a" * 64])
    whole = dataset_content(str(tmp_path / "train.jsonl"), ["a" * 64])
    assert extra and list(extra.files) == ["extra.jsonl"]
    assert extra.name == "dataset-extra.jsonl"
    assert whole and list(whole.files) == ["manifest.json", "train.jsonl"]
    (tmp_path / "train.parquet").write_text("")  # the split stands twice: the folder is no dataset
    alone = dataset_content(str(tmp_path / "train.jsonl"), ["a" * 64])
    assert alone and list(alone.files) == ["train.jsonl"]


def test_a_record_holds_no_secret_of_the_command_line_or_git(tmp_path, monkeypatch):
    """The client itself records the command line, and the user of an address of git."""
    secret = "hf_" + "aB3" * 12
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setattr("sys.argv", ["x", "--token", secret])
    monkeypatch.setattr(
        "weekahead.tracking.run.git_output", lambda *_: "https://tokentoken1:pw@host/a.git"
    )
    with start_run(tmp_path, name="r", kind="eval", config={"k": f"x {secret}"}) as run:
        record = run.record
    assert record is not None
    content = b"".join(path.read_bytes() for path in record.rglob("*") if path.is_file())
    assert content and secret.encode() not in content and b"tokentoken1" not in content
