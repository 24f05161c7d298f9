"""How long the evaluation takes after the answers are there: scoring, and the report's statistics.

python -m benchmarks.scoring                        20 runs of 300 rows, seconds by part

The runs are a base and tuned models on the same rows, answers as long as real ones, with
likelihoods. Scored means every metric and interval of metrics.json. Compared means what the page
adds: verdicts corrected for their number, each tuned run minus its base, every two runs by
accuracy and by probabilities, all tables. Figures are not drawn.
"""

import math
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path

from eval.metrics.rouge import installed
from eval.metrics.text_table import table
from eval.report.comparisons import compare_runs
from eval.report.runs import load_runs
from eval.report.skills import skill_results, tuning_results
from eval.report.tables import TABLES
from eval.score import score_files
from weekahead.cli import add_options, new_parser, option, read_options
from weekahead.files import write_json, write_jsonl
from weekahead.schema.file_names import GENERATIONS, LIKELIHOODS, MANIFEST
from weekahead.schema.manifests import JsonObject
from weekahead.task.answer import render_answer
from weekahead.task.labels import BINS

FIRMS = 30
_VOCABULARY = [
    first + second
    for first in ("mar", "dem", "or", "cap", "re", "in")
    for second in ("ket", "and", "ders", "ital", "come")
]
_BASE = {"name": "made-up/base"}


@dataclass(frozen=True)
class Options:
    """The flags."""

    runs: int = option(20, help="how many runs")
    rows: int = option(300, help="rows of each")


def simulate_rows(rows: int) -> list[JsonObject]:
    """Rows of generations.jsonl without answers: FIRMS firms per week, real lengths.

    A prompt has 1,200 words, 150 of them figures; a reference has 250 words.
    """
    draw = random.Random(0)
    simulated: list[JsonObject] = []
    for number in range(rows):
        symbol = f"S{number % FIRMS}"
        start = date(2024, 1, 7) + timedelta(weeks=number // FIRMS)
        label = draw.choice(BINS)
        simulated.append(
            {
                "id": f"{symbol}-{start}",
                "symbol": symbol,
                "period": f"{start} to {start + timedelta(weeks=1)}",
                "label": label,
                "answer": _answer(draw, label),
                "seconds": 1.0,
                "new_tokens": 300,
                "finish_reason": "stop",
                "last_week_return": draw.gauss(0, 0.03),
                "weekly_return": draw.gauss(0, 0.03),
                "train_majority": 1,
                "prompt": " ".join(
                    f"{_text(draw, 7)} {draw.random() * 100:.2f}" for _ in range(150)
                ),
            }
        )
    return simulated


def _text(draw: random.Random, words: int) -> str:
    return " ".join(draw.choices(_VOCABULARY, k=words)).capitalize() + "."


def _answer(draw: random.Random, label: str) -> str:
    positives, concerns = ([_text(draw, 25) for _ in range(3)] for _ in range(2))
    return render_answer(positives, concerns, label, _text(draw, 120))


def write_run(folder: Path, rows: Sequence[JsonObject], number: int) -> None:
    """A folder as eval.generate and eval.likelihood leave it; number 0 is the base."""
    draw = random.Random(number + 1)
    answers = [{**row, "generation": _answer(draw, draw.choice(BINS))} for row in rows]
    write_jsonl(folder / GENERATIONS, answers)
    write_jsonl(folder / LIKELIHOODS, [_likelihoods(draw, row) for row in rows])
    manifest: JsonObject = {
        "kind": "generate",
        "adapter": f"outputs/{number}" if number else None,
        "base": _BASE,
        "backend": {"name": "batched", "runs_locally": True},
        "train_labels": dict.fromkeys(BINS, 100),
    }
    write_json(folder / MANIFEST, manifest)


def _likelihoods(draw: random.Random, row: JsonObject) -> JsonObject:
    identity = {name: row[name] for name in ("id", "symbol", "period", "label")}
    own, direct = _probabilities(draw), _probabilities(draw)
    return {**identity, **own, "prefix": "own", "direct": direct, "train_up_share": 0.5}


def _probabilities(draw: random.Random) -> JsonObject:
    weights = [draw.expovariate(1) for _ in BINS]
    probs = {name: weight / sum(weights) for name, weight in zip(BINS, weights, strict=True)}
    return {
        "probs": probs,
        "logprobs": {name: math.log(share) for name, share in probs.items()},
        "up": sum(share for name, share in probs.items() if name.startswith("up")),
        "mass": 0.9,
    }


def score_and_compare(folders: Sequence[Path]) -> tuple[float, float]:
    """Seconds to score the runs in `folders`, and to compare them as the report does."""
    start = time.perf_counter()
    for folder in folders:
        score_files([folder / GENERATIONS], folder)
    scored = time.perf_counter()
    compared = compare_runs(load_runs(folders))
    skill_results(compared.entries)
    tuning_results(compared.entries)
    for plan in TABLES:
        plan.table(compared)
    return scored - start, time.perf_counter() - scored


def measure(runs: int, rows: int) -> str:
    """The table of seconds."""
    with tempfile.TemporaryDirectory() as name:
        folders = [Path(name) / f"run-{number}" for number in range(runs)]
        simulated = simulate_rows(rows)
        for number, folder in enumerate(folders):
            write_run(folder, simulated, number)
        seconds = score_and_compare(folders)
    header = [f"{runs} runs of {rows} rows, seconds", "scored", "compared", "both"]
    cells = [f"{part:.2f}" for part in (*seconds, sum(seconds))]
    return table(header, [[f"ROUGE by {installed()[0]}", *cells]])


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table."""
    parser = new_parser(__doc__, "benchmarks.scoring")
    add_options(parser, Options)
    options = read_options(parser.parse_args(arguments), Options)
    print(measure(options.runs, options.rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
