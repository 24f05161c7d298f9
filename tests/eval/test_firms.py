"""One firm is one firm, however its symbol is spelt."""

import pytest

from eval.metrics.firms import firm_key, firm_of, firms_of


@pytest.mark.parametrize(
    ("spellings", "key"),
    [
        (("BRK.B", "brk-b", "BRK/B", "BRK B", "BRK_B", "BRKB", "BRK\u2010B", "NYSE:BRK.B"), "BRKB"),
        (("AAPL.O", "AAPL UW Equity", "XNAS:AAPL", "AAPL:NASDAQ", "NASDAQ AAPL", "(AAPL)"), "AAPL"),
        (("#AAPL", "'AAPL'", "AAPL.", "AAPL.N"), "AAPL"),
        (("BATS.L",), "BATS.L"),
        (("CBOE.US", "CBOE"), "CBOE"),
        (("BTCUSDT", "BTC-USDT"), "BTCUSDT"),
        (("0700.HK", "700.HK"), "700.HK"),
        (("AAPL", " $aapl", "AAPL.US", "AAPL US Equity", "NASDAQ: AAPL", "AAPL.OQ"), "AAPL"),
        (("\uff21\uff21PL", "AA\u200bPL", "aa\u00adpl"), "AAPL"),
        (("BTC-USD", "BTC/USD", "BTCUSD"), "BTCUSD"),
        (("7203.T", "7203-T", "TYO:7203", "7203 JP", "7203 JP Equity", "7203:TYO"), "7203.T"),
        (("VOD.L", "LON:VOD", "LSE: VOD", "vod ln", "VOD LN Equity"), "VOD.L"),
        (("BT-A.L", "BT/A LN", "BTA.L"), "BTA.L"),
        (("NESN.SW", "NESN SE", "NESN VX", "SWX:NESN"), "NESN.SW"),
        (("VOLV-B.ST", "STO:VOLV-B", "VOLVB SS"), "VOLVB.ST"),
        (("BTC-EUR", "BTCEUR", "BTC/EUR"), "BTCEUR"),
        (("EURUSD=X", "EUR/USD"), "EURUSD"),
        (("NMS:AAPL", "AAPL Equity", "AAPL (US)"), "AAPL"),
        (("SAP.DE", "ETR:SAP", "SAP GY"), "SAP.DE"),
        (("0700.HK", "HKG:0700", "700 HK Equity"), "700.HK"),
        (("SW",), "SW"),
        (("VODL",), "VODL"),
        (("A",), "A"),
        (("US",), "US"),
    ],
)
def test_spellings_of_a_symbol(spellings, key):
    assert {firm_key(spelling) for spelling in spellings} == {key}


def test_a_row_without_a_symbol_is_a_firm_of_its_own():
    assert firms_of([{"symbol": "brk.b"}, {"symbol": 7203}]) == ["BRKB", "7203"]
    assert firms_of([{"symbol": "A"}, {"symbol": None}]) == ["A", "row 2"]
    assert firms_of([{}, {"symbol": " "}]) is None and firms_of([]) is None


@pytest.mark.parametrize("row_id", ["BRK-B-2024-01-07", "brk.b_20240107", "BRK.B/2024-01-07"])
def test_an_id_that_ends_with_a_date_begins_with_the_firm(row_id):
    assert firm_of({"id": row_id}) == "BRKB"
    assert firm_of({"id": f"{row_id}-copy"}) == firm_of({"id": 17}) == ""
    assert firm_of({"id": row_id, "symbol": "MSFT"}) == "MSFT"
