"""Estimate what a training will need before it is launched: memory, time, energy, money.

    python -m sft.plan --config recipes/llama.yaml --dataset data/datasets/mine [--card l4]

Without --card the GPU of this machine counts; without one, every card of the table is listed. No
model is loaded and nothing is downloaded. Exits 1 if the training does not fit.
"""

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from weekahead.cli import new_parser, run_command
from weekahead.hardware.cards import Card, card_here, card_named, cards
from weekahead.hardware.lengths import RowLengths, public_lengths
from weekahead.hardware.memory import (
    Part,
    Remedy,
    TrainingSettings,
    Verdict,
    memory_parts,
    peak_bytes,
    remedies,
    verdict_of,
)
from weekahead.hardware.settings import training_settings
from weekahead.hardware.shapes import Shapes, shapes_of
from weekahead.hardware.speed import Duration, Estimate, duration
from weekahead.recipe import read_recipe
from weekahead.schema.flags import TRAINING_FLAGS
from weekahead.told_flags import read_flags

_GIB = 2**30
_POWER_SHARE = 0.9
"""Of a card's power limit, during training."""
_MOST_ROWS, _MOST_TOKENS = 64, 131_072


class NoFitError(ValueError):
    """The training does not fit the card."""


@dataclass(frozen=True)
class Job:
    """A training to estimate."""

    name: str
    shapes: Shapes
    settings: TrainingSettings
    lengths: RowLengths
    cards: int = 1


@dataclass(frozen=True)
class Plan:
    """The estimate for one card."""

    card: Card
    parts: Sequence[Part]
    verdict: Verdict
    remedy: Remedy | None
    """The least change that fits; None if it fits as it is, or if nothing helps."""
    largest_rows: int
    """Rows of the longest length per micro-batch that fit."""
    largest_tokens: int
    """Tokens of the longest row that fit with the recipe's micro-batch."""
    time: Duration

    @property
    def peak(self) -> float:
        """Bytes."""
        return peak_bytes(self.parts)


def plan_for(job: Job, card: Card) -> Plan:
    """The estimate of `job` on `card`."""
    parts = _parts(job, job.settings, card)
    verdict = verdict_of(peak_bytes(parts), card.memory_bytes)
    fitting = (remedy for remedy in remedies(job.settings) if _fits(job, remedy.settings, card))
    return Plan(
        card=card,
        parts=parts,
        verdict=verdict,
        remedy=next(fitting, None) if verdict != "fits" else None,
        largest_rows=_largest_rows(job, card),
        largest_tokens=_largest_tokens(job, card),
        time=duration(
            job.shapes,
            job.settings,
            job.lengths.train,
            job.lengths.trained_share,
            card,
            job.cards,
        ),
    )


def _parts(
    job: Job, settings: TrainingSettings, card: Card, longest: int | None = None
) -> list[Part]:
    length = longest or job.lengths.longest
    return memory_parts(job.shapes, settings, length, job.lengths.trained_share, card)


def _fits(job: Job, settings: TrainingSettings, card: Card, longest: int | None = None) -> bool:
    peak = peak_bytes(_parts(job, settings, card, longest))
    return verdict_of(peak, card.memory_bytes) == "fits"


def _largest_rows(job: Job, card: Card) -> int:

    fitting = [
        rows
        for rows in range(1, _MOST_ROWS + 1)
        if _fits(job, replace(job.settings, rows=rows), card)
    ]
    return max(fitting, default=0)


def _largest_tokens(job: Job, card: Card) -> int:
    low, high = 0, _MOST_TOKENS
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _fits(job, job.settings, card, middle) else (low, middle)
    return low


class Line(NamedTuple):
    """A line of the output."""

    name: str
    text: str


def lines_of(plan: Plan, job: Job, price: float | None) -> Iterator[Line]:
    """The estimate in words."""
    card, time = plan.card, plan.time
    share = plan.peak / card.memory_bytes
    several = f"{job.cards} x " if job.cards > 1 else ""
    yield Line("verdict", f"{job.name} on {several}{card.name}: {plan.verdict}")
    if plan.verdict != "fits":
        yield Line("remedy", _remedy_text(plan))
    yield Line("rows", job.lengths.text)
    yield Line("memory", f"{_gib(plan.peak)} of {_gib(card.memory_bytes)} GiB ({share:.0%})")
    for part in plan.parts:
        yield Line("", f"{_gib(part.bytes):>6} GiB  {part.name}")
    yield Line("largest", _largest_text(plan, job))
    waiting = ""
    if time.host_bound > 0.5:
        waiting = "; the card waits for Python: larger micro-batches are faster"
    yield Line("speed", f"{_range(time.tokens_per_second, 0)} tokens/s{waiting}")
    hours = _hours(time)
    per_step = job.settings.rows * job.settings.accumulation * job.cards
    yield Line(
        "time",
        f"{_time_text(hours)} for {time.steps} steps of {per_step} rows, "
        "loading and evaluation not counted",
    )
    watts = _POWER_SHARE * card.watts * job.cards
    energy = Estimate(hours.low * watts / 1000, hours.high * watts / 1000)
    yield Line("energy", f"{_range(energy, 2)} kWh at {watts:.0f} W")
    yield Line("money", _money_text(hours, card, price, job.cards))
    yield Line("", "Estimates: memory within 6 % of 20 runs on an H200, 20 % of published ones.")


def _remedy_text(plan: Plan) -> str:
    if plan.remedy:
        return f'it fits with ARGS="{plan.remedy.flags}"'
    larger = [card.key for card in cards().values() if card.memory_bytes > plan.card.memory_bytes]
    return f"no setting fits; take a larger card: CARD={' or CARD='.join(larger) or '(none known)'}"


def _largest_text(plan: Plan, job: Job) -> str:
    if not plan.largest_rows:
        return "no row of this length fits"
    rows = f"{plan.largest_rows}{' or more' if plan.largest_rows == _MOST_ROWS else ''}"
    return (
        f"{rows} rows of {job.lengths.longest:,} tokens per micro-batch, or rows of "
        f"{plan.largest_tokens:,} tokens with {job.settings.rows} per micro-batch"
    )


def _money_text(hours: Estimate, card: Card, price: float | None, count: int) -> str:
    per_hour = card.usd_per_hour if price is None else price
    if per_hour is None:
        return 'not known: no price of this card was read; give ARGS="--price_per_hour 1.20"'
    source = card.price_source if price is None else "as given"
    cost = Estimate(hours.low * per_hour * count, hours.high * per_hour * count)
    return f"{_range(cost, 2)} USD at {per_hour:.2f} USD per card and hour ({source})"


def _gib(count: float) -> str:
    return f"{count / _GIB:.1f}"


def _hours(time: Duration) -> Estimate:
    return Estimate(time.seconds.low / 3600, time.seconds.high / 3600)


def _time_text(hours: Estimate) -> str:
    if hours.high < 1:
        return f"{_range(Estimate(60 * hours.low, 60 * hours.high), 0)} minutes"
    return f"{_range(hours, 1)} hours"


def _range(estimate: Estimate, digits: int) -> str:
    low, high = (f"{value:,.{digits}f}" for value in estimate)
    return low if low == high else f"{low} to {high}"


def table_of(plans: Sequence[Plan]) -> Iterator[str]:
    """One line per card."""
    yield f"{'CARD':<9}{'verdict':<14}{'peak GiB':>9}{'of':>7}{'tokens/s':>18}{'time':>20}"
    for plan in plans:
        yield (
            f"{plan.card.key:<9}{plan.verdict:<14}{_gib(plan.peak):>9}"
            f"{_gib(plan.card.memory_bytes):>7}{_range(plan.time.tokens_per_second, 0):>18}"
            f"{_time_text(_hours(plan.time)):>20}"
        )


def lengths_of(dataset: str, base: str, turn_format: str) -> RowLengths:
    """The tokens of the training rows of `dataset`: a folder or file on disk, or the public rows.

    Raises ValueError for another dataset of the Hub, and what reading rows raises.
    """
    public = public_lengths(dataset)
    if public is not None:
        return public
    if not Path(dataset).exists():
        raise ValueError(
            f"{dataset} is not on this disk, so its rows cannot be measured; expected a folder or "
            "file of rows. For one on the Hub: .venv/bin/hf download --repo-type dataset"
        )
    from data_pipeline.dataset.load import load_dataset

    rows = load_dataset(dataset).train.train
    texts = [
        "".join(message["content"] for message in (*row["prompt"], *row["completion"]))
        for row in rows
    ]
    completions = sum(len(message["content"]) for row in rows for message in row["completion"])
    trained_share = completions / max(1, sum(map(len, texts)))
    tokenizer = _local_tokenizer(base, turn_format)
    if tokenizer is None:
        return RowLengths.by_characters([len(text) for text in texts], trained_share)
    from sft.training.dataset import row_lengths

    return RowLengths.counted(row_lengths(tokenizer, rows), trained_share)


def _local_tokenizer(base: str, turn_format: str) -> Any:
    """The base's tokenizer with its chat format; None if it is not on this disk."""
    from transformers import AutoTokenizer

    from weekahead.models.chat_format import apply_chat_format, chat_format

    if base == "models/smollm2":
        from weekahead.models.embedded import DEFAULT_OUT, ensure_embedded

        base = str(ensure_embedded(DEFAULT_OUT))
    loader: Any = AutoTokenizer
    try:
        tokenizer = loader.from_pretrained(base, local_files_only=True, trust_remote_code=False)
    except (OSError, ValueError):
        return None
    return apply_chat_format(tokenizer, chat_format(turn_format))


def job_of(config: Path, dataset: str, flags: Mapping[str, str | None], count: int) -> Job:
    """What the recipe `config` with `flags` trains. Raises ValueError naming what is missing."""
    recipe = read_recipe(config)
    base = flags.get("model_name_or_path") or recipe.get("model_name_or_path") or ""
    settings = training_settings(recipe, flags, count)
    lengths = lengths_of(dataset, base, flags.get("turn_format") or recipe.get("turn_format") or "")
    limit = int(flags.get("max_length") or recipe.get("max_length") or 0)
    return Job(config.stem, shapes_of(base), settings, lengths.checked(limit), count)


def main(argv: Sequence[str] | None = None) -> int:
    """The command: exit 0, 1 if the training does not fit, 2 if it cannot be estimated."""
    parser = new_parser(__doc__, "sft.plan")
    parser.add_argument("--config", type=Path, required=True, help="recipes/<model>.yaml")
    parser.add_argument("--dataset", required=True, help="folder or file of rows")
    parser.add_argument("--card", default="", help=f"one of: {', '.join(cards())}")
    parser.add_argument("--cards", type=int, default=1, help="how many train side by side")
    parser.add_argument("--price_per_hour", type=float, help="USD per card, instead of the table's")
    options, words = parser.parse_known_args(argv)

    def work() -> int:
        if options.cards < 1:
            raise ValueError(f"--cards is {options.cards}; expected 1 or more")
        card = card_named(options.card) if options.card else card_here()
        flags = read_flags(words, TRAINING_FLAGS, "sft.train")
        job = job_of(options.config, options.dataset, flags, options.cards)
        if card is None:
            print(f"{job.name}: {job.lengths.text}")
            print("this machine shows no GPU of the table; CARD=l4 names one in full")
            print("\n".join(table_of([plan_for(job, each) for each in cards().values()])))
            return 0
        plan = plan_for(job, card)
        for line in lines_of(plan, job, options.price_per_hour):
            print(f"{line.name:<9}{line.text}".rstrip())
        return 1 if plan.verdict == "does not fit" else 0

    return run_command("sft.plan", work)


if __name__ == "__main__":
    sys.exit(main())
