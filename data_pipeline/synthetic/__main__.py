"""Write a fictional market to disk: raw files, records, reference answers and a dataset.

    python -m data_pipeline.synthetic --out data --name fictional --signal 0.9 --seed 0

The raw files have the shapes of real providers (daily prices as yfinance, news and profile as
Finnhub), so that every later stage can be tried on them without an account.
"""

import argparse
from collections import Counter
from pathlib import Path

from data_pipeline.dataset.row import dataset_row
from data_pipeline.dataset.statistics import train_majority
from data_pipeline.synthetic.analyst import answer
from data_pipeline.synthetic.raw import write_raw
from data_pipeline.synthetic.world import PARTS, FictionalStory, best_reachable, tell
from weekahead.files import Row, sha256, write_json, write_jsonl
from weekahead.manifest import new_manifest
from weekahead.task.labels import direction_of
from weekahead.task.prompt import PROMPT_VERSION

CONTEXT_WEEKS = 1
TEACHER = "scripted analyst, told the bin"


def story_row(story: FictionalStory) -> Row:
    """A story as a dataset row."""
    return dataset_row(story.record, answer(story), TEACHER)


def rule_accuracy(stories: list[FictionalStory]) -> float:
    """The share of stories whose direction the rule (the sign of the balance) gets right."""
    hits = [
        (story.balance > 0) == (direction_of(story.record.label or "") > 0) for story in stories
    ]
    return sum(hits) / len(hits)


def write_market(
    stories: list[FictionalStory], out: Path, name: str, signal: float, seed: int
) -> Path:
    """Write raw files, records, answers and dataset under `out`; return the dataset's folder."""
    parts = {part.name: [story for story in stories if story.part == part.name] for part in PARTS}
    kept = [story for part in parts.values() for story in part]
    write_raw(stories, out / "raw" / name)
    write_jsonl(out / "records" / f"{name}.jsonl", (story.record.to_json() for story in kept))
    answers = (
        {"id": story.record.id, "teacher": TEACHER, "answer": answer(story)} for story in kept
    )
    write_jsonl(out / "teacher" / f"{name}.jsonl", answers)
    folder = out / "datasets" / name
    for part, part_stories in parts.items():
        write_jsonl(folder / f"{part}.jsonl", map(story_row, part_stories))
    write_jsonl(folder / "dropped.jsonl", [])
    labels = Counter(story.record.label or "" for story in parts["train"])
    # The manifest comes last: where it stands, the dataset is whole.
    write_json(
        folder / "manifest.json",
        new_manifest(
            kind="dataset",
            synthetic=True,
            source=f"fictional market, signal {signal:g}, seed {seed}",
            signal=signal,
            seed=seed,
            rows={part: len(part_stories) for part, part_stories in parts.items()},
            dropped={},
            sha256={part: sha256(folder / f"{part}.jsonl") for part in parts},
            context_weeks=CONTEXT_WEEKS,
            prompt_version=PROMPT_VERSION,
            train_majority=train_majority(labels),
            ceiling={
                "expected": best_reachable(signal),
                "rule_on_rows": {
                    part: rule_accuracy(part_stories) for part, part_stories in parts.items()
                },
            },
        ),
    )
    return folder


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--out", type=Path, default=Path("data"), help="folder for raw/, records/, datasets/"
    )
    parser.add_argument("--name", default="fictional", help="name of the market under each of them")
    parser.add_argument(
        "--signal", type=float, default=0.9, help="0: news says nothing; 1: it decides"
    )
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    try:
        stories = tell(args.seed, args.signal)
    except ValueError as error:
        parser.error(str(error))
    folder = write_market(stories, args.out, args.name, args.signal, args.seed)
    reach = best_reachable(args.signal)
    print(
        f"fictional market with signal {args.signal:g}: best reachable direction accuracy {reach:.2f}"
    )
    print(folder)


if __name__ == "__main__":
    main()
