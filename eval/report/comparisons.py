"""What is shown and what is not: every comparison of the report, corrected for their number."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

from eval.metrics.baselines import versus_entry
from eval.metrics.statistics import ALPHA, holm
from eval.report.entries import Entry, group_entries
from eval.report.rows import row_groups, same_rows
from eval.report.runs import EvaluatedRun
from eval.report.table import format_value
from weekahead.schema.metrics import Comparison, Verdict

ACCURACY, ERROR = "direction accuracy", "squared error"


@dataclass(frozen=True, kw_only=True)
class RunComparison:
    """A measure of `run` minus that of `other` on the same rows; a lower squared error is
    better."""

    run: str
    other: str
    """A baseline, or another run."""
    difference: float | None = None
    ci95: Sequence[float] | None = None
    p: float | None = None
    verdict: Verdict = "not shown"
    """Not corrected."""
    detectable: float | None = None
    n: int | None = None
    why: str | None = None
    """Why there is no p."""
    p_holm: float | None = None
    """p corrected for all comparisons of the report."""
    between_runs: bool = False
    measure: str = ACCURACY
    reading: str | None = None
    """Set if a difference comes from how many answers could be read: then it is no verdict."""

    @property
    def shown(self) -> bool:
        """Whether the uncorrected test shows a difference."""
        return self.verdict in ("better", "worse")

    @property
    def holds(self) -> bool:
        """Whether the difference is still shown after Holm's correction."""
        return self.shown and self.p_holm is not None and self.p_holm < ALPHA

    @property
    def sentence(self) -> str:
        """The verdict as a sentence: "a: better than b: not shown (difference ...); p 0.42,
        ..."."""
        return f"{self.run}: {self.claim}"

    @property
    def claim(self) -> str:
        """The sentence without the name of the run."""
        direction = "worse" if self.verdict == "worse" else "better"
        claim = f"{direction} than {self.other}"
        if self.measure != ACCURACY:
            claim += f" in {self.measure} (less is better)"
        if self.difference is None:
            return f"{claim}: not tested ({self.why or 'no value'})"
        difference = f"difference {_short(self.difference)}"
        if self.p is None or self.ci95 is None:
            return f"{claim}: not shown ({difference}, {self.why})"
        low, high = map(_short, self.ci95)
        numbers = f"{difference}, 95 % interval {low} to {high}"
        if self.reading:
            return f"{claim}: not shown ({numbers}; {self.reading})"
        p_values = f"p {p_text(self.p)}, after Holm's correction {p_text(self.p_holm)}"
        return f"{claim}: {self._corrected_verdict} ({numbers}); {p_values}"

    @property
    def _corrected_verdict(self) -> str:
        if self.holds:
            return "shown"
        return "not shown after Holm's correction" if self.shown else "not shown"


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
    """Compare every entry with its baselines, then every two entries on the same rows.

    Holm's p is over all of these comparisons.
    """
    entries = group_entries(runs)
    comparisons: list[RunComparison] = []
    for entry in entries:
        comparisons += baseline_comparisons(entry)
    for first, second in combinations(entries, 2):
        comparison = compare_entries(first, second)
        if comparison is not None:
            comparisons.append(comparison)
    p_values = holm([comparison.p for comparison in comparisons])
    corrected = [
        replace(comparison, p_holm=p) for comparison, p in zip(comparisons, p_values, strict=True)
    ]
    return ComparedRuns(runs, row_groups(runs), entries, corrected)


def baseline_comparisons(entry: Entry) -> list[RunComparison]:
    """The comparisons with the baselines; of several seeds by direction accuracy alone."""
    versus, reasons = entry.versus_baselines()
    comparisons = [
        _comparison(entry, baseline.replace("_", "-"), stored, reasons.get(baseline))
        for baseline, stored in versus.items()
        if stored is not None or baseline in reasons
    ]
    error = entry.first.metrics["mse_versus_zero_move"]
    if error is not None and not entry.has_seeds:
        comparisons.append(replace(_comparison(entry, "zero-move", error, None), measure=ERROR))
    return comparisons


def compare_entries(first: Entry, second: Entry) -> RunComparison | None:
    """The second entry minus the first; a base model is always the one that is subtracted.

    None if the two were not scored on the same rows, or if nothing identifies their rows. An answer
    that cannot be read is wrong. So that this alone does not make a run the better forecaster, a
    verdict must also hold on the rows that both could read.
    """
    if not same_rows(first.first, second.first):
        return None
    run, other = first, second
    if first.first.is_base or not second.first.is_base:
        run, other = second, first
    stored = _paired(run, other, run.hits)
    comparison = replace(_comparison(run, other.name, stored, None), between_runs=True)
    readable, other_readable = run.readable, other.readable
    both_read = readable & other_readable
    stored = _paired(run, other, [key for key in run.hits if key in both_read])
    if not comparison.shown or stored["verdict"] == comparison.verdict:
        return comparison
    reading = (
        f"it lies in what could be read: {len(readable)} rows of {run.name} could be read and "
        f"{len(other_readable)} of {other.name}"
    )
    return replace(comparison, verdict="not shown", reading=reading)


def _paired(run: Entry, other: Entry, keys: Iterable[str]) -> Comparison:
    """The direction accuracy of `run` minus that of `other` on the rows `keys`."""
    keys = list(keys)
    weeks = run.weeks
    ours = [run.hits[key] for key in keys]
    theirs = [other.hits[key] for key in keys]
    return versus_entry(ours, theirs, [weeks[key] for key in keys] if weeks else None)


def _comparison(
    entry: Entry, other: str, stored: Comparison | None, why: str | None
) -> RunComparison:
    if stored is None:
        return RunComparison(run=entry.name, other=other, why=why)
    return RunComparison(
        run=entry.name,
        other=other,
        difference=stored["difference"],
        ci95=stored["ci95"],
        p=stored["p"],
        verdict=stored["verdict"],
        detectable=stored["detectable_effect"],
        n=stored["n"],
        why=no_interval(entry.first) if stored["p"] is None else why,
    )


def no_interval(run: EvaluatedRun) -> str:
    """Why the metrics of a run have no interval."""
    return f"no interval: {run.metrics['interval_reason'] or 'too few weeks'}"


def p_text(p: float | None) -> str:
    """A p-value as printed: three decimals, or "below 0.001"."""
    if p is None:
        return format_value(None)
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def _short(value: float) -> str:
    """Two decimals; three if two would print a value that is not zero as zero."""
    digits = 3 if value != 0 and abs(value) < 0.005 else 2
    return format_value(float(value), digits)


def by_run(comparisons: Iterable[RunComparison], name: str) -> tuple[RunComparison, ...]:
    """The comparisons of the entry `name` with its baselines."""
    own = (comparison for comparison in comparisons if comparison.run == name)
    return tuple(comparison for comparison in own if not comparison.between_runs)
