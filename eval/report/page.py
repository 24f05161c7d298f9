"""What the report says, before it is a page or a Markdown file: built once from the runs, printed twice."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eval.report.comparisons import ACCURACY, Comparison, compare_all, comparison_table, no_interval
from eval.report.entries import Entry, entries
from eval.report.examples import Example, choose
from eval.report.figures import (
    Picture,
    draw_accuracy,
    draw_differences,
    draw_reliability,
    draw_trainings,
)
from eval.report.runs import EvaluatedRun, row_groups, row_keys, trainings_of
from eval.report.table import Table
from eval.report.tables import quality
from eval.report.tables import scores as tables
from eval.report.tables.settings import settings_tables, training_table
from weekahead.files import Row
from weekahead.manifest import new_manifest

HINDSIGHT = (
    "The reference answers were written in hindsight: the teacher was told how the week ended and asked to argue for "
    "it. Likeness to them (ROUGE) therefore rewards their style and says nothing about foresight; only the direction "
    "and the size of a prediction are tested against what happened."
)
ADVICE = "Not financial advice: a measurement of language models, for research. Do not trade on it."


@dataclass(frozen=True)
class Headline:
    """The result of one run, or of the seeds of one recipe, in words: its accuracy, its verdicts, and what its weeks
    could show at all."""

    run: str
    accuracy: str
    verdicts: tuple[Comparison, ...]
    power: str
    short: str = ""


@dataclass(frozen=True)
class Report:
    """Everything that is printed."""

    title: str
    made: str
    runs: tuple[str, ...]
    fictional: tuple[str, ...]
    """Sentences of the banner about made-up rows; empty for real ones."""
    warnings: tuple[str, ...]
    headlines: tuple[Headline, ...]
    between: tuple[Comparison, ...]
    comparisons: Table
    measured: tuple[Table, ...]
    breakdown: Table
    upstream: Table
    settings: Table
    settings_equal: Table
    training: Table
    training_notes: tuple[str, ...]
    accuracy_picture: Picture
    differences_picture: Picture | None
    reliability_picture: Picture | None
    comparison_pictures: tuple[Picture, ...]
    training_pictures: dict[str, list[Picture]]
    examples: tuple[Example, ...]

    @property
    def all_tables(self) -> tuple[Table, ...]:
        """Every table, each of which becomes a CSV file."""
        return (
            self.comparisons,
            *self.measured,
            self.breakdown,
            self.upstream,
            self.settings,
            self.settings_equal,
            self.training,
        )


def build(runs: Sequence[EvaluatedRun], title: str, figures: Path) -> Report:
    """The report over `runs`; draws its pictures into the folder `figures`."""
    groups, compared = row_groups(runs), compare_all(runs)
    differing, equal = settings_tables(runs)
    comparison_pictures, training_pictures = draw_trainings(runs, figures)
    return Report(
        title=title,
        made=_made(),
        runs=tuple(run.name for run in runs),
        fictional=fictional_notes(runs),
        warnings=warnings(runs, groups),
        headlines=tuple(headline(entry, compared) for entry in entries(runs)),
        between=tuple(one for one in compared if one.between_runs),
        comparisons=comparison_table(compared),
        measured=(tables.leaderboard(groups), quality.seeds(runs), quality.likelihood(runs), tables.validity(runs),
                  tables.reasons(runs), quality.classes(runs), tables.rouge(runs), quality.text(runs),
                  tables.speed(runs)),
        breakdown=quality.breakdown(runs),
        upstream=tables.upstream(runs),
        settings=differing,
        settings_equal=equal,
        training=training_table(runs),
        training_notes=training_notes(runs),
        accuracy_picture=draw_accuracy(groups, figures / "accuracy.png"),
        differences_picture=draw_differences(compared, figures / "differences.png"),
        reliability_picture=draw_reliability(runs, figures / "reliability.png"),
        comparison_pictures=tuple(comparison_pictures),
        training_pictures=training_pictures,
        examples=tuple(choose(runs)),
    )  # fmt: skip


def headline(entry: Entry, compared: Sequence[Comparison]) -> Headline:
    """The result of one run, or of the seeds of one recipe, in words."""
    m = entry.first.metrics
    own = tuple(one for one in compared if one.run == entry.name and not one.between_runs)
    if m["bin_acc"] is None:
        return Headline(
            entry.name, "no direction accuracy: no row has a truth", own, no_interval(entry.first)
        )
    accuracy, ci95 = m["bin_acc"], m.get("bin_acc_ci95")
    if entry.several:
        accuracy, ci95 = entry.share.mean, entry.share.ci95
    interval = f"95 % interval {ci95[0]:.3f} to {ci95[1]:.3f}" if ci95 else no_interval(entry.first)
    size = f"n = {m['n'] - (m.get('n_no_truth') or 0)}" + (
        f" over {m['weeks']} weeks" if m.get("weeks") else ""
    )
    valid, total = (sum(run.metrics[name] for run in entry.runs) for name in ("valid_lenient", "n"))
    read = "" if valid == total else f"; {valid} of {total} answers could be read"
    mean = f", mean of {len(entry.runs)} seeds" if entry.several else ""
    told = f"direction accuracy {accuracy:.3f}{mean} ({interval}; {size}{read})"
    return Headline(entry.name, told, own, power(entry, own), in_short(own))


def in_short(own: Sequence[Comparison]) -> str:
    """A run against its baselines in one sentence, from what holds after Holm's correction."""
    directions = [one for one in own if one.measure == ACCURACY and one.difference is not None]
    parts = []
    for verdict, words in (("better", "better than"), ("worse", "worse than")):
        names = [one.other for one in directions if one.holds and one.verdict == verdict]
        parts += [f"{words} {', '.join(names)}"] if names else []
    rest = [one.other for one in directions if not one.holds]
    parts += [f"no difference shown from {', '.join(rest)}"] if rest else []
    return (
        "In direction, after Holm's correction: " + ("; ".join(parts) or "nothing was tested") + "."
    )


def power(entry: Entry, own: Sequence[Comparison]) -> str:
    """How large a true effect the weeks of a run could show, in words."""
    reach = [
        one.detectable
        for one in own
        if one.detectable is not None and one.measure == "direction accuracy"
    ]
    alone = entry.detectable
    if alone is None and not reach:
        return f"what these weeks could show cannot be said ({no_interval(entry.first)})"
    parts = []
    if reach:
        ends = dict.fromkeys(f"{end:.3f}" for end in (min(reach), max(reach)))
        parts.append(f"a true difference of {' to '.join(ends)} from a baseline")
    if alone is not None:
        parts.append(f"a true accuracy {alone:.3f} away from a fixed value such as one half")
    weeks, effects = entry.first.metrics["weeks"], " or ".join(parts)
    return f"{weeks} weeks of such rows show, four times in five, {effects}; smaller ones are easily missed"


def fictional_notes(runs: Sequence[EvaluatedRun]) -> tuple[str, ...]:
    """The banner's sentences when any run's rows are made up."""
    made_up = [run for run in runs if run.synthetic]
    if not made_up:
        return ()
    names = "all runs" if len(made_up) == len(runs) else ", ".join(run.name for run in made_up)
    notes = [
        f"Every firm, price and headline in the rows of {names} is invented. Nothing here is about a real market."
    ]
    ceilings = dict.fromkeys(
        note for run in made_up if (note := _ceiling(run.manifest.get("dataset") or {}))
    )
    return (*notes, *ceilings)


def _ceiling(dataset: Row) -> str | None:
    """The best reachable accuracy: a number, or what is expected and what the rule gets on these rows."""
    stated: Any = dataset.get("ceiling")
    facts = stated if isinstance(stated, dict) else {"expected": stated}
    split, on_rows = dataset.get("split"), facts.get("rule_on_rows")
    reached = on_rows.get(split) if isinstance(on_rows, dict) else on_rows
    if not isinstance(facts.get("expected"), int | float):
        return None
    beside = (
        f"; the rule that made the rows gets {reached:.3f} on split {split}"
        if reached is not None
        else ""
    )
    return f"Best reachable direction accuracy: {facts['expected']:.3f}{' expected' if beside else ''}{beside}."


def warnings(
    runs: Sequence[EvaluatedRun], groups: Sequence[Sequence[EvaluatedRun]]
) -> tuple[str, ...]:
    """What a reader must know before comparing: other rows, rows without names, missing files."""
    found = []
    if len(groups) > 1:
        sets = "; ".join(
            f"{tables.group_name(i)}: {', '.join(run.name for run in group)}"
            for i, group in enumerate(groups)
        )
        found.append(f"Not on the same rows, so numbers compare only within a group ({sets}).")
    for missing in dict.fromkeys(run.missing for run in runs if run.missing):
        names = ", ".join(run.name for run in runs if run.missing == missing)
        found.append(
            f"{names}: no {' and no '.join(missing)} in the folder; what would stand there is left out."
        )
    for run in runs:
        if len(runs) > 1 and (not run.scored or row_keys(run) is None):
            found.append(
                f"{run.name}: which rows it was scored on cannot be told (no scored.jsonl, or rows without an id or "
                "symbol and period), so it is compared with no other run."
            )
        if controls := sorted(
            {str(row["control"]) for row in run.generations if row.get("control")}
        ):
            found.append(
                f"{run.name}: its rows are the control {', '.join(controls)}: not forecasts, but a test of what the "
                "model goes by."
            )
        if count := run.manifest.get("rows_in_training_weeks"):
            found.append(
                f"{run.name}: {count} of {run.metrics['n']} rows lie in weeks that its training reached, so they test "
                "memory as well as foresight."
            )
        if count := run.metrics.get("n_no_truth"):
            found.append(
                f"{run.name}: {count} of {run.metrics['n']} rows have no truth and are in no accuracy."
            )
    return tuple(found)


def training_notes(runs: Sequence[EvaluatedRun]) -> tuple[str, ...]:
    """Why a training has no curves, or curves without a GPU."""
    notes = [f"{run.name}: base model, not trained here." for run in runs if run.is_base]
    for training in trainings_of(runs):
        if training.folder is None:
            notes.append(
                f"{training.name}: its folder is not on this machine (outputs/{training.name}), so no curves."
            )
        system = [row for row in training.log if row["kind"] == "system"]
        if training.log and not any(row.get("gpu") for row in system):
            reason = next(
                (row["gpu_reason"] for row in system if row.get("gpu_reason")),
                "nothing was sampled",
            )
            notes.append(
                f"{training.name}: no GPU curves ({reason}); processor and memory are shown."
            )
    notes += [f"{run.name}: TF-IDF and logistic regression; its answers hold a call and no text of their own."
              for run in runs if not run.is_language_model]  # fmt: skip
    unknown = [
        run.name
        for run in runs
        if run.is_language_model and not run.is_base and run.training is None
    ]
    return (*notes, *(f"{name}: no manifest.json says how it was trained." for name in unknown))


def _made() -> str:
    facts = new_manifest()
    commit = facts["git_commit"]
    state = " with local changes" if facts["git_dirty"] else ""
    code = f"code at commit {commit[:12]}{state}" if commit else "code at an unknown commit"
    return f"{facts['created'][:16].replace('T', ' ')} UTC, {code}"
