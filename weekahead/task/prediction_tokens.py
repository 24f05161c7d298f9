"""Cuts a prediction into tokens: words and phrases with their kind, figures with their value."""

import html
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from weekahead.task.prediction_words import (
    ABBREVIATIONS,
    LONGEST_PHRASE,
    NOT_ADVERBS,
    NUMBER_WORDS,
    VOCABULARY,
    Kind,
)


@dataclass(frozen=True)
class Figure:
    """A percentage as written; `size` is None if it cannot be told ("1,5%", "1 or 2%")."""

    size: float | None
    is_range: bool = False
    signs: frozenset[int] = frozenset()
    """The signs that are written: none, one or both."""
    states_direction: bool = False
    """Whether its signs are a direction without a word: "+1%", "-2% to -1%"."""


@dataclass(frozen=True)
class Token:
    """A word, a phrase, a mark or a figure of a prediction."""

    kind: Kind
    text: str
    direction: int = 0
    figure: Figure | None = None
    is_capital: bool = False
    """Written with a capital: it may be a name."""
    is_ticker: bool = False
    """Written in capitals, in a text that is not."""


@dataclass(frozen=True)
class _Piece:
    """A word, number or mark; `glued` if nothing is between it and the piece before it."""

    group: str
    text: str
    glued: bool = False


_PIECE = re.compile(
    r"(?P<date>\d{4}-\d{2}-\d{2})"
    r"|(?P<number>\d[\d.,]*\d|\d|(?<![\w.])\.\d+)"
    r"|(?P<word>[^\W\d_]+(?:[.&/'-][^\W\d_]+)*)"
    r"|(?P<space>\s+)"
    r"|(?P<mark><=|>=|\+/-|'s\b|\S)"
)
_PLAIN_NUMBER = re.compile(r"\d{1,4}(?:\.\d{1,6})?|\.\d{1,6}")
_MARKS = str.maketrans(
    dict.fromkeys("‐‑‒–—―−﹣－", "-")
    | dict.fromkeys("～〜∼≈", "~")
    | dict.fromkeys("٪﹪％", "%")
    | dict.fromkeys("‘’ʼ`", "'")
    | {"±": "+/-", "。": ". ", "，": ",", "\r": "\n", "\u2028": "\n", "\u2029": "\n"}
)
_FRACTION = re.compile(r"(?:(\d{1,3})\s?)?([¼½¾⅐-⅞])")
_GROUPED = re.compile(r"(?<=\d)(?:_|['’])(?=\d)")
_EMPHASIS_IN_NUMBER = re.compile(r"(?<=[\d.])(?:[*`]|__){1,4}(?=[\d.%])|(?<=\d)[*_]{2}(?=[-~]\d)")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>")
_LATEX_WORD = re.compile(r"\\(?:text|mathrm|mathbf|textbf|boxed|approx|sim|geq|leq)\b")
_UNSEEN = frozenset(("Cf", "Mn", "Me", "Cc", "Cs"))
_STOPS = {
    "(": Kind.OPEN, "[": Kind.OPEN, "{": Kind.OPEN, ")": Kind.CLOSE, "]": Kind.CLOSE,
    "}": Kind.CLOSE, ",": Kind.COMMA, ":": Kind.COLON, ";": Kind.STOP, "!": Kind.STOP,
    "?": Kind.QUESTION, "|": Kind.LINE_END, "-": Kind.COMMA, "=": Kind.COLON,
}  # fmt: skip
_MONEY = frozenset("$€£¥₹")
_PERCENT_WORDS = frozenset(("%", "percent", "percents", "pct"))
_MORE = frozenset(("more", "higher", "above", "greater", "over", "better"))
_HYPHENS = frozenset(("-", "~"))
_RANGES = _HYPHENS | {"to", "through", "至", "到"}
_ALTERNATIVES = frozenset(("or", "/", "and"))


def tokens_of(text: str) -> list[Token]:
    """The tokens of a prediction, in time linear in its length."""
    text = plain(text)
    cased = any(character.islower() for character in text)
    pieces = _pieces(text)
    tokens: list[Token | _Piece] = []
    index = 0
    while index < len(pieces):
        figure, end = _figure_at(pieces, index)
        if figure is None:
            tokens.append(pieces[index])
            index += 1
        else:
            tokens.append(Token(Kind.FIGURE, "".join(p.text for p in pieces[index:end]), 0, figure))
            index = end
    return list(_phrased(tokens, cased=cased))


def plain(text: str) -> str:
    """`text` with one kind of dash, percent sign and digit, without emphasis, tags and unseen
    signs.

    Fractions become decimals. Superscripts are footnote marks and vanish: "2%²" is 2 percent.
    """
    text = _FRACTION.sub(_decimal, text.replace("\r\n", "\n"))
    text = "".join(_plain_character(character) for character in text)
    text = unicodedata.normalize("NFKC", text).translate(_MARKS)
    text = _TAG.sub(" ", html.unescape(text))
    if "\\" in text:
        text = _LATEX_WORD.sub(" ", text).replace("$", " ").replace("\\", " ")
        text = text.translate(str.maketrans("{}", "  "))
    text = _EMPHASIS_IN_NUMBER.sub("", _GROUPED.sub(",", text))
    return re.sub(r"[*_]+", " ", text)


def _decimal(match: re.Match[str]) -> str:
    value = round(int(match[1] or 0) + unicodedata.numeric(match[2]), 6)
    return f" {value:g}" if match[1] is None else f"{value:g}"


def _plain_character(character: str) -> str:
    category = unicodedata.category(character)
    if category == "Nd":
        return str(unicodedata.decimal(character))
    if category == "No" or (category in _UNSEEN and character not in "\n\r\t"):
        return ""
    return character


def _pieces(text: str) -> list[_Piece]:
    pieces: list[_Piece] = []
    glued = False
    for match in _PIECE.finditer(text):
        group = match.lastgroup or ""
        if group == "space":
            glued = False
            if "\n" in match[0]:
                pieces.append(_Piece("line" if match[0].count("\n") == 1 else "break", "\n"))
            continue
        parts = _parts(match[0]) if group == "word" else [match[0]]
        for part in parts:
            is_word = group == "word" and part[0].isalpha()
            pieces.append(_Piece("word" if is_word else "mark" if group == "word" else group,
                                 part, glued))  # fmt: skip
            glued = True
    return pieces


def _parts(word: str) -> list[str]:
    """A compound as it is if the vocabulary has it, cut up if it has all of its parts."""
    lower = word.lower()
    if lower in VOCABULARY or lower in NUMBER_WORDS or lower.endswith("n't"):
        return [word]
    if "/" in word or "&" in word:
        return [part for part in re.split("([/&])", word) if part]
    if "'" in word:
        stem, _, ending = word.rpartition("'")
        return [stem, f"'{ending}"]
    parts = lower.split("-")
    if all(part in VOCABULARY or part in NUMBER_WORDS for part in parts):
        return [part for part in re.split("(-)", word) if part]
    return [word]


# --- figures --------------------------------------------------------------------------------------


_EITHER = 2


@dataclass(frozen=True)
class _Number:
    value: float | None
    """None if it cannot be told: "1,5", "1.2.3"."""
    sign: int
    """0 if none is written, _EITHER for "+/-"."""
    end: int


def _text(pieces: Sequence[_Piece], index: int) -> str:
    return pieces[index].text.lower() if 0 <= index < len(pieces) else ""


def _number_at(pieces: Sequence[_Piece], index: int) -> _Number | None:
    """A number with its sign, in digits or as a word."""
    sign = {"+": 1, "-": -1, "+/-": _EITHER}.get(_text(pieces, index), 0)
    if sign:
        is_glued = index + 1 < len(pieces) and pieces[index + 1].glued
        if not (is_glued or sign == _EITHER) or (pieces[index].glued and not _opens(pieces, index)):
            return None
        index += 1
    word = _text(pieces, index)
    if index < len(pieces) and pieces[index].group == "number":
        value = float(word) if _PLAIN_NUMBER.fullmatch(word) else None
        return _Number(value, sign, index + 1)
    if word not in NUMBER_WORDS:
        return None
    value, index = NUMBER_WORDS[word], index + 1
    if [_text(pieces, index + step) for step in range(3)] == ["and", "a", "half"]:
        return _Number(value + 0.5, sign, index + 3)
    is_half_a = word == "half" and _text(pieces, index) == "a"
    return _Number(value, sign, index + is_half_a)


def _opens(pieces: Sequence[_Piece], index: int) -> bool:
    """Whether what a sign is glued to leaves it a sign: "(-2%", "~-2%", "--2%"."""
    return pieces[index - 1].group == "mark" and _text(pieces, index - 1) not in ("%", ")")


def _after_unit(pieces: Sequence[_Piece], index: int) -> int | None:
    """Where a percent sign or word ends; None if there is none."""
    word, second = _text(pieces, index), _text(pieces, index + 1)
    if word in _PERCENT_WORDS:
        return index + 1
    if (word == "per" and second == "cent") or (
        word in ("percentage", "%-") and second in ("point", "points")
    ):
        return index + 2
    return None


def _figure_at(pieces: Sequence[_Piece], index: int) -> tuple[Figure | None, int]:
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
        found = _ended(pieces, _single(low, 0.5), end) if end else None
    return found or (None, index)


def _spread(
    pieces: Sequence[_Piece], low: _Number, middle: int | None
) -> tuple[Figure, int] | None:
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
    pieces: Sequence[_Piece], low: _Number, middle: int | None, index: int
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


def _is_cut(pieces: Sequence[_Piece], index: int) -> bool:
    """Whether digits before belong to the number: "1 000%", "1-2-3%"."""
    before = index - 1 - (_text(pieces, index - 1) in _HYPHENS)
    return before >= 0 and pieces[before].group in ("number", "date")


def _open_or_single(pieces: Sequence[_Piece], low: _Number, end: int) -> tuple[Figure, int]:
    if _text(pieces, end) == "+":
        return _single(low, 0.5), end + 1
    if _text(pieces, end) == "or" and _text(pieces, end + 1) in _MORE:
        return _single(low, 0.5), end + 2
    if _text(pieces, end) == "or" and _text(pieces, end + 1) in ("less", "two", "so", "lower"):
        return Figure(None), end + 2
    return _ended(pieces, _single(low), end)


def _ended(pieces: Sequence[_Piece], figure: Figure, end: int) -> tuple[Figure, int]:
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


def _single(number: _Number, more: float = 0.0) -> Figure:
    signs = _signs(number.sign)
    size = None if number.value is None else number.value + more
    return Figure(size, signs=signs, states_direction=len(signs) == 1)


def _range(low: _Number, high: _Number) -> Figure:
    signs = _signs(low.sign, high.sign)
    # "-1% to 1%" may span zero: it is not read without a word or a second sign.
    states = len(signs) == 1 and (-1 not in signs or bool(high.sign))
    size = None if low.value is None or high.value is None else (low.value + high.value) / 2
    return Figure(size, is_range=True, signs=signs, states_direction=states)


# --- words ----------------------------------------------------------------------------------------


def _phrased(tokens: Sequence[Token | _Piece], *, cased: bool) -> Iterator[Token]:
    """Each figure as it is, and of the words the longest phrases that the vocabulary has."""
    index = 0
    while index < len(tokens):
        piece = tokens[index]
        if isinstance(piece, Token):
            yield piece
            index += 1
            continue
        words: list[str] = []
        for following in tokens[index : index + LONGEST_PHRASE]:
            if isinstance(following, Token) or following.group not in ("word", "mark"):
                break
            words.append(following.text.lower())
        length = next((n for n in range(len(words), 0, -1) if " ".join(words[:n]) in VOCABULARY), 0)
        if length:
            text = " ".join(words[:length])
            kind, direction = VOCABULARY[text]
            yield Token(kind, text, direction)
            index += length
            continue
        follower = tokens[index + 1] if index + 1 < len(tokens) else None
        before = tokens[index - 1] if index else None
        yield from _other(piece, before, follower, cased=cased)
        index += 1


def _other(
    piece: _Piece, before: Token | _Piece | None, follower: Token | _Piece | None, *, cased: bool
) -> Iterator[Token]:
    """The token of a piece that the vocabulary lacks; none for a mark without meaning."""
    text = piece.text
    if piece.group in ("date", "number"):
        yield Token(Kind.NUMBER, text)
    elif piece.group in ("line", "break"):
        yield Token(Kind.LINE_END if piece.group == "line" else Kind.STOP, "\n")
    elif piece.group == "word":
        yield _word(text, cased=cased)
    elif text in ("'s", "'") and before is not None:
        yield Token(Kind.OWNER, text)
    elif text == ".":
        name = before.text.lower() if isinstance(before, _Piece) else ""
        glued = isinstance(follower, _Piece) and follower.glued
        if name not in ABBREVIATIONS and not glued:
            yield Token(Kind.STOP, text)
    elif text in _STOPS:
        yield Token(_STOPS[text], text)


def _word(text: str, *, cased: bool) -> Token:
    lower = text.lower()
    if lower.endswith("n't"):
        return Token(Kind.DENIAL, lower)
    if lower.endswith("ly") and lower not in NOT_ADVERBS:
        return Token(Kind.FILLER, lower)
    is_capital = cased and text[0].isupper()
    is_ticker = is_capital and text.isupper() and len(text) > 1
    return Token(Kind.UNKNOWN, lower, is_capital=is_capital, is_ticker=is_ticker)
