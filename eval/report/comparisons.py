"""Differences of direction accuracy and squared error: descriptions of the rows, without a verdict.

The verdicts of a report are on skill alone (eval.report.skills). A difference from a simple
forecast mostly tells which way the market went.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from eval.metrics.baselines import versus_entry
from eval.report.entries import Entry, group_entries
from eval.report.rows import row_groups, same_rows
from eval.report.runs import EvaluatedRun
from eval.report.table import format_value
from weekahead.schema.metrics import Comparison

ACCURACY, ERROR = "direction accuracy", "squared error"


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """A measure of `run` minus that of `other` on the same rows."""

    run: str
    other: str
    """A baseline, or another run."""
    difference: float | None = None
    ci95: Sequence[float] | None = None
    p: float | None = None
    """Two-sided, not corrected for the number of comparisons."""
    n: int | None = None
    why: str | None = None
    """Why there is no p."""
    between_runs: bool = False
    measure: str = ACCURACY
    both_read: str | None = None
    """The difference on the rows that both runs could read, if not all are."""


@dataclass(frozen=True)
class ComparedRuns:
    """The runs of a report and everything that its tables and figures are made of."""

    runs: Sequence[EvaluatedRun]
    groups: Sequence[Sequence[EvaluatedRun]]
    """The runs on the same rows together."""
    entries: Sequence[Entry]
    """The seeds of one recipe together."""
    comparisons: Sequence[RunComparison]


def compare_runs(runs: Sequence[EvaluatedRun]) -> ComparedRuns:
    """Compare every entry with its baselines, then every two entries on the same rows."""
    entries = group_entries(runs)
    comparisons: list[RunComparison] = []
    for entry in entries:
        comparisons += baseline_comparisons(entry)
    for first, second in combinations(entries, 2):
        comparison = compare_entries(first, second)
        if comparison is not None:
            comparisons.append(comparison)
    return ComparedRuns(runs, row_groups(runs), entries, comparisons)


def baseline_comparisons(entry: Entry) -> list[RunComparison]:
    """The comparisons with the baselines; of several seeds by direction accuracy alone."""
    versus, reasons = entry.versus_baselines()
    comparisons = [
        _comparison(entry, baseline.replace("_", "-"), stored, why=reasons.get(baseline))
        for baseline, stored in versus.items()
        if stored is not None or baseline in reasons
    ]
    error = entry.first.metrics["mse_versus_zero_move"]
    if error is not None and not entry.has_seeds:
        comparisons.append(_comparison(entry, "zero-move", error, measure=ERROR))
    return comparisons


def compare_entries(first: Entry, second: Entry) -> RunComparison | None:
    """The second entry minus the first; a base model is always the one that is subtracted.

    None if the two were not scored on the same rows, or if nothing identifies their rows. An answer
    that cannot be read is wrong. That alone does not make a run the better forecaster, so the
    difference on the rows that both could read stands beside.
    """
    if not same_rows(first.first, second.first):
        return None
    run, other = first, second
    if first.first.is_base or not second.first.is_base:
        run, other = second, first
    both = run.readable & other.readable
    all_read = len(both) == len(run.hits)
    return replace(
        _comparison(run, other.name, _paired(run, other, run.hits)),
        between_runs=True,
        both_read=None if all_read else _on_rows_read(run, other, both),
    )


def _on_rows_read(run: Entry, other: Entry, both: set[str]) -> str:
    stored = _paired(run, other, [key for key in run.hits if key in both])
    if stored["difference"] is None:
        return "no row that both could read"
    return f"{format_value(stored['difference'])} on the {len(both)} rows that both could read"


def _paired(run: Entry, other: Entry, keys: Iterable[str]) -> Comparison:
    """The direction accuracy of `run` minus that of `other` on the rows `keys`."""
    keys = list(keys)
    weeks = run.weeks
    ours = [run.hits[key] for key in keys]
    theirs = [other.hits[key] for key in keys]
    return versus_entry(ours, theirs, [weeks[key] for key in keys] if weeks else None)


def _comparison(
    entry: Entry,
    other: str,
    stored: Comparison | None,
    *,
    why: str | None = None,
    measure: str = ACCURACY,
) -> RunComparison:
    if stored is None:
        return RunComparison(run=entry.name, other=other, why=why, measure=measure)
    return RunComparison(
        run=entry.name,
        other=other,
        difference=stored["difference"],
        ci95=stored["ci95"],
        p=stored["p"],
        n=stored["n"],
        why=no_interval(entry.first) if stored["p"] is None else why,
        measure=measure,
    )


def no_interval(run: EvaluatedRun) -> str:
    """Why the metrics of a run have no interval."""
    return f"no interval: {run.metrics['interval_reason'] or 'too few weeks'}"


def p_text(p: float | None) -> str:
    """A p-value as printed: three decimals, or "below 0.001"."""
    if p is None:
        return format_value(None)
    return "below 0.001" if p < 0.001 else f"{p:.3f}"
