"""Show an evaluation in the tracked run: its numbers, a table of them, its files as an artifact.

python -m eval.publish results/llama
"""

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from weekahead.cli import MODEL_ERRORS, configure_logging, new_parser, read_options, run_command
from weekahead.files import read_text
from weekahead.locks import check_writable
from weekahead.redaction import find_secret
from weekahead.schema.file_names import GENERATIONS, MANIFEST, METRICS, SCORED
from weekahead.schema.manifests import read_json_object
from weekahead.schema.metrics_files import read_metrics
from weekahead.schema.verdicts import reported_verdict
from weekahead.tracking.run import TrackedRun, start_run

_NEEDED_FILES = (METRICS, GENERATIONS)
_FILES = (*_NEEDED_FILES, SCORED, MANIFEST)


@dataclass(frozen=True)
class PublishOptions:
    """The arguments of eval.publish."""

    folder: Path


def log_evaluation(folder: Path | str, tracker: TrackedRun) -> None:
    """Log `results/<run>`: scalars below `eval/`, two tables, an artifact.

    The table `eval/metrics` has the numbers, `eval/verdict` the verdict. The artifact holds the
    files. It has the type "evaluation" and the name `evaluation-<run>`; offline its bytes wait in
    the run's own folder until `wandb sync`. Raises FileNotFoundError if the folder holds no
    metrics.json or no generations.jsonl, ValueError if a file holds a secret or another command's
    metrics.
    """
    folder = Path(folder)
    for name in _NEEDED_FILES:
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name} is missing: run eval.generate and eval.score into {folder} first"
            )
    files = {name: folder / name for name in _FILES if (folder / name).is_file()}
    for path in files.values():
        kind = find_secret(read_text(path), os.environ)
        if kind:
            raise ValueError(f"{path} holds {kind}; nothing was logged: take it out and revoke it")
    scalars = dict(flatten(read_json_object(folder / METRICS)))
    tracker.log({f"eval/{name}": value for name, value in scalars.items()})
    rows = [[name, value] for name, value in scalars.items()]
    tracker.log_table("eval/metrics", ["metric", "value"], rows)
    tracker.log_table("eval/verdict", ["", "verdict"], verdict_rows(folder / METRICS))
    tracker.log_artifact(artifact_name(folder.resolve().name), "evaluation", files)


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


def artifact_name(run: str) -> str:
    """A name that W&B accepts: letters, digits, dot, dash and underscore, at most 128 of them."""
    return f"evaluation-{re.sub(r'[^A-Za-z0-9_.-]', '-', run)}"[:128]


def run(options: PublishOptions) -> int:
    """Log the evaluation to its tracked run. Raises OSError if W&B did not record all of it."""
    name = options.folder.name
    check_writable(options.folder)
    with start_run(options.folder, name=name, kind="eval", config={"run": name}) as tracker:
        log_evaluation(options.folder, tracker)
    if tracker.failed:
        raise OSError(
            f"W&B has not recorded all of {options.folder}: mend what the warning above says, then "
            "run the same command again; the evaluation's own files are complete"
        )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, or 2 if the folder is not scored or W&B does not record all of it."""
    parser = new_parser(__doc__)
    parser.add_argument("folder", type=Path, help="results/<run>, generated and scored")
    options = read_options(parser.parse_args(argv), PublishOptions)
    configure_logging()
    return run_command("eval.publish", lambda: run(options), errors=MODEL_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
