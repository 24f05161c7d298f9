"""From dataset to verdict with the real clients: W&B and the Hub are servers on loopback.

What W&B holds is read back through `wandb.Api`, in a process of its own, as any user would.
"""

import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml

from eval.publishing.inputs import Input, record_inputs
from tests.sft.test_two_processes import ACCELERATE
from tests.support.servers.hub import Hub
from tests.support.servers.wandb_runs import serving
from tests.support.tiny import ROOT
from weekahead.files import sha256

pytestmark = pytest.mark.slow
REPO = "user/tuned"
TRAIN = (
    f"{ACCELERATE} -m sft.train --config hub.yaml --dataset data/datasets/m --max_steps 4 "
    "--save_steps 2 --eval_strategy no --logging_steps 1 --per_device_train_batch_size 1 "
    "--gradient_accumulation_steps 2 --ddp_backend gloo --disable_tqdm true "
    f"--output_dir outputs/tuned --push_to_hub true --hub_model_id {REPO}"
)
ANSWER = "-m eval.generate --config hub.yaml --dataset data/datasets/m --split test --limit 4"
READ_BACK = """
import json, sys, wandb
api = wandb.Api()
runs = {}
for run in api.runs("me/weekahead"):
    run = api.run(f"me/weekahead/{run.id}")
    table = lambda artifact: artifact.type == "run_table"
    runs[run.job_type] = {
        "id": run.id,
        "state": run.state,
        "config": dict(run.config),
        "steps": [row["train/global_step"] for row in run.scan_history() if "train/loss" in row],
        "used": [a.name for a in run.used_artifacts()],
        "made": [a.name for a in run.logged_artifacts() if not table(a)],
        "tables": [file.name for file in run.files() if file.name.startswith("media/table")],
    }
graph = {}
for kind, name in json.loads(sys.argv[1]):
    for version in api.artifacts(kind, f"me/weekahead/{name}"):
        maker = version.logged_by()
        graph[version.name] = {
            "aliases": sorted(version.aliases),
            "maker": maker and maker.job_type,
            "users": sorted(run.job_type for run in version.used_by()),
            "files": sorted(version.manifest.entries),
        }
print(json.dumps({"runs": runs, "graph": graph}))
"""


class Recorder:
    """A tracker whose W&B has no artifacts; it keeps what it is given."""

    def __init__(self, mode):
        self.mode, self.used = mode, []

    def use_version(self, name):
        return False

    def use_artifact(self, content):
        self.used.append(content)


ARTIFACTS = (
    ("dataset", "dataset-m"),
    ("adapter", "adapter-tuned"),
    ("evaluation", "evaluation-tuned"),
    ("comparison", "comparison-all"),
)


@pytest.fixture
def hub(tiny):
    with Hub() as running:
        running.add_folder("org/base", tiny / "base")
        yield running


@pytest.fixture
def place(tiny, tmp_path):
    """A folder with recipe and rows."""
    recipe = yaml.safe_load((tiny / "recipe.yaml").read_text())
    (tmp_path / "hub.yaml").write_text(yaml.safe_dump(recipe | {"model_name_or_path": "org/base"}))
    shutil.copytree(tiny / "data/datasets/m", tmp_path / "data/datasets/m")
    return tmp_path


def run(place, variables, words, status=0):
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    env = {**kept, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *(words.split() if isinstance(words, str) else words)],
        env={**env, **variables},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == status, done.stdout[-1000:] + done.stderr[-3000:]
    return done


def whole_story(place, variables):
    """Train on two processes, push, evaluate from the Hub, compare, and log each of them."""
    run(place, variables, TRAIN)
    out = "--out results/tuned"
    answers = f"{ANSWER} --adapter {REPO} --max_new_tokens 4 --batch_size 4 {out}"
    run(place, variables, answers)
    run(place, variables, f"-m eval.score results/tuned/generations.jsonl {out}")
    run(place, variables, "-m eval.publish results/tuned")
    run(place, variables, "-m eval.report results/tuned --out reports/all")
    run(place, variables, "-m eval.publish reports/all")


def read_back(place, server):
    told = ["-c", READ_BACK, json.dumps(ARTIFACTS)]
    return json.loads(run(place, server.environment, told).stdout.splitlines()[-1])


def check_story(place, found):
    """One run of each kind, and the graph from the dataset to the comparison."""
    runs, graph = found["runs"], found["graph"]
    weights = json.loads((place / "outputs/tuned/manifest.json").read_text())
    digest = weights["result"]["adapter_sha256"][:12]
    assert set(runs) == {"train", "eval", "compare"}
    assert {run["state"] for run in runs.values()} == {"finished"}
    assert runs["train"]["steps"] == [1, 2, 3, 4], "one run of both processes"
    assert runs["train"]["used"] == ["dataset-m:v0"]
    assert runs["train"]["made"] == ["adapter-tuned:v0"]
    assert sorted(runs["eval"]["used"]) == ["adapter-tuned:v0", "dataset-m:v0"]
    assert runs["eval"]["made"] == ["evaluation-tuned:v0"]
    assert runs["eval"]["config"]["train_run_id"] == runs["train"]["id"]
    assert runs["compare"]["used"] == ["evaluation-tuned:v0"]
    assert runs["compare"]["made"] == ["comparison-all:v0"]
    assert len(runs["eval"]["tables"]) == 2 and len(runs["compare"]["tables"]) == 1
    adapter = graph["adapter-tuned:v0"]
    assert adapter["maker"] == "train" and adapter["users"] == ["eval"]
    assert {"latest", f"weights-{digest}"} < set(adapter["aliases"])
    assert "adapter_model.safetensors" in adapter["files"]
    assert not any("checkpoint" in name or "optimizer" in name for name in adapter["files"])
    data = graph["dataset-m:v0"]
    assert data["users"] == ["eval", "train"] and "manifest.json" in data["files"]
    assert {"train.jsonl", "test.jsonl"} < set(data["files"])
    assert graph["evaluation-tuned:v0"]["users"] == ["compare"]
    assert "report.html" in graph["comparison-all:v0"]["files"]


def test_one_story_online(hub, place):
    """Two processes, pushed and online; evaluated from the Hub; read back as a graph."""
    with serving() as server:
        whole_story(place, hub.environment(place / "home", "hf_owner") | server.environment)
        check_story(place, read_back(place, server))
        stored = server.contents(server.committed("adapter")[0])
        assert (
            stored["adapter_model.safetensors"]
            == (place / "outputs/tuned/adapter_model.safetensors").read_bytes()
        )
        assert server.errors == []


def test_the_same_story_offline_then_sync(hub, place):
    """`make sync` brings all of it, inputs included; a second one sends nothing."""
    variables = hub.environment(place / "home", "hf_owner")
    whole_story(place, variables | {"WANDB_MODE": "offline"})
    with serving() as server:
        told = variables | server.environment | {"WANDB_MODE": "offline"}
        printed = run(place, told, "-m weekahead.sync").stdout
        check_story(place, read_back(place, server))
        sent = server.asked["UpsertBucket"]
        again = run(place, told, "-m weekahead.sync").stdout
        assert server.asked["UpsertBucket"] == sent and server.errors == []
    assert printed.count(": complete") == again.count(": complete") == 3, printed + again


def test_an_evaluation_uploads_what_its_training_may(tmp_path):
    """`--upload_artifacts false` holds for the evaluation too; a base has no training that agrees.

    An input never becomes the `latest` version.
    """
    (tmp_path / "test.jsonl").write_text("{}\n")
    rows = sha256(tmp_path / "test.jsonl")
    manifest = {"dataset": {"source": str(tmp_path), "sha256": rows}}
    needed = f"dataset-m:rows-{rows[:12]}"

    def content(train, *, online):
        tracker = Recorder("online" if online else "offline")
        record_inputs(tracker, [Input(needed, {**manifest, "train": train})])
        return tracker.used[0] if tracker.used else None

    agreed = content({"settings": {}}, online=False)
    assert list(agreed.files) == ["test.jsonl"]
    assert agreed.aliases == (f"rows-{rows[:12]}",)
    for kept in (
        content({"settings": {"upload_artifacts": False}}, online=False),
        content(None, online=True),
    ):
        assert not kept.files and list(kept.links) == ["test.jsonl"]
    assert content(None, online=False) is None
