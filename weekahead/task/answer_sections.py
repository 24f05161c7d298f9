"""Where the sections and the labelled lines of an answer stand, however a model has decorated them."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

Section = tuple[int, str]
"""Which of the three sections (0, 1, 2, in the order of the layout), and its text."""

_THINK = re.compile(r"<(/?)think(?:ing)?>", re.IGNORECASE)
_HEADER = re.compile(
    r"(?<![^\W_])(?:(positive)[ \t]{1,3}developments?|(potential)[ \t]{1,3}concerns?"
    r"|(prediction)[ \t]{0,3}(?:&(?:amp;)?|and)[ \t]{0,3}analysis)(?![^\W_])",
    re.IGNORECASE,
)
_LABEL = re.compile(
    r"(?<![^\W_])(?:(prediction)(?![ \t]{0,3}(?:&|and\b))|(analysis))(?![^\W_])", re.IGNORECASE
)
# Around a name: "## 3. **[" before it, "]**:" behind it; further than _REACH before it, all is text.
_REACH = 24
_LEAD = re.compile(r"[ \t\r>*_#\[(•\-\d.)]*")
_MARK = re.compile(r"(?:[\[#]|\*\*|__)[\[*_# \t]*$")
_LINE_END = re.compile(r"\r\n|\r|\n")
_TAIL = re.compile(r"[\]*_ \t]{0,8}[:：]?[*_ \t]{0,8}")


@dataclass(frozen=True)
class _Name:
    """Where a name stands with its decoration, and what speaks for its being more than a word of a text."""

    kind: int
    begin: int
    end: int
    leads: bool  # nothing but decoration stands before it on its line
    marked: bool  # a bracket, bold or # stands right before it
    colon: bool
    alone: bool  # its line ends behind it, or the mark before it closes

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
    """Every section of `text` in the order they stand, each up to the next header; a kind may come often.

    A header stands on its own line, plain, numbered, in bold, brackets or after #, or in a line where it is
    marked and has a colon: "next week.[Positive Developments]:". The names in a sentence are no header.
    """
    headers = [name for name in _names(_HEADER, text) if name.is_header]
    ends = [name.begin for name in headers[1:]] + [len(text)]
    return [
        (name.kind, text[name.end : end].strip()) for name, end in zip(headers, ends, strict=False)
    ]


def without_thought(text: str) -> tuple[str, str | None]:
    """The text without its <think> blocks; and what follows a last one that never closes, None if all do.

    A first tag that closes ends a thought which the prompt had opened, as R1's template does.
    """
    kept: list[str] = []
    start, thinking, first = 0, False, True
    for tag in _THINK.finditer(text):
        closes = bool(tag[1])
        if thinking and not closes:
            continue
        if not thinking and not (closes and first):
            kept.append(text[start : tag.start()])
        start, thinking, first = tag.end(), not closes, False
    rest = text[start:]
    return ("\n".join(kept), rest) if thinking else ("\n".join([*kept, rest]), None)


def split_forecast(section: str) -> tuple[str | None, str]:
    """The Prediction line (None if there is none) and the analysis of the last section."""
    labels = list(_names(_LABEL, section))
    leading = [name for name in labels if name.kind == 0 and name.leads]
    call = next((name for name in leading if name.colon), leading[0] if leading else None)
    analyses = [
        name for name in labels if name.kind == 1 and (name.colon or (name.leads and name.alone))
    ]
    if call is None:
        return None, section
    behind = next((name for name in analyses if name.begin >= call.end), None)
    if behind:
        return _trim(section[call.end : behind.begin]), section[behind.end :].strip()
    # Without a label below it, the Prediction is one line; the analysis is labelled above or is the rest.
    line, rest = [*_LINE_END.split(section[call.end :].strip(), maxsplit=1), ""][:2]
    above = section[analyses[0].end : call.begin] if analyses else ""
    return _trim(line), (above.strip() or rest.strip())


def _trim(text: str) -> str:
    return text.strip().lstrip("*_ ").rstrip("*_#>[•- \t\r\n")
