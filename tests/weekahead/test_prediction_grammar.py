"""The reader of prediction lines against sentences of a writer who does not know its tables."""

from collections import Counter

import pytest

from tests.support.hostile_predictions import HOSTILE
from tests.support.linear import linear_work
from tests.support.prediction_sentences import Sentence, sentences
from weekahead.task.prediction_line import read_prediction
from weekahead.task.prediction_reading import ASKS, UNKNOWN_WORDS, Reading, kind_of_failure
from weekahead.task.prediction_words import VOCABULARY

NAMES = {1: "up", -1: "down", 0: "flat"}


def fault(sentence: Sentence, reading: Reading) -> str | None:
    """What is wrong with a reading; None if it is right or a stated failure."""
    if reading.direction in (1, -1) and reading.direction != sentence.direction:
        return "wrong direction"
    if reading.magnitude and abs(reading.magnitude) != pytest.approx(sentence.size):
        return "foreign size"
    if (reading.direction is None) != (reading.reason is not None):
        return "no reason"
    return None


@pytest.mark.parametrize("seed", [1])
def test_20_000_sentences_have_no_wrong_reading(seed):
    """Of calls among distractors none is read wrongly; of the plain ones 97 % are read."""
    faults: list[tuple[str, str, Reading]] = []
    read: Counter[str] = Counter()
    sized: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for kind, sentence in sentences(20_000, seed):
        reading = read_prediction(sentence.text)
        if problem := fault(sentence, reading):
            faults.append((problem, sentence.text, reading))
        total[kind] += 1
        read[kind] += reading.direction is not None
        sized[kind] += (reading.magnitude is None) == (sentence.size is None)
    assert faults == []
    assert read["plain"] >= 0.97 * total["plain"] and sized["plain"] >= 0.97 * total["plain"]
    for kind in ("odds", "figures", "front", "particle", "past"):
        assert read[kind] >= 0.9 * total[kind], kind
    assert read["undecided"] == read["negated"] == 0


def test_the_sentences_hold_words_that_the_reader_does_not_know():
    """Otherwise the proof would be circular."""
    words = {
        word.strip(".,:;()").lower() for _, s in sentences(5_000, 2) for word in s.text.split()
    }
    unknown = {word for word in words if word.isalpha() and word not in VOCABULARY}
    assert len(unknown) > 100


@pytest.mark.parametrize(("text", "readings"), HOSTILE)
def test_a_tempting_line_is_read_right_or_not_at_all(text, readings):
    reading = read_prediction(text)
    if reading.direction is None:
        assert reading.reason
        return
    size = None if reading.magnitude is None else abs(reading.magnitude)
    got = (NAMES[reading.direction], None if reading.direction == 0 else size)
    assert got in [_stated(words) for words in readings.split(" or ")], reading


def _stated(words):
    name, *size = words.split()
    return name, float(size[0]) if size else None


def test_most_tempting_lines_with_one_reading_are_read():
    certain = [text for text, readings in HOSTILE if "nothing" not in readings]
    read = [text for text in certain if read_prediction(text).direction is not None]
    assert len(read) >= 0.97 * len(certain)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Wobble by 1-2%", f"{UNKNOWN_WORDS}: wobble by"),
        ("The stock is expected to zigzag", f"{UNKNOWN_WORDS}: zigzag"),
        ("Ramp up by 1-2%", f"{UNKNOWN_WORDS}: ramp up"),
        ("Will the stock rise by 2%?", ASKS),
    ],
)
def test_a_failure_names_the_words(text, reason):
    reading = read_prediction(text)
    assert (reading.direction, reading.reason) == (None, reason)
    assert kind_of_failure(reason) in (UNKNOWN_WORDS, ASKS)


def test_a_reason_is_short_whatever_the_words():
    reading = read_prediction("x" * 5_000 + " " + "y" * 5_000)
    assert len(reading.reason) < 100


@pytest.mark.parametrize(
    "piece",
    [
        "up ",
        "1-",
        "1 or ",
        "1, ",
        "a/",
        "x's ",
        "of ",
        "of the ",
        "the ",
        "<b>",
        "&amp;",
        "\u00bd ",
        "(",
        ")",
        "to ",
        "between ",
        "and a half ",
        "-",
        "~",
        "+/-",
        "more than ",
        "not ",
        "A ",
        "AB ",
        "rise should ",
        "\n",
        "\r\n",
        " ",
        "'",
        ".",
        "1.",
        "%",
        "$1",
        "\\text{",
        "one-",
        "\u0661",
    ],
)
def test_time_is_linear_in_hostile_lines(piece):
    with linear_work():
        read_prediction(piece * (100_000 // len(piece)))


@pytest.mark.parametrize(
    ("text", "direction", "size"),
    [
        ("Up 120 bps", 1, 1.2),
        ("Down by more than 25 basis points", -1, 0.75),
        ("Up by 1% to 200 bps", 1, None),
        ("Gross margin up 120 bps, shares down 1-2%", None, None),
        ("Up 120 bps in gross margin", None, None),
        ("Down by 0,5 to 1,5 %", -1, 1.0),
        ("Up by 1, 5%", 1, None),
        ("Up by 2,500%", 1, None),
        ("Up by 2'5%", 1, None),
        ("In 2024, 2% up", 1, 2.0),
        ("We see downside of 1-2% next week.", -1, 1.5),
        ("Upside of 3% to the target", None, None),
        ("2% downside, upside of 5%", None, None),
        ("If orders hold, upside of 2%", None, None),
        ("↓ 2-3%", -1, 2.5),
        ("Up by 2-3% ↓", None, None),
        ("Revenue ↑ 12%. Shares ↓ 2%", -1, 2.0),
        ("It will shed risk and lose 3% of its value", None, None),
        ("It will lose 3% of its value", -1, 3.0),
        ("Up by 3% of revenue", None, None),
        ("Up 2% less than the index", 1, None),
        ('"Down by 4%," says a broker', None, None),
        ("Down by 2-3% (corrected: up by 2-3%)", None, None),
        ("It is expected that Nike falls by 2%", -1, 2.0),
        ("Share price growth of 2-3%", 1, 2.5),
        ("more than 4+% down", -1, 4.5),
    ],
)
def test_units_arrows_and_shares(text, direction, size):
    """Read if the meaning is certain, else not: never a wrong direction or a foreign size."""
    reading = read_prediction(text)
    magnitude = None if size is None else pytest.approx(direction * size)
    assert (reading.direction, reading.magnitude) == (direction, magnitude)
