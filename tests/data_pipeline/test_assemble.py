"""Records: only what was known, complete weeks, and a reason for every week without one."""

from datetime import date

import pytest

from data_pipeline.providers.base import Filing
from data_pipeline.records.assemble import Company, ContextWeeks, forecast_weeks, records_of
from tests.support.market_frames import daily
from weekahead.task.record import Financials, News, Record, known_at, look_ahead

FIRST, LAST = date(2025, 11, 2), date(2026, 2, 28)
WEEKS = forecast_weeks(date(2026, 1, 1), date(2026, 2, 28))


def news(*moments):
    return [News(f"item {moment}", "", moment) for moment in moments]


def company(**change):
    facts = {
        "symbol": "ACME",
        "prices": daily(FIRST, LAST),
        "news": news("2026-01-07T12:00:00+00:00"),
    }
    return Company(**facts | change)


def test_forecast_weeks_lie_whole_in_the_window():
    assert (WEEKS[0], WEEKS[-1], len(WEEKS)) == (date(2026, 1, 4), date(2026, 2, 22), 8)
    assert forecast_weeks(date(2026, 1, 4), date(2026, 1, 10)) == [date(2026, 1, 4)]
    with pytest.raises(ValueError, match=r"no whole week .* lies in 2026-01-05 to 2026-01-16"):
        forecast_weeks(date(2026, 1, 5), date(2026, 1, 16))


def test_every_week_is_a_record_or_dropped_with_a_reason():
    prices = daily(FIRST, date(2026, 2, 18)).drop("2026-01-14")
    records, dropped = records_of(company(prices=prices), WEEKS)
    assert sorted(
        [record.week_start for record in records] + [row["week_start"] for row in dropped]
    ) == sorted(map(str, WEEKS))
    assert {row["week_start"]: row["reason"] for row in dropped} == {
        "2026-01-11": "forecast week: 1 of 5 sessions: no price on 2026-01-14",
        # The week after has no complete week before it; the one after that only itself to tell a
        # move from.
        "2026-01-18": "context: 1 of 5 sessions: no price on 2026-01-14 in the week of 2026-01-11",
        "2026-01-25": "context: 1 of 5 sessions: no price on 2026-01-14 in the week of 2026-01-11",
        "2026-02-15": "forecast week: 2 of 4 sessions: the prices end before 2026-02-19",
        "2026-02-22": "forecast week: 5 of 5 sessions: the prices end before 2026-02-23",
    }


def test_the_context_is_one_to_four_weeks_drawn_by_the_id():
    records, _ = records_of(company(), WEEKS)
    assert {len(record.weeks) for record in records} <= {1, 2, 3, 4}
    assert len({len(record.weeks) for record in records}) > 1
    assert records == records_of(company(), WEEKS)[0]
    assert {
        len(record.weeks) for record in records_of(company(), WEEKS, ContextWeeks(2, 2))[0]
    } == {2}
    for record in records:
        assert record.weeks[-1].end == record.week_start
        assert all(
            earlier.close_price == later.open_price
            for earlier, later in zip(record.weeks, record.weeks[1:], strict=False)
        )


def test_nothing_in_a_record_was_known_too_late():
    moments = [
        f"2026-01-{day:02d}T{hour:02d}:59:59+00:00" for day in range(1, 31) for hour in (4, 5, 23)
    ]
    quarters = [
        Financials("2025-12-31", f"2026-02-{day:02d}T05:00:00+00:00", {"eps": day})
        for day in range(1, 20, 3)
    ]
    records, _ = records_of(company(news=news(*moments), quarters=quarters), WEEKS)
    assert len(records) == 8
    assert all(look_ahead(record) == [] for record in records)
    assert all(known_at(record) <= record.decision_time for record in records)
    last = {
        record.week_start: max(item.known_at for w in record.weeks for item in w.news)
        for record in records[:3]
    }
    assert last["2026-01-11"] < "2026-01-11T05:00:00" and last["2026-01-18"] < "2026-01-18T05:00:00"


def test_look_ahead_names_a_fact_that_is_planted():
    record, *_ = records_of(company(), WEEKS)[0]
    planted = Record.from_json({**record.to_json(), "decision_time": "2026-01-02T05:00:00+00:00"})
    assert look_ahead(planted)[0].startswith(
        "week ending 2026-01-04 known at 2026-01-02T21:00:00+00:00"
    )


def test_european_weeks_are_decided_at_their_own_midnight():
    """And none of their facts is taken for known too late."""
    prices = daily(FIRST, LAST, exchange="XETR")
    records, _ = records_of(company(symbol="SAP.DE", prices=prices), WEEKS)
    assert records[1].decision_time == "2026-01-10T23:00:00+00:00"
    assert all(look_ahead(record) == [] for record in records)


def test_prices_are_in_the_shares_of_the_decision():
    """Ten for one on 2 February; downloaded closes are divided throughout."""
    split = [(date(2026, 2, 2), 10.0)]
    plain, _ = records_of(company(), WEEKS, ContextWeeks(2, 2))
    divided, _ = records_of(
        company(prices=daily(FIRST, LAST, splits=split)), WEEKS, ContextWeeks(2, 2)
    )
    by_week = {record.week_start: record for record in divided}
    for record in plain:
        later = by_week[record.week_start]
        factor = 10 if record.week_start <= "2026-02-01" else 1
        assert later.weeks[0].open_price == pytest.approx(record.weeks[0].open_price * factor)
        assert later.weeks[-1].close_price == pytest.approx(record.weeks[-1].close_price * factor)
        assert later.weekly_return == record.weekly_return


def test_market_capitalization_is_that_of_the_week():
    filings = [
        Filing(date(2025, 9, 30), date(2025, 11, 4), 1000e6),
        Filing(date(2025, 12, 31), date(2026, 2, 12), 2000e6),
    ]
    prices = daily(FIRST, LAST, splits=[(date(2026, 2, 2), 10.0)])
    records, _ = records_of(company(filings=filings, prices=prices), WEEKS)
    worth = {r.week_start: r.capitalization.value / r.weeks[-1].close_price for r in records}
    assert worth["2026-01-11"] == pytest.approx(1000e6)
    assert worth["2026-02-08"] == pytest.approx(
        10_000e6
    )  # the split has made ten of each share since the filing
    assert worth["2026-02-15"] == pytest.approx(2000e6)  # counted after the split
    assert len({record.capitalization.value for record in records}) == len(records)
    assert all(record.capitalization is None for record in records_of(company(), WEEKS)[0])


def test_a_capitalization_in_doubt_is_left_out():
    """After a spin-off the shares stay; after 5:4 nobody knows; thousands are no shares."""
    filed = [Filing(date(2025, 9, 30), date(2025, 11, 4), 1e9)]

    def worth(ratio=None, **change):
        splits = [(date(2026, 2, 2), ratio)] if ratio else []
        prices = daily(FIRST, LAST, splits=splits)
        records, _ = records_of(
            company(filings=filed, prices=prices)
            if not change
            else company(prices=prices, **change),
            WEEKS,
        )
        last = records[-1]
        return last.capitalization and last.capitalization.value / last.weeks[-1].close_price

    assert worth() == pytest.approx(1e9) == worth(1.253)
    assert worth(1.25) is None and worth(4.0) == pytest.approx(4e9)
    assert worth(filings=filed, no_capitalization="its source lists no splits") is None
    thousands = Filing(date(2025, 12, 31), date(2026, 1, 12), 1e6)
    assert worth(filings=[*filed, thousands]) is None


def test_a_record_survives_its_file():
    quarter = [Financials("2025-09-30", "2025-11-05T05:00:00+00:00", {"eps": 1.5})]
    filings = [Filing(date(2025, 9, 30), date(2025, 11, 4), 1000e6)]
    for record in records_of(
        company(quarters=quarter, filings=filings, extra={"synthetic": True}), WEEKS
    )[0]:
        assert Record.from_json(record.to_json()) == record
