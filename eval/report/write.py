"""From folders of results to a folder with the report."""

import base64
import tempfile
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from eval.report.answers import AnswerBook, AnswerPage, answer_books
from eval.report.markdown import render_markdown
from eval.report.notes import ADVICE, SKILL
from eval.report.page import Report, build_report
from eval.report.runs import EvaluatedRun, load_runs
from eval.report.skills import SkillResult
from eval.report.table import to_csv
from weekahead.files import naming_place, sha256, write_json, write_text
from weekahead.locks import sole_writer
from weekahead.manifest import new_manifest
from weekahead.schema.file_names import MANIFEST, METRICS
from weekahead.schema.manifests import read_json_object
from weekahead.schema.verdicts import ReportedRun

if TYPE_CHECKING:
    from jinja2 import Environment

PAGE = "report.html"


def write_report(folders: Sequence[Path], out: Path, title: str) -> Path:
    """Write the report over `folders` into `out` and return the path of report.html.

    Everything is written into a temporary folder first, so an error leaves an older report as it
    was; the page is moved into place last. Raises the errors of `load_runs`, ValueError if `out`
    holds the output of another command, and OSError if it cannot be written.
    """
    runs = load_runs(folders)
    with sole_writer(out):
        older_files = _files_of_older_report(out)
        with tempfile.TemporaryDirectory(dir=out, prefix=".report-") as name:
            draft = Path(name)
            with naming_place(out, draft):
                files = _write_draft(draft, runs, title)
            for file in sorted([*files, MANIFEST], key=lambda file: file == PAGE):
                (out / file).parent.mkdir(parents=True, exist_ok=True)
                (draft / file).replace(out / file)
        _remove(out, set(older_files) - set(files))
    return out / PAGE


def _write_draft(draft: Path, runs: Sequence[EvaluatedRun], title: str) -> list[str]:
    """Write a whole report into the folder `draft` and return its files, without the manifest."""
    try:
        report = build_report(runs, title, draft / "figures")
    except KeyError as error:  # an entry inside one of them: the outer keys have been checked
        names = ", ".join(str(run.folder / METRICS) for run in runs)
        raise ValueError(
            f"an entry of one of {names} has no {error}; score that run again with eval.score"
        ) from error
    for table in (report.changes_table, *report.tables()):
        if table.rows:
            write_text(draft / "tables" / f"{table.key}.csv", to_csv(table))
    write_text(draft / "report.md", render_markdown(report, draft))
    books = answer_books(runs)
    for book in books:
        write_answers(book, draft)
    write_text(draft / PAGE, render_html(report, books))
    paths = [path for path in draft.rglob("*") if path.is_file()]
    files = sorted(path.relative_to(draft).as_posix() for path in paths)
    reported = [_reported_run(run, report.verdicts[run.name]) for run in runs]
    write_json(draft / MANIFEST, new_manifest(kind="report", runs=reported, files=files))
    return files


def _reported_run(run: EvaluatedRun, result: SkillResult) -> ReportedRun:
    return {
        "run": run.name,
        "metrics_sha256": sha256(run.folder / METRICS),
        "verdict": result.verdict,
        "p_corrected": result.p_holm,
        "tests": result.tests,
    }


def _files_of_older_report(out: Path) -> list[str]:
    """The files of an older report in `out`; ValueError if another command's output is there."""
    path = out / MANIFEST
    if not path.is_file():
        if (out / METRICS).is_file():
            raise ValueError(
                f"--out {out} is the folder of a run; choose another one, such as results/compare"
            )
        return []
    manifest = read_json_object(path)
    kind = manifest.get("kind")
    if kind != "report":
        raise ValueError(
            f"--out {out} holds the output of another command ({path}, kind {kind!r}); "
            "choose a folder of its own, such as results/compare"
        )
    return [str(file) for file in manifest.get("files") or []]


def _remove(out: Path, files: Iterable[str]) -> None:
    """Delete what only the older report had, so that no old table or figure stays in `out`.

    The list comes from a file, so a path that leads out of the folder is ignored.
    """
    for file in files:
        path = (out / file).resolve()
        if path.is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)


def write_answers(book: AnswerBook, out: Path) -> None:
    """Write the pages of one run's answers below `out`."""
    pages: list[AnswerPage | None] = [None]  # the list of all rows
    for group in book.outcomes:
        pages += group.pages
    for page in pages:
        name = page.file if page else Path(book.index).name
        text = _render("answers.html.jinja", book=book, page=page)
        write_text(out / book.folder / name, text)


def render_html(report: Report, books: Sequence[AnswerBook] = ()) -> str:
    """The page, with links to the answers in `books`."""
    return _render(
        "page.html.jinja",
        report=report,
        books=books,
        advice=ADVICE,
        skill_note=SKILL,
    )


def _render(template: str, **values: object) -> str:
    """A page. Every text is escaped: models, manifests and folder names are not to be trusted."""
    return _environment().get_template(template).render(**values) + "\n"


@cache
def _environment() -> "Environment":
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    return environment


def data_uri(path: Path) -> str:
    """A PNG file as the text of an image source."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
