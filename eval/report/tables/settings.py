"""What each run was made with, side by side: the differences first, what is equal folded away."""

from collections.abc import Sequence
from typing import Any

from eval.report.runs import EvaluatedRun, trainings_of
from eval.report.table import Cell, Table, compact
from weekahead.files import Row

_ABSENT = object()
_NO_TRAINING = "not trained: the base model as it is"
_RESULTS = {
    "steps": ("Steps", 1), "train_loss": ("Train loss", 1), "eval_loss": ("Eval loss", 1),
    "tokens_per_second": ("Tokens a second", 1), "samples_per_second": ("Samples a second", 1),
    "steps_per_second": ("Steps a second", 1), "runtime_seconds": ("Runtime, seconds", 1),
    "peak_memory_bytes": ("Peak memory, GiB", 1 / 2**30),
}  # fmt: skip


def settings_tables(runs: Sequence[EvaluatedRun]) -> tuple[Table, Table]:
    """The settings that differ between runs, and those that are equal wherever they are recorded.

    A setting that one manifest lacks is no difference: a base model has no learning rate. Of a single
    run all settings are in the first table.
    """
    flat = [facts(run) for run in runs]
    keys = list(dict.fromkeys(key for one in flat for key in one))
    different = [
        key for key in keys if len(runs) == 1 or _differs([one.get(key, _ABSENT) for one in flat])
    ]
    equal = [key for key in keys if key not in different]
    title = "Settings" if len(runs) == 1 else "Settings that differ"
    return (
        _table("settings", title, runs, flat, different, "differs" if len(runs) > 1 else ""),
        _table("settings_equal", "Settings that are equal", runs, flat, equal, ""),
    )


def facts(run: EvaluatedRun) -> dict[str, Any]:
    """All recorded settings of a run under dotted names, in reading order."""
    manifest, train = run.manifest, run.training.manifest if run.training else {}
    names = ("adapter", "adapter_revision", "base", "precision", "dataset", "generation", "git_commit", "git_dirty",
             "python", "packages")  # fmt: skip
    groups: Row = {name: manifest[name] for name in names if name in manifest}
    trained = ("settings", "dataset", "precision", "turn_format", "train_majority", "git_commit")
    groups["training"] = {name: train[name] for name in trained if name in train}
    return {
        key.replace("training.settings.", "training."): value for key, value in _flatten(groups)
    }


def _flatten(value: Row, prefix: str = "") -> list[tuple[str, Any]]:
    found: list[tuple[str, Any]] = []
    for key, item in value.items():
        if isinstance(item, dict):
            found += _flatten(item, f"{prefix}{key}.")
        else:
            found.append((f"{prefix}{key}", item))
    return found


def _differs(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not _ABSENT]
    return any(value != known[0] for value in known[1:])


def _table(
    key: str,
    title: str,
    runs: Sequence[EvaluatedRun],
    flat: Sequence[dict[str, Any]],
    names: Sequence[str],
    mark: str,
) -> Table:
    rows = tuple(
        (Cell(name), *(_cell(run, one, name, mark) for run, one in zip(runs, flat, strict=True)))
        for name in names
    )
    return Table(key, title, ("Setting", *(run.name for run in runs)), rows)


def _cell(run: EvaluatedRun, values: dict[str, Any], name: str, mark: str) -> Cell:
    value = values.get(name, _ABSENT)
    if value is _ABSENT:
        base = run.training is None and name.startswith("training.") and bool(run.manifest)
        return Cell(None, why=_NO_TRAINING if base else "not recorded")
    if isinstance(value, list):
        value = ", ".join(
            compact(item) if not isinstance(item, list | dict) else str(item) for item in value
        )
    return Cell("none" if value is None else compact(value), mark=mark)


def training_table(runs: Sequence[EvaluatedRun]) -> Table:
    """What came out of each training, one row a training."""
    rows = []
    for training in trainings_of(runs):
        result = training.manifest.get("result") or {}
        values = [(result.get(key), scale) for key, (_, scale) in _RESULTS.items()]
        why = "not recorded in the training's manifest"
        rows.append(
            (
                Cell(training.name, mark="run"),
                *(Cell(v if v is None or s == 1 else v * s, why=why) for v, s in values),
            )
        )
    columns = ("Training", *(title for title, _ in _RESULTS.values()))
    return Table("training", "Training", columns, tuple(rows))
