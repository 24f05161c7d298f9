"""What is wrong with a dataset, and above all what it leaks:

python -m data_pipeline.audit SOURCE --out DIR [--filing-lag 30]

SOURCE is a dataset of ours, the public one as it came (Hub id, folder, file), or a file of records. The table is
printed and written to DIR/audit.json. Exit 0: no leak; 1: a leak; 2: the source could not be audited. A leak is
something that nobody could have known at the decision, or that a test shares with training. Other defects are
reported and do not change the exit status.
"""

import argparse
import sys
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path

from data_pipeline.audit import defects
from data_pipeline.audit import leaks as checks
from data_pipeline.audit.leaks import Finding
from data_pipeline.audit.rows import AuditRow, audit_rows
from data_pipeline.dataset.reader import read_source
from weekahead.files import write_json
from weekahead.manifest import new_manifest
from weekahead.recipe import RECIPES, knowledge_cutoffs

FILING_LAG = 30
"""Days a quarter is taken to need until it is published, where a row does not say when it was."""


def audit(
    rows: Sequence[AuditRow], filing_lag: int, cutoffs: Mapping[str, date]
) -> dict[str, Finding]:
    """Every check by name, leaks first. `filing_lag` is in days; `cutoffs` as in `knowledge_cutoffs`."""
    return {
        "known_at": checks.known_at(rows),
        "constant_market_cap": checks.constant_market_cap(rows),
        "young_quarter": checks.young_quarter(rows, filing_lag),
        "label_in_prompt": checks.label_in_prompt(rows),
        "split_overlap": checks.split_overlap(rows),
        "duplicate": checks.duplicate(rows),
        **defects.answers(rows),
        "wrong_asset_wording": defects.wrong_asset_wording(rows),
        "label_against_return": defects.label_against_return(rows),
        "label_against_prices": defects.label_against_prices(rows),
        "symbol_week_holes": defects.symbol_week_holes(rows),
        **defects.broken_text(rows),
        "split_gap": defects.split_gap(rows),
        "weeks_before_cutoff": defects.weeks_before_cutoff(rows, cutoffs),
    }


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    parser.add_argument("source", help="dataset folder, file or Hub id, or a file of records")
    parser.add_argument("--out", required=True, help="folder for audit.json")
    parser.add_argument(
        "--filing-lag", type=int, default=FILING_LAG, help="days from a quarter's end to its filing"
    )


def run(args: argparse.Namespace) -> int:
    """Audit, print and write; the exit status. Raises ValueError or OSError for what cannot be audited."""
    out = Path(args.out)
    if args.filing_lag < 0:
        raise ValueError(
            f"--filing-lag is {args.filing_lag}; expected days, 0 or more, such as {FILING_LAG}"
        )
    if out.exists() and not out.is_dir():
        raise NotADirectoryError(f"--out is {out}, which is a file; give a folder for audit.json")
    source = read_source(args.source)
    rows = audit_rows(source)
    found = audit(rows, args.filing_lag, knowledge_cutoffs(RECIPES))
    # Not manifest.json: DIR may be the dataset's own folder.
    facts = {"source": source.name, "revision": source.revision, "sha256": source.sha256}
    write_json(
        out / "audit.manifest.json",
        new_manifest(kind="audit", rows=len(rows), filing_lag=args.filing_lag, **facts),
    )
    write_json(
        out / "audit.json",
        {name: {**asdict(check), "leak": check.leak} for name, check in found.items()},
    )
    print(table(found))
    leaks = [name for name, check in found.items() if check.leak]
    idle = [name for name, check in found.items() if check.kind == "leak" and not check.of]
    verdict = f"leaks: {', '.join(leaks)}" if leaks else "no leak found"
    print(
        f"{len(rows)} rows: {verdict}"
        + (f"; nothing to check for {', '.join(idle)}" if idle else "")
    )
    return 1 if leaks else 0


def table(found: Mapping[str, Finding]) -> str:
    """One line a check: how many, of how many, whether it is a leak, and the first example or a note."""
    lines = [f"{'check':20} {'count':>7} {'of':>7} leak first example or note"]
    for name, check in found.items():
        told = "; ".join([*check.examples[:1], *([check.note] if check.note else [])])
        leak = "-" if not check.of else "yes" if check.leak else "no"
        lines.append(f"{name:20} {check.count:7} {check.of:7} {leak:4} {told}".rstrip())
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> int:
    """The command."""
    parser = argparse.ArgumentParser(
        prog="python -m data_pipeline.audit",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_arguments(parser)
    try:
        return run(parser.parse_args(argv))
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
    except Exception:  # left alone it would exit 1, which means a leak
        traceback.print_exc()
    return 2


if __name__ == "__main__":
    sys.exit(main())
