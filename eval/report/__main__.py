"""The command: `python -m eval.report results/a results/b --out results/compare`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.report.write import write_report
from weekahead.cli import new_parser, run_command


def new_arguments() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = new_parser(
        "One page, Markdown, tables and figures over any number of scored runs.",
        "eval.report",
    )
    parser.epilog = (
        "DIR gets report.html (complete in itself), report.md, tables/*.csv and figures/.\n"
        "exit status: 0, or 2 if a folder cannot be read."
    )
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS_DIR", help="folder with a metrics.json"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for the report"
    )
    parser.add_argument("--title", default="Weekly forecasts, measured", help="title of the report")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Write the report over the named folders; print its path last and return the exit status."""
    options = new_arguments().parse_args(argv)

    def write() -> int:
        print(write_report(options.results, options.out, options.title))
        return 0

    return run_command("eval.report", write)


if __name__ == "__main__":
    sys.exit(main())
