"""Cuts a prediction into words, numbers and marks, whatever characters it is written in."""

import html
import re
import unicodedata
from dataclasses import dataclass

from weekahead.task.prediction_words import NUMBER_WORDS, VOCABULARY


@dataclass(frozen=True)
class Piece:
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
_MARKS = str.maketrans(
    dict.fromkeys("‐‑‒–—―−﹣－", "-")
    | dict.fromkeys("～〜∼≈", "~")
    | dict.fromkeys("٪﹪％", "%")
    | dict.fromkeys("‘’ʼ`", "'")
    | {"±": "+/-", "。": ". ", "，": ",", "٫": ".", "\r": "\n", "\u2028": "\n", "\u2029": "\n"}
)
_FRACTION = re.compile(r"(?:(\d{1,3})\s?)?([¼½¾⅐-⅞])")
_GROUPED = re.compile(r"(?<=\d)(?:_|['’])(?=\d)")
_EMPHASIS_IN_NUMBER = re.compile(r"(?<=[\d.])(?:[*`]|__){1,4}(?=[\d.%])|(?<=\d)[*_]{2}(?=[-~]\d)")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,80}>")
_LATEX_WORD = re.compile(r"\\(?:text|mathrm|mathbf|textbf|boxed|approx|sim|geq|leq)\b")
_UNSEEN = frozenset(("Cf", "Mn", "Me", "Cc", "Cs"))


def plain(text: str) -> str:
    """`text` with one kind of dash, percent sign and digit, without emphasis, tags and unseen
    signs.

    Fractions become decimals. Superscripts are footnote marks and vanish: "2%²" is 2 percent.
    """
    text = _FRACTION.sub(_decimal, text.replace("\r\n", "\n"))
    text = text.translate({ord(character): _plain_character(character) for character in set(text)})
    text = unicodedata.normalize("NFKC", text).translate(_MARKS)
    text = _TAG.sub(" ", html.unescape(text))
    if "\\" in text:
        text = _LATEX_WORD.sub(" ", text).replace("$", " ").replace("\\", " ")
        text = text.translate(str.maketrans("{}", "  "))
    text = _EMPHASIS_IN_NUMBER.sub("", _GROUPED.sub(",,", text))
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


def pieces_of(text: str) -> list[Piece]:
    """The pieces of a text that went through `plain`; line ends are pieces, other space is none."""
    pieces: list[Piece] = []
    glued = False
    for match in _PIECE.finditer(text):
        group = match.lastgroup or ""
        if group == "space":
            glued = False
            if "\n" in match[0]:
                pieces.append(Piece("line" if match[0].count("\n") == 1 else "break", "\n"))
            continue
        parts = _parts(match[0]) if group == "word" else [match[0]]
        for part in parts:
            is_word = group == "word" and part[0].isalpha()
            pieces.append(Piece("word" if is_word else "mark" if group == "word" else group,
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
