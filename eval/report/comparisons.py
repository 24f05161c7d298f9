"""Differences of direction accuracy, squared error and probabilities: descriptions of the rows,
without a verdict.

The verdicts of a report are on skill alone (eval.report.skills). A difference from a simple
forecast mostly tells which way the market went.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from eval.metrics.baselines import versus_entry
from eval.metrics.bin_baselines import difference_entry
from eval.metrics.probability_scores import brier
from eval.report.entries import Entry, group_entries
from eval.report.rows import row_groups, same_rows
from eval.report.runs import EvaluatedRun
from eval.report.table import format_value
from weekahead.schema.metrics import Comparison
from weekahead.schema.rows import ScoredRow

ACCURACY, ERROR = "direction accuracy", "squared error"
BRIER, RANKED = "Brier score, asked at once", "ranked probability, asked at once"
_NOT_IN_ROWS = "scored.jsonl has no such column: run eval.score again"


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
            comparisons += [comparison, *probability_comparisons(first, second)]
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
    run, other = _in_order(first, second)
    both = run.readable & other.readable
    all_read = len(both) == len(run.hits)
    return replace(
        _comparison(run, other.name, _paired(run, other, run.hits)),
        between_runs=True,
        both_read=None if all_read else _on_rows_read(run, other, both),
    )


def _in_order(first: Entry, second: Entry) -> tuple[Entry, Entry]:
    """The entry that stands first in a difference, and the one that is subtracted."""
    if first.first.is_base or not second.first.is_base:
        return second, first
    return first, second


def probability_comparisons(first: Entry, second: Entry) -> list[RunComparison]:
    """The two scores of what entries on the same rows state if they are asked at once.

    Each is the mean difference on the rows for which both have probabilities, with the test of
    Diebold & Mariano (Journal of Business & Economic Statistics 13(3), 1995) over weeks. None at
    all if one of the two was not asked.
    """
    run, other = _in_order(first, second)
    if not run.asked_at_once or not other.asked_at_once:
        return []
    comparisons: list[RunComparison] = []
    for measure, score in _ROW_SCORES.items():
        ours, theirs = run.row_scores(score), other.row_scores(score)
        keys = [key for key in run.hits if key in ours and key in theirs]
        weeks = [run.weeks[key] for key in keys] if run.weeks else None
        found = difference_entry([ours[key] for key in keys], [theirs[key] for key in keys], weeks)
        why = _NOT_IN_ROWS if not keys else no_interval(run.first)
        comparisons.append(
            RunComparison(
                run=run.name,
                other=other.name,
                **found,
                why=why if found["p"] is None else None,
                between_runs=True,
                measure=measure,
            )
        )
    return comparisons


def _brier(row: ScoredRow) -> float | None:
    up = row.get("direct_up_probability")
    return None if up is None else brier(up, row["truth_direction"] == 1)


def _ranked(row: ScoredRow) -> float | None:
    return row.get("direct_rps")


_ROW_SCORES: dict[str, Callable[[ScoredRow], float | None]] = {BRIER: _brier, RANKED: _ranked}


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
