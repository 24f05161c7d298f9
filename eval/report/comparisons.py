"""What is shown and what is not: every comparison of the report, in words and corrected for being several."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from typing import Any

from eval.metrics.baselines import versus_entry
from eval.metrics.statistics import ALPHA, holm
from eval.report.entries import Entry, entries
from eval.report.runs import EvaluatedRun, same_rows
from eval.report.table import Cell, Table, format_value

ACCURACY, ERROR = "direction accuracy", "squared error"


@dataclass(frozen=True)
class Comparison:
    """A measure of `run` minus that of `other` on the same rows; of the squared error less is better."""

    run: str
    other: str
    """A baseline, or another run."""
    difference: float | None
    ci95: Sequence[float] | None
    p: float | None
    verdict: str
    """"better", "worse" or "not shown", uncorrected."""
    detectable: float | None
    n: int | None
    why: str | None = None
    """Why there is no p."""
    p_holm: float | None = None
    """p corrected for all comparisons of the report."""
    between_runs: bool = False
    measure: str = ACCURACY
    reading: str | None = None
    """That a difference lies in how many answers could be read, which is then no verdict on what they say."""

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
        """The verdict in words, as in "a: better than b: not shown (difference -0.03, ...); p 0.42, ..."."""
        return f"{self.run}: {self.claim}"

    @property
    def claim(self) -> str:
        """The same where the run is named already."""
        word = "worse" if self.verdict == "worse" else "better"
        of = "" if self.measure == ACCURACY else f" in {self.measure} (less is better)"
        claim = f"{word} than {self.other}{of}"
        if self.difference is None:
            return f"{claim}: not tested ({self.why or 'no value'})"
        if self.p is None or self.ci95 is None:
            return f"{claim}: not shown (difference {_short(self.difference)}, {self.why})"
        low, high = map(_short, self.ci95)
        numbers = f"difference {_short(self.difference)}, 95 % interval {low} to {high}"
        numbers += f"; {self.reading}" if self.reading else ""
        if self.reading:
            return f"{claim}: not shown ({numbers})"
        after = f"p {p_text(self.p)}, after Holm's correction {p_text(self.p_holm)}"
        verdict = (
            "shown"
            if self.holds
            else "not shown after Holm's correction"
            if self.shown
            else "not shown"
        )
        return f"{claim}: {verdict} ({numbers}); {after}"


def compare_all(runs: Sequence[EvaluatedRun]) -> list[Comparison]:
    """Every entry against its baselines, then every two entries on the same rows; Holm's p over all of them."""
    compared = entries(runs)
    made = [one for entry in compared for one in against_baselines(entry)]
    made += [one for pair in combinations(compared, 2) if (one := between(*pair)) is not None]
    corrected = holm([one.p for one in made])
    return [replace(one, p_holm=p) for one, p in zip(made, corrected, strict=True)]


def against_baselines(entry: Entry) -> list[Comparison]:
    """The comparisons with the baselines: of a run as metrics.json holds them, of several seeds by direction alone."""
    versus, reasons = entry.versus()
    made = [
        _comparison(entry, name.replace("_", "-"), found, reasons.get(name))
        for name, found in versus.items()
        if found is not None or name in reasons
    ]
    still = None if entry.several else entry.first.metrics.get("mse_versus_zero_move")
    return (
        [*made, replace(_comparison(entry, "zero-move", still, None), measure=ERROR)]
        if still
        else made
    )


def between(first: Entry, second: Entry) -> Comparison | None:
    """The second run minus the first, a base model always being the one subtracted.

    None where the two were not scored on the same rows, or their rows carry nothing to tell that by. An answer
    that cannot be read is wrong; so that this alone makes no run the better forecaster, a verdict must also hold
    on the rows that both could read.
    """
    if not same_rows(first.first, second.first):
        return None
    run, other = (
        (first, second) if second.first.is_base and not first.first.is_base else (second, first)
    )
    hits, weeks, theirs = run.hits, run.weeks, other.hits
    made = replace(
        _comparison(run, other.name, _paired(hits, theirs, weeks, hits), None), between_runs=True
    )
    read, others_read = run.readable, other.readable
    on_both = _paired(
        hits, theirs, weeks, [key for key in hits if key in read and key in others_read]
    )
    if not made.shown or on_both["verdict"] == made.verdict:
        return made
    counts = f"{len(read)} rows of {run.name} could be read and {len(others_read)} of {other.name}"
    return replace(made, verdict="not shown", reading=f"it lies in what could be read: {counts}")


def _paired(
    ours: Mapping[str, float],
    theirs: Mapping[str, float],
    weeks: dict[str, str] | None,
    keys: Iterable[str],
) -> dict[str, Any]:
    """Ours minus theirs on the rows `keys`."""
    keys = list(keys)
    mine, other = [ours[key] for key in keys], [theirs[key] for key in keys]
    return versus_entry(mine, other, [weeks[key] for key in keys] if weeks else None)


def _comparison(
    entry: Entry, other: str, found: dict[str, Any] | None, why: str | None
) -> Comparison:
    values = found or {}
    if values and values.get("p") is None:
        why = no_interval(entry.first)
    return Comparison(
        entry.name, other, values.get("difference"), values.get("ci95"), values.get("p"),
        values.get("verdict") or "not shown", values.get("detectable_effect"), values.get("n"), why,
    )  # fmt: skip


def no_interval(run: EvaluatedRun) -> str:
    """Why the metrics of a run have no interval."""
    return f"no interval: {run.metrics.get('interval_reason') or 'too few weeks'}"


def comparison_table(comparisons: Sequence[Comparison]) -> Table:
    """All comparisons with their numbers, in the order of `compare_all`."""
    tests = sum(one.p is not None for one in comparisons)
    return Table(
        "comparisons",
        "All comparisons",
        (
            "Run",
            "Against",
            "Verdict",
            "Uncorrected",
            "Measure",
            "Difference",
            "p",
            "p after Holm",
            "Could show",
        ),
        tuple(_table_row(one) for one in comparisons),
        f"Difference: the run minus the other on the same rows, with its 95 % interval, clustered by week; of the "
        f"squared error, less is better. p is two-sided and uncorrected; Holm's correction is over all {tests} "
        "tests of this report, and the verdict is what holds after it: without it one test in twenty of a model "
        "that knows nothing is called better or worse. Could show: the smallest true difference these weeks would "
        "show four times in five.",
    )


def _table_row(one: Comparison) -> tuple[Cell, ...]:
    tested = one.difference is not None
    verdict = one.verdict if tested else "not tested"
    after = verdict if one.holds or not tested else "not shown"
    why = one.reading or one.why if tested else "not tested"
    return (
        Cell(one.run),
        Cell(one.other),
        Cell(after, mark=after if one.holds else ""),
        Cell(verdict),
        Cell(one.measure),
        Cell(one.difference, ci95=one.ci95, n=one.n, why=one.why),
        Cell(None if one.reading else one.p, words=None if one.reading else p_text(one.p), why=why),
        Cell(
            None if one.reading else one.p_holm,
            words=None if one.reading else p_text(one.p_holm),
            why=why,
        ),
        Cell(one.detectable, why=why or "the weeks do not differ"),
    )


def p_text(p: float | None) -> str:
    """A p-value as printed: three decimals, or "below 0.001"."""
    if p is None:
        return format_value(None)
    return "below 0.001" if p < 0.001 else f"{p:.3f}"


def _short(value: float) -> str:
    """Two decimals; a third where two would print a value that is not zero as zero."""
    digits = 3 if value != 0 and abs(value) < 0.005 else 2
    return format_value(float(value), digits)
