"""News: two providers' forms read, texts repaired and made harmless, copies and advertising out, a few chosen.

What leaves here is one line a text, and nothing in it can pass for a part of the prompt or of an answer.
"""

import random
import re
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from data_pipeline.files import Row
from data_pipeline.fingpt_text import repair_text
from data_pipeline.record import News, moment

ITEMS_A_WEEK = 5
SUMMARY_LENGTH = 300
"""Characters kept of a summary: four weeks of five items then fit into the recipes' 3,200 tokens."""
_SAME = 0.7
"""Share of their words that two headlines have in common from which on they are one story."""
_COPIED_WITHIN = timedelta(days=7)


@dataclass(frozen=True)
class Story:
    """One item as its provider gave it. `published` is in UTC, and of the text as it stands: the last edit counts."""

    symbols: tuple[str, ...]
    headline: str
    summary: str
    published: datetime


def read_story(row: Row) -> Story:
    """A row in Finnhub's form (`datetime` in epoch seconds, `related`) or Alpaca's (`created_at`, `symbols`).

    Raises ValueError naming what is missing: without a time of publication no item may be used.
    """
    if "datetime" in row:
        seconds = row["datetime"]
        if isinstance(seconds, bool) or not isinstance(seconds, int | float) or seconds <= 0:
            raise ValueError(f"datetime is {seconds!r}; expected seconds since 1970, in UTC")
        published = datetime.fromtimestamp(seconds, UTC)
        symbols = tuple(word.strip() for word in str(row.get("related") or "").split(",") if word.strip())
    elif "created_at" in row:
        try:
            published = max(moment(row[key]) for key in ("created_at", "updated_at") if row.get(key))
        except (TypeError, ValueError):
            raise ValueError(f"created_at is {row['created_at']!r}; expected a time in ISO 8601") from None
        symbols = tuple(row.get("symbols") or ())
    else:
        raise ValueError(
            "neither `datetime` (Finnhub's form) nor `created_at` (Alpaca's form); "
            f"expected one of the two, found {', '.join(row) or 'nothing'}"
        )
    if not isinstance(row.get("headline"), str):
        raise ValueError(f"headline is {row.get('headline')!r}; expected a text")
    return Story(symbols, row["headline"], str(row.get("summary") or ""), published)


def tidy(stories: Iterable[Story]) -> list[News]:
    """The stories as they may stand in a prompt, the earliest first; copies, advertising and empty ones go.

    Of stories that are alike within a week the first stays: it does not depend on what came later, and what
    returns every quarter is no copy.
    """
    kept: list[News] = []
    recent: deque[tuple[datetime, frozenset[str]]] = deque()
    for story in sorted(stories, key=lambda one: (one.published, one.headline)):
        headline = harmless(story.headline)
        said = frozenset(re.findall(r"\w+", headline.lower()))
        while recent and story.published - recent[0][0] > _COPIED_WITHIN:
            recent.popleft()
        if not said or _ADVERTISING.search(headline) or any(_alike(said, other) for _, other in recent):
            continue
        kept.append(News(headline, _summary(story.summary, headline), story.published.isoformat()))
        recent.append((story.published, said))
    return kept


def choose(news: Sequence[News], start: str, end: str, seed: str, most: int = ITEMS_A_WEEK) -> tuple[News, ...]:
    """Up to `most` items published from `start` to before `end` (both ISO 8601), in the order of time.

    `seed` should hold the row's id and the week: the same row gets the same items in every build.
    """
    first, limit = moment(start), moment(end)
    week = [item for item in news if first <= moment(item.known_at) < limit]
    if len(week) > most:
        chosen = random.Random(seed).sample(range(len(week)), most)
        week = [week[place] for place in sorted(chosen)]
    return tuple(week)


# A model's control tokens, prompt sections and markup all need one of these.
_BRACKETS = str.maketrans({"[": "(", "]": ")", "<": "(", ">": ")", "{": "(", "}": ")", "｜": "/", "|": "/", "▁": "_"})
_HIDDEN = re.compile(r"[\u0000-\u001f\u007f-\u009f\u00ad\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffd]+")
_SPEAKS = re.compile(
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


def harmless(text: str) -> str:
    """`text` on one line, with mojibake and HTML entities repaired, unable to open a section or a model's turn."""
    text, _ = repair_text(text)
    # `&lt;` is left escaped by the repair, since it may hide markup; here markup is broken anyway.
    text = text.replace("&lt;", "(").replace("&gt;", ")").translate(_BRACKETS)
    return _SPEAKS.sub(r"\1\2 -", " ".join(_HIDDEN.sub(" ", text).split()))


def _summary(text: str, headline: str) -> str:
    """Whole sentences of a summary up to its length; without advertising and without the headline said again."""
    kept: list[str] = []
    for sentence in _SENTENCE.split(_ADDRESS.sub("", harmless(text)).replace(headline, "").strip(" …-")):
        if _ADVERTISING.search(sentence) or not sentence:
            continue
        if kept and len(" ".join([*kept, sentence])) > SUMMARY_LENGTH:
            break
        kept.append(sentence)
    said = " ".join(kept)
    return said if len(said) <= SUMMARY_LENGTH else said[:SUMMARY_LENGTH].rsplit(" ", 1)[0] + " ..."


def _alike(one: frozenset[str], other: frozenset[str]) -> bool:
    return len(one & other) >= _SAME * len(one | other)
