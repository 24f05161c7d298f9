"""Index membership: the lists, the walk back through their changes, and lists that contradict
themselves.
"""

from datetime import date, timedelta

import pytest
import yaml

from data_pipeline.records.indices import SIZES, load, members_on
from weekahead.files import read_jsonl


def members(index, on):
    return members_on(load(index), on)


def days(first, last):
    return [first + timedelta(days=n) for n in range((last - first).days + 1)]


@pytest.mark.parametrize("name", SIZES)
def test_a_list_has_its_size_on_every_day_it_knows(name):
    index = load(name)
    least, most = SIZES[name]
    counts = {len(members_on(index, day)) for day in days(index.known_from, index.as_of)}
    assert least <= min(counts) and max(counts) <= most


@pytest.mark.parametrize("name", SIZES)
def test_changes_lead_from_the_first_members_to_the_list(name):
    index = load(name)
    present = set(members(name, index.known_from))
    for change in index.changes:
        assert present.issuperset(change.removed) and present.isdisjoint(change.added)
        present = present.difference(change.removed).union(change.added)
        assert tuple(sorted(present)) == members(name, change.date)
    assert tuple(sorted(present)) == members(name, index.as_of) == tuple(sorted(index.members))


@pytest.mark.parametrize("name", SIZES)
def test_every_change_has_a_source_and_is_on_a_weekday(name):
    index = load(name)
    for text in [index.source, *(change.source for change in index.changes)]:
        assert "https://" in text or "n100tickers" in text
    assert all(change.date.weekday() < 5 for change in index.changes)


@pytest.mark.parametrize(
    ("name", "before", "after", "left", "joined"),
    [
        ("dow30", date(2024, 2, 25), date(2024, 2, 26), {"WBA"}, {"AMZN"}),
        ("dow30", date(2024, 11, 7), date(2024, 11, 8), {"DOW", "INTC"}, {"NVDA", "SHW"}),
        ("dow30", date(2026, 6, 28), date(2026, 6, 29), {"VZ"}, {"GOOGL"}),
        ("nasdaq100", date(2023, 6, 19), date(2023, 6, 20), {"RIVN"}, {"ON"}),
        ("nasdaq100", date(2026, 1, 19), date(2026, 1, 20), {"AZN"}, {"WMT"}),
        ("nasdaq100", date(2026, 8, 3), date(2026, 8, 4), {"EA"}, set()),
        ("eurostoxx50", date(2025, 6, 22), date(2025, 6, 23), {"KER.PA"}, {"RHM.DE"}),
    ],
)
def test_a_change_holds_from_its_day_on(name, before, after, left, joined):
    old, new = set(members(name, before)), set(members(name, after))
    assert (old - new, new - old) == (left, joined)


def test_members_are_those_of_the_day_each_once():
    assert members("eurostoxx50", date(2025, 12, 1)).count("AD.AS") == 1
    index = load("nasdaq100")
    assert set(members("nasdaq100", date(2023, 1, 3))) != set(index.members)
    assert {"ATVI", "SGEN", "FISV"} <= set(members("nasdaq100", date(2023, 1, 3)))


def test_nasdaq100_is_known_for_the_first_half_of_2026():
    """With the weeks of context before it."""
    symbols = {
        symbol
        for day in days(date(2025, 12, 1), date(2026, 6, 30))
        for symbol in members("nasdaq100", day)
    }
    assert {"BIIB", "ALNY", "AZN", "WMT", "CHTR", "CRWV", "VSNT", "HONA"} <= symbols
    assert not {"SOLS", "SPCX"} & symbols


@pytest.mark.parametrize("day", [date(2020, 8, 30), date(2026, 7, 1)])
def test_a_day_outside_the_known_range_is_an_error(day):
    with pytest.raises(ValueError) as error:
        members("dow30", day)
    message = str(error.value)
    assert message.startswith(
        f"dow30 on {day}: members are known from 2020-08-31 to 2026-06-30 only; "
    )
    assert "index_lists/dow30.yaml" in message and "--symbols" in message


@pytest.mark.parametrize("name", ["sp500", "", "../dow30", "DOW30"])
def test_an_unknown_index_is_an_error_that_lists_the_names(name):
    with pytest.raises(ValueError) as error:
        members(name, date(2024, 1, 2))
    assert (
        str(error.value)
        == f"unknown index {name!r}; expected one of: crypto, dow30, eurostoxx50, nasdaq100"
    )


# --- lists that contradict themselves ------------------------------------------------------------

SYMBOLS = [f"S{n:02}" for n in range(30)]


def change(day, added, removed, **more):
    return {
        "date": day,
        "added": added,
        "removed": removed,
        "source": "a gazette, 2031-01-01",
        **more,
    }


def a_list(**fields):
    """A list in order: X01 made way for S00, and X02 for S01."""
    changes = [
        change(date(2031, 3, 3), ["S00"], ["X01"]),
        change(date(2031, 6, 2), ["S01"], ["X02"]),
    ]
    whole = {
        "name": "Thirty",
        "as_of": date(2031, 12, 31),
        "known_from": date(2031, 1, 1),
        "source": "a gazette",
        "members": SYMBOLS,
        "changes": changes,
    }
    return {**whole, **fields}


def loaded(folder, value):
    text = value if isinstance(value, str) else yaml.safe_dump(value)
    (folder / "dow30.yaml").write_text(text, encoding="utf-8")
    return load("dow30", folder)


def test_a_list_is_walked_back_one_change_after_the_other(tmp_path):
    index = loaded(tmp_path, a_list())
    assert (
        members_on(index, date(2031, 12, 31))
        == members_on(index, date(2031, 6, 2))
        == tuple(SYMBOLS)
    )
    assert set(members_on(index, date(2031, 6, 1))) == {*SYMBOLS[2:], "S00", "X02"}
    assert set(members_on(index, date(2031, 1, 1))) == {*SYMBOLS[2:], "X01", "X02"}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (
            a_list(members=[*SYMBOLS[:29], "S28"]),
            "members names S28 twice; expected every symbol once",
        ),
        (a_list(members=SYMBOLS[:29]), "29 members on 2031-12-31; expected 30"),
        (a_list(members=[*SYMBOLS[:29], True]), "members holds True; expected a ticker, in quotes"),
        (a_list(members="S00"), "members is 'S00'; expected a list"),
        (a_list(as_of="soon"), "as_of is 'soon'; expected a day"),
        (a_list(source=" "), "source is ' '; expected a text"),
        (
            {key: value for key, value in a_list().items() if key != "known_from"},
            "name, source; expected as_of",
        ),
        (a_list(known_form=1), "expected as_of, changes, known_from, members, name, source"),
        (
            a_list(changes=[change(date(2031, 3, 3), ["S00"], ["X01"], why="merger")]),
            "removed, source, why; expected",
        ),
        (
            a_list(changes=[change(date(2031, 3, 3), ["S00"], ["X01"], source="")]),
            "the change on 2031-03-03 is ''",
        ),
        (
            a_list(changes=a_list()["changes"][::-1]),
            "expected them in order, one per day, after known_from 2031-01-01",
        ),
        (
            a_list(changes=[change(date(2031, 1, 1), ["S00"], ["X01"])]),
            "changes on 2031-01-01; expected them",
        ),
        (
            a_list(changes=[change(date(2032, 1, 1), ["S00"], ["X01"])]),
            "and up to as_of 2031-12-31",
        ),
        (
            a_list(changes=[change(date(2031, 3, 3), ["X09"], ["X01"])]),
            "afterwards ['X09'] are not members",
        ),
        (
            a_list(changes=[change(date(2031, 3, 3), ["S00"], ["S05"])]),
            "are not members and ['S05'] are",
        ),
        (a_list(changes=[change(date(2031, 3, 3), [], [])]), "adds [] and removes []"),
        (
            a_list(changes=[change(date(2031, 3, 3), ["S00"], [])]),
            "29 members on 2031-01-01; expected 30",
        ),
        ("- a\n- b\n", "the list has ['a', 'b']; expected as_of"),
        ("", "the list has None; expected as_of"),
        ("name: [", "not YAML"),
    ],
)
def test_a_list_that_contradicts_itself_is_an_error(tmp_path, value, message):
    """The message names file and value."""
    with pytest.raises(ValueError) as error:
        loaded(tmp_path, value)
    assert str(error.value).startswith(str(tmp_path / "dow30.yaml")) and message in str(error.value)


def test_a_symbol_that_leaves_twice_is_an_error(tmp_path):
    """It was not a member the second time."""
    twice = [change(date(2031, 3, 3), ["S00"], ["X01"]), change(date(2031, 6, 2), ["S01"], ["X01"])]
    with pytest.raises(
        ValueError, match=r"the change on 2031-03-03 adds .* but afterwards .*\['X01'\] are"
    ):
        loaded(tmp_path, a_list(changes=twice))


def test_the_public_dow_rows_keep_a_symbol_that_had_left(shared_data):
    """Thirty symbols throughout: right until 2024-02-25, and with Walgreens for Amazon in the
    ten weeks after.
    """
    rows = [
        row
        for name in ("train", "test")
        for row in read_jsonl(shared_data / "dow30" / f"{name}.jsonl")
    ]
    symbols = {row["symbol"] for row in rows}
    assert (
        symbols
        == set(members("dow30", date(2023, 5, 14)))
        == set(members("dow30", date(2024, 2, 25)))
    )
    assert symbols - set(members("dow30", date(2024, 3, 3))) == {"WBA"}
