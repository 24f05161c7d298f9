"""The fictional market itself: firms, weeks, news and prices, drawn from one seed."""

import random
from dataclasses import dataclass
from datetime import date, timedelta

from data_pipeline.synthetic.events import FIRMS, NEUTRAL, SEEN, UNSEEN, Event
from weekahead.task.record import News, PastWeek, Record

FIRST_WEEK = date(2031, 1, 5)
"""A Sunday that no real dataset holds."""
NEW_FIRMS = 8
"""The last firms of the list: only test parts take them."""
Firm = tuple[str, str, str]


@dataclass(frozen=True)
class Part:
    """One split of the market: its weeks, how many firms it takes from each, and what can happen in it."""

    name: str
    weeks: int
    firms_a_week: int
    new_firms: bool = False
    """Whether it takes the firms that no other kind of part shows."""
    events: tuple[Event, ...] = SEEN


PARTS = (
    Part("train", weeks=50, firms_a_week=8),
    Part("validation", weeks=4, firms_a_week=4),
    Part("test", weeks=16, firms_a_week=4, new_firms=True),
    Part("test_unseen", weeks=16, firms_a_week=2, new_firms=True, events=UNSEEN),
)


@dataclass(frozen=True)
class FictionalStory:
    """One firm's week: what happened before it, and the bin in which the price then moved."""

    record: Record
    events: tuple[tuple[str, int], ...]
    """The sentences of the prompt in their order, each with its sign."""
    part: str | None
    """The split that holds this story; None for a week or firm that no split took."""

    @property
    def balance(self) -> int:
        """Good news minus bad news; never zero."""
        return sum(sign for _, sign in self.events)


def best_reachable(signal: float) -> float:
    """The highest direction accuracy that any reader of the news can expect.

    The direction follows the balance of the news with probability (1 + signal) / 2 and opposes it
    otherwise, by an independent draw a row; no reader can know that draw.
    """
    return (1 + signal) / 2


def tell(seed: int, signal: float, parts: tuple[Part, ...] = PARTS) -> list[FictionalStory]:
    """Every story of the market, firm by firm and week by week.

    The parts follow one another in time, a gap of one week (the length of the context) between
    them. Each story draws from a generator of its own, so no part changes with another's size.
    Raises ValueError for a signal outside 0 to 1.
    """
    if not 0 <= signal <= 1:
        raise ValueError(f"signal is {signal}; expected a number from 0 (none) to 1 (certain)")
    calendar = _calendar(parts)
    taken = {week: _firms_of(seed, week, part) for week, part in enumerate(calendar) if part}
    stories = []
    for firm in FIRMS:
        start = random.Random(f"{seed}/{firm[0]}")
        close, last_return = start.uniform(20, 200), start.gauss(0, 0.02)
        for week, part in enumerate(calendar):
            draw = random.Random(f"{seed}/{firm[0]}/{week}")
            news = _news(draw, firm, part.events if part else SEEN)
            weekly_return = _return(draw, sum(sign for _, sign in news), signal)
            record = _record(draw, firm, week, news, (close, last_return, weekly_return))
            stories.append(
                FictionalStory(record, news, part.name if part and firm in taken[week] else None)
            )
            close, last_return = close * (1 + weekly_return), weekly_return
    return stories


def _calendar(parts: tuple[Part, ...]) -> list[Part | None]:
    """Which part each week belongs to, None for a gap."""
    weeks: list[Part | None] = []
    for part in parts:
        weeks += [part] * part.weeks + [None]
    return weeks[:-1]


def _firms_of(seed: int, week: int, part: Part) -> list[Firm]:
    firms = FIRMS[-NEW_FIRMS:] if part.new_firms else FIRMS[:-NEW_FIRMS]
    return random.Random(f"{seed}/{week}").sample(firms, part.firms_a_week)


def _news(
    draw: random.Random, firm: Firm, events: tuple[Event, ...]
) -> tuple[tuple[str, int], ...]:
    told = [*_polar(draw, events), *draw.sample(NEUTRAL, draw.choice((0, 1)))]
    draw.shuffle(told)
    return tuple(
        (event.text.format(firm=firm[1], n=draw.randint(3, 40)), event.sign) for event in told
    )


def _record(
    draw: random.Random,
    firm: Firm,
    week: int,
    news: tuple[tuple[str, int], ...],
    prices: tuple[float, float, float],
) -> Record:
    symbol, name, business = firm
    close, last_return, weekly_return = prices
    day = FIRST_WEEK + timedelta(weeks=week)
    return Record(
        symbol=symbol,
        company=f"{name} ({symbol}), a {business} company.",
        weeks=(_past_week(draw, day, close, last_return, [text for text, _ in news]),),
        week_start=day.isoformat(),
        week_end=(day + timedelta(weeks=1)).isoformat(),
        decision_time=f"{day.isoformat()}T00:00:00+00:00",
        weekly_return=weekly_return,
        last_week_return=round(last_return, 6),
        extra={"synthetic": True},
    )


def _polar(draw: random.Random, events: tuple[Event, ...]) -> list[Event]:
    """Three different events that point somewhere, each side as likely as the other: never a tie."""
    good = [event for event in events if event.sign > 0]
    bad = [event for event in events if event.sign < 0]
    goods = draw.choice((0, 1, 2, 3))
    return draw.sample(good, goods) + draw.sample(bad, 3 - goods)


def _return(draw: random.Random, balance: int, signal: float) -> float:
    """A weekly return whose direction follows `balance` with probability (1 + signal) / 2.

    The size is drawn from bins that a larger balance makes larger.
    """
    follows = draw.random() < best_reachable(signal)
    direction = (1 if balance > 0 else -1) * (1 if follows else -1)
    sizes = (0.5, 1.5, 2.5) if abs(balance) == 1 else (3.5, 4.5, 5.5)
    percent = draw.choice(sizes) + draw.uniform(-0.4, 0.4)
    return round(direction * percent / 100, 6)


def _past_week(
    draw: random.Random, end: date, close: float, last_return: float, texts: list[str]
) -> PastWeek:
    start = end - timedelta(weeks=1)
    times = sorted(draw.randrange(5 * 24 * 60) for _ in texts)
    moments = [
        f"{start + timedelta(days=1 + t // 1440)}T{t % 1440 // 60:02d}:{t % 60:02d}:00+00:00"
        for t in times
    ]
    news = tuple(News(text, "", moment) for text, moment in zip(texts, moments, strict=True))
    return PastWeek(
        start.isoformat(),
        end.isoformat(),
        round(close / (1 + last_return), 2),
        round(close, 2),
        news,
    )
