"""The table of what tuning changed in the calls."""

from eval.report.changes import TuningChange, tuning_changes
from eval.report.comparisons import ComparedRuns, p_text
from eval.report.table import Cell, Table, run_cell


def changes(compared: ComparedRuns) -> Table:
    """Every tuned run beside its base, by what it says and not by what is right."""
    return Table(
        key="tuning_changes",
        title="What tuning changed",
        columns=("Run", "Base", "Measure", "Run's", "Base's", "Difference", "p, uncorrected"),
        rows=tuple(map(_row, tuning_changes(compared))),
        note="A description, not a verdict: it tells what a run says, not whether it is right. On "
        "the rows on which both state a call, with 95 % intervals over weeks; p is against no "
        "difference and not corrected. Sizes are capped at 5.5. Slope: by how much the share of up "
        "rises per percent of last week's move. Under a control: the share of the calls that are "
        "not those of the same model on the rows as they are.",
    )


def _row(found: TuningChange) -> tuple[Cell, ...]:
    change = found.change
    why = change["reason"]
    return (
        run_cell(found.run),
        Cell(found.base),
        Cell(found.wording.title),
        Cell(found.ours, why=why),
        Cell(found.theirs, why=why),
        Cell(change["mean"], ci95=change["ci95"], n=change["n"], why=why, note=why),
        Cell(change["p"], shown_as=p_text(change["p"]), why=why),
    )
