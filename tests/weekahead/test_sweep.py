"""Sweeps: the grid in the file of `wandb sweep`, the names of its runs, and all of it by make."""

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.servers.wandb_graphql import SweepServer
from tests.support.tiny import ROOT
from weekahead.sweep import flags_of, main, point_of, read_grid

GRID = {"lora_r": {"values": [2, 4]}, "learning_rate": {"values": [1.0e-3, 1.0e-2]}}
FEW = "--max_steps 2 --eval_strategy no --save_strategy no --gradient_accumulation_steps 1"


def write(path, **fields):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(
        yaml.safe_dump({"method": "grid", "parameters": GRID, **fields}, sort_keys=False)
    )
    return path


def test_a_grid_has_every_combination_of_its_values(tmp_path):
    path = write(tmp_path / "s.yaml", parameters={**GRID, "seed": {"value": 7}})
    points = [point_of("s", flags_of(values)) for values in read_grid(path)]
    assert [point.run for point in points] == [
        "s-lr0.001-r2-seed7", "s-lr0.01-r2-seed7", "s-lr0.001-r4-seed7", "s-lr0.01-r4-seed7",
    ]  # fmt: skip
    assert points[0].flags == ("--learning_rate=0.001", "--lora_r=2", "--seed=7")


def test_the_grid_of_the_repository_can_be_trained():
    grid = read_grid(ROOT / "recipes" / "sweeps" / "qlora.yaml")
    assert len({point_of("qlora", flags_of(values)).run for values in grid}) == 8


def test_a_point_has_one_name_whoever_writes_its_numbers():
    """W&B's agent writes 5e-05, YAML reads 5.0e-5, a person 0.00005."""
    spellings = [
        ["--learning_rate=5e-05", "--seed=1"],
        ["--seed=1", "--learning_rate=5.0e-5"],
        ["--seed=1", "--learning_rate=0.00005"],
    ]
    assert len({point_of("s", flags) for flags in spellings}) == 1
    drawn = point_of("s", ["--learning_rate=0.00012345678901234", "--use_dora=False"])
    assert drawn.flags == ("--learning_rate=0.00012345678901234", "--use_dora=false")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"method": "bayes"}, "method is 'bayes'; without W&B's server a sweep is a grid"),
        ({"parameters": {}}, "there are no parameters"),
        ({"parameters": {"lora_r": {"min": 2, "max": 8}}}, "lora_r has no values"),
        ({"parameters": {"lora_r": 8}}, "lora_r has no values"),
        ({"parameters": {"lora_r": {"values": [[8]]}}}, "lora_r has the value [8]"),
        ({"parameters": {"seed": {"values": [*range(201)]}}}, "201 points; expected at most 200"),
        ({"early_terminate": {"type": "hyperband"}}, "early_terminate needs W&B's server"),
    ],
)
def test_what_is_no_grid_is_refused_by_name(tmp_path, fields, message):
    with pytest.raises(ValueError, match=r"s\.yaml: ") as caught:
        read_grid(write(tmp_path / "s.yaml", **fields))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("flag", "message"),
    [
        ("--lora_rank=8", "sft.train has no flag --lora_rank"),
        ("--lora_r=eight", "--lora_r is 'eight'; expected a whole number"),
        ("--output_dir=x", "--output_dir cannot be swept"),
    ],
)
def test_a_parameter_that_no_training_has_is_refused(flag, message):
    with pytest.raises(ValueError, match=message):
        point_of("s", [flag])


MAKE = """#!{python}
import json, sys
from pathlib import Path
target, told = sys.argv[2], dict(word.split("=", 1) for word in sys.argv[3:])
with Path("calls").open("a") as file:
    file.write(" ".join([target, told.get("RUN", told.get("RUNS"))]) + "\\n")
if target == "train":
    diverges = "lr0.01" in told["RUN"]
    finding = {{"step": 1, "what": "loss", "rows": [], "last_good_checkpoint": None}}
    manifest = {{"kind": "train", "command": ["x", *told["ARGS"].split()], "run_id": "a",
                "settings": {{}}, "base": {{}}, "dataset": {{}}, "precision": {{}},
                "result": None if diverges else {{"steps": 2}},
                "diverged": finding if diverges else None}}
    folder = Path("outputs", told["RUN"])
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    sys.exit(2 * diverges)
if target == "eval":
    Path("results", told["RUN"]).mkdir(parents=True)
    Path("results", told["RUN"], "metrics.json").touch()
"""


def test_a_training_that_diverges_is_left_out_and_named(tmp_path, monkeypatch, caplog):
    """With a stand-in for make that notes what it was asked for; the status is 1."""
    grid = {"learning_rate": {"values": [0.001, 0.01]}}
    write(tmp_path / "recipes" / "sweeps" / "s.yaml", parameters=grid)
    (tmp_path / "recipes" / "tiny.yaml").touch()
    (tmp_path / "make").write_text(MAKE.format(python=sys.executable))
    (tmp_path / "make").chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert main(["s", "--model", "tiny"]) == 1
    assert (tmp_path / "calls").read_text().splitlines() == [
        "train s-tiny-lr0.001", "eval s-tiny-lr0.001", "train s-tiny-lr0.01", "eval s-tiny-base",
        "compare s-tiny-base s-tiny-lr0.001",
    ]  # fmt: skip
    assert "diverged, so not compared: s-tiny-lr0.01" in caplog.text
    assert main(["s", "--model", "tiny", "--arguments", "--seed 1"]) == 2


@pytest.fixture
def place(tiny, tmp_path):
    """A folder in which make finds the project, the base of `tiny`, and a sweep of two points."""
    for name in ("Makefile", "setup.sh", "requirements.txt", "requirements.lock"):
        shutil.copy(ROOT / name, tmp_path)
    shutil.copytree(ROOT / "accelerate_configs", tmp_path / "accelerate_configs")
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    grid = {"lora_r": {"values": [2, 4]}, "learning_rate": {"value": 0.01}}
    command = yaml.safe_load((ROOT / "recipes" / "sweeps" / "qlora.yaml").read_text())["command"]
    command = [word.replace("SWEEP=qlora", "SWEEP=s") for word in command]
    write(tmp_path / "recipes" / "sweeps" / "s.yaml", parameters=grid, command=command)
    recipe = yaml.safe_load((tiny / "recipe.yaml").read_text()) | {"lora_dropout": 0.0}
    (tmp_path / "recipes" / "tiny.yaml").write_text(yaml.safe_dump(recipe))
    shutil.copytree(tiny / "data" / "datasets" / "m", tmp_path / "data")
    for split in ("validation", "test"):
        rows = (tmp_path / "data" / f"{split}.jsonl").read_text().splitlines()[:4]
        (tmp_path / "data" / f"{split}.jsonl").write_text("\n".join([*rows, ""]))
    (tmp_path / ".venv" / "ready").touch()
    return tmp_path


def sweep(place, *words):
    """Start `make sweep` as a user does."""
    own = {"HOME": str(place / "home"), "PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}
    return subprocess.Popen(
        ["make", "sweep", "SWEEP=s", "MODEL=tiny", "DATASET=data", f"ARGS={FEW}", *words],
        cwd=place,
        env={**os.environ, **own},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def ended(process):
    _, err = process.communicate(timeout=600)
    return process.returncode, err


def wandb(place, server, *words, **variables):
    """The client's own command line, with a key for a server on loopback."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {"HOME": str(place / "home"), "PYTHONPATH": str(ROOT), "WANDB_API_KEY": "k" * 40}
    done = subprocess.run(
        [Path(sys.executable).with_name("wandb"), *words],
        cwd=place,
        env=kept | own | {"WANDB_BASE_URL": server.address} | variables,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done


def sweep_of(folder):
    """The ids of run and sweep in the W&B record of a folder."""
    (record,) = (folder / "wandb").glob("offline-run-*/run-*.wandb")
    content = record.read_bytes()
    return record.stem.removeprefix("run-"), b"sweep1" in content


def make_a_point_by_an_agent(place):
    """`wandb sweep` and `wandb agent`, whose server asks for one point."""
    with SweepServer([{"learning_rate": 0.01, "lora_r": 2}]) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        wandb(place, server, "sweep", "recipes/sweeps/s.yaml")
        told = {"MODEL": "tiny", "DATASET": "data", "ARGS": FEW, "WANDB_MODE": "offline"}
        done = wandb(place, server, "agent", "me/weekahead/sweep1", **told)
        server.shutdown()
    return done.stderr


@pytest.mark.slow
def test_a_sweep_ends_in_one_page_over_all_points(place):
    """One point by an agent of W&B; the grid, which a signal ends; and the grid once more.

    The agent's training is its run of the sweep, the evaluation a run of its own.
    """
    first, second = "s-tiny-lr0.01-r2", "s-tiny-lr0.01-r4"
    err = make_a_point_by_an_agent(place)
    assert (place / "reports" / "s-tiny" / "report.html").is_file(), err[-3000:]
    assert sweep_of(place / "outputs" / first) == ("point0", True)
    evaluation, in_sweep = sweep_of(place / "results" / first)
    assert evaluation != "point0" and not in_sweep
    written = (place / "results" / first / "metrics.json").stat().st_mtime_ns
    process = sweep(place)
    while not (place / "outputs" / second).exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    started = psutil.Process(process.pid).children(recursive=True)
    process.terminate()
    status, err = ended(process)
    assert status and "interrupted by SIGTERM" in err
    assert psutil.wait_procs(started, timeout=10)[1] == [], "a process is left"
    status, err = ended(sweep(place))
    assert status == 0, err
    after = (place / "results" / first / "metrics.json").stat().st_mtime_ns
    assert after == written, "what was done is not done again"
    runs = {first, second, "s-tiny-base"}
    assert {path.name for path in (place / "results").iterdir()} == runs
    manifests = [
        json.loads((place / "outputs" / run / "manifest.json").read_text())
        for run in (first, second)
    ]
    assert manifests[0]["run_id"] == "point0"
    settings = [each["settings"] for each in manifests]
    found = [(each["lora_r"], each["learning_rate"], each["max_steps"]) for each in settings]
    assert found == [(2, 0.01, 2), (4, 0.01, 2)]
    page = (place / "reports" / "s-tiny" / "report.html").read_text()
    assert all(run in page for run in runs)
    status, err = ended(sweep(place, "ARGS=--max_steps 3"))
    assert status == 2 and "was trained by another command" in err
