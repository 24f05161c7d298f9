"""News: texts repaired and made harmless, copies and advertising out, a few chosen.

What leaves here is one line per text, and nothing in it can pass for a part of the prompt or of an
answer.
"""

import random
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from data_pipeline.dataset.public_text import repair_text
from data_pipeline.providers.base import Story
from weekahead.task.record import News, moment

ITEMS_PER_WEEK = 5
SUMMARY_LENGTH = 300
"""Characters of a summary: four weeks of five items then fit into the recipes' 3,200 tokens."""
_SAME_STORY = 0.7
"""Share of their words that two headlines have in common from which on they are one story..."""
_DIRECTION_WORDS = frozenset(
    """up down rise rises rose fall falls fell gain gains gained lose loses lost sink sinks sank
    jump jumps jumped drop drops dropped surge surges slip slips beat beats miss misses raise
    raises cut cuts higher lower buy sell upgrade upgrades downgrade downgrades win wins first
    second third fourth not no""".split()  # noqa: SIM905 - to be read
)
"""... unless these, and the figures, are not the same in both, in the same order."""


def clean_stories(stories: Iterable[Story]) -> list[News]:
    """The stories as a prompt may hold them, the earliest first, without advertising."""
    news = []
    for story in sorted(stories, key=lambda story: (story.known_at, story.headline)):
        headline = sanitize(story.headline)
        if _split_words(headline) and not _ADVERTISING.search(headline):
            summary = _summary(story.summary, headline)
            news.append(News(headline, summary, story.known_at.isoformat()))
    return news


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
    {"[": "(", "]": ")", "<": "(", ">": ")", "{": "(", "}": ")", "｜": "/", "|": "/", "▁": "_"}
)
_HIDDEN = re.compile(
    r"[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff"
    r"\ufeff\ufffd\U000e0000-\U000e007f]+"
)
_ROLE_PREFIX = re.compile(
    r"\b(prediction(?: & analysis| and analysis)?|analysis|positive developments"
    r"|potential concerns|system|user|assistant)(\s*\)?\s*)[:：]",
    re.IGNORECASE,
)
_ADVERTISING = re.compile(
    r"\b(?:click here|sign up (?:now|today|here|for)|subscribe (?:now|today|to)"
    r"|free (?:report|trial|newsletter)|read (?:the full|more)\b|stock advisor returns|zacks rank"
    r"|to learn more|watch this full episode|the post .{1,120} appeared first"
    r"|looking for (?:the )?(?:next|best) stocks?|limited[- ]time offer)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_SENTENCE_END = re.compile(r"(?<=[.!?])\s+")


def sanitize(text: str) -> str:
    """`text` on one line, repaired, and unable to open a section or a model's turn.

    Mojibake and HTML entities are repaired.
    """
    text, _ = repair_text(text)
    # `&lt;` is left escaped by the repair, since it may hide markup; here markup is broken anyway.
    text = text.replace("&lt;", "(").replace("&gt;", ")").translate(_BRACKETS)
    return _ROLE_PREFIX.sub(r"\1\2 -", " ".join(_HIDDEN.sub(" ", text).split()))


def _summary(text: str, headline: str) -> str:
    """Whole sentences of a summary up to its length, without advertising or the headline."""
    text = _ADDRESS.sub("", sanitize(text)).replace(headline, "").strip(" …-")
    summary = ""
    for sentence in _SENTENCE_END.split(text):
        if _ADVERTISING.search(sentence) or not sentence:
            continue
        longer = f"{summary} {sentence}" if summary else sentence
        if summary and len(longer) > SUMMARY_LENGTH:
            break
        summary = longer
    if len(summary) <= SUMMARY_LENGTH:
        return summary
    return summary[:SUMMARY_LENGTH].rsplit(" ", 1)[0] + " ..."


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
