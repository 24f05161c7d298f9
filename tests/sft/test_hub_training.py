"""Checkpoints go to the Hub while a training runs; another machine goes on from there."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time

import pytest
import yaml

from tests.support.servers.hub import Fault, Hub
from tests.support.tiny import ROOT

pytestmark = pytest.mark.slow
LAUNCH = f"-m weekahead.launch --config_file {ROOT}/accelerate_configs/cpu.yaml -m sft.train"
REPO = "user/tuned"
PUSH = ("--push_to_hub=true", f"--hub_model_id={REPO}")
STEPS = ("--max_steps=12", "--save_steps=3", "--eval_steps=3", "--save_total_limit=2")


@pytest.fixture
def hub(tiny):
    with Hub() as running:
        running.add_folder("org/base", tiny / "base")
        yield running


@pytest.fixture
def machine(tiny, tmp_path):
    """A folder with recipe and rows, and nothing of an earlier training."""

    def new(name):
        folder = tmp_path / name
        recipe = yaml.safe_load((tiny / "recipe.yaml").read_text())
        recipe |= {"model_name_or_path": "org/base", "load_best_model_at_end": True}
        recipe |= {"eval_strategy": "steps", "save_strategy": "steps"}
        shutil.copytree(tiny / "data/datasets/m", folder / "data/datasets/m")
        (folder / "hub.yaml").write_text(yaml.safe_dump(recipe))
        return folder

    return new


def start(hub, folder, *words, token="hf_owner"):
    env = hub.environment(folder / "home", token) | {"PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, *map(str, words)],
        env={**env, "WANDB_MODE": "offline", "OMP_NUM_THREADS": "1"},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def train(hub, folder, *flags, **options):
    told = ("--config", "hub.yaml", "--dataset", "data/datasets/m", "--output_dir=outputs/tuned")
    return start(hub, folder, *LAUNCH.split(), *told, *STEPS, *flags, **options)


def ended(process, status=0):
    printed = process.communicate(timeout=300)[0]
    assert process.returncode == status, printed[-3000:]
    return printed


def on_hub(hub):
    return set(hub.repo(REPO).at("main").files) if ("model", REPO) in hub.store.repos else set()


def test_a_lost_machine_loses_nothing(hub, machine):
    """Killed at once, gone on with elsewhere: the same weights as without the loss.

    Then answers from the Hub are those of the local adapter.
    """
    lost, other, whole = machine("lost"), machine("other"), machine("whole")
    process = train(hub, lost, *PUSH)
    while not any(name.startswith("checkpoint-") for name in on_hub(hub)):
        assert process.poll() is None, process.stdout.read()[-3000:]
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert hub.repo(REPO).private and "checkpoint-3/optimizer.pt" in on_hub(hub)
    assert not any("wandb" in name or ".env" in name for name in on_hub(hub))

    busy = [
        Fault("HEAD", r"/checkpoint-\d+/optimizer.pt", 503, {"Retry-After": "1"}),
        Fault("GET", f"/api/models/{REPO}/tree/", 429, {"Retry-After": "1"}),
    ]
    hub.faults.append(busy[0])
    printed = ended(train(hub, other, *PUSH))
    assert (
        f"was brought from {REPO} on the Hub" in printed and "going on from checkpoint" in printed
    )
    ended(train(hub, whole))
    adapters = [f / "outputs/tuned/adapter_model.safetensors" for f in (other, whole)]
    weights = [path.read_bytes() for path in adapters]
    assert weights[0] == weights[1]
    final = hub.repo(REPO).at("main")
    assert final.files["adapter_model.safetensors"].data == weights[0]
    assert {"README.md", "recipe.yaml"} <= set(final.files)
    assert not any(name.startswith("checkpoint-") for name in final.files)

    hub.faults.append(busy[1])
    for name, adapter in (("local", "outputs/tuned"), ("hub", f"{REPO}@{final.oid}")):
        rows = "--config hub.yaml --dataset data/datasets/m --limit 3 --max_new_tokens 12"
        words = ("-m", "eval.generate", *rows.split(), "--out", name, "--adapter", adapter)
        ended(start(hub, other, *words))
    local, remote = (
        [json.loads(line) for line in (other / name / "generations.jsonl").open()]
        for name in ("local", "hub")
    )
    for row in (*local, *remote):
        row.pop("seconds", None)
    assert local == remote and [fault.times for fault in busy] == [0, 0]
    again = ended(train(hub, machine("third"), *PUSH), 2)
    assert "holds a finished adapter already" in again


def test_two_processes_upload_once_and_go_on_elsewhere(hub, machine):
    """One of them uploads; both find what it brings back on another machine."""
    launcher = "-m torch.distributed.run --standalone --nproc_per_node 2 -m sft.train"
    told = "--config hub.yaml --dataset data/datasets/m --output_dir=outputs/tuned --max_steps=2 "
    told += "--save_steps=1 --eval_steps=1 --per_device_train_batch_size 1 --ddp_backend gloo"
    words = (*launcher.split(), *told.split(), "--gradient_accumulation_steps", "1", *PUSH)
    ended(start(hub, machine("one"), *words, "--hub_strategy=all_checkpoints"))
    repo = hub.repo(REPO)
    titles = {commit.title: oid for oid, commit in repo.commits.items()}
    assert {*titles} == {
        "initial commit",
        "checkpoint-1, training goes on",
        "checkpoint-2, training goes on",
        "Adapter of run tuned",
    }
    assert {f"checkpoint-2/rng_state_{rank}.pth" for rank in (0, 1)} <= on_hub(hub)
    trained = repo.at("main").files["adapter_model.safetensors"].data
    repo.branches["main"] = titles["checkpoint-1, training goes on"]

    printed = ended(start(hub, machine("two"), *words))
    assert "going on from checkpoint-1" in printed
    assert repo.at("main").files["adapter_model.safetensors"].data == trained


def test_uploads_that_fail_end_no_training(hub, machine):
    """They are told, and the finished adapter arrives if the Hub is back by then."""
    folder = machine("one")
    hub.faults.append(Fault("POST", f"/api/models/{REPO}/commit/main", 500, times=2))
    printed = ended(train(hub, folder, *PUSH, "--hub_strategy=all_checkpoints"))
    assert "is not on the Hub: the Hub refused user/tuned (500)" in printed
    assert {"checkpoint-12/optimizer.pt", "README.md"} <= on_hub(hub)

    hub.store.repos.pop(("model", REPO))
    hub.faults.append(Fault("POST", f"/api/models/{REPO}/commit/main", 403, times=99))
    second = machine("two")
    printed = ended(train(hub, second, *PUSH, "--hub_strategy=end", "--max_steps=1"), 2)
    assert "`make push RUN=tuned REPO=user/tuned` uploads it" in printed
    manifest = json.loads((second / "outputs/tuned/manifest.json").read_text())
    assert manifest["result"]["steps"] == 1


@pytest.mark.parametrize(
    ("token", "change", "message"),
    [
        (None, "", "no Hugging Face token found"),
        ("hf_reader", "", "may only read"),
        ("hf_other", "", "not yours to write.*--hub_model_id other/tuned"),
        ("hf_owner", "public", "exists and is public"),
    ],
)
def test_what_keeps_checkpoints_from_the_hub_is_told_first(hub, machine, token, change, message):
    folder = machine("one")
    if change == "public":
        hub.store.create("model", REPO, False, hub.store.accounts["hf_owner"])
    before = on_hub(hub)
    printed = ended(train(hub, folder, *PUSH, token=token), 2)
    assert re.search(message, printed), printed[-2000:]
    assert on_hub(hub) == before and not (folder / "outputs/tuned/manifest.json").exists()
