"""What the report says, before it is a page or a Markdown file: built once, printed twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.report.comparisons import (
    ComparedRuns,
    RunComparison,
    by_run,
    compare_runs,
)
from eval.report.examples import Example, choose_examples
from eval.report.figures import (
    DrawnFigure,
    draw_accuracy,
    draw_each_training,
    draw_skill,
    draw_trainings,
)
from eval.report.notes import (
    accuracy_sentence,
    detectable_sentence,
    fictional_notes,
    training_notes,
    verdict_sentence,
    warnings,
)
from eval.report.runs import EvaluatedRun
from eval.report.skills import SkillResult, skill_results, tuning_results
from eval.report.table import Table
from eval.report.tables import TABLES, TablePlan
from eval.report.tables.settings import settings_tables, training_table
from weekahead.manifest import provenance


@dataclass(frozen=True)
class Headline:
    """The result of one run, or of the seeds of one recipe, in sentences."""

    run: str
    skill: str
    """The verdict on its skill, corrected over the runs of the page."""
    accuracy: str
    summary: str
    """The verdicts in one sentence; empty without an accuracy."""
    verdicts: tuple[RunComparison, ...]
    detectable: str
    """What the weeks could show at all."""


@dataclass(frozen=True)
class ReportSection:
    """One heading with what stands below it, in the order of the fields."""

    title: str
    figure: DrawnFigure | None = None
    tables: tuple[Table, ...] = ()
    notes: tuple[str, ...] = ()
    figures: tuple[DrawnFigure, ...] = ()
    sections: tuple["ReportSection", ...] = ()
    folded: bool = False
    """Closed until the reader opens it."""

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
    skill_figure: DrawnFigure | None
    accuracy_figure: DrawnFigure
    headlines: tuple[Headline, ...]
    tuning: tuple[str, ...]
    """What tuning added to the skill of each base, in sentences."""
    between: tuple[RunComparison, ...]
    """The comparisons of two runs."""
    sections: tuple[ReportSection, ...]
    examples: tuple[Example, ...]

    def tables(self) -> list[Table]:
        """Every table; each becomes a CSV file."""
        return [table for section in self.sections for table in section.all_tables()]


def build_report(runs: Sequence[EvaluatedRun], title: str, figures: Path) -> Report:
    """The report over `runs`; its figures are drawn into the folder `figures`."""
    compared = compare_runs(runs)
    skills, tuning = skill_results(compared.entries), tuning_results(compared.entries)
    table_sections = [_table_section(plan, compared, figures) for plan in TABLES]
    return Report(
        title=title,
        created=_created(),
        runs=tuple(run.name for run in runs),
        fictional=fictional_notes(runs),
        warnings=warnings(compared),
        skill_figure=draw_skill([*skills, *tuning], figures),
        accuracy_figure=draw_accuracy(compared, figures),
        headlines=headlines(compared, skills),
        tuning=tuple(f"{result.run}: {result.sentence}" for result in tuning),
        between=tuple(shown for shown in compared.comparisons if shown.between_runs),
        sections=(
            *(section for section in table_sections if section is not None),
            _training_section(compared, figures),
            _settings_section(compared),
        ),
        examples=tuple(choose_examples(runs)),
    )


def headlines(compared: ComparedRuns, skills: Sequence[SkillResult]) -> tuple[Headline, ...]:
    """The result of each run, or of the seeds of one recipe."""
    results: list[Headline] = []
    for entry, skill in zip(compared.entries, skills, strict=True):
        verdicts = by_run(compared.comparisons, entry.name)
        has_accuracy = entry.first.metrics["bin_acc"] is not None
        results.append(
            Headline(
                run=entry.name,
                skill=skill.sentence,
                accuracy=accuracy_sentence(entry),
                summary=verdict_sentence(verdicts) if has_accuracy else "",
                verdicts=verdicts,
                detectable=detectable_sentence(entry, verdicts),
            )
        )
    return tuple(results)


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
        folded=plan.folded,
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
