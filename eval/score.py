"""Score generated answers.

python -m eval.score results/llama/generations.jsonl --out results/llama

Reads files of rows with `generation` and `answer`, writes metrics.json and scored.jsonl, prints the
table. Takes seconds and no GPU, so a change of metric never costs a generation.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import cast

from data_pipeline.dataset.load import load_dataset
from eval.metrics.breakdown import knowledge_cutoff
from eval.metrics.doubts import manifest_doubts
from eval.metrics.evaluate import evaluate
from eval.metrics.probability import likelihood_metrics, with_probabilities
from eval.metrics.text_table import render
from weekahead import files
from weekahead.cli import new_parser, run_command
from weekahead.locks import check_writable
from weekahead.names import printable
from weekahead.recipe import RECIPES, knowledge_cutoffs
from weekahead.schema.file_names import GENERATIONS, LIKELIHOODS, MANIFEST, METRICS, SCORED
from weekahead.schema.manifests import (
    GenerationManifest,
    read_generation_manifest,
    read_json_object,
)
from weekahead.schema.metrics import Metrics
from weekahead.schema.rows import LikelihoodRow, ScorableRow, ScoredRow
from weekahead.schema.shape import read_rows

_HELP = """\
A row needs `generation` (the model's text) and `answer` (the reference text). Used if present: id,
label (one of the twelve bins; without it the parsed answer is the truth), period or week_end (the
weeks by which intervals are clustered; else the date in id), last_week_return and train_majority
(for three of the baselines), seconds, latency_seconds, new_tokens, finish_reason, latency_measured,
prompt, sector, knowledge_cutoff, synthetic.

likelihoods.jsonl beside a generations.jsonl is scored with it.

One file is scored into DIR. Several files are scored into DIR/<stem>/, or into DIR/<parent folder>/
if stems repeat. Each folder gets metrics.json and scored.jsonl.

exit status: 0 if every row could be read, else 2, and then nothing is written."""


@dataclass(frozen=True)
class ScoredFile:
    """One file of answers, scored."""

    metrics: Metrics
    rows: list[ScoredRow]


def new_arguments() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = new_parser("Metrics, intervals and baselines of generated answers.", "eval.score")
    parser.epilog = _HELP
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE.jsonl", help="rows of generated answers"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for the results"
    )
    parser.add_argument(
        "--train_data",
        metavar="DATASET",
        help="training rows, whose bins are the baseline of exact bins and probabilities; by "
        "default the train_labels of manifest.json beside the answers",
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Score the files named on the command line and return the exit status."""
    options = new_arguments().parse_args(argv)
    return run_command(
        "eval.score", lambda: _score_and_print(options.files, options.out, options.train_data)
    )


def _score_and_print(sources: Sequence[Path], out: Path, train_data: str | None) -> int:
    labels = load_dataset(train_data).train.train_labels if train_data else None
    print(render(score_files(sources, out, labels)))
    return 0


def score_files(
    sources: Sequence[Path], out: Path, train_labels: Mapping[str, int] | None = None
) -> dict[str, Metrics]:
    """Score each file into its folder under `out`; name of the run -> content of its metrics.json.

    `train_labels` is bin -> training rows; by default what the manifest beside a file states.
    Nothing is written before every file has been scored. Raises ValueError naming file, row and
    value, and OSError for a file that cannot be read or a folder that cannot be written.
    """
    folders = result_folders(sources, out)
    for folder in folders.values():
        check_writable(folder)
    results = {source: _score_file(source, train_labels) for source in sources}
    for source, result in results.items():  # before anything is replaced
        for row in (*result.rows, result.metrics):
            files.json_line(row, str(source))
    for source, result in results.items():
        folder = folders[source]
        files.write_jsonl(folder / SCORED, result.rows)
        # Written last, so that a metrics.json means a complete folder.
        files.write_json(folder / METRICS, result.metrics)
    names = {source: printable(_run_name(source, folders[source], out)) for source in sources}
    return {names[source]: result.metrics for source, result in results.items()}


def result_folders(sources: Sequence[Path], out: Path) -> dict[Path, Path]:
    """The folder of each file's results (see the command's help).

    Raises ValueError if two files would share a folder, or if a result would replace its own input.
    """
    if len(sources) == 1:
        folders = {sources[0]: out}
    else:
        stems = Counter(source.stem for source in sources)
        folders: dict[Path, Path] = {}
        for source in sources:
            is_unique = stems[source.stem] == 1
            folders[source] = out / (source.stem if is_unique else _parent_name(source))
    owners: dict[Path, Path] = {}
    for source in sources:
        folder = folders[source]
        if folder in owners:
            raise ValueError(
                f"{owners[folder]} and {source} would both be scored into {folder}; "
                "score them in two calls with different --out folders"
            )
        owners[folder] = source
    inputs = {source.resolve(): source for source in sources}
    for folder in owners:
        for name in (SCORED, METRICS):
            source = inputs.get((folder / name).resolve())
            if source is not None:
                raise ValueError(
                    f"{source} would be replaced by its own result; choose another --out folder"
                )
    return folders


def _parent_name(source: Path) -> str:
    # Only the folder is resolved: the files of a Hub cache are links into a folder of hashes.
    return source.parent.resolve().name


def _run_name(source: Path, folder: Path, out: Path) -> str:
    if folder != out:
        return folder.name
    return _parent_name(source) if source.stem == "generations" else source.stem


def _score_file(source: Path, train_labels: Mapping[str, int] | None) -> ScoredFile:
    rows = cast("list[ScorableRow]", files.read_jsonl(source))
    try:
        manifest = _manifest_beside(source)
        doubts = manifest_doubts(manifest, rows, len(rows)) if manifest else []
        labels = train_labels or (manifest["train_labels"] if manifest else None)
        answer_metrics, scored = evaluate(
            rows, _knowledge_cutoff(manifest), doubts=doubts, train_labels=labels
        )
        likelihoods = _read_likelihoods(source)
        if likelihoods:
            scored = with_probabilities(rows, scored, likelihoods)
        metrics: Metrics = {
            "source": {"file": printable(source.name), "sha256": files.sha256(source)},
            **answer_metrics,
            **likelihood_metrics(rows, scored, likelihoods, labels),
        }
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return ScoredFile(metrics, scored)


def _manifest_beside(source: Path) -> GenerationManifest | None:
    """The manifest in the folder of the answers, whatever their file is called; None without one,
    or if another command wrote it."""
    path = source.with_name(MANIFEST)
    if not path.is_file():
        return None
    kind = read_json_object(path).get("kind", "generate")
    if source.name != GENERATIONS and kind not in (None, "generate", "tfidf"):
        return None
    return read_generation_manifest(path)


def _knowledge_cutoff(manifest: GenerationManifest | None) -> date | None:
    """The knowledge cut-off of the base, if the manifest beside the answers names a known base."""
    return knowledge_cutoff(manifest, _cutoffs_of_recipes()) if manifest else None


@cache
def _cutoffs_of_recipes() -> Mapping[str, date]:
    """Read once for all files of a command."""
    return knowledge_cutoffs(RECIPES)


def _read_likelihoods(source: Path) -> list[LikelihoodRow] | None:
    """The likelihoods of the same run; None if there is no file beside the answers."""
    path = source.with_name(LIKELIHOODS)
    if source.name != GENERATIONS or not path.exists():
        return None
    return read_rows(path, LikelihoodRow, "run eval.likelihood again", complete=False)


if __name__ == "__main__":
    sys.exit(main())
