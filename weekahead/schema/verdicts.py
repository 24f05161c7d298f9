"""The verdicts of a report, corrected for the number of its runs: written into its manifest by
eval.report, read where one run is shown by itself (model card, W&B)."""

from pathlib import Path
from typing import NamedTuple, TypedDict, cast

from weekahead.files import sha256
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import read_json_object
from weekahead.schema.metrics import SkillVerdict
from weekahead.schema.shape import has_shape


class ReportedRun(TypedDict):
    """One run of a report."""

    run: str
    metrics_sha256: str
    verdict: SkillVerdict
    p_corrected: float | None
    """By Holm's method over `tests` runs."""
    tests: int
    """How many runs of the report are judged."""


class Report(NamedTuple):
    """A report that holds a run, and what it says of it."""

    folder: Path
    run: ReportedRun


def reported_verdict(metrics: Path) -> ReportedRun | None:
    """The verdict on the metrics.json at `metrics` in the report that `report_on` finds."""
    report = report_on(metrics)
    return report.run if report else None


def report_on(metrics: Path) -> Report | None:
    """The report that judges the metrics.json at `metrics` among most runs.

    Reports are looked for in `reports/` beside the folder of results: `reports/*/manifest.json`.
    None if no report holds exactly this file. Raises ValueError if a manifest cannot be read.
    """
    digest = sha256(metrics)
    folder = metrics.resolve().parent.parent.parent / "reports"
    found: list[Report] = []
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        runs = [run for run in reported_runs(path) if run["metrics_sha256"] == digest]
        found += [Report(path.parent, run) for run in runs]
    return max(found, key=lambda report: report.run["tests"], default=None)


def reported_runs(path: Path) -> list[ReportedRun]:
    """The runs that the manifest of a report lists.

    None for another manifest or no file, and for a report from before it held verdicts. Raises
    ValueError if the file cannot be read.
    """
    if not path.is_file():
        return []
    manifest = read_json_object(path)
    if manifest.get("kind") != "report" or not has_shape(manifest.get("runs"), list[ReportedRun]):
        return []
    runs = cast("list[ReportedRun]", manifest["runs"])
    return [run for run in runs if "verdict" in run]
