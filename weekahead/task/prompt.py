"""Writes the prompt of a record, for training, evaluation and serving alike."""

import math
from typing import Literal, NamedTuple

from weekahead.schema.rows import Message
from weekahead.task.answer import HEADERS
from weekahead.task.record import Capitalization, Financials, News, PastWeek, Record

PROMPT_VERSION = "w2"
"""Change it with every change of the wording below: results of two wordings do not compare.

"w1" wrote prices below 1 with two decimals; from 1 on its texts are the same as those of "w2".
"""

SYSTEM = f"""You are an equity analyst. Write a forecast for the coming week in exactly this layout:

{HEADERS[0]}
1. ...

{HEADERS[1]}
1. ...

{HEADERS[2]}
Prediction: Up or Down by 0-1%, 1-2%, 2-3%, 3-4%, 4-5% or more than 5%
Analysis: ..."""


def render_prompt(record: Record) -> list[Message]:
    """The system and the user message for a record, without its label and its return.

    Raises ValueError for a price that is none: no such record is written.
    """
    blocks = [f"[Company]: {record.company}", *map(_week, record.weeks)]
    if record.capitalization:
        blocks.append(_capitalization(record.capitalization))
    if record.financials:
        blocks.append(_financials(record.financials))
    blocks.append(f"Forecast {record.symbol} for the week from {record.week_start}.")
    return prompt_messages("\n\n".join(blocks))


def prompt_messages(user_text: str) -> list[Message]:
    """The system message that every prompt has, and `user_text` as the user's."""
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": user_text}]


class Fact(NamedTuple):
    """A dated fact as a prompt shows it."""

    kind: Literal["prices", "news", "financials", "capitalization"]
    known_at: str
    text: str
    link: str | None = None


def shown_facts(record: Record) -> list[Fact]:
    """What `render_prompt` shows of a record, in its order; each text stands in the prompt.

    Raises ValueError as `render_prompt` does.
    """
    facts: list[Fact] = []
    for week in record.weeks:
        facts.append(Fact("prices", week.known_at, _price_line(week)))
        facts += [Fact("news", item.known_at, _news_text(item), item.link) for item in week.news]
    if record.capitalization:
        known_at, text = record.capitalization.known_at, _capitalization(record.capitalization)
        facts.append(Fact("capitalization", known_at, text))
    if record.financials:
        text = _financials(record.financials)
        facts.append(Fact("financials", record.financials.known_at, text))
    return facts


def _week(week: PastWeek) -> str:
    news = (f"- {_news_text(item)}" for item in week.news)
    return "\n".join([_price_line(week), *news])


def _price_line(week: PastWeek) -> str:
    if not (0 < week.open_price < math.inf and 0 < week.close_price < math.inf):
        raise ValueError(
            f"week to {week.end}: prices {week.open_price} to {week.close_price}; expected finite "
            "numbers above 0: fetch the records again"
        )
    change = 100 * (week.close_price / week.open_price - 1)
    prices = f"{_decimal(week.open_price)} to {_decimal(week.close_price)} ({change:+.1f}%)"
    return f"[Week to {week.end}]: {prices}"


def _capitalization(capitalization: Capitalization) -> str:
    billions = _decimal(capitalization.value / 1e9, least=0.1)
    return f"Market capitalization at the last close: {billions} billion"


def _decimal(value: float, least: float = 1.0) -> str:
    """A number with two decimals; below `least` with four significant digits."""
    if value >= least:
        return f"{value:.2f}"
    return f"{value:.{max(2, 3 - math.floor(math.log10(value)))}f}" if value > 0 else "0.00"


def _news_text(item: News) -> str:
    return f"{item.headline} {item.summary}" if item.summary else item.headline


def _financials(quarter: Financials) -> str:
    lines = [f"[Basic Financials, quarter ended {quarter.period_end}]:"]
    lines += [f"{name}: {value:g}" for name, value in quarter.values.items()]
    return "\n".join(lines)


def completion(answer: str) -> list[Message]:
    """The completion of a row: one assistant message that holds `answer`."""
    return [{"role": "assistant", "content": answer}]
