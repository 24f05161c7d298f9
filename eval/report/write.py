"""From folders of results to a folder with the report."""

import base64
import tempfile
from collections.abc import Sequence
from pathlib import Path

from eval.report.markdown import render_markdown
from eval.report.page import ADVICE, HINDSIGHT, Report, build
from eval.report.runs import EvaluatedRun, load_runs, read_object
from eval.report.table import to_csv
from weekahead.files import sha256, write_json, write_text
from weekahead.manifest import new_manifest


def write_report(folders: Sequence[Path], out: Path, title: str) -> Path:
    """Write the report over `folders` into `out` and return the path of report.html.

    Everything is made in a temporary folder first, so an error leaves an older report as it was; the
    page is put in place last. Raises the errors of `load_runs`, ValueError when `out` holds the output
    of another command, and OSError where it cannot be written.
    """
    runs = load_runs(folders)
    old = _older_report(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out, prefix=".report-") as name:
        made = Path(name)
        report = build(runs, title, made / "figures")
        for table in report.all_tables:
            if table.rows:
                write_text(made / "tables" / f"{table.key}.csv", to_csv(table))
        write_text(made / "report.md", render_markdown(report, made))
        write_text(made / "report.html", render_html(report))
        files = sorted(
            path.relative_to(made).as_posix() for path in made.rglob("*") if path.is_file()
        )
        write_json(
            made / "manifest.json",
            new_manifest(kind="report", runs=list(map(_source, runs)), files=files),
        )
        for file in sorted([*files, "manifest.json"], key=lambda file: file == "report.html"):
            (out / file).parent.mkdir(parents=True, exist_ok=True)
            (made / file).replace(out / file)
    _remove(out, set(old) - set(files))
    return out / "report.html"


def _older_report(out: Path) -> list[str]:
    """The files of an older report in `out`. Raises ValueError when another command's output lies there."""
    path = out / "manifest.json"
    if not path.is_file():
        if (out / "metrics.json").is_file():
            raise ValueError(
                f"--out {out} is the folder of a run; choose one of its own, such as results/compare"
            )
        return []
    facts = read_object(path)
    if facts.get("kind") != "report":
        raise ValueError(
            f"--out {out} holds the output of another command ({path}, kind {facts.get('kind')!r}); "
            "choose a folder of its own, such as results/compare"
        )
    return [str(file) for file in facts.get("files") or []]


def _remove(out: Path, files: set[str]) -> None:
    """Delete what only the older report had, so that no stale table or picture stays; never outside `out`."""
    for file in files:
        path = (out / file).resolve()
        if path.is_relative_to(out.resolve()):
            path.unlink(missing_ok=True)


def _source(run: EvaluatedRun) -> dict[str, str]:
    return {"run": run.name, "metrics_sha256": sha256(run.folder / "metrics.json")}


def render_html(report: Report) -> str:
    """The page. Every text is escaped: models, manifests and folder names are not to be trusted."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    page = environment.get_template("page.html.jinja")
    return page.render(report=report, advice=ADVICE, hindsight=HINDSIGHT) + "\n"


def data_uri(path: Path) -> str:
    """A PNG file as the text of an image source."""
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode("ascii")
