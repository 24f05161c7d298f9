"""The table of differences from simple forecasts and between runs."""

from eval.report.comparisons import ComparedRuns, RunComparison, p_text
from eval.report.table import Cell, Table


def comparisons(compared: ComparedRuns) -> Table:
    """All differences with their numbers, those from baselines first."""
    return Table(
        key="comparisons",
        title="Differences from simple forecasts and between runs",
        columns=("Run", "Minus", "Measure", "Difference", "p, uncorrected"),
        rows=tuple(_row(comparison) for comparison in compared.comparisons),
        note="A description of these rows, not a verdict: there are many differences, none is "
        "corrected for their number, and a difference from always-up mostly tells which way the "
        "market went. The run minus the other on the same rows, with its 95 % interval over weeks. "
        "An answer that cannot be read counts as wrong. Squared error: sizes capped at 5.5, the "
        "lower the closer. Brier score and ranked probability: of what both runs state if they are "
        "asked at once, the lower the closer; p is Diebold and Mariano's test over weeks.",
    )


def _row(comparison: RunComparison) -> tuple[Cell, ...]:
    why = comparison.why or "not tested"
    difference = Cell(
        comparison.difference,
        ci95=comparison.ci95,
        n=comparison.n,
        why=why,
        note=comparison.both_read,
    )
    return (
        Cell(comparison.run, mark="run"),
        Cell(comparison.other),
        Cell(comparison.measure),
        difference,
        Cell(comparison.p, shown_as=p_text(comparison.p), why=why),
    )
