"""Show an evaluation in the tracked run: its numbers, a table of them, its files as an artifact.

python -m eval.publish results/llama [--hub user/name]
python -m eval.publish reports/compare

--hub adds the results to the card of the adapter that is in this repository already.
"""

import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from eval.publishing.inputs import inputs_of_comparison, inputs_of_evaluation, record_inputs
from weekahead.cli import MODEL_ERRORS, configure_logging, new_parser, read_options, run_command
from weekahead.files import sha256
from weekahead.hub.client import check_repo_id
from weekahead.hub.publish_results import add_results
from weekahead.hub.upload import Target
from weekahead.locks import sole_writer
from weekahead.schema.file_names import GENERATIONS, MANIFEST, METRICS, SCORED
from weekahead.schema.manifests import read_generation_manifest, read_json_object
from weekahead.schema.metrics_files import read_metrics
from weekahead.schema.verdicts import ReportedRun, report_on, reported_runs, reported_verdict
from weekahead.tracking.artifacts import ArtifactContent, artifact_name, digest_alias
from weekahead.tracking.run import TrackedRun, start_run

_PAGE = "report.html"
_NEEDED_FILES = (METRICS, GENERATIONS)
_FILES = (*_NEEDED_FILES, SCORED, MANIFEST)


@dataclass(frozen=True)
class PublishOptions:
    """The arguments of eval.publish."""

    folder: Path
    hub: str | None = None
    """user/name of the adapter that was evaluated, if its card gets the results."""


def log_evaluation(folder: Path | str, tracker: TrackedRun) -> None:
    """Log `results/<run>`: scalars below `eval/`, two tables, an artifact.

    The table `eval/metrics` has the numbers, `eval/verdict` the verdict. The artifact holds the
    files. It has the type "evaluation" and the name `evaluation-<run>`; offline its bytes wait in
    the run's own folder until `make sync`. Its metadata is what `origins` returns. Dataset and
    adapter are recorded as inputs.
    Raises FileNotFoundError if the folder holds no metrics.json or no generations.jsonl, ValueError
    if a file holds a secret or another command's metrics, or if the manifest cannot be read.
    """
    folder = Path(folder)
    check_scored(folder)
    artifact = _evaluation_artifact(folder)
    artifact.check_no_secret()
    scalars = dict(flatten(read_json_object(folder / METRICS)))
    tracker.log({f"eval/{name}": value for name, value in scalars.items()})
    rows = [[name, value] for name, value in scalars.items()]
    tracker.log_table("eval/metrics", ["metric", "value"], rows)
    tracker.log_table("eval/verdict", ["", "verdict"], verdict_rows(folder / METRICS))
    record_inputs(tracker, inputs_of_evaluation(folder))
    tracker.log_artifact(artifact)


def check_scored(folder: Path) -> None:
    """Raise FileNotFoundError unless the folder holds answers and their scores, ValueError for
    scores that cannot be read."""
    for name in _NEEDED_FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name} is missing: run eval.generate and eval.score into {folder} first"
            )
    read_metrics(folder / METRICS, f"score {folder / GENERATIONS} again with eval.score")


def _evaluation_artifact(folder: Path) -> ArtifactContent:
    """The files of `results/<run>`, and the page of the report that compares it among most runs."""
    files = {name: folder / name for name in _FILES if (folder / name).is_file()}
    report = report_on(folder / METRICS)
    if report and (report.folder / _PAGE).is_file():
        files[_PAGE] = report.folder / _PAGE
    return ArtifactContent(
        artifact_name("evaluation", folder.resolve().name),
        "evaluation",
        files,
        aliases=("latest", digest_alias("metrics", sha256(folder / METRICS))),
        metadata=origins(folder),
    )


def log_comparison(folder: Path, runs: Sequence[ReportedRun], tracker: TrackedRun) -> None:
    """Log `reports/<name>`: a table of its verdicts, and the report as an artifact.

    Raises ValueError if a file holds a secret.
    """
    files = {name: folder / name for name in (_PAGE, "report.md", MANIFEST)}
    name = artifact_name("comparison", folder.resolve().name)
    there = {name: path for name, path in files.items() if path.is_file()}
    artifact = ArtifactContent(name, "comparison", there)
    artifact.check_no_secret()
    rows = [[run["run"], run["verdict"], run["p_corrected"], run["tests"]] for run in runs]
    columns = ["run", "verdict", "p, corrected (Holm)", "runs judged"]
    tracker.log_table("compare/verdicts", columns, rows)
    record_inputs(tracker, inputs_of_comparison(runs))
    tracker.log_artifact(artifact)


def origins(folder: Path) -> dict[str, str]:
    """What the answers were made from: digests of adapter and data, the training run's W&B id.

    What is not known is left out: the base alone has no adapter, an adapter of other software no
    training run. Raises ValueError if the manifest cannot be read.
    """
    path = folder / MANIFEST
    if not path.is_file():
        return {}
    manifest = read_generation_manifest(path)
    train = manifest["train"]
    found = {
        "adapter_sha256": manifest["adapter_sha256"],
        "dataset_sha256": manifest["dataset"].get("sha256"),
        "train_run_id": train["run_id"] if train else None,
        "train_dataset_sha256": train["dataset"].get("sha256") if train else None,
    }
    return {name: value for name, value in found.items() if value}


def verdict_rows(path: Path) -> list[list[str]]:
    """The verdict of the run at `path` as a table: alone and, if a report holds it, corrected.

    Raises ValueError if the file is not one of eval.score.
    """
    metrics = read_metrics(path, "score the run again with eval.score")
    rows = [["this run alone", metrics["verdict"]]]
    reported = reported_verdict(path)
    if reported and reported["tests"] > 1:
        rows.insert(0, [f"corrected for {reported['tests']} runs (Holm)", reported["verdict"]])
    return [*rows, *(["because", reason] for reason in metrics["verdict_reasons"])]


def flatten(metrics: Mapping[str, object], prefix: str = "") -> Iterator[tuple[str, float | int]]:
    """The numbers in nested metrics with their path as name, such as `baselines/always_down/mse`.

    A pair is an interval and gives `<name>/low` and `<name>/high`. Null (unknown), text and longer
    lists are left out.
    """
    for key, value in metrics.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            yield from flatten(value, f"{name}/")
        elif isinstance(value, list):
            yield from _flatten_list(value, f"{name}/")
        elif isinstance(value, int | float) and not isinstance(value, bool):
            # W&B cannot store half of a surrogate pair; names that differ stay different.
            yield name.encode("utf-8", "backslashreplace").decode("utf-8"), value


def _flatten_list(values: Sequence[object], prefix: str) -> Iterator[tuple[str, float | int]]:
    """The numbers of a list: of named groups, or of a pair; nothing of any other list."""
    groups = [value for value in values if isinstance(value, Mapping)]
    for group in groups:
        yield from flatten(group, f"{prefix}{group['name']}/" if "name" in group else prefix)
    if not groups and len(values) == 2:
        yield from flatten({"low": values[0], "high": values[1]}, prefix)


def run(options: PublishOptions) -> int:
    """Log the evaluation or the comparison to its tracked run.

    Raises OSError if W&B did not record all of it, and HubError if the card on the Hub did not get
    the results; W&B has them then.
    """
    folder = options.folder
    if options.hub:
        check_repo_id(options.hub, "--hub")
    compared = reported_runs(folder / MANIFEST)
    if compared and options.hub:
        raise ValueError(f"--hub is for one evaluation, and {folder} is a report; name results/RUN")
    if not compared and (folder / "report.md").is_file():
        raise ValueError(f"{folder} is a report of an older version; make it again: eval.report")
    if not compared and not folder.is_file():  # a file: refused below
        check_scored(folder)  # before a run is started, and a folder is made
    with sole_writer(folder):  # `make sync` leaves a record alone that is being written
        failed = _published_report(folder, compared) if compared else _published(folder)
    if failed:
        raise OSError(
            f"W&B has not recorded all of {folder}: mend what the warning above says, then "
            "run the same command again; the files in the folder are complete"
        )
    if options.hub:
        commit = add_results(folder, Target(options.hub, flag="--hub"))
        print(f"{options.hub}: commit {commit}")
    return 0


def _published(folder: Path) -> bool:
    """Log an evaluation; whether W&B failed."""
    uses = [each.version for each in inputs_of_evaluation(folder)]
    config = {"run": folder.name, **origins(folder), "uses": uses}
    with start_run(folder, name=folder.name, kind="eval", config=config) as tracker:
        log_evaluation(folder, tracker)
    return tracker.failed


def _published_report(folder: Path, runs: Sequence[ReportedRun]) -> bool:
    """Log a comparison; whether W&B failed."""
    uses = [each.version for each in inputs_of_comparison(runs)]
    config = {"runs": [run["run"] for run in runs], "uses": uses}
    with start_run(folder, name=folder.name, kind="compare", config=config) as tracker:
        log_comparison(folder, runs, tracker)
    return tracker.failed


def new_arguments() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = new_parser(__doc__, "eval.publish")
    parser.add_argument(
        "folder", type=Path, help="results/<run>, generated and scored; or reports/<name>"
    )
    parser.add_argument(
        "--hub", metavar="USER/NAME", help="also add the results to the card of this adapter"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, or 2 if the folder is not scored or W&B does not record all of it."""
    options = read_options(new_arguments().parse_args(argv), PublishOptions)
    configure_logging()
    return run_command("eval.publish", lambda: run(options), errors=MODEL_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
