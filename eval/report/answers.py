"""All answers of each run as static pages, sorted by how they came out, some rows per page."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from eval.metrics.text_quality import prompt_text
from eval.report.examples import clean, prediction_text
from eval.report.rows import RIGHT, UNKNOWN, UNREADABLE, WRONG, outcome
from eval.report.runs import EvaluatedRun

PER_PAGE = 25
MAX_CHARACTERS = 20_000
"""Of one text: a page holds many."""
OUTCOMES = (RIGHT, WRONG, UNREADABLE, UNKNOWN)


@dataclass(frozen=True)
class ListedAnswer:
    """One row with its answer."""

    key: str
    anchor: str
    truth: str
    prediction: str
    outcome: str
    reason: str | None
    prompt: str
    reference: str
    text: str


@dataclass(frozen=True)
class AnswerPage:
    """Rows of one outcome."""

    file: str
    number: int
    answers: tuple[ListedAnswer, ...]


@dataclass(frozen=True)
class OutcomePages:
    """All pages of one outcome."""

    outcome: str
    count: int
    pages: tuple[AnswerPage, ...]


@dataclass(frozen=True)
class AnswerBook:
    """The answers of one run."""

    run: str
    folder: str
    """Below the report's folder, with slashes."""
    outcomes: tuple[OutcomePages, ...]
    listed: tuple[tuple[ListedAnswer, str], ...]
    """Every row in the order of its file, and the page that it is on."""

    @property
    def index(self) -> str:
        """The page that lists every row."""
        return f"{self.folder}/index.html"


def answer_books(runs: Sequence[EvaluatedRun]) -> tuple[AnswerBook, ...]:
    """The answers of every run that has its rows and its scores in its folder."""
    with_rows = [run for run in runs if run.generations and run.scored]
    return tuple(_book(run, number) for number, run in enumerate(with_rows, start=1))


def _book(run: EvaluatedRun, number: int) -> AnswerBook:
    answers = _listed(run)
    outcomes: list[OutcomePages] = []
    for name in OUTCOMES:
        chosen = [answer for answer in answers if answer.outcome == name]
        if chosen:
            outcomes.append(OutcomePages(name, len(chosen), _pages(name, chosen)))
    page_of = {
        answer.anchor: page.file
        for group in outcomes
        for page in group.pages
        for answer in page.answers
    }
    return AnswerBook(
        run=run.name,
        # A folder's name may hold anything that a file system allows.
        folder=f"answers/{number}-{re.sub(r'[^A-Za-z0-9_-]+', '_', run.name)[:60]}",
        outcomes=tuple(outcomes),
        listed=tuple((answer, page_of[answer.anchor]) for answer in answers),
    )


def _pages(name: str, answers: Sequence[ListedAnswer]) -> tuple[AnswerPage, ...]:
    parts = [answers[start : start + PER_PAGE] for start in range(0, len(answers), PER_PAGE)]
    return tuple(
        AnswerPage(f"{name.replace(' ', '-')}-{number}.html", number, tuple(part))
        for number, part in enumerate(parts, start=1)
    )


def _listed(run: EvaluatedRun) -> list[ListedAnswer]:
    keys = run.keys or [f"row {number}" for number in range(1, len(run.scored) + 1)]
    listed: list[ListedAnswer] = []
    rows = zip(keys, run.generations, run.scored, strict=True)
    for number, (key, row, scored) in enumerate(rows, start=1):
        truth = prediction_text(scored["truth_direction"], scored["truth_magnitude"])
        listed.append(
            ListedAnswer(
                key=key,
                anchor=f"row-{number}",
                truth=str(row.get("label") or truth or "unknown"),
                prediction=prediction_text(scored["direction"], scored["magnitude"])
                or "cannot be read",
                outcome=outcome(scored),
                reason=scored["reason"],
                prompt=clean(prompt_text(row.get("prompt") or ""), limit=MAX_CHARACTERS),
                reference=clean(row["answer"], limit=MAX_CHARACTERS),
                text=clean(row["generation"], limit=MAX_CHARACTERS),
            )
        )
    return listed
