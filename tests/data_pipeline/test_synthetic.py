"""The fictional market: what it promises about its signal, and that nothing leaks."""

from collections import Counter, defaultdict
from itertools import pairwise

import pytest

from data_pipeline.synthetic.analyst import answer
from data_pipeline.synthetic.events import UNSEEN
from data_pipeline.synthetic.market import rule_accuracy, story_row, write_market
from data_pipeline.synthetic.world import PARTS, Market, best_reachable
from weekahead.files import read_jsonl
from weekahead.task.answer import parse_answer
from weekahead.task.labels import direction_of, label_of_magnitude
from weekahead.task.record import look_ahead


def stories_by_part():
    parts = defaultdict(list)
    for story in Market().stories:
        parts[story.part].append(story)
    return parts


def test_the_seed_decides_the_bytes(tmp_path):
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        write_market(Market(seed=seed), tmp_path / name, "m")
    rows = {name: (tmp_path / name / "datasets/m/train.jsonl").read_bytes() for name in "abc"}
    assert rows["a"] == rows["b"] != rows["c"]


def test_test_weeks_are_later_and_their_firms_new():
    parts = stories_by_part()
    weeks = {}
    for name, stories in parts.items():
        weeks[name] = sorted({story.record.week_start for story in stories})
    for before, after in pairwise(PARTS):
        assert weeks[before.name][-1] < weeks[after.name][0]
    firms = {name: {story.record.symbol for story in stories} for name, stories in parts.items()}
    assert not (firms["train"] | firms["validation"]) & (firms["test"] | firms["test_unseen"])
    assert len(parts["test"]) >= 64 and len(weeks["test"]) >= 16


def test_unseen_wordings_stand_in_no_other_part():
    starts = [event.text.split("{")[0] for event in UNSEEN if not event.text.startswith("{")]
    texts = {}
    for name, stories in stories_by_part().items():
        texts[name] = " ".join(str(story.news) for story in stories)
    assert all(start in texts["test_unseen"] for start in starts)
    assert not any(
        start in texts[name] for start in starts for name in ("train", "validation", "test")
    )


def test_no_single_word_tells_the_direction():
    votes = defaultdict(Counter)
    train = stories_by_part()["train"]
    for story in train:
        row = story_row(story)
        for word in set(row["prompt"][1]["content"].lower().split()):
            votes[word][direction_of(row["label"])] += 1
    majority = Counter(direction_of(story.record.label) for story in train)
    right = {w: len(train) / 2 + (max(c.values()) - min(c[1], c[-1])) / 2 for w, c in votes.items()}
    assert max(right.values()) / len(train) < 0.7 < rule_accuracy(train)
    assert max(majority.values()) / len(train) < 0.6


@pytest.mark.parametrize("signal", [0.0, 0.5, 1.0])
def test_the_direction_follows_the_balance_as_often_as_stated(signal):
    stories = Market(seed=1, signal=signal).stories
    share, n = rule_accuracy(stories), len(stories)
    assert abs(share - best_reachable(signal)) <= 4 * (0.25 / n) ** 0.5 * (signal < 1)


def test_rows_are_marked_and_records_look_at_nothing_later():
    for story in Market().stories:
        assert story_row(story)["synthetic"] is True
        assert look_ahead(story.record) == []
        assert story.record.label not in str(story_row(story)["prompt"][1])


def test_the_analyst_writes_what_the_strict_reader_reads():
    for story in Market().stories:
        read = parse_answer(answer(story), strict=True)
        assert read.valid and label_of_magnitude(read.magnitude) == story.record.label


def test_raw_prices_give_the_returns(tmp_path):
    market = Market()
    write_market(market, tmp_path, "m")
    closes = {}
    for line in (tmp_path / "raw/m/prices/ALDW.csv").read_text().splitlines()[1:]:
        day, *values = line.split(",")
        closes[day] = float(values[3])
    records = [story.record for story in market.stories if story.record.symbol == "ALDW"]
    weekly = list(closes.values())[4::5]
    for record, before, after in zip(records, weekly, weekly[1:], strict=False):
        assert after / before - 1 == pytest.approx(record.weekly_return, abs=2e-4)
    assert len(read_jsonl(tmp_path / "datasets/m/test.jsonl")) == 64


def test_a_signal_outside_its_range_is_an_error():
    with pytest.raises(ValueError, match=r"signal is 1\.5; expected a number from 0"):
        Market(signal=1.5)
