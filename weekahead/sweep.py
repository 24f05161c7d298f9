"""A grid of trainings, each evaluated, and one page that compares them and their base.

    python -m weekahead.sweep qlora --model llama --variables DATASET=data/datasets/mine

Called by `make sweep`, and by an agent of W&B for one point (`--point "--lora_r=8 ..."`). The file
in recipes/sweeps/ is one of `wandb sweep`; without its server the points of a grid are made here,
by `make train`, `make eval` and `make compare`. What is done already stays: the same command goes
on.
"""

import glob
import itertools
import logging
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, cast

from weekahead.cli import MODEL_ERRORS, configure_logging, new_parser, run_command
from weekahead.interrupts import LAUNCHER, Interrupted
from weekahead.names import check_name
from weekahead.recipe import read_yaml
from weekahead.schema.file_names import MANIFEST, METRICS
from weekahead.schema.flags import TRAINING_FLAGS
from weekahead.schema.manifests import read_training_manifest
from weekahead.told_files import named_file
from weekahead.told_flags import read_flags

log = logging.getLogger(__name__)

SWEEPS = Path("recipes/sweeps")
_DIVERGED = 1
_SHORT = {"lora_r": "r", "lora_alpha": "alpha", "learning_rate": "lr", "num_train_epochs": "ep"}
"""Field -> its part of the name of a run, so that a legend has room for it."""
_SET_BY_THE_SWEEP = ("config", "dataset", "output_dir")
_OF_MAKE = (
    "MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES",
    "SWEEP", "POINT", "MODEL", "DATASET", "RUN", "RUNS", "REPORT", "ADAPTER", "ARGS", "ACCEL",
    "GPU", "GPUS",
)  # fmt: skip
"""What the target around this command was told; each target is told its own."""
_OF_AN_AGENT = ("WANDB_SWEEP_ID", "WANDB_RUN_ID", "WANDB_SWEEP_PARAM_PATH")
"""They make the training the agent's run; the evaluation is a run of its own."""
_OF_THE_MACHINE = ("ACCEL=", "GPU=")
_MOST_POINTS = 200

Value = str | int | float | bool


@dataclass(frozen=True)
class Point:
    """One training of a sweep."""

    run: str
    flags: tuple[str, ...]
    """Such as --lora_r=8."""


@dataclass(frozen=True)
class Job:
    """What every training of a sweep has in common."""

    name: str
    """What the names of its runs begin with, and the name of its report."""
    arguments: tuple[str, ...]
    """The words of ARGS."""
    variables: tuple[str, ...]
    """Variables for make, such as MODEL=llama."""


def read_grid(path: Path) -> list[dict[str, Value]]:
    """The points of a sweep: every combination of its parameters' values, the last one fastest.

    Raises ValueError naming the file and what a grid cannot have.
    """
    expected = "expected a file of `wandb sweep` with method: grid and parameters"
    stated = read_yaml(path, expected)
    if not isinstance(stated, dict):
        raise ValueError(f"{path} is not a mapping; {expected}")
    fields = cast("Mapping[str, object]", stated)
    if fields.get("method") != "grid":
        raise ValueError(
            f"{path}: method is {fields.get('method')!r}; without W&B's server a sweep is a grid: "
            f"set method: grid, or run it with: wandb sweep {path}"
        )
    if "early_terminate" in fields:
        raise ValueError(f"{path}: early_terminate needs W&B's server; leave it out")
    parameters = fields.get("parameters")
    if not isinstance(parameters, dict) or not parameters:
        raise ValueError(f"{path}: there are no parameters; {expected}")
    named = cast("Mapping[str, object]", parameters)
    lists = [_values(path, name, stated) for name, stated in named.items()]
    points = [dict(zip(named, values, strict=True)) for values in itertools.product(*lists)]
    if len(points) > _MOST_POINTS:
        raise ValueError(f"{path}: {len(points)} points; expected at most {_MOST_POINTS}")
    return points


def _values(path: Path, name: str, stated: object) -> list[Value]:
    parameter = cast("dict[str, object]", stated if isinstance(stated, dict) else {})
    values = [parameter["value"]] if "value" in parameter else parameter.get("values")
    if not isinstance(values, list) or not values:
        raise ValueError(
            f"{path}: {name} has no values; a grid expects a list: {name}: {{values: [8, 32]}}"
        )
    listed = cast("list[object]", values)
    if wrong := [value for value in listed if not isinstance(value, Value)]:
        raise ValueError(f"{path}: {name} has the value {wrong[0]!r}; expected numbers or texts")
    return cast("list[Value]", listed)


def flags_of(values: Mapping[str, Value]) -> list[str]:
    """The values of a point as flags of a training."""
    texts = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in values.items()
    }
    return [f"--{name}={text}" for name, text in texts.items()]


def point_of(name: str, flags: Sequence[str]) -> Point:
    """The point with these flags of a training; its run has a name that states them.

    Raises ValueError for a flag that no training has, or that the sweep sets itself.
    """
    values = read_flags(flags, TRAINING_FLAGS, "sft.train")
    if fixed := [field for field in _SET_BY_THE_SWEEP if field in values]:
        raise ValueError(f"--{fixed[0]} cannot be swept: the sweep sets it for every run")
    # An agent of W&B gives them in another order than the file.
    texts = {field: _plain(field, values[field] or "true") for field in sorted(values)}
    parts = [f"{_SHORT.get(field, field)}{text}" for field, text in texts.items()]
    run = re.sub(r"[^\w.+-]", "_", "-".join([name, *parts]))
    words = tuple(f"--{field}={text}" for field, text in texts.items())
    return Point(check_name("the run's name", run), words)


def _plain(field: str, value: str) -> str:
    """A value in one spelling, whoever wrote it: 2.0e-4 and 0.0002, False and false are one."""
    if TRAINING_FLAGS[field] == "true or false":
        return value.lower()
    if TRAINING_FLAGS[field] != "number":
        return value
    number = float(value)
    short = f"{number:g}"
    return short if float(short) == number else repr(number)


def run_sweep(job: Job, points: Sequence[Point]) -> int:
    """Train and evaluate every point, and compare all that is evaluated with the base; the status.

    A training that diverged is left out, and the status is then 1. Raises ValueError if a folder
    holds a training with other flags, RuntimeError if a command fails otherwise.
    """
    for point in points:
        _check_same_training(job, point)
    diverged: list[str] = []
    for number, point in enumerate(points, start=1):
        log.info("sweep %s, point %d of %d: %s", job.name, number, len(points), point.run)
        if not _make_point(job, point):
            diverged.append(point.run)
    if not _is_evaluated(base := f"{job.name}-base"):
        _evaluate(base, ["ADAPTER=none", *job.variables])
    folders = sorted(Path("results").glob(f"{glob.escape(job.name)}-*/{METRICS}"))
    runs = [folder.parent.name for folder in folders]
    told = [f"RUNS={shlex.join(runs)}", f"REPORT={job.name}"]
    if status := _make("compare", told, _without_agent()):
        raise RuntimeError(f"make compare ended with status {status}; the lines above say why")
    if diverged:
        log.warning("diverged, so not compared: %s", ", ".join(diverged))
    return _DIVERGED if diverged else 0


def _make_point(job: Job, point: Point) -> bool:
    """Train and evaluate one point, as far as that is not done; False if it diverged."""
    if _training(point) == "to do":
        words = shlex.join([*point.flags, *job.arguments])
        told = [f"RUN={point.run}", f"ARGS={words}", *job.variables]
        status = _make("train", told, os.environ)
        if status and _training(point) != "diverged":
            raise _failure("train", point.run, status)
    if _training(point) == "diverged":
        return False
    if not _is_evaluated(point.run):
        _evaluate(point.run, [told for told in job.variables if told.startswith(_OF_THE_MACHINE)])
    return True


def _is_evaluated(run: str) -> bool:
    return (Path("results") / run / METRICS).is_file()


def _evaluate(run: str, told: Sequence[str]) -> None:
    if status := _make("eval", [f"RUN={run}", *told], _without_agent()):
        raise _failure("eval", run, status)


def _training(point: Point) -> Literal["to do", "done", "diverged"]:
    """How far the training of a point is, by its manifest."""
    path = Path("outputs") / point.run / MANIFEST
    if not path.exists():
        return "to do"
    manifest = read_training_manifest(path)
    result = manifest["result"]
    if manifest.get("diverged") or (result and (result.get("failed") or result.get("diverged"))):
        return "diverged"
    return "done" if result else "to do"


def _failure(target: str, run: str, status: int) -> RuntimeError:
    return RuntimeError(
        f"make {target} RUN={run} ended with status {status}; the lines above say why. After "
        "their remedy the same command goes on"
    )


def _check_same_training(job: Job, point: Point) -> None:
    """Raise ValueError if the run of a point was trained with other flags than it would be now."""
    path = Path("outputs") / point.run / MANIFEST
    if _training(point) == "to do":
        return  # the training itself compares what it goes on from
    command = read_training_manifest(path)["command"]
    wanted = [*point.flags, *job.arguments]
    datasets = [told.partition("=")[2] for told in job.variables if told.startswith("DATASET=")]
    same_rows = all(dataset in command for dataset in datasets)
    if command[len(command) - len(wanted) :] != wanted or not same_rows:
        raise ValueError(
            f"outputs/{point.run} was trained by another command ({shlex.join(command)}); give the "
            "sweep another RUN, or remove the folder"
        )


def _make(target: str, told: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run a target of the Makefile and return its status.

    It has a session of its own, so that a signal reaches it once, from here, and it ends before
    Interrupted goes on.
    """
    inherited = {name: value for name, value in environment.items() if name not in _OF_MAKE}
    inherited[LAUNCHER] = f"{environment.get(LAUNCHER, '')} {os.getpid()}"
    words = ["make", "--no-print-directory", target, *(word.replace("$", "$$") for word in told)]
    process = subprocess.Popen(words, env=inherited, start_new_session=True)
    try:
        return process.wait()
    except Interrupted as interrupt:
        os.killpg(process.pid, interrupt.number)
        process.wait()
        raise


def _without_agent() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in _OF_AN_AGENT}


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, 1 if a training diverged, 2 an error whose message has the remedy."""
    parser = new_parser(__doc__, "weekahead.sweep")
    parser.add_argument("sweep", help="the file recipes/sweeps/<name>.yaml")
    parser.add_argument("--model", required=True, help="recipe")
    parser.add_argument("--run", default="", help="what the names of the runs begin with")
    parser.add_argument("--point", default="", help="flags of one point, instead of the grid")
    parser.add_argument("--arguments", default="", help="flags for every training")
    parser.add_argument("--variables", nargs="*", default=[], help="for make: NAME=VALUE ..")
    options = parser.parse_args(argv)
    configure_logging()

    def work() -> int:
        path = named_file("SWEEP", options.sweep, SWEEPS)
        named_file("MODEL", options.model, Path("recipes"))
        name = check_name("RUN", options.run or f"{options.sweep}-{options.model}")
        words = tuple(shlex.split(options.arguments))
        read_flags(words, TRAINING_FLAGS, "sft.train")
        variables = (f"MODEL={options.model}", *options.variables)
        if options.point:
            flags = [shlex.split(options.point)]
        else:
            flags = [flags_of(values) for values in read_grid(path)]
        points = [point_of(name, each) for each in flags]
        return run_sweep(Job(name, words, variables), points)

    return run_command("weekahead.sweep", work, errors=MODEL_ERRORS, resumable=True)


if __name__ == "__main__":
    sys.exit(main())
