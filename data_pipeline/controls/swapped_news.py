"""Prompts with the news of another firm of the same week; prices, figures and the question stay.

The market of the week is the same for both firms, so a call that stays was not made for the firm's
own news. As with no_news, what no longer follows is not repaired: this is a control for evaluation.
"""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence

from weekahead.schema.rows import DatasetRow, DroppedRow, Message, user_text
from weekahead.task.prompt_reader import news_by_week, replace_news

News = Mapping[str, str]
"""Last day of a past week -> its news (`news_by_week`)."""


def swap_news(
    splits: Mapping[str, Sequence[DatasetRow]], seed: int
) -> tuple[dict[str, list[DatasetRow]], list[DroppedRow]]:
    """The splits, each row with the news of another firm in its forecast week; none is dropped.

    The same seed gives the same donors. A donor shows as many of the row's past weeks as any; a
    week that it does not show is left without news. A row that is alone in its week stays as it is.
    """
    return {name: _swapped(rows, f"{seed}/{name}") for name, rows in splits.items()}, []


def _swapped(rows: Sequence[DatasetRow], seed: str) -> list[DatasetRow]:
    news_of = [news_by_week(user_text(row["prompt"])) for row in rows]
    by_week: defaultdict[str, list[int]] = defaultdict(list)
    for index, row in enumerate(rows):
        by_week[row["week_start"]].append(index)
    changed: list[DatasetRow] = []
    for index, row in enumerate(rows):
        others = [
            news_of[other]
            for other in by_week[row["week_start"]]
            if rows[other]["symbol"] != row["symbol"]
        ]
        draw = random.Random(f"{seed}/{row['id']}")
        changed.append(_with_news(row, _donor(news_of[index], others, draw)) if others else row)
    return changed


def _donor(news: News, others: Sequence[News], draw: random.Random) -> News:
    """One of `others` that shows as many of the weeks of `news` as any."""
    shared = [len(news.keys() & other.keys()) for other in others]
    most = max(shared)
    fitting = zip(others, shared, strict=True)
    return draw.choice([other for other, count in fitting if count == most])


def _with_news(row: DatasetRow, news: News) -> DatasetRow:
    return {**row, "prompt": [_replaced(message, news) for message in row["prompt"]]}


def _replaced(message: Message, news: News) -> Message:
    if message["role"] != "user":
        return message
    return {**message, "content": replace_news(message["content"], news)}
