"""News: two providers' forms read, texts repaired and made harmless, copies and advertising out, a few chosen.

What leaves here is one line a text, and nothing in it can pass for a part of the prompt or of an answer.
"""

import random
import re
from bisect import bisect_left
from collections.abc import Iterable, Sequence

from data_pipeline.dataset.public_text import repair_text
from data_pipeline.providers.base import Story
from weekahead.task.record import News, moment

ITEMS_A_WEEK = 5
SUMMARY_LENGTH = 300
"""Characters kept of a summary: four weeks of five items then fit into the recipes' 3,200 tokens."""
_SAME = 0.7
"""Share of their words that two headlines have in common from which on they are one story..."""
_DIRECTION_WORDS = frozenset(
    """up down rise rises rose fall falls fell gain gains gained lose loses lost sink sinks sank jump jumps jumped drop
    drops dropped surge surges slip slips beat beats miss misses raise raises cut cuts higher lower buy sell upgrade
    upgrades downgrade downgrades win wins first second third fourth not no""".split()  # noqa: SIM905 - to be read
)
"""... unless these, and the figures, are not the same in both, in the same order."""


def clean_stories(stories: Iterable[Story]) -> list[News]:
    """The stories as they may stand in a prompt, the earliest first; advertising and empty ones go."""
    kept = []
    for story in sorted(stories, key=lambda one: (one.published, one.headline)):
        headline = sanitize(story.headline)
        if _words(headline) and not _ADVERTISING.search(headline):
            kept.append(
                News(headline, _summary(story.summary, headline), story.published.isoformat())
            )
    return kept


def news_of_week(news: Sequence[News], start: str, end: str) -> list[News]:
    """The items published from `start` to before `end` (both ISO 8601), of copies and near-copies the first.

    Only items of the one week are held against each other: what a week shows depends on nothing before or
    after it, and what returns every quarter is news again. `news` is in the order of time.
    """
    first, last = (
        bisect_left(news, moment(at), key=lambda item: moment(item.known_at)) for at in (start, end)
    )
    kept: list[tuple[News, list[str]]] = []
    for item in news[first:last]:
        said = _words(item.headline)
        if not any(_alike(said, other) for _, other in kept):
            kept.append((item, said))
    return [item for item, _ in kept]


def choose(week: Sequence[News], seed: str, most: int = ITEMS_A_WEEK) -> tuple[News, ...]:
    """Up to `most` items of a week, in the order of time.

    `seed` should hold the row's id and the week: the same row gets the same items in every build.
    """
    if len(week) > most:
        chosen = random.Random(seed).sample(range(len(week)), most)
        week = [week[place] for place in sorted(chosen)]
    return tuple(week)


# A model's control tokens, prompt sections and markup all need one of these.
_BRACKETS = str.maketrans(
    {"[": "(", "]": ")", "<": "(", ">": ")", "{": "(", "}": ")", "｜": "/", "|": "/", "▁": "_"}
)
_HIDDEN = re.compile(
    r"[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ud800-\udfff\ufeff\ufffd\U000e0000-\U000e007f]+"
)
_ROLE_PREFIX = re.compile(
    r"\b(prediction(?: & analysis| and analysis)?|analysis|positive developments|potential concerns|system|user"
    r"|assistant)(\s*\)?\s*)[:：]",
    re.IGNORECASE,
)
_ADVERTISING = re.compile(
    r"\b(?:click here|sign up (?:now|today|here|for)|subscribe (?:now|today|to)|free (?:report|trial|newsletter)"
    r"|read (?:the full|more)\b|stock advisor returns|zacks rank|to learn more|watch this full episode"
    r"|the post .{1,120} appeared first|looking for (?:the )?(?:next|best) stocks?|limited[- ]time offer)",
    re.IGNORECASE,
)
_ADDRESS = re.compile(r"(?:https?://|www\.)\S+")
_SENTENCE = re.compile(r"(?<=[.!?])\s+")


def sanitize(text: str) -> str:
    """`text` on one line, with mojibake and HTML entities repaired, unable to open a section or a model's turn."""
    text, _ = repair_text(text)
    # `&lt;` is left escaped by the repair, since it may hide markup; here markup is broken anyway.
    text = text.replace("&lt;", "(").replace("&gt;", ")").translate(_BRACKETS)
    return _ROLE_PREFIX.sub(r"\1\2 -", " ".join(_HIDDEN.sub(" ", text).split()))


def _summary(text: str, headline: str) -> str:
    """Whole sentences of a summary up to its length; without advertising and without the headline said again."""
    kept: list[str] = []
    for sentence in _SENTENCE.split(
        _ADDRESS.sub("", sanitize(text)).replace(headline, "").strip(" …-")
    ):
        if _ADVERTISING.search(sentence) or not sentence:
            continue
        if kept and len(" ".join([*kept, sentence])) > SUMMARY_LENGTH:
            break
        kept.append(sentence)
    said = " ".join(kept)
    return said if len(said) <= SUMMARY_LENGTH else said[:SUMMARY_LENGTH].rsplit(" ", 1)[0] + " ..."


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


def _alike(one: list[str], other: list[str]) -> bool:
    words, others = set(one), set(other)
    if len(words & others) < _SAME * len(words | others):
        return False
    return [*filter(_tells, one)] == [*filter(_tells, other)]


def _tells(word: str) -> bool:
    return word in _DIRECTION_WORDS or any(map(str.isdigit, word))
