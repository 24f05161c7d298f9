"""News: texts repaired and made harmless, copies and advertising out, a few chosen.

What leaves here is one line per text, and nothing in it can pass for a part of the prompt or of an
answer.
"""

import random
import re
import unicodedata
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, time, timedelta
from html import unescape
from zoneinfo import ZoneInfo

from data_pipeline.dataset.public_text import repair_text
from data_pipeline.providers.base import Story
from weekahead.task.record import News
from weekahead.task.times import moment

ITEMS_PER_WEEK = 5
SUMMARY_LENGTH = 300
"""Characters of a summary: four weeks of five items then fit into the recipes' 3,200 tokens."""
HEADLINE_LENGTH = 300
_OPENS = 4
"""A headline of fewer words in front of a summary may be the beginning of its first sentence."""
_SAME_STORY = 0.7
"""Share of their words that two headlines have in common from which on they are one story..."""
_DIRECTION_WORDS = frozenset(
    """up down rise rises rose fall falls fell gain gains gained lose loses lost sink sinks sank
    jump jumps jumped drop drops dropped surge surges slip slips beat beats miss misses raise
    raises cut cuts higher lower buy sell upgrade upgrades downgrade downgrades win wins first
    second third fourth not no""".split()  # noqa: SIM905 - to be read
)
"""... unless these, and the figures, are not the same in both, in the same order."""


def clean_stories(stories: Iterable[Story], zone: str = "UTC") -> list[News]:
    """The stories as a prompt may hold them, the earliest first, without advertising.

    `zone` is the time zone of the company's exchange, for days without a clock.
    """
    news: list[News] = []
    for story in stories:
        headline = _shortened(sanitize(story.headline), HEADLINE_LENGTH)
        if _split_words(headline) and not _ADVERTISING.search(headline):
            known = first_known(story.known_at, zone).astimezone(UTC)
            summary = _summary(story.summary, headline)
            news.append(News(headline, summary, known.isoformat(), story.link))
    return sorted(news, key=lambda item: (moment(item.known_at), item.headline))


def first_known(published: datetime, zone: str = "UTC") -> datetime:
    """The first moment at which an item was known for sure.

    Exactly midnight is a day without a clock, and counts from the end of that day: of the day in
    the zone that the time states, or at the exchange (`zone`) if it is midnight there. UTC is what
    a time without a zone is written in, so its day ends when it ends everywhere, at 12:00 UTC on
    the next day. `published` has a time zone.
    """
    if published.astimezone(UTC).time() == time():
        return published + timedelta(hours=36)
    if published.time() == time():
        return published + timedelta(days=1)
    there = published.astimezone(ZoneInfo(zone))
    if there.time() == time():
        return datetime.combine(there.date() + timedelta(days=1), time(), there.tzinfo)
    return published


def news_of_week(news: Sequence[News], start: str, end: str) -> list[News]:
    """The items published from `start` to before `end` (ISO 8601); of near-copies the first.

    Only items of the one week are compared with each other: what a week shows depends on nothing
    before or after it, and what returns every quarter is news again. `news` is in the order of
    time.
    """
    first, last = (
        bisect_left(news, moment(bound), key=lambda item: moment(item.known_at))
        for bound in (start, end)
    )
    distinct: list[News] = []
    headlines: list[list[str]] = []
    for item in news[first:last]:
        headline = _split_words(item.headline)
        if not any(_is_same_story(headline, earlier) for earlier in headlines):
            distinct.append(item)
            headlines.append(headline)
    return distinct


def choose(week: Sequence[News], seed: str, limit: int = ITEMS_PER_WEEK) -> tuple[News, ...]:
    """Up to `limit` items of a week, in the order of time.

    `seed` should hold the row's id and the week: the same row gets the same items in every build.
    """
    if len(week) <= limit:
        return tuple(week)
    indices = random.Random(seed).sample(range(len(week)), limit)
    return tuple(week[index] for index in sorted(indices))


# A model's control tokens, prompt sections and markup all need one of these.
_BRACKETS = str.maketrans(
    dict.fromkeys("[<{［＜｛【〔⟨⟪⦅❮❰", "(")
    | dict.fromkeys("]>}］＞｝】〕⟩⟫⦆❯❱", ")")
    | dict.fromkeys("|｜￨∣│ǀ", "/")
    | {"▁": "_"}
)
_ROLE_PREFIX = re.compile(
    r"\b(prediction(?: & analysis| and analysis)?|analysis|positive developments"
    r"|potential concerns|system|user|assistant|human)([\s)*_~`\"']{0,6})[:：]",
    re.IGNORECASE,
)
_HEADING = re.compile(r"#{2,}\s*")
_ADVERTISING = re.compile(
    r"\b(?:click here|sign up (?:now|today|here|for)|subscribe (?:now|today|to)"
    r"|free (?:report|trial|newsletter)|read (?:the full|more)\b|stock advisor returns|zacks rank"
    r"|to learn more|watch this full episode|the post .{1,120} appeared first"
    r"|looking for (?:the )?(?:next|best) stocks?|limited[- ]time offer)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


# Elements whose text is not to be read, then comments, then tags, also one that is cut off.
_UNREAD = re.compile(
    r"<(script|style|head|title|noscript|iframe|svg)\b[^>]*>.*?(?:</\1\s*>|\Z)", re.I | re.S
)
_COMMENT = re.compile(r"<!--.*?(?:-->|\Z)|<[!?][a-z][^<>]*>|<!\[CDATA\[|\]\]>", re.I | re.S)
_INLINE = (
    "a|abbr|b|bdi|bdo|big|cite|code|del|dfn|em|font|i|ins|kbd|mark|q|s|small|span|strike|strong"
    "|sub|sup|tt|u|var|wbr"
)
_BLOCK = (
    "acronym|address|article|aside|blockquote|body|br|button|caption|center|col|colgroup|dd"
    "|details|div|dl|dt|embed|figcaption|figure|footer|form|h[1-6]|header|hr|html|iframe|img|input"
    "|label|li|link|main|meta|nav|ol|p|picture|pre|samp|section|source|summary|svg|table|tbody|td"
    "|tfoot|th|thead|time|tr|ul|video"
)
_TAG = re.compile(
    rf"</?(?:(?P<inline>{_INLINE})|{_BLOCK})(?=[\s/>]|\Z)"
    r"""(?:(?:"[^"]*"|'[^']*'|[^<>"'])*>|[^<>]*(?:>|\Z))""",
    re.IGNORECASE,
)
_ESCAPED_MARKUP = re.compile(
    r"&(?:lt|gt|amp|quot|apos|nbsp|#0*(?:3[489]|6[02])|#x0*(?:2[267]|3[ce]));?", re.IGNORECASE
)
_LONGEST = 20_000
"""Characters of a text that are looked at; a prompt shows far fewer."""
_ESCAPED = 4
"""Markup may be escaped so many times."""


def sanitize(text: str) -> str:
    """`text` on one line, repaired, and unable to open a section or a model's turn.

    Mojibake and HTML entities are repaired, HTML tags are removed, also escaped ones.
    """
    text, _ = repair_text(_without_tags(text[:_LONGEST]))
    text = _HEADING.sub("", text.translate(_BRACKETS))
    return _ROLE_PREFIX.sub(r"\1\2 -", " ".join(_visible(text).split()))


def _without_tags(text: str) -> str:
    """The text of HTML; tags that were escaped, even twice, are tags too."""
    for _ in range(_ESCAPED):
        if "<" in text:
            text = _COMMENT.sub(" ", _UNREAD.sub(" ", text))
            text = _TAG.sub(lambda tag: "" if tag["inline"] else " ", text)
        unescaped = _ESCAPED_MARKUP.sub(lambda entity: unescape(entity[0]), text)
        if unescaped == text:
            break
        text = unescaped
    return text


def _visible(text: str) -> str:
    """The characters that a reader sees: others go, line ends and controls become spaces."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_visible_character, text))


def _visible_character(character: str) -> str:
    if character in _FILLERS:
        return ""
    category = unicodedata.category(character)
    if category in ("Cc", "Zl", "Zp", "Zs", "Cs", "Cn", "Co") or character == "\ufffd":
        return " "
    return "" if category == "Cf" else character


_FILLERS = frozenset("\u034f\u115f\u1160\u17b4\u17b5\u3164\uffa0") | {
    chr(code) for code in (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))
}
"""Letters and marks that are blank: the Hangul fillers, the selectors of variants and the like."""


def _summary(text: str, headline: str) -> str:
    """Whole sentences of a summary up to its length, without advertising or the headline."""
    text = _ADDRESS.sub("", sanitize(text)).strip(" …-")
    words = _split_words(headline)
    if len(words) >= _OPENS:
        # A title in front of the text, set off from it.
        text = re.sub(rf"^{re.escape(headline)}\s*(?:[-–—|:.…]+\s*|$)", "", text)
    summary = ""
    for sentence in _SENTENCE_END.split(text):
        if not sentence or _ADVERTISING.search(sentence) or _split_words(sentence) == words:
            continue
        longer = f"{summary} {sentence}" if summary else sentence
        if summary and len(longer) > SUMMARY_LENGTH:
            break
        summary = longer
    return _shortened(summary, SUMMARY_LENGTH)


def _shortened(text: str, length: int) -> str:
    """`text`, cut at a word if it is longer than `length`."""
    if len(text) <= length:
        return text
    return text[:length].rsplit(" ", 1)[0] + " ..."


def _split_words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _is_same_story(headline: list[str], other: list[str]) -> bool:
    """Whether two headlines, as words, share most words and every direction and figure."""
    common, all_words = set(headline) & set(other), set(headline) | set(other)
    if len(common) < _SAME_STORY * len(all_words):
        return False
    return [*filter(_is_telling, headline)] == [*filter(_is_telling, other)]


def _is_telling(word: str) -> bool:
    return word in _DIRECTION_WORDS or any(map(str.isdigit, word))
