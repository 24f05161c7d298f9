"""How an answer is written, whatever it predicts: repetition, length, completeness, made-up
figures.

Only the text outside of <think> blocks counts; only completeness needs an answer in sections.
"""

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from eval.metrics.rouge import keeps_letters
from eval.metrics.statistics import mean
from weekahead.schema.metrics import TextQuality
from weekahead.schema.rows import Message, ScorableRow, user_text
from weekahead.task.answer import Answer, parse_answer
from weekahead.task.thoughts import without_thought

GRAM = 4
"""How many words in a row make a repetition."""
ITEMS = range(2, 5)
"""How many numbered items the prompts ask for in each of the first two sections."""
_MESSAGE_KEYS = ("role", "content")
_ITEM = re.compile(r"^[ \t>*_#-]*\d{1,2}[.)](?=\D)", re.MULTILINE)
# The length is bounded, so that a float can hold the number.
_DIGITS = r"(?:\d{1,3}(?:,\d{3}){1,5}|\d{1,15})(?:\.\d{1,15})?"
_NUMBER = rf"(?<![\w.,]){_DIGITS}"
_DATE = re.compile(r"\b\d{4}-\d{2}-\d{2}\b")
_ANY = re.compile(_NUMBER)
# A figure has a currency, a unit or decimals. Bare whole numbers are names and counts: 737 MAX,
# 30 days, 2024.
_FIGURE = re.compile(
    rf"(?P<money>[$€£]\s?)?(?P<low>{_NUMBER})(?:\s?[-–—]\s?(?P<high>{_DIGITS}))?"
    r"(?:\s?(?P<percent>%|percent\b|per cent\b)|\s?(?P<times>x\b|times\b)"
    r"|[ -]?(?P<scale>thousand|million|billion|trillion|[kmbt](?:n|ln)?)\b)?",
    re.IGNORECASE,
)
_NO_PROMPT = "no row has its `prompt`"
_OTHER_SCRIPT = "most letters of the answers, or of their prompts, are not a to z"
_PLAIN, _SCALED = (1.0,), (1.0, 1e-9, 1e-6, 1e-3, 1e3, 1e6)
_PERCENT = (1.0, 100.0)
_FLOAT_NOISE = 1e-9


@dataclass(frozen=True)
class AnswerQuality:
    """How one answer is written."""

    words: int | None
    """None in a script without spaces between words."""
    sections: int
    is_complete: bool
    repetition: float | None
    """None if the answer is too short, or in a script without spaces between words."""
    figures: int | None
    """None if the row has no prompt, or if most letters of the answer or the prompt are not a to z:
    figures are found by the spaces, units and decimal points of English."""
    figures_not_in_prompt: int


class FigureCount(NamedTuple):
    """The figures of a text."""

    missing: list[str]
    """Those that are not in the prompt, as written."""
    total: int


def prompt_text(prompt: str | Sequence[Message]) -> str:
    """What the model was told about the week: of messages only the user's; a text as it is."""
    return prompt if isinstance(prompt, str) else user_text(prompt)


def prompt_figures(prompt: str | Sequence[Message]) -> list[float]:
    """Every number of a prompt, sorted, each once."""
    return list(_read_prompt(prompt_text(prompt)).figures)


class _ReadPrompt(NamedTuple):
    """What is read in a prompt beside an answer to it."""

    keeps_letters: bool
    figures: tuple[float, ...]
    """Sorted, each once."""


@lru_cache(maxsize=1 << 11)  # runs on one dataset have the same prompts
def _read_prompt(text: str) -> _ReadPrompt:
    numbers = {_value(match.group()) for match in _ANY.finditer(_DATE.sub(" ", text))}
    return _ReadPrompt(keeps_letters(text), tuple(sorted(numbers)))


def unsupported_figures(
    text: str, prompt_numbers: Sequence[float], own: Sequence[float] = ()
) -> FigureCount:
    """The figures of `text` that are not among `prompt_numbers` (sorted), and the number of
    figures.

    Figures are percentages, prices, multiples and decimals. Those of `own`, which the Prediction
    line states, are forecasts and never count, wherever the answer repeats them. A figure is in the
    prompt if it equals some number there after rounding or cutting off at its own decimals: 218.98
    may be written as 219, $218 or $219.0, 0.6334 as 63.3 %, and 168338.49 (in millions) as 168.3
    billion. A figure computed from the prompt's, such as the change between two of its prices, is
    not in it and counts as missing: the share is an upper bound on what is made up.
    """
    missing: list[str] = []
    total = 0
    for match in _figure_matches(text):
        has_unit = any(match[name] for name in ("money", "percent", "times", "scale"))
        factors = _factors(match)
        for number in filter(None, (match["low"], match["high"])):
            if not (has_unit or "." in number) or _value(number) in own:
                continue
            total += 1
            if not any(_is_among(prompt_numbers, number, factor) for factor in factors):
                missing.append(match.group().strip())
    return FigureCount(missing, total)


def figure_ends(text: str) -> list[tuple[str, int]]:
    """Each figure of `text` as `unsupported_figures` names it, and where it ends in `text`."""
    return [(match.group().strip(), match.end()) for match in _figure_matches(text)]


def _figure_matches(text: str) -> Iterator[re.Match[str]]:
    """What may be a figure, each in its place: dates and numbers of items are blanked out."""
    return _FIGURE.finditer(_ITEM.sub(_blank, _DATE.sub(_blank, text)))


def _blank(match: re.Match[str]) -> str:
    return " " * len(match.group())


def _factors(figure: re.Match[str]) -> tuple[float, ...]:
    """What a number of the prompt may be multiplied by to give this figure."""
    if figure["percent"]:
        return _PERCENT
    return _SCALED if figure["scale"] else _PLAIN


def made_up_figures(generation: str, prompt: str | Sequence[Message]) -> FigureCount | None:
    """The figures of an answer that are not in its prompt, as `unsupported_figures` finds them.

    None if most letters of the answer or of the prompt are not a to z.
    """
    answer = parse_answer(generation)
    texts = (answer.positives, answer.concerns, answer.analysis)
    text = without_thought(generation)[0]
    content = " ".join(texts) if any(map(str.strip, texts)) else text
    return _figures(text, content, answer, prompt)


def _figures(
    text: str, content: str, answer: Answer, prompt: str | Sequence[Message]
) -> FigureCount | None:
    read = _read_prompt(prompt_text(prompt))
    if not (read.keeps_letters and keeps_letters(content)):
        return None
    own = [_value(number) for number in _ANY.findall(answer.prediction)]
    return unsupported_figures(text, read.figures, own)


def answer_quality(row: ScorableRow, answer: Answer) -> AnswerQuality:
    """The text quality of one row; `answer` is its generation as parsed."""
    text = without_thought(row["generation"] or "")[0]
    items = [len(_ITEM.findall(section)) for section in (answer.positives, answer.concerns)]
    texts = (answer.positives, answer.concerns, answer.analysis)
    sections = sum(bool(section.strip()) for section in texts)
    # The headers are English in every language: they say nothing of the script.
    content = " ".join(texts) if sections else text
    prompt = row.get("prompt")
    figures = _figures(text, content, answer, prompt) if prompt else None
    return AnswerQuality(
        words=len(text.split()) if has_spaces(content) else None,
        sections=sections,
        is_complete=sections == 3 and all(count in ITEMS for count in items),
        repetition=repetition(text) if has_spaces(content) else None,
        figures=figures.total if figures else None,
        figures_not_in_prompt=len(figures.missing) if figures else 0,
    )


def text_quality(rows: Sequence[ScorableRow], answers: Sequence[Answer]) -> TextQuality:
    """Means over all rows, and the share of figures over the rows with a prompt.

    Answers of which a measure cannot read the script are left out of it, and its n shows it.
    """
    qualities = [answer_quality(row, answer) for row, answer in zip(rows, answers, strict=True)]
    repetitions = [quality.repetition for quality in qualities]
    repeated = [share for share in repetitions if share is not None]
    with_prompt = [quality for quality in qualities if quality.figures is not None]
    words = [quality.words for quality in qualities if quality.words is not None]
    sections = [quality.sections for quality in qualities]
    complete = [float(quality.is_complete) for quality in qualities]
    figures = sum(quality.figures or 0 for quality in with_prompt)
    no_figures = _OTHER_SCRIPT if any(row.get("prompt") for row in rows) else _NO_PROMPT
    missing = sum(quality.figures_not_in_prompt for quality in with_prompt)
    return {
        "n": len(qualities),
        "words": mean(words),
        "words_n": len(words),
        "sections": mean(sections),
        "complete": mean(complete),
        "repetition": mean(repeated),
        "repetition_n": len(repeated),
        "figures": figures if with_prompt else None,
        "figures_not_in_prompt": missing if with_prompt else None,
        "share_not_in_prompt": missing / figures if figures else None,
        "figures_n": len(with_prompt),
        "figures_reason": None if with_prompt else no_figures,
    }


# Letters of Thai, Lao, Tibetan, Burmese, Khmer, Japanese and Chinese.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u0f00-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff]"
)


def has_spaces(text: str) -> bool:
    """Whether most letters are of scripts that put spaces between words."""
    unspaced = len(_UNSPACED.findall(text))
    return not unspaced or 2 * unspaced <= sum(character.isalpha() for character in text)


def repetition(text: str) -> float | None:
    """The share of sequences of GRAM words that came before in the text.

    None if the text is shorter than one sequence, or in a script without spaces between words.
    """
    if not has_spaces(text):
        return None
    words = text.lower().split()
    grams = [tuple(words[start : start + GRAM]) for start in range(len(words) - GRAM + 1)]
    return 1 - len(set(grams)) / len(grams) if grams else None


def check_prompt_column(row: ScorableRow) -> None:
    """Raise ValueError unless `prompt` is absent, null, a text or messages."""
    prompt: object = row.get("prompt")
    if prompt is None or isinstance(prompt, str):
        return
    if isinstance(prompt, list) and all(_is_message(message) for message in prompt):
        return
    keys = " and ".join(_MESSAGE_KEYS)
    raise ValueError(f"prompt is {prompt!r}; expected a text or messages of {keys}")


def _is_message(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(value.get(key), str) for key in _MESSAGE_KEYS)


def _value(number: str) -> float:
    return float(number.replace(",", ""))


def _is_among(numbers: Sequence[float], figure: str, factor: float) -> bool:
    """Whether one of `numbers` (sorted), times `factor`, is `figure` after rounding or cutting
    off."""
    value, unit = _value(figure), 10.0 ** -len(figure.partition(".")[2])
    index = bisect_left(numbers, (value - 0.5 * unit) / factor - _FLOAT_NOISE)
    return index < len(numbers) and numbers[index] * factor < value + unit
