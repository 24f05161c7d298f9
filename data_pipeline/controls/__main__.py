"""A dataset with one thing taken out of it, to see what a model lives on:

python -m data_pipeline.controls SOURCE --control shuffled_labels|no_news|masked_names --out DIR [--seed 0]

shuffled_labels  what a training row is told came true is another row's. Train on it: an accuracy on the true
                 test labels above that of the commoner direction then comes from a leak or from luck.
no_news          prompts without their news. Evaluate on it what was trained with news.
masked_names     prompts and answers that do not say whose they are. Evaluate, or train and evaluate.

SOURCE is whatever training and evaluation read; public rows are converted first. Ids stay: no model sees them.
"""

import argparse
import sys
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from data_pipeline.controls.masked_names import mask_row
from data_pipeline.controls.no_news import without_news
from data_pipeline.controls.shuffled_labels import shuffle_labels
from data_pipeline.dataset import public_rows
from data_pipeline.dataset.load import check_rows, is_public
from data_pipeline.dataset.reader import Source, read_source
from data_pipeline.dataset.writer import check_target, write_dataset
from weekahead.files import Row
from weekahead.schema.rows import user_text
from weekahead.task.prompt_reader import read_prompt

Splits = Mapping[str, Sequence[Row]]
CONTROLS: dict[str, Callable[[Splits, int], tuple[dict[str, list[Row]], list[Row]]]] = {
    "shuffled_labels": shuffle_labels,
    "no_news": lambda splits, seed: (_each(splits, without_news), []),
    "masked_names": lambda splits, seed: (_each(splits, mask_row), []),
}
"""Name -> (splits, seed) to (changed splits, rows left out with `split` and `reason`)."""


def apply(
    control: str, splits: Splits, seed: int = 0
) -> tuple[dict[str, list[Row]], list[Row], dict[str, Row]]:
    """(splits, dropped, counts) under a control; every row carries its name as `control`.

    `counts` has for each split the rows that are `changed` and those that are `unchanged`: a row without news, a
    label that was drawn again. Under masked_names, `name_unknown` are those whose introduction states no name, so
    that only their ticker is masked. Raises ValueError for an unknown control.
    """
    if control not in CONTROLS:
        raise ValueError(f"unknown control {control!r}; expected one of: {', '.join(CONTROLS)}")
    made, dropped = CONTROLS[control](splits, seed)
    counts = {
        name: _count(control, {row["id"]: row for row in splits[name]}, rows)
        for name, rows in made.items()
    }
    return (
        {name: [{**row, "control": control} for row in rows] for name, rows in made.items()},
        dropped,
        counts,
    )


def _count(control: str, before: Mapping[str, Row], rows: Sequence[Row]) -> Row:
    changed = sum(row != before[row["id"]] for row in rows)
    companies = [read_prompt(user_text(row["prompt"])).company for row in before.values()]
    unknown = {"name_unknown": companies.count(None)}
    return {
        "changed": changed,
        "unchanged": len(rows) - changed,
        **(unknown if control == "masked_names" else {}),
    }


def _each(splits: Splits, change: Callable[[Row], Row]) -> dict[str, list[Row]]:
    return {name: [change(row) for row in rows] for name, rows in splits.items()}


def our_splits(source: Source) -> tuple[dict[str, list[Row]], list[Row], list[str]]:
    """(splits, dropped, warnings) of any source in our rows; public rows are converted and cut by date.

    Raises ValueError naming the row that cannot be used, and for rows of a control: two at once say nothing.
    """
    if any(is_public(rows) for rows in source.splits.values()):
        built = public_rows.build(source.splits, source.origins)
        return built.splits, built.dropped, built.warnings
    splits = {name: check_rows(rows, source.origins[name]) for name, rows in source.splits.items()}
    if earlier := {
        row["control"] for rows in splits.values() for row in rows if row.get("control")
    }:
        raise ValueError(
            f"{source.name} is the control {', '.join(sorted(earlier))} already; name its own source"
        )
    return splits, [], []


def check_not_source(source: str, out: Path) -> None:
    """Raise ValueError where writing `out` would replace the source or a folder that holds it."""
    here, there = Path(source).resolve(), out.resolve()
    if here.exists() and (here == there or there in here.parents):
        raise ValueError(
            f"{out} holds the source {source}, which writing it would replace; choose another --out"
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Write the control of SOURCE; 0, or 2 for a source or folder that cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("source", help="dataset folder, file or Hub id")
    parser.add_argument("--control", required=True, choices=CONTROLS)
    parser.add_argument("--out", required=True, type=Path, help="dataset folder to write")
    parser.add_argument(
        "--seed", type=int, default=0, help="of shuffled_labels; the others draw nothing"
    )
    args = parser.parse_args(argv)
    try:
        check_not_source(args.source, args.out)
        check_target(args.out)
        source = read_source(args.source)
        splits, dropped, warnings = our_splits(source)
        made, lost, counts = apply(args.control, splits, args.seed)
        write_dataset(
            args.out,
            made,
            [*dropped, *lost],
            control=args.control,
            seed=args.seed if args.control == "shuffled_labels" else None,
            counts=counts,
            source={"name": source.name, "revision": source.revision, "sha256": source.sha256},
            synthetic=any(row.get("synthetic") for rows in made.values() for row in rows),
            warnings=warnings,
        )
    except (ValueError, OSError) as error:
        print(f"data_pipeline.controls: {error}", file=sys.stderr)
        return 2
    _tell(args.out, counts, Counter(row["reason"] for row in lost), warnings)
    return 0


def _tell(
    out: Path, counts: Mapping[str, Row], lost: Mapping[str, int], warnings: Sequence[str]
) -> None:
    for name, count in counts.items():
        print(
            f"{name:12} {count['changed']:6} rows changed, {count['unchanged']} unchanged"
            + _unknown(count)
        )
    for reason, count in lost.items():
        print(f"dropped      {count:6} rows: {reason}")
    for warning in warnings:
        print(f"warning: {warning}")
    print(out)


def _unknown(count: Row) -> str:
    return f", {count['name_unknown']} state no name" if count.get("name_unknown") else ""


if __name__ == "__main__":
    sys.exit(main())
