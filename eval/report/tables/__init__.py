"""The tables of the page, in its order. A new table is a table function and one line here."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from eval.report.comparisons import ComparedRuns
from eval.report.figures import DrawnFigure, draw_accuracy, draw_reliability
from eval.report.table import Table
from eval.report.tables.bins import bins
from eval.report.tables.comparisons import comparisons
from eval.report.tables.probabilities import likelihood
from eval.report.tables.quality import (
    breakdown,
    classes,
    seeds,
    text_quality,
)
from eval.report.tables.scores import (
    leaderboard,
    reasons,
    rouge,
    speed,
    upstream,
    validity,
)
from eval.report.tables.within_weeks import book, within_weeks


@dataclass(frozen=True)
class TablePlan:
    """A table of the page with its figure. A table without rows is left out."""

    table: Callable[[ComparedRuns], Table]
    figure_above: Callable[[ComparedRuns, Path], DrawnFigure | None] | None = None
    """Draws into a folder; None if there is nothing to draw."""
    figure_below: Callable[[ComparedRuns, Path], DrawnFigure | None] | None = None


TABLES = (
    TablePlan(leaderboard, figure_above=draw_accuracy),
    TablePlan(comparisons),
    TablePlan(within_weeks),
    TablePlan(book),
    TablePlan(seeds),
    TablePlan(bins),
    TablePlan(likelihood, figure_below=draw_reliability),
    TablePlan(validity),
    TablePlan(reasons),
    TablePlan(classes),
    TablePlan(rouge),
    TablePlan(text_quality),
    TablePlan(speed),
    TablePlan(breakdown),
    TablePlan(upstream),
)
