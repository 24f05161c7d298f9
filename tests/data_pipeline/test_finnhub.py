"""The Finnhub client against a Finnhub on loopback."""

import json
import logging
import time
from datetime import UTC, date, datetime, timedelta

import pytest

from data_pipeline.providers.api_client import NoAccess
from data_pipeline.providers.finnhub import older_than_free_plan
from data_pipeline.providers.finnhub_store import FinnhubStore
from tests.support.servers.finnhub import (
    BROKEN,
    DROPPED,
    FORBIDDEN,
    KEY,
    LIMITED,
    NEWS_CAP,
    TRUNCATED,
    Fault,
    FinnhubServer,
    news_item,
)

TODAY = date(2031, 2, 1)
PROFILE = {"country": "US", "name": "Larkmoor Inc", "ticker": "LKMR", "marketCapitalization": 1.5}
METRIC = {
    "metric": {"beta": 1.1},
    "series": {"quarterly": {"eps": [{"period": "2030-09-30", "v": 0.5}]}},
}
DAY, WEEK = (date(2031, 1, 5), date(2031, 1, 5)), (date(2031, 1, 5), date(2031, 1, 11))


def filing(number, form, filed):
    return {
        "accessNumber": number,
        "symbol": "LKMR",
        "form": form,
        "filedDate": f"{filed} 00:00:00",
        "report": {},
    }


FILINGS = [
    filing("3", "10-Q", "2030-11-01"),
    filing("1", "10-Q", "2030-05-01"),
    filing("2", "10-K", "2030-08-20"),
]


def news(per_day, first=date(2031, 1, 1), days=31):
    """`per_day` items on each day, spread over it, from its first second on."""
    return [
        news_item(
            day * 1000 + n,
            datetime(first.year, first.month, first.day, tzinfo=UTC)
            + timedelta(days=day, seconds=n * 86399 // per_day),
        )
        for day in range(days)
        for n in range(per_day)
    ]


@pytest.fixture
def server(monkeypatch):
    company = {"news": news(3), "profile": PROFILE, "metric": METRIC, "filings": FILINGS}
    with FinnhubServer({"LKMR": company}) as server:
        use(server, monkeypatch)
        yield server


def use(server, monkeypatch):
    for name in ("FINNHUB_BASE_URL", "FINNHUB_API_KEY", "NO_PROXY", "no_proxy"):
        monkeypatch.setenv(name, server.environment()[name])


def client(folder, **changes):
    quick = {"per_minute": 60_000, "per_second": 1_000, "backoff": 0.01, "today": lambda: TODAY}
    return FinnhubStore(folder, **{**quick, **changes})


def files(folder):
    return sorted(
        path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()
    )


def test_news_come_oldest_first_and_are_kept_as_they_came(server, tmp_path):
    answer = client(tmp_path).company_news("LKMR", *WEEK)
    assert len(answer.rows) == 21 and answer.capped_days == () and answer.note is None
    assert answer.rows[0] == news_item(4000, datetime(2031, 1, 5, tzinfo=UTC))
    assert [row["id"] for row in answer.rows] == sorted(row["id"] for row in answer.rows)
    assert files(tmp_path) == ["company-news/LKMR/2031-01-05_2031-01-11.json"]
    stored = (tmp_path / files(tmp_path)[0]).read_bytes()
    assert (
        stored == json.dumps(server.answer(server.seen[0].endpoint, server.seen[0].params)).encode()
    )


def test_a_stored_answer_needs_no_call_no_key_and_no_network(server, tmp_path, monkeypatch):
    first = client(tmp_path)
    asked = (
        first.company_news("LKMR", *WEEK),
        first.profile("LKMR"),
        first.metric("LKMR"),
        first.filings("LKMR"),
    )
    assert first.calls == server.calls
    before = len(server.seen)
    monkeypatch.delenv("FINNHUB_API_KEY")
    monkeypatch.setenv("FINNHUB_BASE_URL", "http://127.0.0.1:9/closed")
    again = client(tmp_path)
    assert (
        again.company_news("LKMR", *WEEK),
        again.profile("LKMR"),
        again.metric("LKMR"),
        again.filings("LKMR"),
    ) == asked
    assert len(server.seen) == before and not again.calls


def test_an_interrupted_fetch_goes_on_where_it_stopped(server, tmp_path):
    windows = [(date(2031, 1, 5 + n), date(2031, 1, 5 + n)) for n in range(6)]
    server.fail("company-news", Fault(body=b""), times=2)  # the first window fails for good
    with pytest.raises(ValueError):
        client(tmp_path).company_news("LKMR", *windows[0])
    first = client(tmp_path)
    for window in windows[:3]:
        first.company_news("LKMR", *window)
    second = client(tmp_path)
    assert [len(second.company_news("LKMR", *window).rows) for window in windows] == [3] * 6
    assert (first.calls["company-news"], second.calls["company-news"]) == (3, 3)


def test_the_key_goes_into_the_header_alone(server, tmp_path, caplog):
    caplog.set_level(logging.DEBUG)
    server.fail("company-news", LIMITED)
    client(tmp_path).company_news("LKMR", *WEEK)
    assert all(KEY not in seen.path and seen.status in (200, 429) for seen in server.seen)
    assert "company-news" in caplog.text and KEY not in caplog.text
    assert not any(KEY.encode() in path.read_bytes() for path in tmp_path.rglob("*.json"))


def test_a_window_over_the_cap_is_halved_until_it_is_whole(monkeypatch, tmp_path):
    items = news(100)
    with FinnhubServer({"LKMR": {"news": items}}) as server:
        use(server, monkeypatch)
        answer = client(tmp_path).company_news("LKMR", date(2031, 1, 1), date(2031, 1, 31))
    assert [row["id"] for row in answer.rows] == [item["id"] for item in items]
    assert len(items) == 3100 > NEWS_CAP
    assert answer.capped_days == ()
    assert (
        server.calls["company-news"] == len(files(tmp_path)) == 31
    )  # 15 windows over the cap, 16 of a day or two


def test_a_capped_day_is_named_and_the_other_days_are_whole(monkeypatch, tmp_path):
    items = news(20, days=7, first=WEEK[0]) + news(400, days=1, first=date(2031, 1, 8))
    items = [{**item, "id": number} for number, item in enumerate(items)]
    with FinnhubServer({"LKMR": {"news": items}}) as server:
        use(server, monkeypatch)
        answer = client(tmp_path).company_news("LKMR", *WEEK)
        repeated = client(tmp_path).company_news("LKMR", *WEEK)
    assert answer.capped_days == (date(2031, 1, 8),)
    days = [datetime.fromtimestamp(row["datetime"], UTC).date() for row in answer.rows]
    assert days.count(date(2031, 1, 8)) == NEWS_CAP and len(days) == 6 * 20 + NEWS_CAP
    assert repeated == answer and server.calls["company-news"] == len(files(tmp_path))


@pytest.mark.parametrize(("count", "calls"), [(239, 1), (240, 3)])
def test_an_answer_close_to_the_cap_is_not_trusted(monkeypatch, tmp_path, count, calls):
    items = news(120, days=2, first=WEEK[0])[:count]
    with FinnhubServer({"LKMR": {"news": items}}) as server:
        use(server, monkeypatch)
        answer = client(tmp_path).company_news("LKMR", WEEK[0], WEEK[0] + timedelta(days=1))
    assert (
        len(answer.rows) == count
        and server.calls["company-news"] == calls
        and answer.capped_days == ()
    )


def test_a_day_that_is_not_over_is_never_stored_as_complete(server, tmp_path):
    answer = client(tmp_path, today=lambda: date(2031, 1, 9)).company_news("LKMR", *WEEK)
    assert answer.note == "news up to 2031-01-08 alone: a day is fetched when it is over (UTC)"
    assert len(answer.rows) == 4 * 3
    assert files(tmp_path) == ["company-news/LKMR/2031-01-05_2031-01-08.json"]
    later = client(tmp_path).company_news("LKMR", *WEEK)
    assert len(later.rows) == 21 and later.note is None


def test_a_window_that_is_all_to_come_makes_no_call(server, tmp_path):
    answer = client(tmp_path, today=lambda: WEEK[0]).company_news("LKMR", *WEEK)
    assert answer.rows == [] and "up to 2031-01-04" in answer.note
    assert not server.seen and files(tmp_path) == []


def test_an_unknown_symbol_has_no_profile_and_empty_answers(server, tmp_path):
    finnhub = client(tmp_path)
    assert finnhub.profile("NONE") is None and finnhub.company_news("NONE", *WEEK).rows == []
    assert finnhub.filings("NONE") == {"symbol": "NONE", "data": []}
    calls = dict(finnhub.calls)
    assert finnhub.profile("NONE") is None and dict(finnhub.calls) == calls


def test_a_snapshot_is_reused_until_a_window_ends_after_it(server, tmp_path):
    assert client(tmp_path).profile("LKMR") == PROFILE
    server.companies["LKMR"]["profile"] = {**PROFILE, "marketCapitalization": 2.5}
    later = client(tmp_path, today=lambda: date(2031, 3, 1))
    assert later.profile("LKMR") == PROFILE
    assert later.profile("LKMR", after=date(2031, 1, 31)) == PROFILE
    assert later.profile("LKMR", after=date(2031, 2, 1))["marketCapitalization"] == 2.5
    # No later day is over.
    assert later.profile("LKMR", after=date(2031, 6, 30))["marketCapitalization"] == 2.5
    assert files(tmp_path) == ["profile/LKMR/2031-02-01.json", "profile/LKMR/2031-03-01.json"]
    assert server.calls["stock/profile2"] == 2 and later.calls["stock/profile2"] == 1


def test_filings_hold_annual_reports_too_by_the_day_of_filing(server, tmp_path):
    content = client(tmp_path).filings("LKMR")
    assert [(f["accessNumber"], f["form"]) for f in content["data"]] == [
        ("1", "10-Q"),
        ("2", "10-K"),
        ("3", "10-Q"),
    ]
    assert [seen.params["freq"] for seen in server.seen] == ["quarterly", "annual"]
    assert client(tmp_path).metric("LKMR") == METRIC


def test_a_refused_key_names_its_variable_and_not_its_value(server, tmp_path, monkeypatch):
    monkeypatch.setenv("FINNHUB_API_KEY", "wrong0key")
    with pytest.raises(
        PermissionError, match=r"refused FINNHUB_API_KEY \(401, 'Invalid API key'\)"
    ) as error:
        client(tmp_path).profile("LKMR")
    assert not isinstance(error.value, NoAccess) and "wrong0key" not in str(error.value)
    assert len(server.seen) == 1 and files(tmp_path) == []


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (None, "is not set"),
        ("  ", "is not set"),
        ("abc\ndef", "no key has"),
        ("abcä", "no key has"),
    ],
)
def test_a_key_that_cannot_be_one_is_an_error_without_a_call(
    server, tmp_path, monkeypatch, key, words
):
    monkeypatch.delenv("FINNHUB_API_KEY") if key is None else monkeypatch.setenv(
        "FINNHUB_API_KEY", key
    )
    with pytest.raises(PermissionError, match=f"FINNHUB_API_KEY .*{words}") as error:
        client(tmp_path).metric("LKMR")
    assert "abc" not in str(error.value) and not server.seen


def test_a_symbol_outside_the_plan_is_the_callers_to_decide(server, tmp_path):
    server.fail("stock/metric", FORBIDDEN, symbol="LKMR")
    with pytest.raises(
        NoAccess, match=r"stock/metric of LKMR: 403, \"You don't have access to this resource.\""
    ):
        client(tmp_path).metric("LKMR")
    assert client(tmp_path).metric("OTHR")["series"] == {}


def test_a_key_that_the_provider_repeats_is_not_shown(server, tmp_path):
    server.fail("stock/metric", Fault(403, body=json.dumps({"error": f"{KEY} may not"}).encode()))
    with pytest.raises(NoAccess, match=r"'\.\.\. may not'"):
        client(tmp_path).metric("LKMR")


def test_retry_after_is_waited_for(server, tmp_path):
    server.fail("company-news", Fault(429, headers={"Retry-After": "1"}))
    finnhub = client(tmp_path)
    assert len(finnhub.company_news("LKMR", *WEEK).rows) == 21
    refused, answered = server.seen
    assert 1.0 <= answered.at - refused.at < 3
    assert finnhub.calls["company-news"] == 2


def test_without_retry_after_the_waits_grow(server, tmp_path):
    server.fail("company-news", LIMITED, times=4)
    finnhub = client(tmp_path, backoff=0.1)
    assert len(finnhub.company_news("LKMR", *WEEK).rows) == 21
    waits = [
        later.at - earlier.at for earlier, later in zip(server.seen, server.seen[1:], strict=False)
    ]
    # At once, then 0.2, 0.4 and 0.8 s with up to 0.1 s of jitter.
    for wait, least in zip(waits, (0, 0.2, 0.4, 0.8), strict=True):
        assert least <= wait < least + 0.6
    assert finnhub.calls["company-news"] == 5


def test_a_quota_that_stays_used_up_is_an_error_with_a_remedy(server, tmp_path):
    server.fail("company-news", LIMITED, times=20)
    finnhub = client(tmp_path)
    with pytest.raises(
        ConnectionError, match=r"quota of calls is used up \(429 after 6 retries.*wait a minute"
    ):
        finnhub.company_news("LKMR", *WEEK)
    assert finnhub.calls["company-news"] == len(server.seen) == 7 and files(tmp_path) == []


def test_a_server_error_is_tried_again_and_reported_if_it_stays(server, tmp_path):
    server.fail("stock/profile2", BROKEN, times=2)
    assert client(tmp_path).profile("LKMR") == PROFILE
    server.fail("stock/metric", Fault(503), times=20)
    with pytest.raises(
        ConnectionError, match=r"stock/metric of LKMR: status 503, 'Internal server error'"
    ):
        client(tmp_path).metric("LKMR")


@pytest.mark.parametrize(
    "fault", [TRUNCATED, DROPPED, Fault(body=b""), Fault(body=b'{"error":"busy"}')]
)
def test_a_body_that_is_no_answer_is_asked_for_once_more(server, tmp_path, fault):
    """And it is never stored."""
    server.fail("company-news", fault)
    assert len(client(tmp_path).company_news("LKMR", *WEEK).rows) == 21
    server.fail("company-news", fault, times=2)
    with pytest.raises(ValueError, match="company-news of LKMR: expected a JSON list, twice got"):
        client(tmp_path).company_news("LKMR", *DAY)
    assert server.calls["company-news"] == 4
    assert files(tmp_path) == ["company-news/LKMR/2031-01-05_2031-01-11.json"]


def test_a_slow_body_and_a_closed_port_end_in_one_plain_error(server, tmp_path, monkeypatch):
    server.fail("stock/profile2", Fault(delay=1.0), times=5)
    with pytest.raises(
        ConnectionError, match=r"stock/profile2 of LKMR: no answer from http://127\.0\.0\.1"
    ) as error:
        client(tmp_path, timeout=(1.0, 0.1)).profile("LKMR")
    assert KEY not in str(error.value) and error.value.__suppress_context__
    monkeypatch.setenv("FINNHUB_BASE_URL", "http://127.0.0.1:9/api")
    with pytest.raises(ConnectionError, match="check the network"):
        client(tmp_path).profile("LKMR")
    assert files(tmp_path) == []


def test_a_redirect_is_not_followed_with_the_key(server, tmp_path):
    server.fail(
        "stock/profile2",
        Fault(302, headers={"Location": f"{server.url}/stock/metric?symbol=LKMR&metric=all"}),
    )
    with pytest.raises(ConnectionError, match="status 302"):
        client(tmp_path).profile("LKMR")
    assert len(server.seen) == 1


def test_calls_are_paced(server, tmp_path):
    finnhub = client(tmp_path, per_second=5, per_minute=300)
    for n in range(8):
        finnhub.profile(f"S{n}")
    times = [seen.at for seen in server.seen]
    assert times[5] - times[0] > 0.95 and times[7] - times[0] < 1.9


@pytest.mark.parametrize(
    ("per_minute", "per_second"), [(55, 25), (20, 25), (25, 25), (300, 25), (3000, 25)]
)
def test_any_plan_has_a_pace(server, tmp_path, per_minute, per_second):
    assert client(tmp_path, per_minute=per_minute, per_second=per_second).profile("LKMR") == PROFILE


def test_a_pace_of_nothing_is_an_error(tmp_path):
    with pytest.raises(
        ValueError, match="0 calls per minute, 25 per second; expected numbers above 0"
    ):
        client(tmp_path, per_minute=0, per_second=25)


def test_calls_that_need_no_pacing_are_quick(server, tmp_path):
    finnhub, start = client(tmp_path), time.monotonic()
    for n in range(200):
        finnhub.profile(f"S{n}")
    assert time.monotonic() - start < 10


def test_a_damaged_file_and_a_symbol_that_is_a_path_are_named(server, tmp_path):
    finnhub = client(tmp_path)
    finnhub.company_news("LKMR", *DAY)
    path = tmp_path / files(tmp_path)[0]
    for damage in (path.read_bytes()[:-9], b'[{"headline": "x"}]'):
        path.write_bytes(damage)
        with pytest.raises(ValueError, match=f"{path.name}.*remove this file"):
            finnhub.company_news("LKMR", *DAY)
    for symbol in ("", "../LKMR", ".hidden"):
        with pytest.raises(ValueError, match=r"symbol is .*expected a ticker"):
            finnhub.profile(symbol)
    with pytest.raises(ValueError, match="first day that is not after the last"):
        finnhub.company_news("LKMR", *reversed(WEEK))


def test_the_year_of_the_free_plan_is_told():
    today = date(2026, 11, 24)
    assert older_than_free_plan(date(2025, 11, 24), today, today=today) is None
    text = older_than_free_plan(date(2025, 10, 5), date(2026, 6, 30), today=today)
    assert text.startswith("news from 2025-10-05 to 2025-11-23 is older than one year")
    text = older_than_free_plan(date(2023, 5, 1), date(2024, 5, 5), today=today)
    assert "from 2023-05-01 to 2024-05-05" in text


def test_real_answers_are_read(shared_data, tmp_path, monkeypatch):
    recorded = {
        name: json.loads((shared_data / "finnhub_responses" / f"{name}-AAPL.json").read_bytes())
        for name in ("company-news", "profile", "metric")
    }
    company = {
        "news": recorded["company-news"],
        "profile": recorded["profile"],
        "metric": recorded["metric"],
    }
    days = [
        datetime.fromtimestamp(item["datetime"], UTC).date() for item in recorded["company-news"]
    ]
    with FinnhubServer({"AAPL": company}) as server:
        use(server, monkeypatch)
        finnhub = client(tmp_path, today=lambda: max(days) + timedelta(days=1))
        answer = finnhub.company_news("AAPL", min(days), max(days))
        assert {row["id"] for row in answer.rows} == {
            item["id"] for item in recorded["company-news"]
        }
        assert finnhub.profile("AAPL")["name"] == "Apple Inc"
        assert len(finnhub.metric("AAPL")["series"]["quarterly"]) == 40
