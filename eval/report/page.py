"""What the report says, before it is a page or a Markdown file: built once, printed twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.report.changes import change_sentences, tuning_changes
from eval.report.comparisons import ComparedRuns, compare_runs
from eval.report.examples import Example, choose_examples
from eval.report.figures import (
    DrawnFigure,
    draw_each_training,
    draw_skill,
    draw_trainings,
)
from eval.report.notes import fictional_notes, training_notes, warnings
from eval.report.runs import EvaluatedRun
from eval.report.skills import SkillResult, skill_results, tuning_results
from eval.report.summary import Summary, summarize
from eval.report.table import Table
from eval.report.tables import TABLES, TablePlan
from eval.report.tables.changes import changes
from eval.report.tables.settings import settings_tables, training_table
from weekahead.manifest import provenance


@dataclass(frozen=True)
class ReportSection:
    """One heading with what stands below it, in the order of the fields; closed until it is
    opened."""

    title: str
    figure: DrawnFigure | None = None
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    figures: tuple[DrawnFigure, ...] = ()
    sections: tuple["ReportSection", ...] = ()
    folded: bool = False
    """Within another section: closed as well."""

    def all_tables(self) -> Iterator[Table]:
        """The tables of this section and of those within it."""
        yield from self.tables
        for section in self.sections:
            yield from section.all_tables()


@dataclass(frozen=True)
class Report:
    """Everything that is printed."""

    title: str
    created: str
    """When and with which code."""
    runs: tuple[str, ...]
    fictional: tuple[str, ...]
    """Sentences of the banner about made-up rows; empty for real ones."""
    warnings: tuple[str, ...]
    summary: Summary
    verdicts: Mapping[str, SkillResult]
    """The corrected verdict of each run, by its name."""
    skill_figure: DrawnFigure | None
    """The picture of the summary for Markdown; the page draws it itself, in its own colors."""
    changes: tuple[str, ...]
    """What tuning changed in the calls, in sentences."""
    has_changes: bool
    """Whether one of the changes could be computed."""
    changes_table: Table
    """The same as a CSV file: on the page each number stands once."""
    examples: tuple[Example, ...]
    sections: tuple[ReportSection, ...]

    def tables(self) -> list[Table]:
        """Every table of the page."""
        return [table for section in self.sections for table in section.all_tables()]


def build_report(runs: Sequence[EvaluatedRun], title: str, figures: Path) -> Report:
    """The report over `runs`; its figures are drawn into the folder `figures`."""
    compared = compare_runs(runs)
    skills = skill_results(compared.entries)
    table_sections = [_table_section(plan, compared, figures) for plan in TABLES]
    changed = tuning_changes(compared)
    return Report(
        title=title,
        created=_created(),
        runs=tuple(run.name for run in runs),
        fictional=fictional_notes(runs),
        warnings=warnings(compared),
        summary=summarize(compared),
        verdicts={
            run.name: result
            for entry, result in zip(compared.entries, skills, strict=True)
            for run in entry.runs
        },
        skill_figure=draw_skill([*skills, *tuning_results(compared.entries)], figures),
        changes=change_sentences(changed),
        has_changes=any(change.ours is not None for change in changed),
        changes_table=changes(compared),
        examples=tuple(choose_examples(runs)),
        sections=(
            *(section for section in table_sections if section is not None),
            _training_section(compared, figures),
            _settings_section(compared),
        ),
    )


def _table_section(plan: TablePlan, compared: ComparedRuns, figures: Path) -> ReportSection | None:
    """The section of one table; None if the table has no rows."""
    table = plan.table(compared)
    if not table.rows:
        return None
    above = plan.figure_above(compared, figures) if plan.figure_above else None
    below = plan.figure_below(compared, figures) if plan.figure_below else None
    return ReportSection(
        title=table.title,
        figure=above,
        tables=(table,),
        figures=(below,) if below else (),
    )


def _training_section(compared: ComparedRuns, figures: Path) -> ReportSection:
    comparison = draw_trainings(compared.runs, figures)
    curves = draw_each_training(compared.runs, figures)
    return ReportSection(
        title="Training",
        tables=(training_table(compared),),
        notes=training_notes(compared.runs),
        figures=(comparison,) if comparison else (),
        sections=tuple(
            ReportSection(title=drawn.training, figures=drawn.figures) for drawn in curves
        ),
    )


def _settings_section(compared: ComparedRuns) -> ReportSection:
    differing, equal = settings_tables(compared)
    notes: tuple[str, ...] = ()
    if not differing.rows:
        notes = ("No recorded setting differs." if equal.rows else "No settings are recorded.",)
    folded = ReportSection(title=f"{equal.title} ({len(equal.rows)})", tables=(equal,), folded=True)
    return ReportSection(
        title=differing.title,
        tables=(differing,),
        notes=notes,
        sections=(folded,) if equal.rows else (),
    )


def _created() -> str:
    facts = provenance()
    time = facts["created"][:16].replace("T", " ")
    commit = facts["git_commit"]
    if commit is None:
        return f"{time} UTC, code at an unknown commit"
    changes = " with local changes" if facts["git_dirty"] else ""
    return f"{time} UTC, code at commit {commit[:12]}{changes}"
