"""What each run was made with, side by side: the settings that differ, and those that are equal."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from eval.report.comparisons import ComparedRuns
from eval.report.runs import EvaluatedRun, Training, trainings_of
from eval.report.table import Cell, Table, compact, run_cell
from weekahead.schema.manifests import JsonObject

_ABSENT = object()
_NO_TRAINING = "not trained: the base model as it is"
_RUN_SETTINGS = (
    "adapter",
    "adapter_revision",
    "base",
    "precision",
    "dataset",
    "generation",
    "backend",
    "git_commit",
    "git_dirty",
    "python",
    "packages",
)
_TRAINING_SETTINGS = (
    "settings",
    "dataset",
    "precision",
    "turn_format",
    "train_majority",
    "git_commit",
)
_GIBIBYTE = 2**30


class SettingsTables(NamedTuple):
    """The settings of all runs."""

    differing: Table
    """Of a single run, all settings."""
    equal: Table


@dataclass(frozen=True)
class RecordedSettings:
    """All recorded settings of a run under dotted names, in reading order."""

    run: EvaluatedRun
    values: JsonObject

    def cell(self, name: str, mark: str) -> Cell:
        """The cell of one setting."""
        value = self.values.get(name, _ABSENT)
        if value is _ABSENT:
            is_base = self.run.training is None and bool(self.run.stored)
            untrained = is_base and name.startswith("training.")
            return Cell(None, why=_NO_TRAINING if untrained else "not recorded")
        return Cell("none" if value is None else _setting_text(value), mark=mark)


def settings_tables(compared: ComparedRuns) -> SettingsTables:
    """The settings that differ between runs, and those that are equal in all that record them.

    A setting that one manifest lacks is not a difference: a base model has no learning rate.
    """
    settings = [RecordedSettings(run, recorded_settings(run)) for run in compared.runs]
    is_single = len(settings) == 1
    names = dict.fromkeys(name for recorded in settings for name in recorded.values)
    differing = [name for name in names if is_single or _differs(settings, name)]
    equal = [name for name in names if name not in differing]
    columns = ("Setting", *(run.name for run in compared.runs))
    mark = "" if is_single else "differs"
    return SettingsTables(
        Table(
            key="settings",
            title="Settings" if is_single else "Settings that differ",
            columns=columns,
            rows=_rows(settings, differing, mark),
        ),
        Table(
            key="settings_equal",
            title="Settings that are equal",
            columns=columns,
            rows=_rows(settings, equal, ""),
        ),
    )


def recorded_settings(run: EvaluatedRun) -> JsonObject:
    """All recorded settings of a run under dotted names, in reading order."""
    trained = run.training.stored if run.training else {}
    groups: JsonObject = {name: run.stored[name] for name in _RUN_SETTINGS if name in run.stored}
    groups["training"] = {name: trained[name] for name in _TRAINING_SETTINGS if name in trained}
    flat = _flatten(groups)
    return {name.replace("training.settings.", "training."): flat[name] for name in flat}


def _flatten(nested: JsonObject, prefix: str = "") -> JsonObject:
    flat: JsonObject = {}
    for key, value in nested.items():
        if isinstance(value, dict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[f"{prefix}{key}"] = value
    return flat


def _differs(settings: Sequence[RecordedSettings], name: str) -> bool:
    values = [recorded.values[name] for recorded in settings if name in recorded.values]
    return any(value != values[0] for value in values[1:])


def _rows(
    settings: Sequence[RecordedSettings], names: Sequence[str], mark: str
) -> tuple[tuple[Cell, ...], ...]:
    rows: list[tuple[Cell, ...]] = []
    for name in names:
        cells = [recorded.cell(name, mark) for recorded in settings]
        rows.append((Cell(name), *cells))
    return tuple(rows)


def _setting_text(value: Any) -> str:
    if not isinstance(value, list):
        return compact(value)
    items = [str(item) if isinstance(item, list | dict) else compact(item) for item in value]
    return ", ".join(items)


def _loss_note(training: Training) -> str:
    """Which loss the losses of a training are: those of two kinds do not compare."""
    settings = training.manifest["settings"]
    kind = settings.get("loss_type") or "nll"
    smoothing = settings.get("label_smoothing_factor")
    return f"{kind}, smoothed by {smoothing:g}" if smoothing else f"{kind}"


def training_table(compared: ComparedRuns) -> Table:
    """The results of each training, one row per training."""
    rows: list[tuple[Cell, ...]] = []
    why = "not recorded in the training's manifest"
    keys = (
        "steps",
        "train_loss",
        "eval_loss",
        "tokens_per_second",
        "samples_per_second",
        "steps_per_second",
        "runtime_seconds",
    )
    trainings = trainings_of(compared.runs)
    several_losses = len({_loss_note(training) for training in trainings}) > 1
    for training in trainings:
        result = training.stored.get("result") or {}
        memory = result.get("peak_memory_bytes")
        gibibytes = None if memory is None else memory / _GIBIBYTE
        values = [result.get(key) for key in keys]
        note = _loss_note(training) if several_losses else None
        notes = {"train_loss": note, "eval_loss": note}
        cells = [
            Cell(value, why=why, note=notes.get(key))
            for key, value in zip((*keys, "memory"), (*values, gibibytes), strict=True)
        ]
        rows.append((run_cell(training.name), *cells))
    return Table(
        key="training",
        title="Training",
        columns=(
            "Training",
            "Steps",
            "Train loss",
            "Eval loss",
            "Tokens per second",
            "Samples per second",
            "Steps per second",
            "Runtime, seconds",
            "Peak memory, GiB",
        ),
        rows=tuple(rows),
    )
