"""The page of a journal: what stands on it is what stands in the ledger, and nothing is fetched."""

import re
from html.parser import HTMLParser

import pytest

from forecast.journal.__main__ import main
from forecast.journal.ledger import LEDGER, read_ledger
from forecast.journal.page import build_page, write_page
from forecast.journal.rules import doubt_of
from tests.support import journals
from weekahead.files import read_text


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """(ledger, text of its page, folder): eight weeks, the last one not settled."""
    folder = tmp_path_factory.mktemp("journal")
    lines = journals.facts(weeks=8)
    for line in lines:
        if line["kind"] == "forecast" and (line["symbol"], line["forecaster"]) == (
            "BBB",
            "adapter",
        ):
            line |= {"direction": -1, "prediction": "down by 1-2%"}
    ledger = journals.write(folder, lines)
    assert main(["page", "--journal", str(folder)]) == 0
    return ledger, read_text(folder / "page/index.html"), folder


class _Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.wrong, self.links = [], [], []

    def handle_starttag(self, tag, attrs):
        self.links += [value for name, value in attrs if name in ("href", "src", "action")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        """Closed at once, as the shapes of a figure are."""

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)


def test_the_page_is_whole_and_fetches_nothing(written):
    _, text, folder = written
    tags = _Tags()
    tags.feed(text)
    assert not tags.wrong and not tags.open
    assert tags.links == ["ledger.jsonl"]
    assert "<script" not in text and "http://" not in text and "https://" not in text
    assert (folder / "page" / LEDGER).read_bytes() == (folder / LEDGER).read_bytes()


def test_the_page_shows_head_week_and_record(written):
    ledger, text, _ = written
    assert ledger.head in text and f"make journal-verify HEAD={ledger.head}" in text
    assert "Forecasts for the week of 2031-02-23" in text
    assert "A rehearsal." in text
    page = build_page(ledger)
    assert [company.symbol for company in page.companies] == ["AAA", "BBB", "CCC"]
    first = page.companies[1].cells[0]
    assert (first.word, first.outcome) == ("down", "") and "P(up) 0.80" in first.detail
    assert len(page.record) == 8 and page.record[0].rose == ""
    assert page.record[1].rose == "3/3" and page.record[1].hits == ("2/3", "3/3")


def test_only_learned_forecasters_are_drawn(written):
    page = build_page(written[0])
    (curve,) = page.curves
    assert curve.forecaster == "adapter" and len(curve.points.split()) == 8
    assert [height > 0 for height, _ in page.levels] == [True, True]
    assert [(one.forecaster, one.n) for one in page.calibrations] == [
        ("adapter", 21),
        ("always_up", 21),
    ]


def test_a_settled_week_says_what_came_true(tmp_path):
    lines = [journals.start(), *journals_week(), journals.outcome("AAA", 0, 0.02)]
    page = build_page(journals.write(tmp_path, lines))
    (company,) = page.companies
    assert company.happened == "+2.0 %" and company.cells[0].outcome == "right"
    assert "right" in company.cells[0].detail


def journals_week():
    forecasts = [journals.forecast("AAA", 0, name) for name in journals.PANEL]
    return [*forecasts, journals.week_end(0, 2, left_out={"<b>X": "no <i>price"})]


def test_what_the_ledger_says_is_escaped(tmp_path):
    journals.write(tmp_path, [journals.start(), *journals_week()])
    assert main(["page", "--journal", str(tmp_path)]) == 0
    text = read_text(tmp_path / "page/index.html")
    assert "<bdi>&lt;b&gt;X</bdi> is left out: <bdi>no &lt;i&gt;price</bdi>." in text
    assert "<i>" not in text


def test_no_control_character_comes_from_the_ledger_onto_the_page(tmp_path):
    """Nor does text that runs from right to left turn what stands beside it."""
    name = "a\x00\x1b[31m\u202eb"
    end = journals.week_end(0, 1, left_out={name: "gone\x1b"})
    journals.write(tmp_path, [journals.start((name,)), journals.forecast("AAA", 0, name), end])
    text = read_text(write_page(read_ledger(tmp_path), tmp_path))
    assert "a\ufffd\ufffd[31m\ufffdb" in text and "<bdi>gone\ufffd</bdi>" in text
    assert not any(character in text for character in "\x00\x1b\u202e")


def test_a_journal_without_forecasts_has_a_page(tmp_path):
    ledger = journals.write(tmp_path, [journals.start()])
    assert "Nothing was forecast yet" in read_text(write_page(ledger, tmp_path))


def test_both_colour_schemes_are_styled(written):
    assert re.search(r"prefers-color-scheme: dark", written[1])
    assert 'name="viewport"' in written[1]


def test_a_return_in_doubt_is_not_what_happened(tmp_path):
    doubt = {"sources": {"Yahoo": 0.012, "price files": -0.03}, "label": None}
    said = doubt_of(doubt["sources"])
    last = journals.outcome("AAA", 2, 0.012, **doubt, doubt=said)
    write_page(journals.write(tmp_path, [*journals.facts(), last]), tmp_path)
    text = read_text(tmp_path / "page/index.html")
    assert "in doubt: sources differ" in text and "+1.2" not in text


def test_the_figure_draws_the_weeks_that_are_bet_on(tmp_path):
    """A week that waits for a return is in neither, so that figure and e-value agree."""
    lines = journals.facts(weeks=8)
    for line in lines:
        if line["kind"] == "forecast" and line["symbol"] == "BBB":
            line |= {"direction": -1, "prediction": "down by 1-2%", "probabilities": None}
    awaited = [
        line for line in lines if line.get("id") != "CCC-2031-02-09" or line["kind"] != "return"
    ]
    page = build_page(journals.write(tmp_path, awaited))
    assert page.scores["forecasters"][0]["awaited"] == 4
    assert page.scores["forecasters"][0]["anytime"]["weeks"] == page.weeks_drawn == 6
