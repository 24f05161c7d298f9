"""How honest the intervals and verdicts of `eval.metrics.statistics` are, in made worlds; and how long scoring takes.

python -m benchmarks.statistics                     the tables of worlds (about a minute)
python -m benchmarks.statistics --runs 20           seconds to score 20 runs of 300 rows, part by part

A world is a few weeks of rows. Each week draws its own share of right calls from a beta distribution around the
true accuracy, so that rows of one week resemble each other as much as on the public test rows.
"""

import argparse
import random
import sys
import time
from collections.abc import Sequence

import numpy
from scipy.special import betaincinv, ndtr

from eval.metrics.evaluate import evaluate
from eval.metrics.rouge import installed, section_rouge
from eval.metrics.statistics import TYPICAL_ICC, clustered_share, paired_difference, verdict
from eval.metrics.text_table import table
from weekahead.files import Row
from weekahead.task.answer import render_answer
from weekahead.task.labels import BINS

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
_WORDS = [
    f"{a}{b}"
    for a in ("mar", "dem", "or", "cap", "re", "in")
    for b in ("ket", "and", "ders", "ital", "come")
]


def made_hits(
    seed: int,
    worlds: int,
    sizes: Sequence[int],
    accuracies: Sequence[float],
    icc: float = TYPICAL_ICC,
) -> numpy.ndarray:
    """Right calls as an array of shape (systems, worlds, rows), one system for each true accuracy.

    All systems of a world share their weeks' luck (a Gaussian copula of correlation SHARED_LUCK).
    """
    draw = numpy.random.default_rng(seed)
    shape = (len(accuracies), worlds, len(sizes))
    luck = SHARED_LUCK**0.5 * draw.normal(size=shape[1:]) + (1 - SHARED_LUCK) ** 0.5 * draw.normal(
        size=shape
    )
    spread = 1 / icc - 1  # of a beta distribution whose variance is icc * p * (1 - p)
    means = numpy.asarray(accuracies)[:, None, None]
    shares = betaincinv(means * spread, (1 - means) * spread, ndtr(luck))
    return draw.random((*shape[:2], sum(sizes))) < numpy.repeat(shares, sizes, axis=2)


def weeks_of(sizes: Sequence[int]) -> list[int]:
    """The week of each row."""
    return [week for week, size in enumerate(sizes) for _ in range(size)]


def coverage(seed: int, worlds: int, sizes: Sequence[int], accuracy: float) -> float:
    """The share of worlds in which the 95 % interval holds the true accuracy."""
    weeks = weeks_of(sizes)
    intervals = [
        clustered_share(hits, weeks).ci95
        for hits in made_hits(seed, worlds, sizes, [accuracy])[0].tolist()
    ]
    return sum(low <= accuracy <= high for low, high in filter(None, intervals)) / worlds


def verdicts(
    seed: int, worlds: int, sizes: Sequence[int], run: float, baseline: float
) -> dict[str, float]:
    """The share of worlds that find a run of accuracy `run` better, worse and not shown against `baseline`."""
    weeks = weeks_of(sizes)
    ours, theirs = made_hits(seed, worlds, sizes, [run, baseline]).astype(float).tolist()
    estimates = [paired_difference(a, b, weeks) for a, b in zip(ours, theirs, strict=True)]
    said = [verdict(estimate.mean, estimate.p) for estimate in estimates]
    return {word: said.count(word) / worlds for word in ("better", "worse", "not shown")}


def coverage_table(worlds: int) -> str:
    """Coverage by weeks and true accuracy."""
    accuracies = (0.5, 0.6, 0.8, 0.9, 0.95)
    lines = [
        [name, *(f"{coverage(11, worlds, sizes, accuracy):.3f}" for accuracy in accuracies)]
        for name, sizes in SIZES.items()
    ]
    return table([f"covered by 95 %, {worlds} worlds", *map(str, accuracies)], lines)


def verdict_table(worlds: int) -> str:
    """Verdicts where there is no effect, and where there is a large one."""
    pairs = ((0.5, 0.5), (0.55, 0.55), (0.8, 0.8), (0.6, 0.5), (0.7, 0.5), (0.8, 0.52))
    lines = []
    for name, sizes in SIZES.items():
        for run, baseline in pairs:
            said = verdicts(12, worlds, sizes, run, baseline)
            lines.append(
                [name, f"{run} against {baseline}", *(f"{share:.3f}" for share in said.values())]
            )
    return table(
        [f"verdicts, {worlds} worlds", "true accuracies", "better", "worse", "not shown"],
        lines,
        left=2,
    )


def made_run(seed: int, rows: int) -> list[Row]:
    """Answers of about the length of real ones (250 words) with references and prompts, as eval.generate writes them.

    A prompt is 1,200 words, 150 of them figures.
    """
    draw = random.Random(seed)

    def text(words: int) -> str:
        return " ".join(draw.choices(_WORDS, k=words)).capitalize() + "."

    def answer(label: str) -> str:
        return render_answer(
            [text(25) for _ in range(3)], [text(25) for _ in range(3)], label, text(120)
        )

    return [
        {
            "id": f"S{place % 30}-2024-{1 + place // 30:02}-07", "symbol": f"S{place % 30}",
            "week_end": f"2024-{1 + place // 30:02}-14", "label": (label := draw.choice(BINS)),
            "answer": answer(label), "generation": answer(draw.choice(BINS)), "seconds": 1.0, "new_tokens": 300,
            "finish_reason": "stop", "last_week_return": draw.gauss(0, 0.03), "train_majority": 1,
            "prompt": " ".join(f"{text(7)} {draw.random() * 100:.2f}" for _ in range(150)),
        }
        for place in range(rows)
    ]  # fmt: skip


def speed(runs: int, rows: int) -> str:
    """Seconds to score `runs` runs of `rows` rows, and ROUGE's part of them, with the package that scoring takes."""
    made = [made_run(seed, rows) for seed in range(runs)]
    package, spent = installed()[0], 0.0

    def rouge(reference: str, generation: str) -> dict[str, float]:
        nonlocal spent
        begin = time.perf_counter()
        scores = section_rouge(reference, generation, package)
        spent += time.perf_counter() - begin
        return scores

    start = time.perf_counter()
    for one in made:
        evaluate(one, rouge=rouge)
    total = time.perf_counter() - start
    line = [package, f"{total:.2f}", f"{spent:.2f}", f"{total - spent:.2f}"]
    return table([f"{runs} runs of {rows} rows, seconds", "total", "ROUGE", "all else"], [line])


def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=4000)
    parser.add_argument("--runs", type=int, help="measure the time of scoring instead")
    parser.add_argument("--rows", type=int, default=300)
    args = parser.parse_args(argv)
    if args.runs:
        print(speed(args.runs, args.rows))
    else:
        print(f"{coverage_table(args.worlds)}\n\n{verdict_table(args.worlds)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
