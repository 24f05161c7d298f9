"""Finds the sections and the labelled lines of an answer, whatever decoration a model gave them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

Section = tuple[int, str]
"""The number of a section in the layout (0, 1 or 2), and its text."""

_THINK = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_HEADER = re.compile(
    r"(?<![^\W_])(?:(positive)[ \t]{1,3}developments?|(potential)[ \t]{1,3}concerns?"
    r"|(prediction)[ \t]{0,3}(?:&(?:amp;)?|and)[ \t]{0,3}analysis)(?![^\W_])",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?<![^\W_])(?:(prediction)(?![ \t]{0,3}(?:&|and\b))|(analysis))(?![^\W_])", re.IGNORECASE
)
# Decoration of a name: "## 3. **[" before it, "]**:" after it. Only _REACH characters before it
# are looked at.
_REACH = 24
_LEAD = re.compile(r"[ \t\r>*_#\[(•\-\d.)]*")
_MARK = re.compile(r"(?:[\[#]|\*\*|__)[\[*_# \t]*$")
_LINE_END = re.compile(r"\r\n|\r|\n")
_TAIL = re.compile(r"[\]*_ \t]{0,8}[:：]?[*_ \t]{0,8}")


@dataclass(frozen=True)
class _Name:
    """The name of a section or line in a text, and what tells it from an ordinary word."""

    kind: int
    begin: int
    """Where its decoration begins."""
    end: int
    """Where its decoration ends."""
    leads: bool
    """Whether only decoration precedes it on its line."""
    marked: bool
    """Whether a bracket, bold or # is right before it."""
    colon: bool
    alone: bool
    """Whether its line ends after it, or the mark before it closes."""

    @property
    def is_header(self) -> bool:
        return (self.leads and (self.colon or self.alone)) or (self.marked and self.colon)


def _names(pattern: re.Pattern[str], text: str) -> Iterator[_Name]:
    for match in pattern.finditer(text):
        start = max(0, match.start() - _REACH)
        line = text.rfind("\n", start, match.start())
        before = text[max(line + 1, start) : match.start()]
        leads = (line >= 0 or start == 0) and _LEAD.fullmatch(before) is not None
        mark = _MARK.search(before)
        tail = _TAIL.match(text, match.end())
        after, end = (tail.group(), tail.end()) if tail else ("", match.end())
        closed = ("[" in before and "]" in after) or ("**" in before and "**" in after)
        alone = closed or text[end : end + 1] in ("", "\n", "\r")
        decoration = len(before) if leads else len(mark.group()) if mark else 0
        colon = ":" in after or "：" in after
        begin = match.start() - decoration
        yield _Name((match.lastindex or 1) - 1, begin, end, leads, mark is not None, colon, alone)


def find_sections(text: str) -> list[Section]:
    """The sections of `text` in their order, each up to the next header; a kind may occur often.

    A header is a line of its own: plain, numbered, in bold, in brackets or after #. Within a line
    it counts if it is marked and has a colon: "next week.[Positive Developments]:". Its name in a
    sentence is not a header.
    """
    headers = [name for name in _names(_HEADER, text) if name.is_header]
    ends = [name.begin for name in headers[1:]] + [len(text)]
    return [
        (name.kind, text[name.end : end].strip()) for name, end in zip(headers, ends, strict=False)
    ]


def without_thought(text: str) -> tuple[str, str | None]:
    """(the text outside <think> blocks, the text of a last block that never closes, else None).

    If the first tag is a closing one, it ends a thought that the prompt opened, as the template of
    R1 does.
    """
    outside: list[str] = []
    start, thinking, first = 0, False, True
    for tag in _THINK.finditer(text):
        closes = bool(tag[1])
        if thinking and not closes:
            continue
        if not thinking and not (closes and first):
            outside.append(text[start : tag.start()])
        start, thinking, first = tag.end(), not closes, False
    rest = text[start:]
    return ("\n".join(outside), rest) if thinking else ("\n".join([*outside, rest]), None)


def split_forecast(section: str) -> tuple[str | None, str]:
    """(the prediction, the analysis) of the last section; (None, section) without a prediction."""
    labels = list(_names(_LABEL, section))
    predictions = [name for name in labels if name.kind == 0 and name.leads]
    if not predictions:
        return None, section
    prediction = next((name for name in predictions if name.colon), predictions[0])
    analyses = [
        name for name in labels if name.kind == 1 and (name.colon or (name.leads and name.alone))
    ]
    below = next((name for name in analyses if name.begin >= prediction.end), None)
    if below:
        return _trim(section[prediction.end : below.begin]), section[below.end :].strip()
    # Without a label below it the prediction is one line, and the analysis is labelled above it or
    # is the rest.
    line, rest = [*_LINE_END.split(section[prediction.end :].strip(), maxsplit=1), ""][:2]
    above = section[analyses[0].end : prediction.begin] if analyses else ""
    return _trim(line), (above.strip() or rest.strip())


def _trim(text: str) -> str:
    return text.strip().lstrip("*_ ").rstrip("*_#>[•- \t\r\n")
