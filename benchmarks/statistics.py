"""How honest the intervals of `eval.metrics.statistics` are.

python -m benchmarks.statistics                     tables over simulated worlds (a few minutes)

The worlds of the test of skill are those of benchmarks.skill_worlds. For the other two tables a
world is a few weeks of rows. Each week draws its own share of right predictions from a beta
distribution around the true accuracy, so that rows of one week resemble each other as much as on
the public test rows.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy
from scipy.special import betaincinv, ndtr

from benchmarks import skill_worlds
from benchmarks.skill_worlds import World
from eval.metrics.skill import detectable_skill
from eval.metrics.statistics import ALPHA, TYPICAL_ICC, clustered_share, paired_difference, verdict
from eval.metrics.text_table import table
from weekahead.cli import add_options, new_parser, option, read_options
from weekahead.schema.metrics import Verdict

WEEKS = [30] * 10
SHARED_LUCK = 0.8
"""Correlation of the weeks of a run and its baseline."""
SIZES = {
    "10 weeks of 30": WEEKS,
    "6 weeks of 30": [30] * 6,
    "20 weeks of 30": [30] * 20,
    "10 weeks of 5 to 70": [5, 10, 15, 20, 25, 30, 35, 40, 50, 70],
    "9 weeks of 10, one of 210": [10] * 9 + [210],
}
DETECTABLE = {
    "6 weeks of 30": World(weeks=6),
    "10 weeks of 30": World(weeks=10),
    "26 weeks of 30": World(weeks=26),
    "52 weeks of one firm": World(weeks=52, firms=1),
    "10 weeks of 30, minus a base": World(weeks=10, base_calls_up=0.8),
}
VERDICTS: tuple[Verdict, ...] = ("better", "worse", "not shown")
_COVERAGE_ACCURACIES = (0.5, 0.6, 0.8, 0.9, 0.95)
_RUN_AND_BASELINE = ((0.5, 0.5), (0.55, 0.55), (0.8, 0.8), (0.6, 0.5), (0.7, 0.5), (0.8, 0.52))


@dataclass(frozen=True)
class Options:
    """The flags."""

    worlds: int = option(4000, help="how many worlds each number is a mean over")


def simulate_hits(
    seed: int,
    worlds: int,
    sizes: Sequence[int],
    accuracies: Sequence[float],
    *,
    icc: float = TYPICAL_ICC,
) -> numpy.ndarray:
    """Right predictions as an array of shape (systems, worlds, rows), one system per true accuracy.

    All systems of a world share their weeks' luck (a Gaussian copula of correlation SHARED_LUCK).
    """
    draw = numpy.random.default_rng(seed)
    shape = (len(accuracies), worlds, len(sizes))
    shared, own = draw.normal(size=shape[1:]), draw.normal(size=shape)
    luck = SHARED_LUCK**0.5 * shared + (1 - SHARED_LUCK) ** 0.5 * own
    spread = 1 / icc - 1  # of a beta distribution whose variance is icc * p * (1 - p)
    means = numpy.asarray(accuracies)[:, None, None]
    shares = betaincinv(means * spread, (1 - means) * spread, ndtr(luck))
    return draw.random((*shape[:2], sum(sizes))) < numpy.repeat(shares, sizes, axis=2)


def weeks_of(sizes: Sequence[int]) -> list[int]:
    """The week of each row."""
    return [week for week, size in enumerate(sizes) for _ in range(size)]


def coverage(seed: int, worlds: int, sizes: Sequence[int], accuracy: float) -> float:
    """The share of worlds in which the 95 % interval contains the true accuracy."""
    weeks = weeks_of(sizes)
    hits_by_world = simulate_hits(seed, worlds, sizes, [accuracy])[0].tolist()
    intervals = [clustered_share(hits, weeks).ci95 for hits in hits_by_world]
    return sum(low <= accuracy <= high for low, high in filter(None, intervals)) / worlds


def verdicts(
    seed: int, worlds: int, sizes: Sequence[int], run: float, baseline: float
) -> dict[Verdict, float]:
    """The share of worlds with each verdict on a run of accuracy `run` against `baseline`."""
    weeks = weeks_of(sizes)
    hits = simulate_hits(seed, worlds, sizes, [run, baseline]).astype(float)
    counts = dict.fromkeys(VERDICTS, 0)
    for ours, theirs in zip(*hits.tolist(), strict=True):
        estimate = paired_difference(ours, theirs, weeks)
        counts[verdict(estimate.mean, estimate.p)] += 1
    return {name: count / worlds for name, count in counts.items()}


def coverage_table(worlds: int) -> str:
    """Coverage by weeks and true accuracy."""
    lines: list[list[str]] = []
    for name, sizes in SIZES.items():
        shares = [coverage(11, worlds, sizes, accuracy) for accuracy in _COVERAGE_ACCURACIES]
        lines.append([name, *(f"{share:.3f}" for share in shares)])
    header = [f"covered by 95 %, {worlds} worlds", *map(str, _COVERAGE_ACCURACIES)]
    return table(header, lines)


def verdict_table(worlds: int) -> str:
    """Verdicts without an effect, and with a large one."""
    lines: list[list[str]] = []
    for name, sizes in SIZES.items():
        for run, baseline in _RUN_AND_BASELINE:
            shares = verdicts(12, worlds, sizes, run, baseline)
            columns = [f"{share:.3f}" for share in shares.values()]
            lines.append([name, f"{run} against {baseline}", *columns])
    return table([f"verdicts, {worlds} worlds", "true accuracies", *VERDICTS], lines, left=2)


def skill_table(worlds: int) -> str:
    """How often the test of skill says so: without skill, and with it."""
    lines: list[list[str]] = []
    for name, world in (skill_worlds.settings() | skill_worlds.powers()).items():
        shown, negative = skill_worlds.shares(world, worlds)
        lines.append([name, f"{shown:.3f}", f"{negative:.3f}", f"{shown + negative:.3f}"])
    header = [f"{worlds} worlds, 30 rows per week", "skill", "negative skill", "either"]
    return table(header, lines)


def page_table(worlds: int) -> str:
    """Pages of ten runs: whether luck passes for skill, and whether the one with skill is shown."""
    lines: list[list[str]] = []
    for weeks in (10, 26):
        for accuracy in (None, 0.6):
            world = World(weeks=weeks, accuracy=accuracy)
            by_luck, by_skill = skill_worlds.page_shares(world, 10, worlds)
            name = "none has skill" if accuracy is None else f"one is right {accuracy:.0%}"
            skilled = "-" if accuracy is None else f"{by_skill:.3f}"
            lines.append([f"{weeks} weeks, {name}", f"{by_luck:.3f}", skilled])
    header = [f"{worlds} pages of ten runs", "a run without skill shown", "that with skill shown"]
    return table(header, lines)


def power_at_detectable(world: World, tests: int, worlds: int) -> tuple[float, float]:
    """The mean skill that worlds without skill call detectable on a page of `tests` runs, and the
    share of worlds with exactly this skill in which it is shown there."""
    found = [detectable_skill(one, tests) for one in skill_worlds.estimates(world, worlds) if one]
    known = [skill for skill in found if skill is not None]
    skill = sum(known) / len(known)
    skilled = replace(world, accuracy=0.5 + skill)
    shown = [
        one is not None
        and one.p is not None
        and one.p < ALPHA / tests
        and (one.excess_accuracy or 0) > 0
        for one in skill_worlds.estimates(skilled, worlds, seed=2)
    ]
    return skill, sum(shown) / worlds


def detectable_table(worlds: int) -> str:
    """What is called detectable, and how often it is then shown."""
    lines: list[list[str]] = []
    for name, world in DETECTABLE.items():
        for tests in (1, 10, 20):
            skill, shown = power_at_detectable(world, tests, worlds)
            lines.append([name, str(tests), f"{skill:.3f}", f"{shown:.3f}"])
    header = [f"{worlds} worlds", "runs on the page", "detectable skill", "shown"]
    return table(header, lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = new_parser(__doc__, "benchmarks.statistics")
    add_options(parser, Options)
    options = read_options(parser.parse_args(arguments), Options)
    tables = [skill_table, page_table, detectable_table, coverage_table, verdict_table]
    print("\n\n".join(draw(options.worlds) for draw in tables))
    return 0


if __name__ == "__main__":
    sys.exit(main())
