"""The record of a journal: the report's measures, and the verdict for a look every week."""

import itertools
import random
from statistics import median

import pytest

from data_pipeline.synthetic.world import Market
from forecast.journal.__main__ import main
from forecast.journal.ledger import Ledger, append_lines
from forecast.journal.score import Settled, anytime_skill, bets_on, score, verdicts_in_words
from tests.support import journals
from weekahead.files import read_json
from weekahead.task.labels import direction_of, label_of_return

FIRMS = [f"F{number}" for number in range(8)]


def entered(weeks, hit, forecaster="adapter", seed=0, firms=FIRMS):
    """(forecasts, returns) of a caller that is right with probability `hit`."""
    draw = random.Random(seed)
    forecasts, outcomes = [], []
    for week, symbol in itertools.product(range(weeks), firms):
        move = draw.choice((-0.015, 0.015))
        is_right = draw.random() < hit
        label = label_of_return(move if is_right else -move)
        forecasts.append(journals.forecast(symbol, week, forecaster, label))
        outcomes.append(journals.outcome(symbol, week, move))
    return forecasts, outcomes


def settled(weeks, hit, **change):
    return [
        Settled(forecast, outcome["label"], outcome["weekly_return"])
        for forecast, outcome in zip(*entered(weeks, hit, **change), strict=True)
    ]


def journal(folder, weeks, hit, awaited=()):
    """A ledger of one forecaster; the returns of the ids in `awaited` are not known."""
    forecasts, outcomes = entered(weeks, hit)
    lines = [journals.start(("adapter",))]
    for week in range(weeks):
        of_week = str(forecasts[week * 8]["week_start"])
        lines += [line for line in forecasts if line["week_start"] == of_week]
        lines.append(journals.week_end(week, 8))
        known = [line for line in outcomes if line["week_start"] == of_week]
        lines += [line for line in known if line["id"] not in awaited]
    return journals.write(folder, lines)


def test_skill_is_shown_by_both_verdicts(tmp_path):
    (found,) = score(journal(tmp_path, 30, 0.85))["forecasters"]
    assert found["n"] == 240 and found["weeks"] == 30 and found["awaited"] == 0
    assert found["accuracy"] == pytest.approx(0.85, abs=0.06)
    assert found["fixed"]["verdict"] == found["anytime"]["verdict"] == "skill shown"
    assert found["anytime"]["p"] == 1 / found["anytime"]["largest_e_value"] < 0.05
    since = found["anytime"]["shown_in"]
    assert found["difference"].startswith(
        f"Both verdicts agree: skill shown since the week of {since}"
    )
    assert found["within_weeks"]["mean"] == pytest.approx(0.35, abs=0.08)
    assert found["probabilities"]["n"] == 240 and found["probabilities"]["brier"]["mean"] < 0.2


def test_skill_that_was_shown_stays_shown():
    early, late = settled(12, 0.95), settled(40, 0.3, seed=5)
    for one in late:
        one.forecast["week_start"] = one.forecast["week_start"].replace("2031", "2032")
    found = anytime_skill([*early, *late])
    assert found["verdict"] == "skill shown" and found["e_value"] < 20 <= found["largest_e_value"]


def test_calls_that_are_wrong_show_negative_skill():
    assert anytime_skill(settled(25, 0.1))["verdict"] == "negative skill shown"


def test_one_company_cannot_be_judged():
    found = anytime_skill(settled(30, 0.9, firms=["F0"]))
    assert found["verdict"] == "not judged" and found["e_value"] is None
    assert "two companies or more" in found["reason"]
    assert "Not judged for weekly looks: in no settled week" in verdicts_in_words(
        "skill shown", found
    )


def test_one_sided_calls_bet_nothing():
    up = [one for one in settled(20, 0.9) if one.forecast["direction"] == 1]
    found = anytime_skill(up)
    assert (found["verdict"], found["e_value"], found["weeks"]) == ("no skill shown", 1.0, 0)
    assert found["reason"] == "in no week are both up and down called"


def test_a_week_is_bet_on_when_its_returns_are_known(tmp_path):
    """Or four weeks after its end: a bet that was settled is never settled anew."""
    late = f"F3-{journals.forecast('F3', 8)['week_start']}"
    never = f"F5-{journals.forecast('F5', 2)['week_start']}"
    (found,) = score(journal(tmp_path, 10, 0.9, {late, never}))["forecasters"]
    assert found["n"] == 78 and found["awaited"] == 2
    assert found["weeks"] == 10 and found["anytime"]["weeks"] == 9


def test_a_return_in_doubt_is_not_scored(tmp_path):
    ledger = journal(tmp_path, 8, 0.9)
    outcome, digest = ledger.outcomes()["F0-2031-01-05"]
    change = {**outcome, "kind": "correction", "corrects": digest, "label": None, "doubt": "two"}
    change["sources"] = {**outcome["sources"], "files": -outcome["weekly_return"]}
    del change["previous"]
    change["written_at"] = ledger.lines[-1]["written_at"]
    (found,) = score(append_lines(tmp_path, ledger, [change]))["forecasters"]
    assert found["n"] == 63 and found["awaited"] == 1


def test_a_baseline_has_no_probabilities(tmp_path):
    line = journals.forecast("AAA", 0) | {"probabilities": None}
    lines = [journals.start(("adapter",)), line, journals.week_end(0, 1)]
    ledger = journals.write(tmp_path, [*lines, journals.outcome("AAA", 0, 0.01)])
    (found,) = score(ledger)["forecasters"]
    assert found["probabilities"] is None and found["n"] == 1


def test_a_forecast_without_a_call_is_wrong(tmp_path):
    """The answer could not be read."""
    lines = [journals.start(("adapter",)), journals.forecast("AAA", 0, label=None)]
    lines += [journals.forecast("BBB", 0), journals.week_end(0, 2)]
    paid = [journals.outcome(symbol, 0, 0.01) for symbol in ("AAA", "BBB")]
    (found,) = score(journals.write(tmp_path, [*lines, *paid]))["forecasters"]
    assert found["n"] == 2 and found["accuracy"] == 0.5


@pytest.mark.parametrize(
    ("fixed", "ours", "said"),
    [
        (
            "skill shown",
            "no skill shown",
            "holds for one look that was planned. For weekly looks nothing",
        ),
        ("no skill shown", "no skill shown", "Neither verdict shows skill"),
        (
            "no skill shown",
            "skill shown",
            "the timing of the market and the weeks since, says no skill",
        ),
        ("not judged", "skill shown", "says not judged"),
        ("negative skill shown", "negative skill shown", "Both verdicts agree: negative skill"),
    ],
)
def test_the_two_verdicts_in_words(fixed, ours, said):
    week = None if ours == "no skill shown" else "2031-02-02"
    anytime = {"verdict": ours, "reason": None, "shown_in": week, "largest_e_value": 3.14159}
    words = verdicts_in_words(fixed, anytime)
    assert said in words and ("3.14" in words) == (week is None)


def test_the_command_prints_and_writes_the_scores(tmp_path, capsys):
    ledger = journal(tmp_path, 12, 0.9)
    assert main(["score", "--journal", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "adapter" in printed and "Both verdicts agree" in printed
    stored = read_json(tmp_path / "scores.json", "")
    assert stored["head"] == ledger.head and stored == score(ledger)


def test_the_command_refuses_a_broken_ledger(tmp_path, capsys):
    journal(tmp_path, 6, 0.9)
    path = tmp_path / "ledger.jsonl"
    path.write_bytes(path.read_bytes().replace(b"F3", b"F4", 1))
    assert main(["score", "--journal", str(tmp_path)]) == 2
    assert "line" in capsys.readouterr().err and not (tmp_path / "scores.json").exists()


def market_ledgers(seed, signal, weeks):
    """Three journals of eight firms each: calls are the sign of the news, over as many fictional
    markets as `weeks` need."""
    found = [[], [], []]
    for part in range(-(-weeks // 80)):
        stories = Market(seed=1000 * seed + part, signal=signal).stories
        symbols = sorted({story.record.symbol for story in stories})
        for story in stories:
            start = story.record.week_start
            forecast = {
                "week_start": f"{part}/{start}",
                "direction": 1 if story.balance > 0 else -1,
            }
            one = Settled(forecast, story.record.label, story.record.weekly_return)
            found[symbols.index(story.record.symbol) // 8].append(one)
    return [sorted(ones, key=lambda one: one.forecast["week_start"])[: 8 * weeks] for ones in found]


def weeks_until_shown(ones):
    """How many weeks a reader who looks every week waits; infinite if skill is never shown."""
    since = anytime_skill(ones)["shown_in"]
    weeks = sorted({one.forecast["week_start"] for one in ones})
    return weeks.index(since) + 1 if since else float("inf")


def simulated(count, signal, weeks):
    seeds = range(-(-count // 3))
    ledgers = [ones for seed in seeds for ones in market_ledgers(seed, signal, weeks)]
    assert {len({one.forecast["week_start"] for one in ones}) for ones in ledgers} == {weeks}
    return ledgers[:count]


def test_a_strong_signal_is_shown_within_12_weeks():
    waits = [weeks_until_shown(ones) for ones in simulated(12, 0.9, 40)]
    assert median(waits) <= 12 and max(waits) <= 30


def test_without_a_signal_few_forecasters_seem_skilled():
    """The whole simulation is a slow test."""
    found = [anytime_skill(ones)["verdict"] for ones in simulated(9, 0.0, 60)]
    assert found.count("no skill shown") >= 8


@pytest.mark.slow
def test_400_ledgers_without_a_signal_looked_at_every_week():
    """Of 260 weeks each; at most 5 % may ever show skill, of either sign."""
    shown = [anytime_skill(ones)["verdict"] for ones in simulated(400, 0.0, 260)]
    assert sum(verdict != "no skill shown" for verdict in shown) <= 20


def test_directions_are_those_of_the_labels():
    for one in settled(3, 0.5):
        assert one.truth == direction_of(one.label)


def delayed_journal(folder, weeks, seed):
    """A ledger whose returns come up to six weeks late, or never."""
    draw = random.Random(seed)
    forecasts, outcomes = entered(weeks, 0.8, seed=seed)
    due = {}
    for number, line in enumerate(outcomes):
        late = draw.choices([0, 1, 3, 6, weeks], [20, 2, 2, 1, 1])[0]
        due.setdefault(number // 8 + 1 + late, []).append(line)
    lines = [journals.start(("adapter",))]
    for week in range(weeks):
        now = {"written_at": forecasts[8 * week]["written_at"]}
        lines += [line | now for line in due.get(week, [])]
        lines += forecasts[8 * week : 8 * week + 8]
        lines.append(journals.week_end(week, 8))
    return journals.write(folder, lines)


@pytest.mark.parametrize("seed", range(3))
def test_what_is_written_late_changes_no_bet(tmp_path, seed):
    """Not by a week that waited, and not by a return that comes after four weeks."""
    ledger = delayed_journal(tmp_path, 20, seed)
    whole = [one.forecast["id"] for one in bets_on("adapter", ledger)]
    assert len(whole) > 80
    largest = 1.0
    for count in range(30, len(ledger.lines) + 1, 7):
        shorter = Ledger(ledger.lines[:count], ledger.hashes[:count])
        bets = bets_on("adapter", shorter)
        assert [one.forecast["id"] for one in bets] == whole[: len(bets)]
        found = anytime_skill(bets)["largest_e_value"] or 1.0
        assert found >= largest
        largest = found


def test_a_correction_changes_the_report_and_no_bet(tmp_path):
    ledger = journal(tmp_path, 10, 0.9)
    before = score(ledger)["forecasters"][0]
    line, digest = ledger.outcomes()[ledger.forecasts[0]["id"]]
    turned = journals.outcome(line["symbol"], 0, -line["weekly_return"])
    correction = turned | {
        "kind": "correction",
        "corrects": digest,
        "written_at": ledger.lines[-1]["written_at"],
    }
    after = score(append_lines(tmp_path, ledger, [correction]))["forecasters"][0]
    assert after["accuracy"] != before["accuracy"]
    assert after["anytime"]["e_value"] == before["anytime"]["e_value"]


def test_a_first_week_that_waits_says_so(tmp_path):
    (found,) = score(journal(tmp_path, 1, 0.9, awaited={"F3-2031-01-05"}))["forecasters"]
    assert found["anytime"]["verdict"] == "not judged"
    assert "before all of its returns are known" in found["difference"]
