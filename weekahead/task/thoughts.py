"""Finds what a model thought before it answered, in whatever marks its family puts around it.

A thought that is closed is never the answer.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

_NAME = (
    r"(?:[a-z]{1,12}:)?(think(?:ing)?|thoughts?|reason(?:ing)?|reflection|scratch_?pad|cot"
    r"|chain_of_thought|thought_process|inner_monologue|monologue|internal_thoughts?|antthinking"
    r"|deliberation)"
)


class _Form(NamedTuple):
    """How thoughts open and close. A group in both patterns is the name that they share."""

    opens: str
    closes: str
    may_stay_open: bool = True
    """Whether the opening mark means a thought if no closing mark follows."""
    may_come_first: bool = True
    """Whether a closing mark means a thought that the prompt opened."""


_BEGIN, _END = (rf"(?:{word})[ _▁]?(?:of[ _▁]?)?" for word in ("begin|start", "end"))


def _bracket(left: str, right: str) -> _Form:
    """Brackets other than those of tags may also be labels of the answer: "[Reasoning]:"."""
    opens = rf"{left}(?:{_BEGIN})?{_NAME}{right}"
    return _Form(opens, rf"{left}(?:/|{_END}){_NAME}{right}", may_stay_open=False)


def _label(words: str) -> str:
    """A line that begins with one of `words` and a colon, in any Markdown."""
    return rf"^[ \t*_#>~-]{{0,12}}(?:my )?(?:{words})[ \t*_]{{0,6}}:[*_]{{0,4}}"


_FORMS = (
    _Form(rf"<[ ]?{_NAME}(?:\s[^<>\n]{{0,80}})?>", rf"<[ ]?/[ ]?{_NAME}[ ]?>"),
    _Form(rf"◁{_NAME}▷", rf"◁/{_NAME}▷"),
    _Form(rf"<\|(?:{_BEGIN})?{_NAME}\|>", rf"<\|(?:/|{_END}){_NAME}\|>"),
    _Form(rf"<(?:{_BEGIN}){_NAME}>", rf"<(?:{_END}){_NAME}>"),
    _Form(rf"<\|?{_NAME}_(?:begin|start)\|?>", rf"<\|?{_NAME}_end\|?>"),
    _Form("<unused94>", "<unused95>"),
    # Channels: everything before the final one, or up to the mark that ends the message.
    _Form(
        r"<\|channel\|>\s?(?:analysis|commentary)[^<\n]{0,40}(?:<\|message\|>)?",
        r"<\|end\|>|<\|channel\|>\s?final[^<\n]{0,40}(?:<\|message\|>)?",
        may_come_first=False,
    ),
    _Form(r"<\|channel>\s?thought", r"<channel\|>"),
    # The same channels if a decoder skipped the special tokens.
    _Form(r"\Aanalysis(?=[A-Z\s])", "assistantfinal", may_stay_open=False, may_come_first=False),
    _Form(
        r"<\|im_start\|>(?:think|thought|analysis|reasoning)\w*",
        r"<\|im_end\|>",
        may_stay_open=False,
        may_come_first=False,
    ),
    _Form("<!--", "-->", may_stay_open=False, may_come_first=False),
    *(_bracket(left, right) for left, right in ((r"\[", r"\]"), (r"\{", r"\}"), (r"\(", r"\)"))),
    *(_bracket(left, right) for left, right in ("«»", "⟨⟩", "〈〉", "《》", "【】")),
    _Form(
        r"^```(?:think(?:ing)?|thoughts?|reasoning)[ \t]*$",
        r"^```[ \t]*$",
        may_stay_open=False,
        may_come_first=False,
    ),
    _Form(rf"＜{_NAME}＞", rf"＜[/／]{_NAME}＞"),
    # A label on a line of its own marks, closed by the label of the answer.
    _Form(
        _label(r"think(?:ing)?(?: process)?|thoughts?(?: process)?|reasoning|scratch ?pad"),
        _label(r"(?:final )?(?:answer|response)"),
        may_stay_open=False,
        may_come_first=False,
    ),
    _Form(
        r"^Here is my thought process:",
        r"^Here is my response:",
        may_stay_open=False,
        may_come_first=False,
    ),
)
_PATTERNS = [
    (form, closes, re.compile(pattern, re.IGNORECASE | re.MULTILINE))
    for form in _FORMS
    for closes, pattern in ((False, form.opens), (True, form.closes))
]
_ANSWER_OPENS = re.compile(
    r"<\|?(?:begin_of_)?(?:answer|final_answer|response|solution)\|?>|\[answer\]", re.IGNORECASE
)
_STEM = 5
"""So many letters of a name decide: "think" and "thinking" belong together."""


@dataclass(frozen=True)
class _Mark:
    """A mark at which a thought opens or closes."""

    begin: int
    end: int
    name: str
    """Marks with the same name belong together."""
    closes: bool
    form: _Form


class Thoughts(NamedTuple):
    """Where the thoughts of a text are."""

    closed: list[tuple[int, int]]
    """Begin and end of each closed one, with its marks."""
    unclosed: tuple[int, int] | None
    """Of a last one that never closes: where its mark begins and ends."""


def find_thoughts(text: str) -> Thoughts:
    """The thoughts of `text`, in linear time.

    If the first mark is a closing one, it ends a thought that the prompt opened, as the template of
    R1 does. Within a thought only its own closing mark counts; if it never comes, a mark that opens
    the answer closes the thought too.
    """
    closed: list[tuple[int, int]] = []
    opened: _Mark | None = None
    for mark in _marks(text):
        if opened:
            if mark.closes and mark.name == opened.name:
                closed.append((opened.begin, mark.end))
                opened = None
        elif not mark.closes:
            opened = mark
        elif not closed and mark.form.may_come_first:
            closed.append((0, mark.end))
    if opened is None:
        return Thoughts(closed, None)
    answer = _ANSWER_OPENS.search(text, opened.end)
    if answer:
        return Thoughts([*closed, (opened.begin, answer.end())], None)
    return Thoughts(closed, (opened.begin, opened.end))


def _marks(text: str) -> list[_Mark]:
    """Every mark in its order, without those that mean nothing without a partner."""
    marks: list[_Mark] = []
    for form, closes, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            name = (match[1] if match.lastindex else form.opens).lower()
            marks.append(_Mark(match.start(), match.end(), name[:_STEM], closes, form))
    last_closing = {mark.name: mark.begin for mark in sorted(marks, key=_begin) if mark.closes}
    return sorted(
        (
            mark
            for mark in marks
            if mark.closes
            or mark.form.may_stay_open
            or last_closing.get(mark.name, -1) > mark.begin
        ),
        key=_begin,
    )


def _begin(mark: _Mark) -> int:
    return mark.begin


def without_thought(text: str) -> tuple[str, str | None]:
    """(the text outside thoughts, the text of a last thought that never closes, else None)."""
    closed, unclosed = find_thoughts(text)
    outside: list[str] = []
    start = 0
    for begin, end in closed:
        outside.append(text[start:begin])
        start = end
    if unclosed is None:
        return "\n".join([*outside, text[start:]]), None
    begin, end = unclosed
    return "\n".join([*outside, text[start:begin]]), text[end:]


# --- tags of any other name -----------------------------------------------------------------------

_TAG = re.compile(
    r"<(?P<angle>[A-Za-z][\w:-]{0,30})(?:\s[^<>\n]{0,80})?>|\[(?P<square>[A-Za-z][\w:-]{0,30})\]"
    r"|◁(?P<wedge>[A-Za-z][\w:-]{0,30})▷|<\|(?P<bar>[A-Za-z][\w:-]{0,30})\|>"
)
_CLOSING_TAGS = {"angle": "</{}>", "square": "[/{}]", "wedge": "◁/{}▷", "bar": "<|/{}|>"}
_MAX_DRAFTS = 8
# Pairs around or in an answer that are no draft of it.
_WRAPPERS = """
answer final final_answer response output result forecast prediction report
html body div p span section article main b strong i em u h1 h2 h3 h4 h5 h6 ul ol li table
tr td th thead tbody pre code blockquote br hr font center a s assistant"""
_NO_DRAFTS = frozenset(_WRAPPERS.split())


def after_drafts(text: str, first_header: int) -> str | None:
    """`text` behind the tag pairs of any other name that open before its first header.

    None without such a pair.

    If what is left holds no whole answer, the pair was a wrapper and no draft.
    """
    lower = text.lower()
    start = 0
    for _ in range(_MAX_DRAFTS):
        end = _draft_end(text, lower, start, first_header)
        if end is None:
            break
        start = end
    return text[start:] if start else None


def _draft_end(text: str, lower: str, start: int, first_header: int) -> int | None:
    """Where the first pair from `start` ends."""
    for count, tag in enumerate(_TAG.finditer(text, start)):
        # Behind a draft only white space may stand before the next one.
        is_first = (
            tag.start() <= first_header if start == 0 else not text[start : tag.start()].strip()
        )
        if not is_first or count >= _MAX_DRAFTS:
            return None
        form = tag.lastgroup or ""
        name = tag[form].lower()
        closing = _CLOSING_TAGS[form].format(name)
        end = -1 if name in _NO_DRAFTS else lower.find(closing, tag.end())
        if end >= 0:
            return end + len(closing)
    return None
