"""Names that become files stay in their folder."""

import pytest

from weekahead.names import check_name, check_symbol

OUT = ["", " ", ".", "..", "../x", "/etc/x", "a/b", "a\\b", "..\\x", "~", "~root", ".x", "a\0b",
       "a\nb", " a", "a ", "a.", "NUL", "con.txt", "x" * 300]  # fmt: skip


@pytest.mark.parametrize("name", OUT)
def test_a_name_that_could_leave_its_folder_is_refused(name):
    with pytest.raises(ValueError, match=r"RUN is .*expected a name such as llama-1"):
        check_name("RUN", name)


@pytest.mark.parametrize("name", ["llama-1", "my run", "it's", 'a"b', "größe", "v1.2", "a$b", "-x"])
def test_a_name_may_hold_spaces_quotes_and_letters(name):
    assert check_name("RUN", name) == name


@pytest.mark.parametrize("symbol", ["AAPL", "SAP.DE", "BTC-USD", "^GSPC", "CON.DE", "EURUSD=X"])
def test_a_symbol_is_a_name(symbol):
    assert check_symbol(symbol) == symbol


@pytest.mark.parametrize("symbol", ["../AAA", "BRK/B", "/x", "..", "~", "A\0"])
def test_a_symbol_that_is_a_path_is_refused(symbol):
    with pytest.raises(ValueError, match=r"symbol is .*expected a ticker such as"):
        check_symbol(symbol)
