"""Rows of the public FinGPT Forecaster datasets into our rows:

python -m data_pipeline.fingpt SOURCE --out DIR [--wording repaired|original]

SOURCE is a Hub id, a .jsonl, .parquet or .arrow file, a folder with one file a split, or one that `datasets` saved.
"""

import argparse
import sys
from collections.abc import Sequence

from data_pipeline.dataset.public_rows import PROMPT_VERSIONS, build
from data_pipeline.dataset.reader import read_source
from data_pipeline.dataset.split import CONTEXT_WEEKS, VALIDATION_SHARE
from data_pipeline.dataset.writer import check_target, write_dataset
from weekahead.files import Row


def main(argv: Sequence[str] | None = None) -> int:
    """Convert SOURCE into a dataset folder; 0, or 2 for a source or folder that cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m data_pipeline.fingpt", description=__doc__)
    parser.add_argument("source", help="Hub id, file, or folder with one file a split")
    parser.add_argument("--out", required=True, help="dataset folder to write")
    parser.add_argument("--wording", choices=PROMPT_VERSIONS, default="repaired")
    parser.add_argument(
        "--gap-weeks", type=int, default=CONTEXT_WEEKS, help="weeks dropped between splits"
    )
    parser.add_argument(
        "--validation-share", type=float, default=VALIDATION_SHARE, help="of the train rows"
    )
    args = parser.parse_args(argv)
    try:
        check_target(args.out)
        source = read_source(args.source)
        built = build(
            source.splits,
            source.origins,
            wording=args.wording,
            validation_share=args.validation_share,
            gap_weeks=args.gap_weeks,
        )
        manifest = write_dataset(
            args.out,
            built.splits,
            built.dropped,
            source={"name": source.name, "revision": source.revision, "sha256": source.sha256},
            read={name: len(rows) for name, rows in source.splits.items()},
            wording=args.wording,
            prompt_version=PROMPT_VERSIONS[args.wording],
            context_weeks=args.gap_weeks,
            validation_share=args.validation_share,
            repaired=built.repaired,
            unreadable=built.unreadable,
            warnings=built.warnings,
        )
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    _tell(args.out, manifest)
    return 0


def _tell(out: str, manifest: Row) -> None:
    for name, facts in manifest["splits"].items():
        print(
            f"{name:12} {facts['rows']:6} rows, {facts['weeks']} weeks, {facts['first_week']} to {facts['last_week']}"
        )
    for reason, count in manifest["dropped"].items():
        print(f"dropped      {count:6} rows: {reason}")
    for kind, count in manifest["repaired"].items():
        print(f"repaired     {count:6} {kind}")
    for note in manifest["unreadable"].items():
        print("kept, although its {}: {}".format(*reversed(note)))
    for warning in manifest["warnings"]:
        print(f"warning: {warning}")
    print(out)


if __name__ == "__main__":
    sys.exit(main())
