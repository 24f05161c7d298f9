"""Rows of the public FinGPT Forecaster datasets into our rows:

python -m data_pipeline.fingpt SOURCE --out DIR [--wording repaired|original]

SOURCE is a Hub id, a .jsonl, .parquet or .arrow file, a folder with one file per split, or one that
`datasets` saved.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from data_pipeline.dataset.public_rows import PROMPT_VERSIONS, Wording, build_public_rows
from data_pipeline.dataset.reader import read_source
from data_pipeline.dataset.split import CONTEXT_WEEKS, VALIDATION_SHARE, check_cut
from data_pipeline.dataset.writer import check_target, source_facts, summary_lines, write_dataset
from weekahead.cli import new_parser, read_options, run_command, whole_number
from weekahead.schema.manifests import PublicManifest


@dataclass(frozen=True)
class PublicOptions:
    """Which public rows are converted, and how."""

    source: str
    out: Path
    wording: Wording = "repaired"
    gap_weeks: int = CONTEXT_WEEKS
    validation_share: float = VALIDATION_SHARE


def run(options: PublicOptions) -> PublicManifest:
    """Convert the source into a dataset folder and print what is in it.

    Raises ValueError or OSError for a source or a folder that cannot be used.
    """
    check_cut(options.validation_share, options.gap_weeks)
    check_target(options.out)
    source = read_source(options.source)
    public = build_public_rows(
        source.splits,
        source.origins,
        wording=options.wording,
        validation_share=options.validation_share,
        gap_weeks=options.gap_weeks,
    )
    manifest = write_dataset(
        options.out,
        public.splits,
        public.dropped,
        source=source_facts(source),
        read={name: len(rows) for name, rows in source.splits.items()},
        wording=options.wording,
        prompt_version=PROMPT_VERSIONS[options.wording],
        context_weeks=options.gap_weeks,
        validation_share=options.validation_share,
        repaired=public.repaired,
        unreadable=public.unreadable,
        warnings=public.warnings,
    )
    manifest = cast("PublicManifest", manifest)
    _print_summary(options.out, manifest)
    return manifest


def _print_summary(out: Path, manifest: PublicManifest) -> None:
    for line in summary_lines(manifest["splits"], manifest["dropped"]):
        print(line)
    for kind, count in manifest["repaired"].items():
        print(f"repaired     {count:6} {kind}")
    for name, fault in manifest["unreadable"].items():
        print(f"kept, although its {fault}: {name}")
    for warning in manifest["warnings"]:
        print(f"warning: {warning}")
    print(out)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 converted, 2 for a source or folder that cannot be used."""
    parser = new_parser(__doc__, "data_pipeline.fingpt")
    parser.add_argument("source", help="Hub id, file, or folder with one file per split")
    parser.add_argument("--out", type=Path, required=True, help="dataset folder to write")
    parser.add_argument("--wording", choices=PROMPT_VERSIONS, default="repaired")
    parser.add_argument(
        "--gap-weeks", type=whole_number, default=CONTEXT_WEEKS, help="weeks dropped between splits"
    )
    parser.add_argument(
        "--validation-share", type=float, default=VALIDATION_SHARE, help="of the train rows"
    )
    options = read_options(parser.parse_args(argv), PublicOptions)

    def work() -> int:
        run(options)
        return 0

    return run_command("data_pipeline.fingpt", work)


if __name__ == "__main__":
    sys.exit(main())
