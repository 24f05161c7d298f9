"""How an answer is written, whatever it predicts: repetition, length, completeness, and figures made up.

Counted over what stands outside of <think> blocks; only completeness needs an answer in sections.
"""

import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from typing import Any

from eval.metrics.statistics import mean
from weekahead.files import Row
from weekahead.schema.rows import user_text
from weekahead.task.answer import Answer
from weekahead.task.answer_sections import without_thought

GRAM = 4
_MESSAGE = ("role", "content")
ITEMS = range(2, 5)
"""How many numbered items the prompts ask for in each of the first two sections."""
_ITEM = re.compile(r"^[ \t>*_#-]*\d{1,2}[.)](?=\D)", re.MULTILINE)
_DIGITS = (
    r"(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,15})(?:\.\d{1,15})?"  # bounded, so that a float can hold it
)
_NUMBER = rf"(?<![\w.,]){_DIGITS}"
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_ANY = re.compile(_NUMBER)
# A figure carries a currency, a unit or decimals. Bare whole numbers are names and counts: 737 MAX, 30 days, 2024.
_FIGURE = re.compile(
    rf"(?P<money>[$€£]\s?)?(?P<low>{_NUMBER})(?:\s?[-–—]\s?(?P<high>{_DIGITS}))?"
    r"(?:\s?(?P<percent>%|percent\b|per cent\b)|\s?(?P<times>x\b|times\b)"
    r"|[ -]?(?P<scale>thousand|million|billion|trillion|[kmbt](?:n|ln)?)\b)?",
    re.IGNORECASE,
)
_PLAIN, _SCALED = (1.0,), (1.0, 1e-9, 1e-6, 1e-3, 1e3, 1e6)
_PERCENT = (1.0, 100.0)
_FLOAT_NOISE = 1e-9


def prompt_text(prompt: str | Sequence[Mapping[str, str]]) -> str:
    """What a model was told about the week: of messages the user's alone; a text is that already."""
    return prompt if isinstance(prompt, str) else user_text(prompt)


def prompt_figures(prompt: str | Sequence[Mapping[str, str]]) -> list[float]:
    """Every number of a prompt, sorted, each once."""
    return sorted(
        {_value(match.group()) for match in _ANY.finditer(_DATE.sub(" ", prompt_text(prompt)))}
    )


def unsupported_figures(
    text: str, known: Sequence[float], own: Sequence[float] = ()
) -> tuple[list[str], int]:
    """The figures of `text` that stand nowhere among `known` (sorted), as written; and how many there were.

    Figures are percentages, prices, multiples and decimals; those of `own`, which the Prediction line states,
    are forecasts and count as none, wherever the answer repeats them. One stands in the prompt when some number
    there, rounded or cut off at its decimals, is it: 218.98 may be said as 219, $218 or $219.0, 0.6334 as
    63.3 %, and 168338.49 (in millions) as 168.3 billion. A figure worked out from the prompt's, such as the
    change between two of its prices, stands nowhere in it and counts: the share is an upper bound on what is
    made up.
    """
    missing: list[str] = []
    total = 0
    for match in _FIGURE.finditer(_ITEM.sub(" ", _DATE.sub(" ", text))):
        marked = any(match[name] for name in ("money", "percent", "times", "scale"))
        factors = _PERCENT if match["percent"] else _SCALED if match["scale"] else _PLAIN
        for number in filter(None, (match["low"], match["high"])):
            if not (marked or "." in number) or _value(number) in own:
                continue
            total += 1
            if not any(_stands(number, factor, known) for factor in factors):
                missing.append(match.group().strip())
    return missing, total


def answer_quality(row: Row, answer: Answer) -> Row:
    """The text quality of one row; `answer` is its generation as read. What it does not have is None."""
    text = without_thought(row["generation"] or "")[0]
    items = [len(_ITEM.findall(section)) for section in (answer.positives, answer.concerns)]
    sections = sum(
        bool(part.strip()) for part in (answer.positives, answer.concerns, answer.analysis)
    )
    known = prompt_figures(row["prompt"]) if row.get("prompt") else None
    own = [_value(number) for number in _ANY.findall(answer.prediction)]
    missing, figures = ([], None) if known is None else unsupported_figures(text, known, own)
    return {
        "words": len(text.split()),
        "repetition": repetition(text),
        "sections": sections,
        "complete": sections == 3 and all(count in ITEMS for count in items),
        "figures": figures,
        "figures_not_in_prompt": None if figures is None else len(missing),
    }


def text_quality(rows: Sequence[Row], answers: Sequence[Answer]) -> dict[str, Any]:
    """The `text_quality` of metrics.json: means over all rows, and figures over the rows with a prompt."""
    each = [answer_quality(row, answer) for row, answer in zip(rows, answers, strict=True)]
    repeated = [one["repetition"] for one in each if one["repetition"] is not None]
    told = [one for one in each if one["figures"] is not None]
    figures, missing = (
        sum(one[key] for one in told) for key in ("figures", "figures_not_in_prompt")
    )
    return {
        "n": len(each),
        "words": mean([one["words"] for one in each]),
        "sections": mean([one["sections"] for one in each]),
        "complete": mean([float(one["complete"]) for one in each]),
        "repetition": mean(repeated),
        "repetition_n": len(repeated),
        "figures": figures if told else None,
        "figures_not_in_prompt": missing if told else None,
        "share_not_in_prompt": missing / figures if figures else None,
        "figures_n": len(told),
        "figures_reason": None if told else "no row has its `prompt`",
    }


def repetition(text: str) -> float | None:
    """The share of runs of GRAM words that came before in the text; None for a text shorter than one."""
    words = text.lower().split()
    grams = [tuple(words[i : i + GRAM]) for i in range(len(words) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else None


def check_prompt(row: Row) -> None:
    """Raise ValueError unless `prompt`, where it is there, is a text or messages."""
    prompt = row.get("prompt")
    messages = prompt if isinstance(prompt, list) else []
    texts = [
        message.get(key) if isinstance(message, dict) else None
        for message in messages
        for key in _MESSAGE
    ]
    if not isinstance(prompt, str | list | None) or not all(
        isinstance(text, str) for text in texts
    ):
        raise ValueError(
            f"prompt is {prompt!r}; expected a text or messages of {' and '.join(_MESSAGE)}"
        )


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _stands(number: str, factor: float, known: Sequence[float]) -> bool:
    """Whether some known number, times `factor`, becomes `number` when rounded or cut off at its decimals."""
    value, last_place = _value(number), 10.0 ** -len(number.partition(".")[2])
    place = bisect_left(known, (value - 0.5 * last_place) / factor - _FLOAT_NOISE)
    return place < len(known) and known[place] * factor < value + last_place
