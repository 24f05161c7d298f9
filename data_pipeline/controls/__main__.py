"""A dataset with one thing taken out of it, to see what a model depends on:

python -m data_pipeline.controls SOURCE --out DIR [--seed 0] \\
    --control shuffled_labels|no_news|swapped_news|masked_names

shuffled_labels  a training row gets the outcome of another row. Train on it: an accuracy on the
                 true test labels above that of the more frequent direction then comes from a leak
                 or from luck.
no_news          prompts without their news. Evaluate on it what was trained with news.
swapped_news     prompts with the news of another firm of the same week. Evaluate on it what was
                 trained with news: the report says how many calls change.
masked_names     prompts and answers that do not name the company. Evaluate, or train and evaluate.

SOURCE is whatever training and evaluation read; public rows are converted first. Ids stay: no model
sees them.
"""

import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.controls.apply import CONTROLS, apply_control, check_not_source, our_splits
from data_pipeline.dataset.reader import read_source
from data_pipeline.dataset.writer import check_target, source_facts, write_dataset
from weekahead.cli import add_options, new_parser, option, read_options, run_command
from weekahead.schema.manifests import ControlCounts
from weekahead.schema.rows import is_synthetic


@dataclass(frozen=True)
class ControlOptions:
    """Which control is written, and where."""

    control: str = option(choices=tuple(CONTROLS))
    out: Path = option(help="dataset folder to write")
    seed: int = option(0, help="of shuffled_labels; the others draw nothing")


def run(source_name: str, options: ControlOptions) -> None:
    """Write a control of the source and print what changed.

    Raises ValueError or OSError for a source or a folder that cannot be used.
    """
    check_not_source(source_name, options.out)
    check_target(options.out)
    source = read_source(source_name)
    splits, dropped, warnings = our_splits(source)
    controlled = apply_control(options.control, splits, options.seed)
    write_dataset(
        options.out,
        controlled.splits,
        [*dropped, *controlled.dropped],
        control=options.control,
        seed=options.seed if CONTROLS[options.control].uses_seed else None,
        counts=controlled.counts,
        source=source_facts(source),
        synthetic=any(map(is_synthetic, controlled.splits.values())),
        warnings=warnings,
    )
    for name, count in controlled.counts.items():
        print(_summary_line(name, count))
    for reason, rows in Counter(row["reason"] for row in controlled.dropped).items():
        print(f"dropped      {rows:6} rows: {reason}")
    for warning in warnings:
        print(f"warning: {warning}")
    print(options.out)


def _summary_line(split: str, count: ControlCounts) -> str:
    line = f"{split:12} {count['changed']:6} rows changed, {count['unchanged']} unchanged"
    unknown = count.get("name_unknown", 0)
    return f"{line}, {unknown} state no name" if unknown else line


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 written, 2 for a source or folder that cannot be used."""
    parser = new_parser(__doc__, "data_pipeline.controls")
    parser.add_argument("source", help="dataset folder, file or Hub id")
    add_options(parser, ControlOptions)
    arguments = parser.parse_args(argv)
    options = read_options(arguments, ControlOptions)

    def work() -> int:
        run(arguments.source, options)
        return 0

    return run_command("data_pipeline.controls", work)


if __name__ == "__main__":
    sys.exit(main())
