"""Made-up daily prices for tests, in the frame that `price_gate.check_prices` gives."""

from datetime import date

import pandas


def daily(first: date, last: date, closes=None, dividends=(), splits=(), exchange="XNYS"):
    """Prices of every session from `first` to `last`: 100, 101, ... or `closes` in their order.

    `dividends` and `splits` are (day, amount or ratio); closes are as downloaded, so already
    divided by later splits.
    """
    from exchange_calendars import get_calendar

    days = get_calendar(exchange, start="1990-01-01").sessions_in_range(str(first), str(last))
    close = pandas.Series(
        [100.0 + n for n in range(len(days))] if closes is None else closes, index=days, dtype=float
    )
    adjusted = close.copy()
    for day, amount in dividends:
        before = close[close.index < str(day)]
        adjusted[: before.index[-1]] *= 1 - amount / before.iloc[-1]
    split = pandas.Series(1.0, index=days)
    for day, ratio in splits:
        split[str(day)] = ratio
    return pandas.DataFrame({"close": close, "adj_close": adjusted, "split": split})
