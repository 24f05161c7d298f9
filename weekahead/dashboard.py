"""W&B's dashboard for all runs of a project, made from code; without an account, what to open.

    python -m weekahead.dashboard

The same command renews the same dashboard. WANDB_PROJECT and WANDB_ENTITY say whose it is.
"""

import contextlib
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from weekahead.cli import MODEL_ERRORS, configure_logging, new_parser, run_command
from weekahead.schema.file_names import TRAIN_LOG
from weekahead.tracking.run import PROJECT
from weekahead.tracking.wandb_server import (
    Account,
    TrackingError,
    check_server,
    drop_empty_variables,
    find_account,
)

_VIEW = "nw-weekahead-v"
"""The name of the view on the server: nw-<what stands in its address>-v."""
_STEP = "train/global_step"


def new_dashboard(entity: str, project: str) -> Any:
    """The dashboard as a Workspace of wandb-workspaces, not saved yet.

    Names of metrics are those of sft.training.callbacks and eval.publish.
    """
    panels: Any = import_module("wandb_workspaces.reports.v2")
    workspaces: Any = import_module("wandb_workspaces.workspaces")

    def lines(title: str, *metrics: str) -> Any:
        return panels.LinePlot(title=title, x=_STEP, y=list(metrics))

    def gpus(title: str, figure: str) -> Any:
        return panels.LinePlot(title=title, x=_STEP, metric_regex=f"gpu/[0-9]+/{figure}")

    def bars(title: str, metric: str) -> Any:
        return panels.BarPlot(title=title, metrics=[metric])

    def table(name: str) -> Any:
        return panels.WeavePanelSummaryTable(table_name=name)

    sections: dict[str, list[Any]] = {
        "Verdict": [table("eval/verdict")],
        "Comparison of runs": [
            panels.RunComparer(diff_only=True),
            bars("Direction accuracy", "eval/bin_acc"),
            bars("Skill: accuracy above chance", "eval/skill/excess_accuracy"),
            bars("Mean squared error", "eval/mse"),
        ],
        "Loss": [
            lines("Loss (nats per token)", "train/loss", "eval/loss"),
            lines("Learning rate", "train/learning_rate"),
            lines("Gradient norm", "train/grad_norm"),
        ],
        "GPU": [
            gpus("GPU utilization (%)", "utilization_percent"),
            gpus("GPU memory used (bytes)", "memory_used_bytes"),
            gpus("GPU power (W)", "power_watts"),
            gpus("GPU temperature (°C)", "temperature_celsius"),
            bars("GPU energy (Wh)", "gpu/energy_wh"),
        ],
        "Speed": [
            lines("Tokens per second, without padding", "speed/tokens_per_second"),
            lines("Model FLOPs utilization (MFU)", "speed/mfu"),
        ],
        "Tables": [table("eval/metrics"), table("gen/answers")],
    }
    return workspaces.Workspace(
        entity=entity,
        project=project,
        name="Weekahead",
        sections=[
            workspaces.Section(name=name, panels=of_it, is_open=True)
            for name, of_it in sections.items()
        ],
    )


def save_dashboard(account: Account) -> str:
    """Make the dashboard, or renew the one that is there; its address.

    Raises ImportError without wandb-workspaces, TrackingError if the server does not take it.
    """
    try:
        workspaces: Any = import_module("wandb_workspaces.workspaces")
    except ImportError as error:
        raise ImportError(
            "the dashboard needs wandb-workspaces, which is not installed: run make setup"
        ) from error
    import wandb
    from wandb.errors import Error

    project = os.environ.get("WANDB_PROJECT", PROJECT)
    try:
        entity = os.environ.get("WANDB_ENTITY") or wandb.Api().default_entity
        if not entity:
            raise TrackingError(f"{account.base_url} names no entity of this key; set WANDB_ENTITY")
        dashboard = new_dashboard(entity, project)
        dashboard._internal_name = _VIEW
        with contextlib.suppress(ValueError):  # there is none yet
            dashboard._internal_id = workspaces.Workspace.from_url(dashboard.url)._internal_id
        return str(dashboard.save().url)
    except Error as error:
        raise TrackingError(
            f"{account.base_url} did not take the dashboard of {project} ({error}); a project "
            "exists from its first run on: train one, or check WANDB_ENTITY and WANDB_PROJECT"
        ) from None


def local_ways() -> list[str]:
    """What to open without an account, newest first."""
    records = sorted(Path("outputs").glob("*/wandb/offline-run-*"), key=lambda path: path.name)
    reports = sorted(Path("reports").glob("*/report.html"), key=lambda path: path.stat().st_mtime)
    ways = [f"a run's curves in the terminal: .venv/bin/wandb leet {path}" for path in records[-1:]]
    ways += [f"the comparison of runs and their verdicts: {path}" for path in reports[-1:]]
    logs = sorted(Path("outputs").glob(f"*/{TRAIN_LOG}"), key=lambda path: path.stat().st_mtime)
    ways += [
        f"the curves of {path.parent.name} as pictures, while it trains too: "
        f".venv/bin/python -m weekahead.live {path.parent}"
        for path in logs[-1:]
    ]
    return ways or ["nothing yet: train and evaluate first"]


def run() -> int:
    """Save the dashboard and print its address; without an account print what to open."""
    drop_empty_variables()
    account = find_account()
    if account.mode != "online":
        print(f"no dashboard on W&B ({account.reason}); without an account there are:")
        print("\n".join(local_ways()))
        return 0
    check_server(account)
    print(save_dashboard(account))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, or 2 if the server does not take the dashboard."""
    new_parser(__doc__, "weekahead.dashboard").parse_args(argv)
    configure_logging()
    return run_command("weekahead.dashboard", run, errors=(*MODEL_ERRORS, ImportError))


if __name__ == "__main__":
    sys.exit(main())
