"""The report as Markdown, with its pictures as links into the same folder."""

import re
from collections.abc import Sequence
from pathlib import Path

from eval.report.comparisons import Comparison
from eval.report.examples import Example
from eval.report.figures import Picture
from eval.report.page import ADVICE, HINDSIGHT, Headline, Report
from eval.report.table import Cell, Table


def render_markdown(report: Report, folder: Path) -> str:
    """The report as it lies in `folder`, from where the links to pictures start."""
    blocks = [
        f"# {escape(report.title)}",
        escape(f"{', '.join(report.runs)}. {report.made}."),
        f"**{ADVICE}**",
    ]
    if report.fictional:
        blocks.append("> **Fictional market:** " + " ".join(map(escape, report.fictional)))
    blocks += [f"> **Note:** {escape(warning)}" for warning in report.warnings]
    blocks += ["## Verdicts", *map(_headline, report.headlines)]
    if report.between:
        blocks += ["### Between runs", _verdicts(report.between)]
    blocks += [HINDSIGHT, _picture(report.accuracy_picture, folder), table(report.comparisons)]
    more = (report.differences_picture, report.reliability_picture)
    blocks += [_picture(one, folder) for one in more if one]
    blocks += [table(one) for one in report.measured if one.rows]
    blocks += [_folded(report.breakdown)]
    blocks += [_folded(report.upstream), table(report.settings), _folded(report.settings_equal)]
    blocks += [table(report.training), *(f"- {escape(note)}" for note in report.training_notes)]
    blocks += [_picture(one, folder) for one in report.comparison_pictures]
    blocks += [_picture(one, folder) for some in report.training_pictures.values() for one in some]
    blocks += ["## Examples", *map(_example, report.examples)] if report.examples else []
    return "\n\n".join(block for block in [*blocks, f"_{ADVICE}_"] if block) + "\n"


def escape(text: str) -> str:
    """A text as Markdown prints it, on one line: marks of Markdown and HTML lose their meaning."""
    return re.sub(
        r"([\\`*\[\]<>|#~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", " ".join(text.split())
    )


def fence(text: str) -> str:
    """A text as a code block whose fence is longer than any row of backticks in it."""
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}text\n{text}\n{marks}"


def table(one: Table, level: int = 2) -> str:
    """A table with its title and note; empty when it has no rows and no note."""
    if not one.rows:
        return f"{'#' * level} {one.title}\n\n{one.note}" if one.note else ""
    lines = ["| " + " | ".join(map(escape, one.columns)) + " |", "|" + " --- |" * len(one.columns)]
    lines += ["| " + " | ".join(map(_cell, row)) + " |" for row in one.rows]
    return "\n\n".join(
        part for part in (f"{'#' * level} {one.title}", "\n".join(lines), one.note) if part
    )


def _cell(cell: Cell) -> str:
    text = escape(cell.text)
    return f"{text} ({escape(', '.join(cell.details))})" if cell.details else text


def _folded(one: Table) -> str:
    body = table(one, level=3)
    return (
        f"<details><summary>{one.title}</summary>\n\n{body}\n\n</details>"
        if body and one.rows
        else ""
    )


def _headline(one: Headline) -> str:
    head = f"### {escape(one.run)}\n\n{escape(one.accuracy)}"
    head += f"\n\n**{escape(one.short)}**" if one.short else ""
    return "\n\n".join(
        [head, _verdicts(one.verdicts), escape(f"What could be shown: {one.power}.")]
    )


def _verdicts(some: Sequence[Comparison]) -> str:
    return "\n".join(f"- {escape(one.sentence if one.between_runs else one.claim)}" for one in some)


def _picture(one: Picture, folder: Path) -> str:
    return f"![{escape(one.alt)}]({one.path.relative_to(folder).as_posix()})"


def _example(one: Example) -> str:
    parts = [f"### {escape(one.key)}: {escape(one.truth)}", "Reference:", fence(one.reference)]
    for reply in one.replies:
        why = f", {reply.reason}" if reply.reason else ""
        parts += [
            f"{escape(reply.run)}: {escape(f'{reply.outcome} (predicted: {reply.prediction}{why})')}"
        ]
        parts += [fence(reply.text)]
    return "\n\n".join(parts)
