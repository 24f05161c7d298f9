"""The one place where a record becomes a prompt; training, evaluation and serving all read it from here."""

from weekahead.task.answer import HEADERS
from weekahead.task.record import Financials, PastWeek, Record

PROMPT_VERSION = "w1"
"""Changes with every change of wording below: answers to two wordings are not the same experiment."""

Messages = list[dict[str, str]]

SYSTEM = f"""You are an equity analyst. Write a forecast for the coming week in exactly this layout:

{HEADERS[0]}
1. ...

{HEADERS[1]}
1. ...

{HEADERS[2]}
Prediction: Up or Down by 0-1%, 1-2%, 2-3%, 3-4%, 4-5% or more than 5%
Analysis: ..."""


def render_prompt(record: Record) -> Messages:
    """System and user message for one record. Neither its label nor its return is in them."""
    parts = [f"[Company]: {record.company}", *map(_week, record.weeks)]
    if record.capitalization:
        parts.append(
            f"Market capitalization at the last close: {record.capitalization.value / 1e9:.2f} billion"
        )
    if record.financials:
        parts.append(_financials(record.financials))
    parts.append(f"Forecast {record.symbol} for the week from {record.week_start}.")
    return [{"role": "system", "content": SYSTEM}, {"role": "user", "content": "\n\n".join(parts)}]


def _week(week: PastWeek) -> str:
    change = 100 * (week.close_price / week.open_price - 1)
    lines = [
        f"[Week to {week.end}]: {week.open_price:.2f} to {week.close_price:.2f} ({change:+.1f}%)"
    ]
    for item in week.news:
        lines.append(f"- {item.headline}" + (f" {item.summary}" if item.summary else ""))
    return "\n".join(lines)


def _financials(quarter: Financials) -> str:
    lines = [f"[Basic Financials, quarter ended {quarter.period_end}]:"]
    lines += [f"{name}: {value:g}" for name, value in quarter.values.items()]
    return "\n".join(lines)


def completion(answer: str) -> Messages:
    """An answer as the completion of a training row."""
    return [{"role": "assistant", "content": answer}]
