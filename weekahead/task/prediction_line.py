"""Reads a prediction line: which direction it states, and how many percent.

The first rule: what is not stated is not read. A line that states two directions, negates one, or
names one only as a cause, a risk or a past event gets no direction, and a reason.
"""

import re
import unicodedata
from dataclasses import dataclass

NO_DIRECTION = "the prediction states no direction"
CONTRADICTS = "the prediction contradicts itself"
NEGATED = "the prediction negates a direction"
READING_FAILURES = (NO_DIRECTION, CONTRADICTS, NEGATED)


@dataclass(frozen=True)
class Reading:
    """What a line states."""

    direction: int | None
    """-1, 0 or +1; None if it was not read."""
    magnitude: float | None = None
    """In percent, with the sign of the direction."""
    reason: str | None = None
    """Why there is no direction."""


def _any_of(words: str) -> str:
    return f"(?:{'|'.join(words.split())})"


# Whole words only, so "upcoming", "support", "supply", "upside" and "downgrade" are none of them.
_UP = _any_of(
    "up upwards? up-?trend(?:s|ing)? up-?ticks? up-?swings? ris(?:e|es|ing|en) rose"
    " increas(?:e|es|ed|ing) gain(?:s|ed|ing)? climb(?:s|ed|ing)? rebound(?:s|ed|ing)?"
    " bounc(?:e|es|ed|ing) rall(?:y|ies|ied|ying)"
    " recover(?:s|ed|ing|y)? appreciat(?:e|es|ed|ing|ion) surg(?:e|es|ed|ing) soar(?:s|ed|ing)?"
    " jump(?:s|ed|ing)? gr(?:ow|ows|owing|owth) higher bullish"
)
_DOWN = _any_of(
    "down downwards? down-?trend(?:s|ing)? down-?ticks? down-?swings? downturns?"
    " fall(?:s|ing|en)? fell drop(?:s|ped|ping)? declin(?:e|es|ed|ing) decreas(?:e|es|ed|ing)"
    " slip(?:s|ped|ping)? slid(?:e|es|ing) dip(?:s|ped|ping)? sink(?:s|ing)? slump(?:s|ed|ing)?"
    " los(?:e|es|ing|t) loss(?:es)? tumbl(?:e|es|ed|ing)"
    " plung(?:e|es|ed|ing) plummet(?:s|ed|ing)? retreat(?:s|ed|ing)? pull-?backs?"
    " depreciat(?:e|es|ed|ing|ion) lower bearish"
)
_FLAT = _any_of(
    r"flat neutral sideways unchanged range-?bound stable steady stabili[sz](?:e|es|ing|ation)"
    r" consolidat(?:e|es|ing|ion) (?:no|little)\s(?:(?:significant|major|material|big|much)\s)?"
    r"(?:price\s)?(?:changed?|movement|move)\b"
)
# No letter follows in the same word ("upcoming", "up-to-date"). It is bounded, because the time for
# "up-up-up-" would otherwise grow with the square of its length.
_WORD_ENDS = r"(?![\w-]{0,20}[a-z])"
_MOVE = rf"(?:{_UP}|{_DOWN}){_WORD_ENDS}"
_SOME = (
    r"(?:(?:a|an|the|its|any|some|further|potential|possible|slight|minor|modest|short-term|recent)"
    r"\s){0,3}"
)
_CLAUSE_END = r"(?=[.,;:](?:\s|$)|[()]|\b(?:but|however)\b|$)"
# Causes, conditions and concessions in front, to the end of their clause: neither their moves nor
# their figures are the forecast ("down by 1% due to a 6% fall in sales").
_CAUSES = re.compile(
    r"\b(?:due to|owing to|because|thanks to|despite|in spite of|amid(?:st)?|after"
    r"|(?<!the )following|given|considering|reflecting|depend(?:s|ing) on|if|unless"
    r"|(?:driven|supported|influenced|fuel?led|led|backed|boosted|tempered) by"
    rf"|(?:(?<=\. )|(?<=^))(?:while|although|though))\b.*?{_CLAUSE_END}"
)
# Words of movement about something else, or in a phrase that means no movement.
_SUBJECTS = (
    r"(?:volatility|uncertainty|competition|demand|risks?|costs?|expenses|debt|rates?|inflation"
    r"|yields?|sales|revenues?|profits?|earnings|interest|scrutiny|volumes?|caution|concerns?"
    r"|tensions?|dividends?|oil prices)\b"
)
_OTHER_MOVES = re.compile(
    "|".join(
        (
            # increased volatility
            rf"\b{_MOVE}(?=\s(?:in\s|of\s)?(?:[a-z-]{{1,20}}\s)?{_SUBJECTS})",
            # rates fall
            rf"\b{_SUBJECTS}\s{_MOVE}",
            # weight loss drugs
            rf"\b(?:target|weight|net)\s{_MOVE}",
            # limits further gains
            r"\b(?:caps?|capp(?:ed|ing)|limit(?:s|ed|ing)?|offset(?:s|ting)?|temper(?:s|ed|ing)?"
            rf"|curb(?:s|ed|ing)?)\s{_SOME}{_MOVE}",
            # a recent decline
            r"\b(?:recent|recently|past|prior|previous|earlier)\s(?:[a-z]{1,15}\s){0,2}?"
            rf"{_MOVE}",
            # a bound, no direction: up to 3%
            r"\bup to(?=\s[~$€£]?\d)",
            r"\b(?:no|not) more than\b",
            r"\b(?:end|ends|ending|pick|picks|picking|set|make) up\b|\bgiv(?:e|es|ing) rise\b",
            r"\b(?:gain|gains|gaining|los(?:e|es|ing))"
            r"\s(?:traction|momentum|steam|confidence|clarity|access)\b",
            r"\bfall(?:s|ing)?\s(?:within|between|in the range|into|under|short|behind)\b",
            r"\bgr(?:ow|ows|owing|owth)\b(?!\s(?:by|of)\b)",
            # These are about the stock unless a noun follows: "higher oil prices", "stable demand".
            r"\b(?:higher|lower|stable|steady)\b(?!\s?(?:$|[.,;:!()]|[+-]?[\d.]"
            r"|(?:by|next|this|in|over|for|during|with|within|around|near|at|to|or|and|but"
            r"|than last)\b))",
        )
    )
)
_TOKENS = re.compile(
    rf"\b(?:potential|possibility|risk|chance|room)\s(?:for|of)\s{_SOME}"
    rf"(?:(?P<maybe_up>{_UP})|(?P<maybe_down>{_DOWN}))\b"
    rf"|(?<![\w-])(?:(?P<flat>{_FLAT})|(?P<up>{_UP}|positive (?:trend|movement|return)s?)"
    rf"|(?P<down>{_DOWN}|negative (?:trend|movement|return)s?)){_WORD_ENDS}"
    r"|\b(?P<mixed>mixed (?:performance|movement|trend|picture|trading|outlook))\b"
    r"|\b(?P<negation>not?|nor|neither|never|cannot|without|hardly|unlikely|fail(?:s|ed|ing)?"
    r"|avoid(?:s|ing)?|halt(?:s|ing)?|stop(?:s|ping)?|revers(?:e|es|ing|al)"
    r"|instead of|rather than|\w{2,7}n['’]t)\b"
    r"|(?P<stop>[.,;:!?](?:\s|$)|[()]|\b(?:but|however)\b)"
)
_NUMBER = r"(?:\d{1,4}(?:\.\d{1,6})?|\.\d{1,6})"
_UNIT = r"\s?(?:%|percent(?:age points?)?\b|per cent\b)"
_FIGURE = re.compile(
    r"(?P<odds>\b(?:confidence|probability|likelihood|odds)(?:\slevel)?(?:\sof|\sis|:)?\s"
    r"(?:around\s|about\s)?)?"
    r"(?P<most>\b(?:less than|under|below|up to|at most|(?:no|not) more than)\s|(?:<=?|≤)\s?)?"
    r"(?P<least>\b(?:more than|over|above|at least|greater than|exceeding|exceeds)\s|(?:>=?|≥)\s?)?"
    rf"(?<![\d.])(?<!\d,)(?P<sign>(?<![\w%/])[+-])?(?P<low>{_NUMBER})(?P<plus>\s?\+)?"
    rf"(?:(?:{_UNIT})?\s?(?:-|to\b|and\b)\s?(?P<high_sign>[+-])?(?P<high>{_NUMBER}))?{_UNIT}"
    r"(?P<open>\s?\+|\sor\s(?:more|higher|above)\b)?"
    r"(?P<odds_after>\s(?:chance|probability|likelihood|confiden|certain|sure))?"
)
_OR_BEFORE = re.compile(r"\d%?\s?(?:or|/)\s?$")
_OR_AFTER = re.compile(
    rf"\s?(?:,|/|or\b)\s?(?:or\s)?(?:more than\s)?{_NUMBER}(?:-{_NUMBER})?{_UNIT}"
)
_DASHES = str.maketrans(dict.fromkeys("‐‑‒–—―−", "-") | dict.fromkeys("*_`", " "))


def read_prediction(text: str) -> Reading:
    """Read one prediction, a phrase ("Up by 1-2%") or a few sentences, in linear time.

    A range counts as its middle; "more than 5%", ">5%" and "5+%" as the figure plus 0.5 (5.5, as in
    the public benchmark); "less than 1%" as half of the figure; no move as 0. Without a figure, or
    with several as alternatives, the magnitude is None; the direction may still be read.
    """
    stated = _CAUSES.sub(" ", _plain(text))
    direction, reason = _direction(_OTHER_MOVES.sub("~", stated))
    figure = _figure(stated)
    if figure and direction != 0 and reason in (None, NO_DIRECTION):
        direction, reason = _with_sign(direction, figure)
    if direction is None:
        return Reading(None, reason=reason)
    if direction == 0:
        return Reading(0, 0.0)
    return Reading(direction, direction * _size(figure) if figure else None)


def _plain(text: str) -> str:
    """`text` in lower case and on one line, without emphasis marks, with one kind of dash.

    A blank line ends a sentence.
    """
    text = unicodedata.normalize("NFKC", text).translate(_DASHES).lower()
    lines = (line.strip() for line in text.strip().splitlines())
    return " ".join(" ".join(line or "." for line in lines).split())


def _direction(line: str) -> tuple[int | None, str | None]:
    """(direction, reason if there is none) of the words alone."""
    stated: set[int] = set()
    possible: set[int] = set()  # "risk of a fall" contradicts up, but does not state down
    mixed = negated = False
    for token in _TOKENS.finditer(line):
        match token.lastgroup:
            case "negation":
                negated = True
            case "stop":
                negated = False
            case "up" | "down" | "flat" as kind:
                if negated:
                    return None, NEGATED
                stated.add({"up": 1, "down": -1, "flat": 0}[kind])
            case "maybe_up" | "maybe_down" as kind:
                possible.add(1 if kind == "maybe_up" else -1)
            case _:
                mixed = True
    if not stated:
        return None, NO_DIRECTION
    if mixed or len(stated | possible) > 1:
        return None, CONTRADICTS
    return stated.pop(), None


def _figure(line: str) -> re.Match[str] | None:
    """The first percentage that is a size, not odds; None if alternatives are next to it."""
    for figure in _FIGURE.finditer(line):
        if figure["odds"] or figure["odds_after"]:
            continue
        before = line[max(0, figure.start() - 12) : figure.start()]
        is_alternative = _OR_BEFORE.search(before) or _OR_AFTER.match(line, figure.end())
        return None if is_alternative else figure
    return None


def _with_sign(direction: int | None, figure: re.Match[str]) -> tuple[int | None, str | None]:
    """The direction of the words (None if they state none), checked against the figure's signs."""
    low, high = figure["sign"], figure["high_sign"]
    signs = {1 if sign == "+" else -1 for sign in (low, high) if sign}
    if len(signs) > 1 or (direction and signs and direction not in signs):
        return None, CONTRADICTS
    if direction is None and signs and (signs == {1} or not figure["high"] or high):
        return signs.pop(), None
    # "-1% to 1%" may span zero: it is not read without a word or a second sign.
    return direction, NO_DIRECTION if direction is None else None


def _size(figure: re.Match[str]) -> float:
    low = float(figure["low"])
    if figure["high"]:
        return (low + float(figure["high"])) / 2
    if figure["most"]:
        return low / 2
    return low + 0.5 if figure["least"] or figure["plus"] or figure["open"] else low
