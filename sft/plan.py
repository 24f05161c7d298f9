"""Estimate what a training will need before it is launched: memory, time, energy, money.

    python -m sft.plan --config recipes/llama.yaml --dataset data/datasets/mine [--card l4]

Without --card the GPU of this machine counts; without one, every card of the table is listed. No
model is loaded and nothing is downloaded. Exits 1 if the training does not fit.
"""

import math
import sys
import textwrap
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from sft.planning.estimate import MOST_ROWS, Job, Plan, job_of, plan_for
from weekahead.cli import new_parser, run_command, whole_number
from weekahead.hardware.cards import Card, card_here, card_named, cards
from weekahead.hardware.speed import Duration, Estimate
from weekahead.schema.flags import TRAINING_FLAGS
from weekahead.told_flags import read_flags

_GIB = 2**30
_WIDTH, _INDENT = 100, 9
"""Columns of the output, and of the names at its left."""
_POWER_SHARE = 0.9
"""Of a card's power limit, during training."""


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
    if plan.faster:
        flags, peak, faster = plan.faster
        speed = _range(faster.tokens_per_second, 0)
        yield Line("faster", f'{speed} tokens/s at {_gib(peak)} GiB with ARGS="{flags}"')
    watts = _POWER_SHARE * card.watts * job.cards
    energy = Estimate(hours.low * watts / 1000, hours.high * watts / 1000)
    yield Line("energy", f"{_range(energy, 2)} kWh at {watts:.0f} W")
    yield Line("money", _money_text(hours, card, price, job.cards))
    yield Line(
        "",
        "Estimates: 20 peaks on an H200 are met within 6 %, 12 of 17 published ones within 20 %.",
    )


def wrapped(line: Line) -> str:
    """A line as it is printed: at most 100 columns, what follows below the text."""
    return textwrap.fill(
        line.text,
        _WIDTH,
        initial_indent=f"{line.name:<{_INDENT}}",
        subsequent_indent=" " * _INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _remedy_text(plan: Plan) -> str:
    if plan.remedy:
        return f'it fits with ARGS="{plan.remedy.flags}"'
    larger = [card.key for card in cards().values() if card.memory_bytes > plan.card.memory_bytes]
    return f"no setting fits; take a larger card: CARD={' or CARD='.join(larger) or '(none known)'}"


def _largest_text(plan: Plan, job: Job) -> str:
    if not plan.largest_rows:
        return "no row of this length fits"
    rows = f"{plan.largest_rows}{' or more' if plan.largest_rows == MOST_ROWS else ''}"
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


def main(argv: Sequence[str] | None = None) -> int:
    """The command: exit 0, 1 if the training does not fit, 2 if it cannot be estimated."""
    parser = new_parser(__doc__, "sft.plan")
    parser.add_argument("--config", type=Path, required=True, help="recipes/<model>.yaml")
    parser.add_argument("--dataset", required=True, help="folder or file of rows")
    parser.add_argument("--card", default="", help=f"one of: {', '.join(cards())}")
    parser.add_argument("--cards", type=whole_number, default=1, help="how many train side by side")
    parser.add_argument("--price_per_hour", type=float, help="USD per card, instead of the table's")
    options, words = parser.parse_known_args(argv)

    def work() -> int:
        if options.cards < 1:
            raise ValueError(f"--cards is {options.cards}; expected 1 or more")
        price = options.price_per_hour
        if price is not None and not 0 <= price < math.inf:
            raise ValueError(f"--price_per_hour is {price}; expected USD, 0 or more and finite")
        card = card_named(options.card) if options.card else card_here()
        flags = read_flags(words, TRAINING_FLAGS, "sft.train")
        job = job_of(options.config, options.dataset, flags, options.cards)
        if card is None:
            print(f"{job.name}: {job.lengths.text}")
            print("this machine shows no GPU of the table; CARD=l4 names one in full")
            print("\n".join(table_of([plan_for(job, each) for each in cards().values()])))
            return 0
        plan = plan_for(job, card)
        for line in lines_of(plan, job, price):
            print(wrapped(line))
        return 1 if plan.verdict == "does not fit" else 0

    return run_command("sft.plan", work)


if __name__ == "__main__":
    sys.exit(main())
