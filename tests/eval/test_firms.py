"""One firm is one firm, however its symbol is spelt."""

import pytest

from eval.metrics.firms import firm_key, firms_of


@pytest.mark.parametrize(
    ("spellings", "key"),
    [
        (("BRK.B", "brk-b", "BRK/B", "BRK B", "BRK_B", "BRKB", "BRK\u2010B", "NYSE:BRK.B"), "BRKB"),
        (("AAPL", " $aapl", "AAPL.US", "AAPL US Equity", "NASDAQ: AAPL", "AAPL.OQ"), "AAPL"),
        (("\uff21\uff21PL", "AA\u200bPL", "aa\u00adpl"), "AAPL"),
        (("BTC-USD", "BTC/USD", "BTCUSD"), "BTCUSD"),
        (("7203.T", "7203-T"), "7203.T"),
        (("VOD.L",), "VOD.L"),
        (("VODL",), "VODL"),
        (("A",), "A"),
        (("US",), "US"),
    ],
)
def test_spellings_of_a_symbol(spellings, key):
    assert {firm_key(spelling) for spelling in spellings} == {key}


def test_firms_of_rows_are_all_or_none():
    assert firms_of([{"symbol": "brk.b"}, {"symbol": 7203}]) == ["BRKB", "7203"]
    assert firms_of([{"symbol": "A"}, {"symbol": None}]) is None
    assert firms_of([]) is None
