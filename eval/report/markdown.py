"""The report as Markdown, with its figures as links into the same folder."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from eval.report.comparisons import RunComparison
from eval.report.examples import Example
from eval.report.figures import DrawnFigure
from eval.report.notes import ADVICE, HINDSIGHT, SKILL
from eval.report.page import Headline, Report, ReportSection
from eval.report.table import Cell, Table


def render_markdown(report: Report, folder: Path) -> str:
    """The report as it is in `folder`, from where the links to figures start."""
    blocks = [
        f"# {escape(report.title)}",
        escape(f"{', '.join(report.runs)}. {report.created}."),
        f"**{ADVICE}**",
    ]
    if report.fictional:
        blocks.append("> **Fictional market:** " + " ".join(map(escape, report.fictional)))
    blocks += [f"> **Note:** {escape(warning)}" for warning in report.warnings]
    blocks += ["## Verdicts", escape(SKILL)]
    if report.skill_figure:
        blocks.append(_figure(report.skill_figure, folder))
    if report.tuning:
        blocks.append("\n".join(f"- **{escape(sentence)}**" for sentence in report.tuning))
    blocks.append(_figure(report.accuracy_figure, folder))
    blocks += map(_headline, report.headlines)
    if report.between:
        blocks += ["### Between runs", _verdicts(report.between)]
    blocks.append(HINDSIGHT)
    for section in report.sections:
        blocks += _section(section, folder)
    if report.examples:
        blocks += ["## Examples", *map(_example, report.examples)]
    blocks.append(f"_{ADVICE}_")
    return "\n\n".join(blocks) + "\n"


def escape(text: str) -> str:
    """A text on one line whose characters have no meaning in Markdown or HTML."""
    return re.sub(
        r"([\\`*\[\]<>|#~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", " ".join(text.split())
    )


def fence(text: str) -> str:
    """A text as a code block whose fence is longer than any row of backticks in it."""
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}text\n{text}\n{marks}"


def _section(section: ReportSection, folder: Path, level: int = 2) -> Iterator[str]:
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


def _headline(headline: Headline) -> str:
    blocks = [
        f"### {escape(headline.run)}",
        f"**{escape(headline.skill)}**",
        escape(headline.accuracy),
    ]
    if headline.summary:
        blocks.append(escape(headline.summary))
    blocks.append(_verdicts(headline.verdicts))
    blocks.append(escape(f"What could be shown: {headline.detectable}."))
    return "\n\n".join(blocks)


def _verdicts(verdicts: Sequence[RunComparison]) -> str:
    sentences = [shown.sentence if shown.between_runs else shown.claim for shown in verdicts]
    return "\n".join(f"- {escape(sentence)}" for sentence in sentences)


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
