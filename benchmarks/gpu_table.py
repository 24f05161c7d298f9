"""The figures of benchmarks/gpu_day.sh as Markdown tables.

python -m benchmarks.gpu_table benchmarks/results/gpu_day
"""

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from weekahead.cli import new_parser, run_command
from weekahead.files import read_jsonl

_GIB = 2**30


def tables(folder: Path) -> str:
    """The tables of a folder of results. Raises ValueError if it has none."""
    files = {"train.jsonl": _training, "generate.jsonl": _answers}
    found = [list(make(read_jsonl(folder / name))) for name, make in files.items()]
    if not any(found):
        raise ValueError(
            f"{folder} has no {' and no '.join(files)}; benchmarks/gpu_day.sh writes them"
        )
    return "\n\n".join("\n".join(lines) for lines in found if lines)


def _training(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    if runs:
        yield from _head(
            "recipe", "setting", "tokens per row", "tokens/s", "MFU", "peak GiB", "card"
        )
    for run in runs:
        memory, mfu = run["peak_gpu_memory_bytes"], run["mfu"]
        yield _row(
            run["recipe"] + (f" like {run['like']}" if run.get("like") else ""),
            run["vary"].replace(",", ", ") or "as it stands",
            f"{run['length']:,}",
            f"{run['tokens_per_second']:,.0f}",
            "-" if mfu is None else f"{mfu:.1%}",
            "-" if memory is None else f"{memory / _GIB:.1f}",
            run["machine"]["card"] or run["machine"]["cpu"],
        )


def _answers(runs: Sequence[dict[str, Any]]) -> Iterator[str]:
    if runs:
        yield from _head("GiB left", "form", "batch", "rows", "tokens/s", "s per row", "card")
    for run in runs:
        for way in run["ways"]:
            yield _row(
                "all" if run.get("memory_gib") is None else f"{run['memory_gib']:g}",
                way["way"],
                str(way["batch_size"]),
                str(way["rows"]),
                f"{way['tokens_per_second']:,.0f}",
                f"{way['seconds_per_row']:.2f}",
                run["machine"]["card"] or run["machine"]["cpu"],
            )


def _head(*names: str) -> Iterator[str]:
    yield _row(*names)
    yield _row(*["---"] * len(names))


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 printed, 2 if there are no results."""
    parser = new_parser(__doc__, "benchmarks.gpu_table")
    parser.add_argument("folder", type=Path, help="the folder OUT of benchmarks/gpu_day.sh")
    options = parser.parse_args(argv)

    def run() -> int:
        print(tables(options.folder))
        return 0

    return run_command("benchmarks.gpu_table", run)


if __name__ == "__main__":
    sys.exit(main())
