"""The fictional market itself: firms, weeks, news and prices, drawn from one seed."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import cached_property
from typing import NamedTuple

from data_pipeline.synthetic.events import FIRMS, NEUTRAL, SEEN, UNSEEN, Event, Firm
from weekahead.task.record import News, PastWeek, Record

FIRST_WEEK = date(2031, 1, 5)
"""A Sunday later than any week of a real dataset."""
NEW_FIRMS = 8
"""The last firms of the list: only test parts take them."""
_MINUTES_PER_DAY = 24 * 60


@dataclass(frozen=True)
class Part:
    """One split of the market."""

    name: str
    weeks: int
    firms_per_week: int
    new_firms: bool = False
    """Whether it takes the firms that no other kind of part shows."""
    events: tuple[Event, ...] = SEEN
    """What can happen in it."""


PARTS = (
    Part("train", weeks=50, firms_per_week=8),
    Part("validation", weeks=4, firms_per_week=4),
    Part("test", weeks=16, firms_per_week=4, new_firms=True),
    Part("test_unseen", weeks=16, firms_per_week=2, new_firms=True, events=UNSEEN),
)


class EventHeadline(NamedTuple):
    """One sentence of news; `sign` is +1, -1 or 0 for what it means to the price."""

    text: str
    sign: int


@dataclass(frozen=True)
class FictionalStory:
    """One firm's week: what happened before it, and the return that followed."""

    record: Record
    news: tuple[EventHeadline, ...]
    """The sentences of the prompt in their order."""
    part: str | None
    """The split with this story; None for a week or a firm that no split took."""

    @property
    def balance(self) -> int:
        """Good news minus bad news; never zero."""
        return sum(headline.sign for headline in self.news)


def best_reachable(signal: float) -> float:
    """The highest direction accuracy that any reader of the news can expect.

    The direction follows the balance of the news with probability (1 + signal) / 2 and opposes it
    otherwise, by an independent draw per row that no reader can know.
    """
    return (1 + signal) / 2


@dataclass(frozen=True, kw_only=True)
class Market:
    """A fictional market. Raises ValueError for a signal outside 0 to 1."""

    seed: int = 0
    signal: float = 0.9
    """0: the news says nothing; 1: it decides the direction."""

    def __post_init__(self) -> None:
        if not 0 <= self.signal <= 1:
            raise ValueError(
                f"signal is {self.signal}; expected a number from 0 (none) to 1 (certain)"
            )

    @cached_property
    def stories(self) -> list[FictionalStory]:
        """Every story, firm by firm and week by week.

        The parts follow one another in time, with a gap of one week (the length of the context).
        Each story draws from a generator of its own, so no part changes with another's size.
        """
        calendar = _calendar()
        taken = [self._firms_of(week, part) if part else [] for week, part in enumerate(calendar)]
        stories: list[FictionalStory] = []
        for firm in FIRMS:
            start = random.Random(f"{self.seed}/{firm.symbol}")
            close, last_return = start.uniform(20, 200), start.gauss(0, 0.02)
            for week, part in enumerate(calendar):
                draw = random.Random(f"{self.seed}/{firm.symbol}/{week}")
                news = _news(draw, firm, part.events if part else SEEN)
                weekly_return = self._return(draw, sum(headline.sign for headline in news))
                prices = _Prices(close, last_return, weekly_return)
                record = _record(draw, firm, week, news, prices)
                name = part.name if part and firm in taken[week] else None
                stories.append(FictionalStory(record, news, name))
                close, last_return = close * (1 + weekly_return), weekly_return
        return stories

    def _firms_of(self, week: int, part: Part) -> list[Firm]:
        firms = FIRMS[-NEW_FIRMS:] if part.new_firms else FIRMS[:-NEW_FIRMS]
        return random.Random(f"{self.seed}/{week}").sample(firms, part.firms_per_week)

    def _return(self, draw: random.Random, balance: int) -> float:
        """A weekly return whose direction follows `balance` with probability (1 + signal) / 2.

        The size is drawn from bins that are larger for a larger balance.
        """
        follows = draw.random() < best_reachable(self.signal)
        direction = (1 if balance > 0 else -1) * (1 if follows else -1)
        sizes = (0.5, 1.5, 2.5) if abs(balance) == 1 else (3.5, 4.5, 5.5)
        percent = draw.choice(sizes) + draw.uniform(-0.4, 0.4)
        return round(direction * percent / 100, 6)


class _Prices(NamedTuple):
    """The close before the forecast week, the return before it and the one that follows."""

    close: float
    last_return: float
    weekly_return: float


def _calendar() -> list[Part | None]:
    """The part that each week belongs to, None for a gap."""
    weeks: list[Part | None] = []
    for part in PARTS:
        weeks += [part] * part.weeks + [None]
    return weeks[:-1]


def _news(draw: random.Random, firm: Firm, events: Sequence[Event]) -> tuple[EventHeadline, ...]:
    drawn = [*_polar(draw, events), *draw.sample(NEUTRAL, draw.choice((0, 1)))]
    draw.shuffle(drawn)
    return tuple(
        EventHeadline(event.text.format(firm=firm.name, n=draw.randint(3, 40)), event.sign)
        for event in drawn
    )


def _polar(draw: random.Random, events: Sequence[Event]) -> list[Event]:
    """Three different events with a sign, each side as likely as the other: never a tie."""
    good = [event for event in events if event.sign > 0]
    bad = [event for event in events if event.sign < 0]
    good_count = draw.choice((0, 1, 2, 3))
    return draw.sample(good, good_count) + draw.sample(bad, 3 - good_count)


def _record(
    draw: random.Random, firm: Firm, week: int, news: Sequence[EventHeadline], prices: _Prices
) -> Record:
    day = FIRST_WEEK + timedelta(weeks=week)
    return Record(
        symbol=firm.symbol,
        company=f"{firm.name} ({firm.symbol}), a {firm.business} company.",
        weeks=(_past_week(draw, day, news, prices),),
        week_start=day.isoformat(),
        week_end=(day + timedelta(weeks=1)).isoformat(),
        decision_time=f"{day.isoformat()}T00:00:00+00:00",
        weekly_return=prices.weekly_return,
        last_week_return=round(prices.last_return, 6),
        extra={"synthetic": True},
    )


def _past_week(
    draw: random.Random, end: date, news: Sequence[EventHeadline], prices: _Prices
) -> PastWeek:
    start = end - timedelta(weeks=1)
    minutes = sorted(draw.randrange(5 * _MINUTES_PER_DAY) for _ in news)
    items = []
    for headline, minute in zip(news, minutes, strict=True):
        day, minute_of_day = divmod(minute, _MINUTES_PER_DAY)
        hour = f"{minute_of_day // 60:02d}:{minute_of_day % 60:02d}:00+00:00"
        items.append(News(headline.text, "", f"{start + timedelta(days=1 + day)}T{hour}"))
    return PastWeek(
        start.isoformat(),
        end.isoformat(),
        round(prices.close / (1 + prices.last_return), 2),
        round(prices.close, 2),
        tuple(items),
    )
