"""Reads the percentages of a prediction: numbers, ranges, bounds and their signs."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from weekahead.task.prediction_pieces import Piece
from weekahead.task.prediction_words import NUMBER_WORDS


@dataclass(frozen=True)
class Figure:
    """A percentage as written; `size` is None if it cannot be told ("1,500%", "1 or 2%")."""

    size: float | None
    """In percent, also of basis points."""
    is_range: bool = False
    is_open: bool = False
    """Whether more is meant: "5+%", "5% or more"."""
    signs: frozenset[int] = frozenset()
    """The signs that are written: none, one or both."""
    states_direction: bool = False
    """Whether its signs are a direction without a word: "+1%", "-2% to -1%"."""


_PLAIN_NUMBER = re.compile(r"\d{1,4}(?:\.\d{1,6})?|\.\d{1,6}|\d{1,2},\d{1,2}")
"""Behind a comma three digits may be thousands; one or two are decimals."""
_SHORT_NUMBER = re.compile(r"\d{1,2}")
_MONEY = frozenset("$€£¥₹")
_PERCENT_WORDS = frozenset(("%", "percent", "percents", "pct"))
_BASIS_POINT_WORDS = frozenset(("bps", "bp", "basis-point", "basis-points"))
_MORE = frozenset(("more", "higher", "above", "greater", "over", "better"))
_HYPHENS = frozenset(("-", "~"))
_RANGES = _HYPHENS | {"to", "through", "至", "到"}
_ALTERNATIVES = frozenset(("or", "/", "and"))
_EITHER = 2


@dataclass(frozen=True)
class _Number:
    value: float | None
    """None if it cannot be told: "1,500", "1.2.3"."""
    sign: int
    """0 if none is written, _EITHER for "+/-"."""
    end: int


def _text(pieces: Sequence[Piece], index: int) -> str:
    return pieces[index].text.lower() if 0 <= index < len(pieces) else ""


def _number_at(pieces: Sequence[Piece], index: int) -> _Number | None:
    """A number with its sign, in digits or as a word."""
    sign = {"+": 1, "-": -1, "+/-": _EITHER}.get(_text(pieces, index), 0)
    if sign:
        is_glued = index + 1 < len(pieces) and pieces[index + 1].glued
        if not (is_glued or sign == _EITHER) or (pieces[index].glued and not _opens(pieces, index)):
            return None
        index += 1
    word = _text(pieces, index)
    if index < len(pieces) and pieces[index].group == "number":
        value = float(word.replace(",", ".")) if _PLAIN_NUMBER.fullmatch(word) else None
        return _Number(value, sign, index + 1)
    if word not in NUMBER_WORDS:
        return None
    value, index = NUMBER_WORDS[word], index + 1
    if [_text(pieces, index + step) for step in range(3)] == ["and", "a", "half"]:
        return _Number(value + 0.5, sign, index + 3)
    is_half_a = word == "half" and _text(pieces, index) == "a"
    return _Number(value, sign, index + is_half_a)


def _opens(pieces: Sequence[Piece], index: int) -> bool:
    """Whether what a sign is glued to leaves it a sign: "(-2%", "~-2%", "--2%"."""
    return pieces[index - 1].group == "mark" and _text(pieces, index - 1) not in ("%", ")")


def _after_unit(pieces: Sequence[Piece], index: int) -> int | None:
    """Where a percent sign or word ends; None if there is none."""
    word, second = _text(pieces, index), _text(pieces, index + 1)
    if word in _PERCENT_WORDS or word in _BASIS_POINT_WORDS:
        return index + 1
    if (word == "per" and second == "cent") or (
        word in ("percentage", "%-", "basis") and second in ("point", "points")
    ):
        return index + 2
    return None


def figure_at(pieces: Sequence[Piece], index: int) -> tuple[Figure | None, int]:
    """(the percentage that begins here, where it ends); (None, index) if none does."""
    low = _number_at(pieces, index)
    if low is None or _text(pieces, index - 1) in _MONEY:
        return None, index
    if _is_cut(pieces, index):
        low = replace(low, value=None)
    middle = _after_unit(pieces, low.end)
    found = _spread(pieces, low, middle) or _two_numbers(pieces, low, middle, index)
    if found is None and middle is not None:
        found = _open_or_single(pieces, low, middle)
    if found is None and _text(pieces, low.end) == "+":
        end = _after_unit(pieces, low.end + 1)
        found = _ended(pieces, _single(low, is_open=True), end) if end else None
    return _in_percent(pieces, index, *found) if found else (None, index)


def _in_percent(
    pieces: Sequence[Piece], index: int, figure: Figure, end: int
) -> tuple[Figure, int]:
    """Basis points as percent; without a size if both units stand in one figure."""
    words = {_text(pieces, at) for at in range(index, end)}
    if figure.size is None or words.isdisjoint(_BASIS_POINT_WORDS | {"basis"}):
        return figure, end
    is_mixed = not words.isdisjoint(_PERCENT_WORDS)
    return replace(figure, size=None if is_mixed else round(figure.size / 100, 6)), end


def _spread(pieces: Sequence[Piece], low: _Number, middle: int | None) -> tuple[Figure, int] | None:
    """ "2% +/- 0.5%": the middle counts."""
    end = middle or low.end
    spread = _number_at(pieces, end)
    if spread is None or spread.sign != _EITHER:
        return None
    spread_end = _after_unit(pieces, spread.end)
    if middle is None and spread_end is None:
        return None
    return Figure(low.value), spread_end or spread.end


def _two_numbers(
    pieces: Sequence[Piece], low: _Number, middle: int | None, index: int
) -> tuple[Figure, int] | None:
    """A range or two alternatives; None if it is neither."""
    end = middle or low.end
    link = _text(pieces, end)
    high = _number_at(pieces, end + 1)
    if high is None:
        return None
    high_end = _after_unit(pieces, high.end)
    if high_end is None:
        is_half_a_range = middle is not None and link in _HYPHENS
        return (Figure(None, is_range=True), high.end) if is_half_a_range else None
    before = _text(pieces, index - 1)
    if link in _RANGES or (link == "and" and before == "between"):
        is_level = before == "from" and _text(pieces, index - 2) != "ranging"
        figure = _range(low, high)
        return _ended(pieces, replace(figure, size=None) if is_level else figure, high_end)
    if link in _ALTERNATIVES:
        return _ended(pieces, Figure(None, is_range=True), high_end)
    return None


def _is_cut(pieces: Sequence[Piece], index: int) -> bool:
    """Whether digits before belong to the number: "1 000%", "1-2-3%", "1, 5%"."""
    if _text(pieces, index - 1) == ",":
        is_money = _text(pieces, index - 3) in _MONEY
        return not is_money and _SHORT_NUMBER.fullmatch(_text(pieces, index - 2)) is not None
    before = index - 1 - (_text(pieces, index - 1) in _HYPHENS)
    return before >= 0 and pieces[before].group in ("number", "date")


def _open_or_single(pieces: Sequence[Piece], low: _Number, end: int) -> tuple[Figure, int]:
    if _text(pieces, end) == "+":
        return _single(low, is_open=True), end + 1
    if _text(pieces, end) == "or" and _text(pieces, end + 1) in _MORE:
        return _single(low, is_open=True), end + 2
    if _text(pieces, end) == "or" and _text(pieces, end + 1) in ("less", "two", "so", "lower"):
        return Figure(None), end + 2
    return _ended(pieces, _single(low), end)


def _ended(pieces: Sequence[Piece], figure: Figure, end: int) -> tuple[Figure, int]:
    """`figure`, without a size if alternatives follow: ", 2-3%", "or 2%", "-3%"."""
    start = end
    while _text(pieces, end) in (",", "or", "/", "-", "~") and start < len(pieces):
        follower = end + 1 + (_text(pieces, end + 1) == "or")
        if _text(pieces, follower) == "more" and _text(pieces, follower + 1) == "than":
            follower += 2
        number = _number_at(pieces, follower)
        if number is None:
            break
        unit = _after_unit(pieces, number.end)
        if unit is None and _text(pieces, number.end) in _RANGES:
            number = _number_at(pieces, number.end + 1)
            unit = _after_unit(pieces, number.end) if number else None
        is_of_a_noun = _text(pieces, unit or 0).isalpha() and _text(pieces, unit or 0) != "or"
        if unit is None or (is_of_a_noun and _text(pieces, end) == "," and follower == end + 1):
            break
        figure, end = Figure(None, is_range=True), unit
    return figure, end


def _signs(*signs: int) -> frozenset[int]:
    return frozenset((1, -1)) if _EITHER in signs else frozenset(sign for sign in signs if sign)


def _single(number: _Number, *, is_open: bool = False) -> Figure:
    signs = _signs(number.sign)
    return Figure(number.value, is_open=is_open, signs=signs, states_direction=len(signs) == 1)


def _range(low: _Number, high: _Number) -> Figure:
    signs = _signs(low.sign, high.sign)
    # "-1% to 1%" may span zero: it is not read without a word or a second sign.
    states = len(signs) == 1 and (-1 not in signs or bool(high.sign))
    size = None if low.value is None or high.value is None else (low.value + high.value) / 2
    return Figure(size, is_range=True, signs=signs, states_direction=states)
