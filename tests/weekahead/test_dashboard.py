"""The dashboard on a loopback server by the real client, what there is without an account, and the
live curves."""

import importlib.util
import json
import os
import re
import subprocess
import sys
import threading

import pytest

from eval.publish import flatten
from sft.training.callbacks import flat_sample
from tests.support.servers.wandb_graphql import ViewServer
from tests.support.tiny import ROOT

KEY = "k" * 40
GPU = {
    "index": 0,
    "name": "Stub T4",
    "utilization_percent": 73,
    "memory_used_bytes": 2**32,
    "memory_total_bytes": 2**34,
    "power_watts": 65.5,
    "temperature_celsius": 61,
}


def python(folder, *words, **variables):
    """A command in a fresh process with an empty home and no key but the one given."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    own = {"HOME": str(folder), "NETRC": str(folder / ".netrc"), "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, *words],
        cwd=folder,
        env=kept | own | variables,
        capture_output=True,
        text=True,
        timeout=120,
    )


@pytest.fixture
def server():
    with ViewServer() as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield found
        found.shutdown()


def panels_of(view):
    """Section -> its panels, of a saved view."""
    sections = json.loads(view["spec"])["section"]["panelBankConfig"]["sections"]
    return {section["name"]: section["panels"] for section in sections if section["panels"]}


@pytest.mark.skipif(
    importlib.util.find_spec("wandb_workspaces") is None,
    reason="wandb-workspaces is not installed",
)
def test_the_dashboard_is_saved_once_and_renewed(tmp_path, server):
    """Read back from the server: its sections, and metrics that trainings and evaluations log."""
    account = {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": KEY}
    for _ in range(2):
        done = python(tmp_path, "-m", "weekahead.dashboard", **account)
        assert done.returncode == 0, done.stderr
        assert done.stdout == f"{server.address}/me/weekahead?nw=weekahead\n"
    first, second = server.saved
    assert "id" not in first and second["id"] == "view-1"
    assert first["name"] == second["name"] and first["displayName"] == "Weekahead"
    panels = panels_of(second)
    assert list(panels) == ["Verdict", "Comparison of runs", "Loss", "GPU", "Speed", "Tables"]
    assert panels["Comparison of runs"][0]["viewType"] == "Run Comparer"
    text = json.dumps([panels["Verdict"], panels["Tables"]])
    for table in ("eval/verdict", "eval/metrics", "gen/answers"):
        assert f'"val": "{table}"' in text
    configs = [panel["config"] for section in panels.values() for panel in section]
    named = {name for config in configs for name in config.get("metrics") or []}
    assert named == {
        "train/loss", "eval/loss", "train/learning_rate", "train/grad_norm", "gpu/energy_wh",
        "speed/tokens_per_second", "speed/mfu", "eval/bin_acc", "eval/skill/excess_accuracy",
        "eval/mse",
    }  # fmt: skip
    drawn = [config["metricRegex"] for config in configs if config.get("metricRegex")]
    sample = {"gpu": [GPU], "gpu_reason": None, "cpu_percent": 1.0, "rss_bytes": 1}
    logged = [name for name in flat_sample(sample) if name.startswith("gpu/")]
    assert len(drawn) == 4 and all(
        any(re.fullmatch(regex, name) for name in logged) for regex in drawn
    )
    assert {config.get("xAxis") for config in configs if "xAxis" in config} == {"train/global_step"}
    assert KEY not in done.stdout + done.stderr


def test_evaluations_log_what_the_dashboard_draws():
    skill = {"excess_accuracy": 0.1, "ci95": [0.0, 0.2]}
    logged = {f"eval/{name}" for name, _ in flatten({"bin_acc": 0.5, "mse": 2.0, "skill": skill})}
    assert {"eval/bin_acc", "eval/mse", "eval/skill/excess_accuracy"} <= logged


def test_without_an_account_what_there_is_is_named(tmp_path):
    """It costs no error: nothing was asked for that cannot be had."""
    done = python(tmp_path, "-m", "weekahead.dashboard")
    assert done.returncode == 0 and "nothing yet: train and evaluate first" in done.stdout
    for path in (
        "outputs/a/wandb/offline-run-20260101_000000-x/run.wandb",
        "outputs/a/train_log.jsonl",
        "reports/compare/report.html",
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).touch()
    done = python(tmp_path, "-m", "weekahead.dashboard")
    assert done.returncode == 0, done.stderr
    for part in (
        "no W&B key is set",
        "wandb leet outputs/a/wandb/offline-run-20260101_000000-x",
        "reports/compare/report.html",
        "-m weekahead.live outputs/a",
    ):
        assert part in done.stdout


def test_a_dashboard_without_its_package_names_it(tmp_path, server):
    """The package is hidden, since it may be installed."""
    (tmp_path / "wandb_workspaces.py").write_text("raise ImportError('hidden')")
    account = {"WANDB_BASE_URL": server.address, "WANDB_API_KEY": KEY}
    path = f"{tmp_path}:{ROOT}"
    done = python(tmp_path, "-m", "weekahead.dashboard", **account, PYTHONPATH=path)
    assert done.returncode == 2 and server.saved == []
    assert "needs wandb-workspaces, which is not installed: run make setup" in done.stderr


def rows_of(gpu):
    base = {"epoch": 0.1, "cpu_percent": 99.0, "rss_bytes": 2**30}
    system = base | {"kind": "system", "gpu": gpu and [gpu], "gpu_reason": None if gpu else "none"}
    train = {"kind": "train", "epoch": 0.1, "loss": 2.0, "tokens_per_second": 10.0}
    return [system | {"step": 0, "time": 1.0}, train | {"step": 1, "time": 2.0}]


@pytest.mark.parametrize("gpu", [GPU, None], ids=["GPU", "CPU"])
def test_live_curves_leave_a_half_written_row_in_its_file(tmp_path, gpu):
    from weekahead.live import draw

    rows = rows_of(gpu)
    log = tmp_path / "train_log.jsonl"
    log.write_text("".join(json.dumps(row) + "\n" for row in rows) + '{"step": 2, "lo')
    before = log.read_bytes()
    assert draw(tmp_path) is False
    assert log.read_bytes() == before, "the training goes on writing it"
    assert (tmp_path / "figures" / "live.png").stat().st_size > 10_000
    log.write_text("".join(json.dumps(row) + "\n" for row in [*rows, rows[1] | {"kind": "end"}]))
    assert draw(tmp_path) is True


def test_live_curves_of_nothing_are_refused(tmp_path, capsys):
    from weekahead.live import main

    assert main([str(tmp_path)]) == 2
    assert "expected outputs/<run>, in which a training has begun" in capsys.readouterr().err
