"""The command: `python -m eval.report results/a results/b --out results/compare`."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from eval.report.write import write_report


def main(arguments: Sequence[str] | None = None) -> int:
    """Write the report over the named folders; print its path last and return the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m eval.report",
        description="One page, Markdown, tables and pictures over any number of scored runs.",
        epilog="DIR gets report.html (complete in itself), report.md, tables/*.csv and figures/. "
        "exit status: 0, or 2 when a folder cannot be read.",
    )
    parser.add_argument(
        "results", nargs="+", type=Path, metavar="RESULTS_DIR", help="folder with a metrics.json"
    )
    parser.add_argument(
        "--out", required=True, type=Path, metavar="DIR", help="folder for the report"
    )
    parser.add_argument("--title", default="Weekly forecasts, measured", help="title of the report")
    options = parser.parse_args(arguments)
    try:
        page = write_report(options.results, options.out, options.title)
    except (ValueError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
