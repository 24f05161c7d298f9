"""The tables of what a run tells apart within a week: market-neutral skill, ranks, a book."""

from eval.report.comparisons import ComparedRuns, p_text
from eval.report.table import Cell, Table, run_cell
from weekahead.schema.metrics import SecondaryMean

_PERCENT = 100


def within_weeks(compared: ComparedRuns) -> Table:
    """Market-neutral skill and the rank correlation of stated size and return."""
    rows: list[tuple[Cell, ...]] = []
    for run in compared.runs:
        skill, correlation = run.metrics["market_neutral_skill"], run.metrics["rank_correlation"]
        rows.append(
            (
                run_cell(run.name),
                _mean_cell(skill),
                _p_cell(skill),
                _mean_cell(correlation, weeks=True),
                _p_cell(correlation),
            )
        )
    known = any(
        run.metrics[name]["mean"] is not None
        for run in compared.runs
        for name in ("market_neutral_skill", "rank_correlation")
    )
    return Table(
        key="within_weeks",
        title="Telling firms apart within a week",
        columns=(
            "Run",
            "Market-neutral skill",
            "p of the skill",
            "Rank correlation with returns",
            "p of the correlation",
        ),
        rows=tuple(rows) if known else (),
        note="A description, not a verdict: p is against 0 and not corrected. Market-neutral skill "
        "is the part of the skill that lies within weeks, where the market's own move falls out; "
        "the rest of the skill is timing of the market. Rank correlation: of the signed size that "
        "is stated and the return (Spearman), in each week, the mean over weeks.",
    )


def book(compared: ComparedRuns) -> Table:
    """A long-short book that follows the calls."""
    rows: list[tuple[Cell, ...]] = []
    for run in compared.runs:
        found, why = run.metrics["book"], run.metrics["book_reason"]
        if found is None:
            cells = [Cell(None, why=why) for _ in range(5)]
        else:
            ci95 = found["ci95"] and [_PERCENT * end for end in found["ci95"]]
            earned = None if found["mean"] is None else _PERCENT * found["mean"]
            cells = [
                Cell(earned, digits=2, ci95=ci95, note=found["reason"]),
                _p_cell(found),
                Cell(found["turnover"], digits=2),
                Cell(found["break_even_bp"], digits=0),
                Cell(found["weeks_held"], n=found["weeks"]),
            ]
        rows.append((run_cell(run.name), *cells))
    known = any(run.metrics["book"] for run in compared.runs)
    return Table(
        key="book",
        title="A long-short book that follows the calls",
        columns=(
            "Run",
            "Return per week, %",
            "p",
            "Turnover per week",
            "Break-even cost, basis points",
            "Weeks held",
        ),
        rows=tuple(rows) if known else (),
        note="A description, not a verdict and no trading result: before costs, over a few weeks; "
        "p is against 0 and not corrected. Each week the firms called up share one unit of capital "
        "long in equal parts, those called down one unit short; a week that lacks one of the two "
        "is held in cash. Turnover: what is bought and sold, in units of the capital. Break-even "
        "cost: of each trade, at which nothing is left; below 0 the book loses before costs.",
    )


def _mean_cell(found: SecondaryMean, *, weeks: bool = False) -> Cell:
    over = f"{found['weeks']} weeks" if weeks and found["weeks"] else None
    notes = [text for text in (over, found["reason"]) if text]
    return Cell(
        found["mean"],
        ci95=found["ci95"],
        n=found["n"],
        why=found["reason"],
        note="; ".join(notes) or None,
    )


def _p_cell(found: SecondaryMean) -> Cell:
    return Cell(found["p"], shown_as=p_text(found["p"]), why=found["reason"])
