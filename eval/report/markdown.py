"""The report as Markdown, with its figures as links into the same folder."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from eval.report.examples import Example
from eval.report.figures import DrawnFigure
from eval.report.notes import ADVICE, SKILL
from eval.report.page import Report, ReportSection
from eval.report.summary import RunLine
from eval.report.table import Cell, Table
from weekahead.markdown import escape, fence


def render_markdown(report: Report, folder: Path) -> str:
    """The report as it is in `folder`, from where the links to figures start."""
    summary = report.summary
    blocks = [f"# {escape(report.title)}", f"**{escape(summary.answer)}**"]
    blocks += map(escape, summary.certainty)
    if report.fictional:
        blocks.append("> **Fictional market:** " + " ".join(map(escape, report.fictional)))
    blocks.append("\n".join(f"- {escape(sentence)}" for sentence in summary.tested))
    blocks += [f"> **Note:** {escape(warning)}" for warning in report.warnings]
    blocks.append(ADVICE)
    blocks += ["## Skill", escape(SKILL)]
    if report.skill_figure:
        blocks.append(_figure(report.skill_figure, folder))
    blocks.append(_lines("Run", summary.runs))
    if summary.tuning:
        blocks += ["### Skill that fine-tuning added to its base", _lines("Runs", summary.tuning)]
    if summary.correction:
        blocks.append(escape(summary.correction))
    if report.changes:
        sentences = "\n".join(f"- {escape(sentence)}" for sentence in report.changes)
        blocks += ["## What fine-tuning changed", sentences]
    if report.examples:
        blocks += ["## Examples", *map(_example, report.examples)]
    blocks.append("## Everything else")
    for section in report.sections:
        blocks += _section(section, folder)
    blocks.append(f"{escape(report.created)}.")
    return "\n\n".join(blocks) + "\n"


def _lines(name: str, lines: Sequence[RunLine]) -> str:
    rows = [f"| {name} | Skill | 95 % interval | Verdict | Remarks |", "|" + " --- |" * 5]
    for line in lines:
        skill = (line.skill, line.interval) if line.bar else ("", "")
        remarks = "; ".join([line.read, *line.remarks] if line.read else line.remarks)
        cells = map(escape, (line.name, *skill, line.verdict, remarks))
        rows.append(f"| {' | '.join(cells)} |")
    return "\n".join(rows)


def _section(section: ReportSection, folder: Path, level: int = 3) -> Iterator[str]:
    """The blocks of a section; a folded one is a <details> element."""
    title = escape(section.title)
    yield f"<details><summary>{title}</summary>" if section.folded else f"{'#' * level} {title}"
    if section.figure:
        yield _figure(section.figure, folder)
    for table in section.tables:
        yield from _table(table)
    yield from (f"- {escape(note)}" for note in section.notes)
    yield from (_figure(figure, folder) for figure in section.figures)
    for inner in section.sections:
        yield from _section(inner, folder, level + 1)
    if section.folded:
        yield "</details>"


def _table(table: Table) -> Iterator[str]:
    if table.rows:
        columns = " | ".join(map(escape, table.columns))
        lines = [f"| {columns} |", "|" + " --- |" * len(table.columns)]
        lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in table.rows]
        yield "\n".join(lines)
    if table.note:
        yield table.note


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return f"{text} ({escape(', '.join(cell.details))})" if cell.details else text


def _figure(figure: DrawnFigure, folder: Path) -> str:
    return f"![{escape(figure.alt)}]({figure.path.relative_to(folder).as_posix()})"


def _example(example: Example) -> str:
    blocks = [
        f"### {escape(example.key)}: {escape(example.truth)}",
        "Reference:",
        fence(example.reference),
    ]
    for answer in example.answers:
        reason = f", {answer.reason}" if answer.reason else ""
        result = f"{answer.outcome} (predicted: {answer.prediction}{reason})"
        blocks += [f"{escape(answer.run)}: {escape(result)}", fence(answer.text)]
    return "\n\n".join(blocks)
