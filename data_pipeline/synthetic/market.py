"""The fictional market on disk: raw files, records, reference answers and a dataset."""

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from data_pipeline.dataset.row import dataset_row
from data_pipeline.dataset.statistics import train_majority
from data_pipeline.synthetic.analyst import answer
from data_pipeline.synthetic.raw import write_raw
from data_pipeline.synthetic.world import PARTS, FictionalStory, Market, best_reachable
from weekahead.files import sha256, write_json, write_jsonl
from weekahead.manifest import new_manifest
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.rows import DatasetRow
from weekahead.task.labels import direction_of
from weekahead.task.prompt import PROMPT_VERSION

CONTEXT_WEEKS = 1
TEACHER = "scripted analyst, told the bin"


def story_row(story: FictionalStory) -> DatasetRow:
    """A story as a dataset row."""
    return dataset_row(story.record, answer(story), TEACHER, told=True)


def rule_accuracy(stories: Sequence[FictionalStory]) -> float:
    """The share of stories whose direction the rule (the sign of the balance) gets right."""
    hits = [
        (story.balance > 0) == (direction_of(story.record.label or "") > 0) for story in stories
    ]
    return sum(hits) / len(hits)


def write_market(market: Market, out: Path, name: str) -> Path:
    """Write raw files, records, answers and dataset under `out`; return the dataset's folder."""
    parts = {
        part.name: [story for story in market.stories if story.part == part.name] for part in PARTS
    }
    stories = [story for part in parts.values() for story in part]
    write_raw(market.stories, out / "raw" / name)  # with the weeks that no split took
    write_jsonl(out / "records" / f"{name}.jsonl", (story.record.to_json() for story in stories))
    answers = (
        {"id": story.record.id, "teacher": TEACHER, "answer": answer(story)} for story in stories
    )
    write_jsonl(out / "teacher" / f"{name}.jsonl", answers)
    folder = out / "datasets" / name
    for part, part_stories in parts.items():
        write_jsonl(folder / f"{part}.jsonl", map(story_row, part_stories))
    write_jsonl(folder / "dropped.jsonl", [])
    # The manifest comes last: if it is there, the dataset is whole.
    manifest = new_manifest(
        kind="dataset",
        synthetic=True,
        source=f"fictional market, signal {market.signal:g}, seed {market.seed}",
        signal=market.signal,
        seed=market.seed,
        rows={part: len(part_stories) for part, part_stories in parts.items()},
        dropped={},
        sha256={part: sha256(folder / f"{part}.jsonl") for part in parts},
        context_weeks=CONTEXT_WEEKS,
        prompt_version=PROMPT_VERSION,
        train_majority=train_majority(
            Counter(story.record.label or "" for story in parts["train"])
        ),
        ceiling={
            "expected": best_reachable(market.signal),
            "rule_on_rows": {
                part: rule_accuracy(part_stories) for part, part_stories in parts.items()
            },
        },
    )
    write_json(folder / MANIFEST, manifest)
    return folder
