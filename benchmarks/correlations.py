"""How alike the rows of one week are: what plans and simulations take as the correlation.

python -m benchmarks.correlations                          simulated worlds without skill
python -m benchmarks.correlations results/a results/b      scored runs: scored.jsonl in each folder

The truths of a week are alike because its rows share their market. So are the hits of a caller that
always says the same. What a model's rows add to its skill is alike only as far as its calls are
alike too: if they share nothing, the correlation is the product of the two.
"""

import sys
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy

from benchmarks.skill_worlds import World, draw_world
from eval.metrics.skill import skill_values
from eval.metrics.statistics import mean
from eval.metrics.text_table import table
from eval.metrics.weeks import week_keys
from weekahead.cli import new_parser, run_command
from weekahead.files import read_jsonl
from weekahead.schema.file_names import SCORED

WORLDS = 300
HEADER = ("correlation within a week", "weeks", "rows", "truths", "calls", "hits", "skill values")
SIMULATED = {
    "calls at random": World(),
    "calls of a week alike (0.3)": World(call_week=0.3),
    "both alike (0.3)": World(week=0.3, call_week=0.3),
    "every call up": World(calls_up=1.0),
}


class Correlations(NamedTuple):
    """The intraclass correlations of one run; None if a column does not vary."""

    truths: float | None
    calls: float | None
    hits: float | None
    skill: float | None


def intraclass_correlation(values: Sequence[float], weeks: Sequence[Hashable]) -> float | None:
    """The share of the variance that lies between weeks, by analysis of variance of one way.

    (between - within) / (between + (m - 1) within), both as mean squares, with m the typical number
    of rows of a week (Donner, International Statistical Review 54(1), 1986). It may be below 0 by
    chance. None for fewer than two weeks, weeks of one row each, and values that are all equal.
    """
    groups: dict[Hashable, list[float]] = {}
    for value, week in zip(values, weeks, strict=True):
        groups.setdefault(week, []).append(value)
    n, count = len(values), len(groups)
    if count < 2 or n == count or len(set(values)) < 2:
        return None
    center = sum(values) / n
    means = {week: sum(group) / len(group) for week, group in groups.items()}
    between = sum(len(group) * (means[week] - center) ** 2 for week, group in groups.items())
    within = sum((value - means[week]) ** 2 for value, week in zip(values, weeks, strict=True))
    between, within = between / (count - 1), within / (n - count)
    rows = (n - sum(len(group) ** 2 for group in groups.values()) / n) / (count - 1)
    return (between - within) / (between + (rows - 1) * within)


def correlations(
    calls: Sequence[int | None], truths: Sequence[int], weeks: Sequence[Hashable]
) -> Correlations:
    """The correlations of a run's rows with a truth (1, -1); a call that is neither is silence."""
    called = [index for index, call in enumerate(calls) if call in (-1, 1)]
    hits = [float(call == truth) for call, truth in zip(calls, truths, strict=True)]
    return Correlations(
        truths=intraclass_correlation(truths, weeks),
        calls=intraclass_correlation(
            [calls[index] or 0 for index in called], [weeks[index] for index in called]
        ),
        hits=intraclass_correlation(hits, weeks),
        skill=intraclass_correlation(skill_values(calls, truths).tolist(), weeks),
    )


def of_worlds(world: World, worlds: int, seed: int = 1) -> Correlations:
    """The mean over so many simulated worlds."""
    draw = numpy.random.default_rng(seed)
    weeks: list[int] = numpy.repeat(numpy.arange(world.weeks), world.firms).tolist()
    drawn: list[Correlations] = []
    for _ in range(worlds):
        truths, calls = draw_world(draw, world)
        drawn.append(correlations(calls.ravel().tolist(), truths.ravel().tolist(), weeks))
    return Correlations(*map(_mean_of_known, zip(*drawn, strict=True)))


def _mean_of_known(column: Iterable[float | None]) -> float | None:
    return mean([value for value in column if value is not None])


def of_run(folder: Path) -> list[str]:
    """The line of a scored run. Raises FileNotFoundError without scored.jsonl, and ValueError if
    its rows name no weeks."""
    rows = [row for row in read_jsonl(folder / SCORED) if row["truth_direction"] is not None]
    weeks = week_keys(rows)
    if weeks.keys is None:
        raise ValueError(f"{folder / SCORED}: {weeks.reason}")
    found = correlations(
        [row["direction"] for row in rows], [row["truth_direction"] for row in rows], weeks.keys
    )
    return _line(folder.name, len(set(weeks.keys)), len(rows), found)


def _line(name: str, weeks: int, rows: int, found: Correlations) -> list[str]:
    values = ["-" if value is None else f"{value:.3f}" for value in found]
    return [name, str(weeks), str(rows), *values]


def print_table(folders: Sequence[Path]) -> int:
    """Print the table of `folders`; without any, of the simulated worlds."""
    lines = [of_run(folder) for folder in folders] or [
        _line(name, world.weeks, world.weeks * world.firms, of_worlds(world, WORLDS))
        for name, world in SIMULATED.items()
    ]
    print(table(HEADER, lines))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command. Exit 0, or 2 for a folder that is not scored."""
    parser = new_parser(__doc__, "benchmarks.correlations")
    parser.add_argument("folders", nargs="*", type=Path, metavar="FOLDER", help="results/<run>")
    options = parser.parse_args(arguments)
    return run_command("benchmarks.correlations", lambda: print_table(options.folders))


if __name__ == "__main__":
    sys.exit(main())
