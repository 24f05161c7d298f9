"""Company facts by the day they were known."""

from datetime import date

import pytest

from data_pipeline.providers.base import FundamentalsAnswer, Profile
from data_pipeline.providers.finnhub_rows import (
    read_figures,
    read_filings,
    read_fiscal_year_ends,
    read_profile,
)
from data_pipeline.records import fundamentals
from data_pipeline.records.fundamentals import introduce, latest, shares_known


def filing(ends, filed, form="10-Q", **concepts):
    report = {
        "bs": [
            {"concept": name, "unit": "shares", "label": name, "value": v}
            for name, v in concepts.items()
        ]
    }
    return {
        "accessNumber": f"{ends}-{form}",
        "symbol": "ACME",
        "form": form,
        "endDate": f"{ends} 00:00:00",
        "filedDate": f"{filed} 00:00:00",
        "acceptedDate": f"{filed} 16:30:33",
        "report": report,
    }


def metric(**series):
    return {
        "series": {
            "quarterly": {
                n: [{"period": p, "v": v} for p, v in points] for n, points in series.items()
            }
        }
    }


def quarters(answer, filings, **options):
    """The quarters of an answer of /stock/metric."""
    facts = FundamentalsAnswer(
        figures=read_figures(answer),
        fiscal_year_ends=read_fiscal_year_ends(answer),
        filings=filings,
    )
    return fundamentals.quarters(facts, **options)


EPS = [("2025-12-31", 3.0), ("2025-09-30", 2.0), ("2025-06-30", 1.0)]
FILED = read_filings(
    {"data": [filing("2025-09-30", "2025-11-04"), filing("2025-12-31", "2026-02-12", "10-K")]}
)


def test_a_quarter_is_known_from_the_end_of_its_day_of_filing():
    result = quarters(metric(eps=EPS), FILED)
    assert [(q.period_end, q.known_at) for q in result] == [
        ("2025-06-30", "2025-08-14T05:00:00+00:00"),  # no filing found: 45 days later
        ("2025-09-30", "2025-11-05T05:00:00+00:00"),
        ("2025-12-31", "2026-02-13T05:00:00+00:00"),
    ]


@pytest.mark.parametrize(
    ("decision", "period"),
    [
        ("2026-02-08T05:00:00+00:00", "2025-09-30"),  # the year has ended, its report is not out
        ("2026-02-12T23:00:00+00:00", "2025-09-30"),
        ("2026-02-15T05:00:00+00:00", "2025-12-31"),
        ("2025-08-17T04:00:00+00:00", "2025-06-30"),
    ],
)
def test_the_latest_quarter_is_the_latest_known(decision, period):
    assert latest(quarters(metric(eps=EPS), FILED), decision).period_end == period


@pytest.mark.parametrize(
    ("series", "decision"),
    [
        ({}, "2026-02-15T05:00:00+00:00"),
        ({"eps": EPS}, "2025-08-10T04:00:00+00:00"),  # every quarter lies in the future
        ({"eps": [("2020-06-30", 1.0)]}, "2026-02-15T05:00:00+00:00"),  # too old to say anything
        (
            {"eps": [("2025-06-30", float("nan")), ("2025-06-30", None)]},
            "2026-02-15T05:00:00+00:00",
        ),
    ],
)
def test_no_quarter_is_better_than_a_future_or_empty_one(series, decision):
    assert latest(quarters(metric(**series), []), decision) is None


def test_fiscal_years_and_companies_abroad_have_longer_terms():
    answer = metric(eps=EPS)
    answer["series"]["annual"] = {"eps": [{"period": "2025-12-31", "v": 6.0}]}
    at_home = {q.period_end: q.known_at[:10] for q in quarters(answer, [])}
    assert at_home == {
        "2025-06-30": "2025-08-14",
        "2025-09-30": "2025-11-14",
        "2025-12-31": "2026-03-31",
    }
    abroad = {q.period_end: q.known_at[:10] for q in quarters(answer, [], abroad=True)}
    assert abroad == {
        "2025-06-30": "2025-10-28",
        "2025-09-30": "2026-01-28",
        "2025-12-31": "2026-04-30",
    }
    assert [q.filed for q in quarters(answer, FILED)] == [False, True, True]


def test_answers_without_series_or_filings_are_empty():
    for answer in ({}, {"metric": {}}, {"series": None}, {"series": {"quarterly": None}}):
        assert quarters(answer, []) == []
    for answer in ({}, {"data": None}, {"data": [{"endDate": None}]}):
        assert read_filings(answer) == []


def test_the_first_filing_of_about_the_same_period_counts():
    """Providers may date a period some days apart, and an amendment is not the first filing."""
    filed = read_filings(
        {"data": [filing("2025-09-27", "2025-12-01", "10-Q/A"), filing("2025-09-27", "2025-10-31")]}
    )
    assert (
        quarters(metric(eps=[("2025-09-30", 2.0)]), filed)[0].known_at
        == "2025-11-01T05:00:00+00:00"
    )


def test_only_figures_of_the_same_quarter_stand_together():
    result = quarters(metric(eps=EPS, netMargin=[("2025-12-31", 0.25)]), FILED)
    assert [q.values for q in result] == [
        {"eps": 1.0},
        {"eps": 2.0},
        {"eps": 3.0, "netMargin": 0.25},
    ]


def test_shares_are_those_of_the_last_report_that_was_out():
    filed = read_filings(
        {
            "data": [
                filing(
                    "2025-09-30",
                    "2025-11-04",
                    **{
                        "dei_EntityCommonStockSharesOutstanding": 900e6,
                        "us-gaap_CommonStockSharesOutstanding": 950e6,
                    },
                ),
                filing(
                    "2025-12-31", "2026-02-12", **{"us-gaap_CommonStockSharesOutstanding": 1000e6}
                ),
            ]
        }
    )
    assert shares_known(filed, "2026-02-08T05:00:00+00:00").shares == 900e6
    assert shares_known(filed, "2026-02-15T05:00:00+00:00").shares == 1000e6
    assert shares_known(filed, "2025-11-02T05:00:00+00:00") is None
    assert shares_known(filed, "2027-02-15T05:00:00+00:00") is None  # too old to count on


COVER = "dei_EntityCommonStockSharesOutstanding"


@pytest.mark.parametrize(
    ("form", "concepts"),
    [
        ("20-F", {COVER: 4e9}),
        ("20-F/A", {COVER: 4e9}),
        ("10-Q", {COVER: 15_000.0}),
        ("10-Q", {COVER: 1e6, "us-gaap_CommonStockSharesOutstanding": 1e9}),
        ("10-Q", {COVER: 1e6, "us-gaap_WeightedAverageNumberOfSharesOutstandingBasic": 1e9}),
        ("10-Q", {COVER: 1e6, "us-gaap_NetIncomeLoss": 2e9, "us-gaap_EarningsPerShareBasic": 2.0}),
    ],
)
def test_shares_of_another_kind_or_unit_are_not_counted(form, concepts):
    """Ordinary shares beside the price of an ADS, and counts in thousands or millions."""
    report = filing("2025-09-30", "2025-11-04", form, **concepts)
    assert read_filings({"data": [report]})[0].shares is None


def test_shares_that_agree_with_their_report_are_counted():
    concepts = {COVER: 1e9, "us-gaap_NetIncomeLoss": 2e9, "us-gaap_EarningsPerShareBasic": 1.9}
    report = filing("2025-09-30", "2025-11-04", **concepts)
    assert read_filings({"data": [report]})[0].shares == 1e9


@pytest.mark.parametrize(
    ("ratios", "shares"),
    [
        ([], 1.0),
        ([4.0, 0.1], 0.4),
        ([1.5], 1.5),
        ([1 / 3], 1 / 3),
        ([1.253], 1.0),
        ([1.253, 2.0], 2.0),
        ([1.25], None),
        ([1.05], None),
        ([0.9], None),
    ],
)
def test_a_spin_off_makes_no_new_shares(ratios, shares):
    """A small simple ratio may be either: then it is not known."""
    assert fundamentals.new_shares(ratios) == (shares if shares is None else pytest.approx(shares))


def test_two_classes_of_shares_have_no_single_number():
    two = filing("2025-09-30", "2025-11-04")
    lines = [{"concept": "dei:EntityCommonStockSharesOutstanding", "value": v} for v in (5.0, 7.0)]
    two["report"] = {"bs": [*lines, None, "no line"]}
    assert read_filings({"data": [two]})[0].shares is None


def test_an_introduction_holds_name_and_industry_alone():
    """Nothing else that depends on the day of the download."""
    profile = {
        "name": "Acme Inc",
        "ticker": "ACME",
        "finnhubIndustry": "Machinery",
        "exchange": "NYSE",
        "ipo": "1990-05-01",
        "marketCapitalization": 12345.6,
        "shareOutstanding": 789.0,
    }
    assert introduce("ACME", read_profile(profile)) == "Acme Inc (ACME), Machinery."
    assert introduce("ACME", Profile("Acme Inc")) == "Acme Inc (ACME)."
    assert read_profile({}) is None and introduce("ACME", None) == "ACME."


def test_a_fiscal_year_ends_with_its_annual_figures():
    annual = {"eps": [{"period": "2025-12-31", "v": 6.0}, {"period": None}], "netMargin": None}
    assert read_fiscal_year_ends({"series": {"annual": annual}}) == {date(2025, 12, 31)}
