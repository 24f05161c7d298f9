"""Score generated answers: `python -m eval.score results/llama/generations.jsonl --out results/llama`.

Reads files of rows with `generation` and `answer`, writes metrics.json and scored.jsonl, prints the
table. Takes seconds and no GPU, so a change of metric never costs a generation.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from eval.generation.results_folder import GENERATIONS
from eval.likelihoods.run import LIKELIHOODS
from eval.metrics.breakdown import knowledge_cutoff
from eval.metrics.evaluate import evaluate
from eval.metrics.probability import likelihood_metrics, up_probabilities
from eval.metrics.text_table import render
from weekahead import files
from weekahead.files import Row
from weekahead.recipe import RECIPES, knowledge_cutoffs

_HELP = """\
A row needs `generation` (the model's text) and `answer` (the reference text). Used when there: id, label
(one of the twelve bins; without it the parsed answer is the truth), period or week_end (the weeks that the
intervals cluster by; else the date in id), last_week_return and train_majority (for two of the baselines),
seconds, new_tokens, finish_reason, latency_measured, synthetic.

likelihoods.jsonl beside a generations.jsonl is scored with it.

DIR gets metrics.json and scored.jsonl for one file; for several files DIR/<stem>/ does, or
DIR/<parent folder>/ where stems repeat.

exit status: 0 when every row could be read, else 2, with nothing written."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the files named on the command line and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.score",
        description="Metrics, intervals and baselines of generated answers.",
        epilog=_HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "files", nargs="+", type=Path, metavar="FILE.jsonl", help="rows of generated answers"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for the results"
    )
    options = parser.parse_args(arguments)
    try:
        results = score_files(options.files, options.out)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(render(results))
    return 0


def score_files(sources: Sequence[Path], out: Path) -> dict[str, Row]:
    """Score each file into its folder under `out`; name of the run -> content of its metrics.json.

    Nothing is written before every file has been scored. Raises ValueError naming file, row and value,
    and OSError for a file that cannot be read or a folder that cannot be written.
    """
    folders = result_folders(sources, out)
    done = {source: _evaluate_file(source) for source in sources}
    for source, (metrics, scored) in done.items():
        folder = folders[source]
        files.write_jsonl(folder / "scored.jsonl", scored)
        # Last, so that metrics.json stands for a complete folder.
        files.write_json(folder / "metrics.json", metrics)
    return {_run_name(source, folders[source], out): done[source][0] for source in sources}


def result_folders(sources: Sequence[Path], out: Path) -> dict[Path, Path]:
    """Where each file's results go (see the command's help).

    Raises ValueError when two files would share a folder, or a result would replace a file it is from.
    """
    if len(sources) == 1:
        folders = {sources[0]: out}
    else:
        stems = Counter(source.stem for source in sources)
        folders = {s: out / (s.stem if stems[s.stem] == 1 else _parent(s)) for s in sources}
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
        for name in ("scored.jsonl", "metrics.json"):
            if (source := inputs.get((folder / name).resolve())) is not None:
                raise ValueError(
                    f"{source} would be replaced by its own result; choose another --out folder"
                )
    return folders


def _parent(source: Path) -> str:
    # The folder is resolved and the file is not: a Hub cache's files are links into a folder of hashes.
    return source.parent.resolve().name


def _run_name(source: Path, folder: Path, out: Path) -> str:
    if folder != out:
        return folder.name
    return _parent(source) if source.stem == "generations" else source.stem


def _evaluate_file(source: Path) -> tuple[Row, list[Row]]:
    rows = files.read_jsonl(source)
    try:
        metrics, scored = evaluate(rows, _cutoff(source))
        metrics |= _likelihood(source, rows, scored)
    except ValueError as error:
        raise ValueError(f"{source}: {error}") from None
    return {"source": {"file": source.name, "sha256": files.sha256(source)}, **metrics}, scored


def _cutoff(source: Path) -> date | None:
    """The knowledge cut-off of the base behind these answers, where the manifest beside them names one we know."""
    path = source.with_name("manifest.json")
    if source.name != GENERATIONS or not path.is_file():
        return None
    return knowledge_cutoff(
        json.loads(path.read_text(encoding="utf-8")), knowledge_cutoffs(RECIPES)
    )


def _likelihood(source: Path, rows: Sequence[Row], scored: Sequence[Row]) -> Row:
    """The likelihood of the same run, where it lies beside its answers; `scored` gets `up_probability`."""
    path = source.with_name(LIKELIHOODS)
    found = files.read_jsonl(path) if source.name == GENERATIONS and path.exists() else None
    for one, up in zip(scored, up_probabilities(rows, found), strict=True) if found else ():
        one["up_probability"] = up
    return likelihood_metrics(rows, scored, found)


if __name__ == "__main__":
    sys.exit(main())
