"""Finds the sections and the labelled lines of an answer, whatever decoration a model gave them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

Section = tuple[int, str]
"""The number of a section in the layout (0, 1 or 2), and its text."""

_GAP = r"[ \t\u00a0\u3000_*-]{1,3}"
_AND = r"[ \t\u00a0]{0,3}(?:\\?&(?:amp;)?|＆|\+|/|and)[ \t\u00a0]{0,3}"
_HEADER = re.compile(
    rf"(?<![^\W_])(?:(positive){_GAP}developments?|(potential){_GAP}concerns?"
    rf"|(prediction)(?:{_AND}|_(?:and_)?)analysis)(?![^\W_])",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?<![^\W_])(?:(prediction)(?![ \t]{0,3}(?:&|and\b))|(analysis))(?![^\W_])", re.IGNORECASE
)
# Decoration of a name: "## 3. **[" before it, "]**:" after it. Only _REACH characters before it
# are looked at. Signs, emoji, tags and LaTeX commands are decoration; of letters only a number of
# the section is: "II.", "b)", "Section 3:".
_REACH = 48
_LEAD = re.compile(
    r"(?>"
    r"<[A-Za-z][^<>\n]{0,30}>"
    r"|\\[a-z]{1,15}\*?\{"
    r"|(?:[IVXivx]{1,4}|[A-Za-z])[.):](?=\W)|\[x\]|[\u2460-\u24ff\u2776-\u2793\u3251-\u32bf]"
    r"|(?:section|part|step)[ \t](?:[ivx]{1,4}|[a-z]|\d{1,2})\b"
    r"|[^\w\n]|[\d_]"
    r")*+",
    re.IGNORECASE,
)
_MARK = re.compile(r"(?:[\[#【《「『〈]|\*\*|__|<(?:b|strong|h[1-6])>)[\[*_# \t]*$", re.IGNORECASE)
_CLOSING = r"</[A-Za-z][^<>\n]{0,20}>|\\(?![A-Za-z])|[\]】》」』〉〕〗}*_ \t\u00a0\"'”’|]"
_TAIL = re.compile(
    rf"(?>{_CLOSING}|[^\w\s!-~\u2010-\u2015\u3000-\u303f\uff00-\uffef]){{0,12}}+"
    r"(?:\([^()\n]{0,40}\)[*_ \t]{0,4})?+"
    rf"[:：]?+(?>{_CLOSING}){{0,12}}+"
)
_HEADING_REST = re.compile(r"[ \t][^\n.]{1,60}+(?=\n|$)")
_BOLD_REST = re.compile(r"[ \t][^\n.:*]{1,60}+:?\*\*:?[ \t]*(?=\n|$)")
_ONLY_SIGNS = re.compile(r"[^\w\n:：]{0,40}+(?=\n|$)")
_UNDERLINE = re.compile(r"\A(?:[=~]{3,}+|-{3,}+)[ \t]*+(?=\n)")
_LINE_END = re.compile(r"\r\n|\r|\n")
_PAIRS = (
    ("[", "]"),
    ("|", "|"),
    ("**", "**"),
    ("【", "】"),
    ("《", "》"),
    ("「", "」"),
    ("『", "』"),
    ("<", "</"),
)


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


def _tail(text: str, start: int, before: str | None) -> tuple[str, int]:
    """(the decoration after a name, where it ends).

    `before` is the decoration that leads its line; None if something else does. With # or in bold,
    the words behind the name belong to the heading: "## Positive Developments for AXP".
    """
    tail = _TAIL.match(text, start)
    after, end = (tail.group(), tail.end()) if tail else ("", start)
    if before is None or ":" in after or "：" in after:
        return after, end
    rests = (
        _HEADING_REST if "#" in before else None,
        _BOLD_REST if "**" in before else None,
        _ONLY_SIGNS,
    )
    for pattern in rests:
        rest = pattern.match(text, start) if pattern else None
        if rest and rest.end() > end:
            return rest.group(), rest.end()
    return after, end


def _names(pattern: re.Pattern[str], text: str) -> Iterator[_Name]:
    for match in pattern.finditer(text):
        start = max(0, match.start() - _REACH)
        line = text.rfind("\n", start, match.start())
        before = text[max(line + 1, start) : match.start()]
        leads = (line >= 0 or start == 0) and _LEAD.fullmatch(before) is not None
        mark = _MARK.search(before)
        after, end = _tail(text, match.end(), before if leads else None)
        closed = any(start in before and end in after for start, end in _PAIRS)
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
        (name.kind, _UNDERLINE.sub("", text[name.end : end].lstrip(), count=1).strip())
        for name, end in zip(headers, ends, strict=False)
    ]


def first_header(text: str) -> int:
    """Where the first header of `text` begins; its length without one."""
    return next((name.begin for name in _names(_HEADER, text) if name.is_header), len(text))


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
    return text.strip().lstrip("*_ ").rstrip("*_#>[•-|【《「 \t\r\n")
