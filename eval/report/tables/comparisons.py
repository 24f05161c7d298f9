"""The table of all comparisons."""

from eval.report.comparisons import ComparedRuns, RunComparison, p_text
from eval.report.table import Cell, Table


def comparisons(compared: ComparedRuns) -> Table:
    """All comparisons with their numbers, those with baselines first."""
    tests = sum(comparison.p is not None for comparison in compared.comparisons)
    return Table(
        key="comparisons",
        title="All comparisons",
        columns=(
            "Run",
            "Against",
            "Verdict",
            "Uncorrected",
            "Measure",
            "Difference",
            "p",
            "p after Holm",
            "Detectable",
        ),
        rows=tuple(_row(comparison) for comparison in compared.comparisons),
        note="Difference: the run minus the other on the same rows, with its 95 % interval, "
        "clustered by week; a lower squared error (sizes capped at 5.5) is better. "
        "p is two-sided and uncorrected. "
        f"Holm's correction is over all {tests} tests of this report, and the verdict is what "
        "holds after it: without the correction, one test in twenty of a model that knows nothing "
        "would say better or worse. Detectable: the smallest true difference that these weeks "
        "would show four times in five.",
    )


def _row(comparison: RunComparison) -> tuple[Cell, ...]:
    is_tested = comparison.difference is not None
    uncorrected = comparison.verdict if is_tested else "not tested"
    verdict = uncorrected if comparison.holds or not is_tested else "not shown"
    why = comparison.reading or comparison.why if is_tested else "not tested"
    return (
        Cell(comparison.run),
        Cell(comparison.other),
        Cell(verdict, mark=verdict if comparison.holds else ""),
        Cell(uncorrected),
        Cell(comparison.measure),
        Cell(comparison.difference, ci95=comparison.ci95, n=comparison.n, why=comparison.why),
        _p_cell(comparison, comparison.p, why),
        _p_cell(comparison, comparison.p_holm, why),
        Cell(comparison.detectable, why=why or "the weeks do not differ"),
    )


def _p_cell(comparison: RunComparison, p: float | None, why: str | None) -> Cell:
    # A small p would contradict the verdict beside it if the difference is one of reading.
    if comparison.reading:
        return Cell(None, why=why)
    return Cell(p, shown_as=p_text(p), why=why)
