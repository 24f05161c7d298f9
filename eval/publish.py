"""An evaluation as the tracked run shows it: its numbers, its table of metrics, and its files as one artifact.

python -m eval.publish results/llama
"""

import argparse
import json
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from weekahead.cli import configure_logging
from weekahead.files import load_env
from weekahead.tracking.run import TrackedRun, start_run

_FILES = ("metrics.json", "generations.jsonl", "scored.jsonl", "manifest.json")


def log_evaluation(folder: Path | str, tracker: TrackedRun) -> None:
    """Log `results/<run>` to `tracker`: scalars under `eval/`, the table `eval/metrics`, an artifact with the files.

    The artifact has the type "evaluation" and the name `evaluation-<run>`; offline its bytes wait in the run's
    own folder until `wandb sync`. Raises FileNotFoundError where the folder holds no metrics.json or no
    generations.jsonl.
    """
    folder = Path(folder)
    for name in ("metrics.json", "generations.jsonl"):
        if not (folder / name).is_file():
            raise FileNotFoundError(
                f"{folder / name} is missing: run eval.generate and eval.score into {folder} first"
            )
    metrics = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    scalars = dict(flatten(metrics))
    tracker.log({f"eval/{name}": value for name, value in scalars.items()})
    tracker.log_table(
        "eval/metrics", ["metric", "value"], [[name, value] for name, value in scalars.items()]
    )
    files = {name: folder / name for name in _FILES if (folder / name).is_file()}
    tracker.log_artifact(artifact_name(folder.resolve().name), "evaluation", files)


def flatten(value: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, float | int]]:
    """The numbers in nested metrics with their path as name, such as `baselines/always_down/mse`.

    A pair is an interval and gives `<name>/low` and `<name>/high`. Null (unknown), text and longer lists are left out.
    """
    for key, item in value.items():
        name = f"{prefix}{key}"
        if isinstance(item, Mapping):
            yield from flatten(item, f"{name}/")
        elif isinstance(item, list) and any(isinstance(part, Mapping) for part in item):
            for part in item:
                yield from flatten(
                    part, f"{name}/{part['name']}/" if "name" in part else f"{name}/"
                )
        elif isinstance(item, list) and len(item) == 2:
            yield from flatten(dict(zip(("low", "high"), item, strict=True)), f"{name}/")
        elif isinstance(item, int | float) and not isinstance(item, bool):
            yield name, item


def artifact_name(run: str) -> str:
    """A name W&B accepts: letters, digits, dot, dash and underscore, at most 128 of them."""
    return f"evaluation-{re.sub(r'[^A-Za-z0-9_.-]', '-', run)}"[:128]


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, or 2 where the folder is not scored or W&B cannot be had although a key is set."""
    configure_logging()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="results/<run>, generated and scored")
    folder = parser.parse_args(argv).folder
    try:
        load_env()
        with start_run(folder, name=folder.name, kind="eval", config={"run": folder.name}) as run:
            log_evaluation(folder, run)
    except (OSError, RuntimeError, ValueError) as error:
        print(f"eval.publish: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
