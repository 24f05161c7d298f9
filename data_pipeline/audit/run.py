"""What is wrong with a dataset, and above all what it leaks:

python -m data_pipeline.audit SOURCE --out DIR [--filing-lag 30]

SOURCE is a dataset of ours, the public one as it came (Hub id, folder, file), or a file of records.
The table is printed and written to DIR/audit.json. Exit 0: no leak; 1: a leak; 2: the source could
not be audited. A leak is something that nobody could have known at the decision, or that a test
shares with training. Other defects are reported and do not change the exit status.
"""

import traceback
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from pathlib import Path

from data_pipeline.audit import defects, leaks
from data_pipeline.audit.leaks import Finding
from data_pipeline.audit.rows import AuditRow, audit_rows
from data_pipeline.dataset.reader import read_source
from data_pipeline.records.fundamentals import SHORTEST_LAG_DAYS
from weekahead.cli import new_parser, read_options, run_command, whole_number
from weekahead.files import write_json
from weekahead.locks import check_writable
from weekahead.manifest import new_manifest
from weekahead.recipe import RECIPES, knowledge_cutoffs


@dataclass(frozen=True)
class AuditOptions:
    """What is audited, and where the findings go."""

    source: str
    out: Path
    filing_lag: int = SHORTEST_LAG_DAYS

    def check(self) -> None:
        """Raise ValueError or OSError for options that cannot work."""
        if self.filing_lag < 0:
            raise ValueError(
                f"--filing-lag is {self.filing_lag}; expected days, 0 or more, such as "
                f"{SHORTEST_LAG_DAYS}"
            )
        if self.out.exists() and not self.out.is_dir():
            raise NotADirectoryError(
                f"--out is {self.out}, which is a file; give a folder for audit.json"
            )


@dataclass(frozen=True)
class AuditResult:
    """The finding of every check by its name, and how many rows there are."""

    findings: dict[str, Finding]
    rows: int

    @property
    def leaks(self) -> list[str]:
        """The checks that found a leak."""
        return [name for name, check in self.findings.items() if check.leak]

    @property
    def unchecked(self) -> list[str]:
        """The checks for leaks that had no row to look at."""
        leak_checks = {name: check for name, check in self.findings.items() if check.kind == "leak"}
        return [name for name, check in leak_checks.items() if not check.of]

    @property
    def status(self) -> int:
        """The exit status: 1 for a leak, else 0."""
        return 1 if self.leaks else 0


def audit(
    rows: Sequence[AuditRow], filing_lag: int, cutoffs: Mapping[str, date]
) -> dict[str, Finding]:
    """Every check by name, leaks first.

    `filing_lag` is in days; `cutoffs` as in `weekahead.recipe.knowledge_cutoffs`.
    """
    return {
        "known_at": leaks.known_at(rows),
        "constant_market_cap": leaks.constant_market_cap(rows),
        "young_quarter": leaks.young_quarter(rows, filing_lag),
        "label_in_prompt": leaks.label_in_prompt(rows),
        "split_overlap": leaks.split_overlap(rows),
        "duplicate": leaks.duplicate(rows),
        **defects.reference_answers(rows),
        "wrong_asset_wording": defects.wrong_asset_wording(rows),
        "label_against_return": defects.label_against_return(rows),
        "label_against_prices": defects.label_against_prices(rows),
        "symbol_week_holes": defects.symbol_week_holes(rows),
        **defects.broken_text(rows),
        "split_gap": defects.split_gap(rows),
        "weeks_before_cutoff": defects.weeks_before_cutoff(rows, cutoffs),
    }


def run(options: AuditOptions) -> AuditResult:
    """Audit, write and print. Raises ValueError or OSError for what cannot be audited."""
    options.check()
    check_writable(options.out)
    source = read_source(options.source)
    rows = audit_rows(source)
    result = AuditResult(audit(rows, options.filing_lag, knowledge_cutoffs(RECIPES)), len(rows))
    manifest = new_manifest(
        kind="audit",
        rows=result.rows,
        filing_lag=options.filing_lag,
        source=source.name,
        revision=source.revision,
        sha256=source.sha256,
    )
    # Not manifest.json: --out may be the dataset's own folder.
    write_json(options.out / "audit.manifest.json", manifest)
    report = {
        name: {**asdict(check), "leak": check.leak} for name, check in result.findings.items()
    }
    write_json(options.out / "audit.json", report)
    print(findings_table(result.findings))
    print(_verdict(result))
    return result


def findings_table(findings: Mapping[str, Finding]) -> str:
    """One line per check: the rows it counts, the rows it looked at, whether it is a leak.

    The first example and the note, if there are any, follow.
    """
    lines = [f"{'check':20} {'count':>7} {'of':>7} leak first example or note"]
    for name, check in findings.items():
        notes = [*check.examples[:1], check.note or ""]
        text = "; ".join(note for note in notes if note)
        lines.append(f"{name:20} {check.count:7} {check.of:7} {_leak(check):4} {text}".rstrip())
    return "\n".join(lines)


def _leak(check: Finding) -> str:
    if not check.of:
        return "-"
    return "yes" if check.leak else "no"


def _verdict(result: AuditResult) -> str:
    verdict = f"leaks: {', '.join(result.leaks)}" if result.leaks else "no leak found"
    if result.unchecked:
        verdict += f"; nothing to check for {', '.join(result.unchecked)}"
    return f"{result.rows} rows: {verdict}"


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 no leak, 1 a leak, 2 a source that could not be audited."""
    parser = new_parser(__doc__, "data_pipeline.audit")
    parser.add_argument("source", help="dataset folder, file or Hub id, or a file of records")
    parser.add_argument("--out", type=Path, required=True, help="folder for audit.json")
    parser.add_argument(
        "--filing-lag",
        type=whole_number,
        default=SHORTEST_LAG_DAYS,
        help="days from a quarter's end to its filing",
    )
    options = read_options(parser.parse_args(argv), AuditOptions)
    try:
        return run_command("data_pipeline.audit", lambda: run(options).status)
    except Exception:  # if it ended the process, the status would be 1, which means a leak
        traceback.print_exc()
        return 2
