"""Rows on which no verdict can be given: each reason names what it is about."""

import random
from datetime import date, timedelta

import pytest

from eval.metrics.doubts import manifest_doubts
from eval.metrics.evaluate import evaluate
from eval.metrics.weeks import week_keys
from tests.support.scorable_rows import answer, answer_with
from weekahead.task.labels import BINS

SUNDAY = date(2024, 1, 7)


def week(number, days=7):
    start = SUNDAY + timedelta(weeks=number)
    return f"{start} to {start + timedelta(days=days)}"


def rows(weeks=10, firms=12, accuracy=0.8, seed=1):
    """Answers that are right with a probability; references that agree with their labels."""
    draw = random.Random(seed)
    found = []
    for number in range(weeks):
        for firm in range(firms):
            label = draw.choice(BINS)
            other = draw.choice([name for name in BINS if name[:2] != label[:2]])
            said = label if draw.random() < accuracy else other
            found.append(
                {
                    "id": f"F{firm}-{SUNDAY + timedelta(weeks=number)}",
                    "symbol": f"F{firm}",
                    "period": week(number),
                    "label": label,
                    "answer": answer_with(label),
                    "generation": answer_with(said) + " Own words.",
                }
            )
    return found


def judged(changed, doubts=()):
    metrics, _ = evaluate(changed, doubts=doubts)
    return metrics["verdict"], " ".join(metrics["verdict_reasons"])


def without(row, *names):
    return {name: value for name, value in row.items() if name not in names}


def test_skill_is_shown_and_the_opposite_too():
    assert judged(rows()) == ("skill shown", "")
    assert judged(rows(accuracy=0.2)) == ("negative skill shown", "")
    assert judged(rows(accuracy=0.5, seed=4)) == ("no skill shown", "")


def test_metrics_hold_the_skill_and_its_scope():
    metrics, scored = evaluate(rows())
    skill = metrics["skill"]
    assert metrics["verdict_scope"] == "run" and skill["weeks"] == 10 and skill["n"] == 120
    assert skill["ci95"][0] < skill["excess_accuracy"] < skill["ci95"][1] and skill["p"] < 0.05
    assert not any(entry["corrected"] for entry in metrics["versus"].values() if entry)
    assert scored[0]["symbol"] == "F0" and scored[0]["period"] == week(0)


def again(changed):
    return [*changed, *changed[:20]]


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (again([without(row, "id") for row in rows()]), "such as F0 in 2024-01-07 to 2024-01-14"),
        (
            [*rows(), *[{**row, "id": f"{row['id']}-x"} for row in rows()[:3]]],
            "3 of 123 rows are there more than once",
        ),
        (
            [*rows(), {**rows()[5], "id": "new", "period": "2024/01/07 - 2024/01/14"}],
            "1 of 121 rows are there more than once, such as F5",
        ),
        ([{**row, "generation": row["answer"]} for row in rows()], "answers equal their ref"),
        (rows(weeks=5, firms=30), "5 weeks: a verdict needs at least 6"),
        ([without(row, "id", "period") for row in rows()], "neither `period` nor"),
        ([{**row, "label": "up by 1-2%"} for row in rows()], "every week went up"),
    ],
)
def test_rows_that_cannot_be_judged_are_named(changed, named):
    verdict, reasons = judged(changed)
    assert verdict == "not judged" and named in reasons


@pytest.mark.parametrize(
    ("share", "is_judged"), [(0, True), (0.1, False), (0.3, False), (0.5, True)]
)
def test_some_labels_that_contradict_references_are_in_doubt(share, is_judged):
    """About half of them contradict references that were written without the label."""
    changed = rows()
    for row in changed[: round(share * len(changed))]:
        row["answer"] = answer_with("down by 1-2%" if row["label"] > "up" else "up by 1-2%")
    verdict, reasons = judged(changed)
    is_judged = share in (0, 0.5)
    assert (verdict == "skill shown") == is_judged
    assert is_judged or f"{round(share * 120)} of 120 labels contradict" in reasons
    for row in changed:
        row["teacher_told"] = False
    assert judged(changed)[0] == "skill shown"
    for row in changed:
        row["teacher_told"] = True
    assert judged(changed)[0] == ("not judged" if share else "skill shown")


def test_a_call_that_is_hardly_made_is_too_few():
    up, down = answer_with("up by 1-2%"), answer_with("down by 1-2%")
    changed = [{**row, "generation": up} for row in rows()]
    assert judged(changed) == ("no skill shown", "every call is up")
    for row in changed[:5]:
        row["generation"] = down
    assert judged(changed)[1].startswith("down is called on 5 of 120 rows, fewer than 5%")
    for row in changed[:24]:
        row["generation"] = down
    assert judged(changed)[1].startswith("down is called in 2 weeks alone")
    silent = [{**row, "generation": "I cannot say."} for row in rows()]
    assert judged(silent) == ("no skill shown", "no answer states a direction that can be read")


def test_the_manifest_tells_of_rows_that_are_missing_or_were_learnt():
    manifest = {"dataset": {"rows": 120}, "rows_in_training_weeks": 12}
    manifest["train"] = None
    missing, learnt = manifest_doubts(manifest, [], 100)
    assert "100 rows are here and manifest.json states 120" in missing
    assert learnt == "12 of 120 rows lie in weeks that the adapter was trained on"
    assert judged(rows(), [missing])[0] == "not judged"
    assert (
        manifest_doubts({"dataset": {}, "rows_in_training_weeks": None, "train": None}, rows(), 120)
        == []
    )


def test_one_firm_over_many_weeks_is_judged():
    assert judged(rows(weeks=80, firms=1))[0] == "skill shown"


def test_a_week_spelt_in_two_ways_is_one():
    spelt = [
        {**row, "period": row["period"].replace(" to ", " - ")} if number % 2 else row
        for number, row in enumerate(rows())
    ]
    keys, _, note, _ = week_keys(spelt)
    assert len(set(keys)) == 10 and "20 periods" in note
    assert evaluate(spelt)[0]["skill"] == evaluate(rows())[0]["skill"]


def test_a_week_for_each_row_is_not_believed():
    """The ids know better; the fewer weeks count."""
    changed = [{**row, "period": f"week {number}"} for number, row in enumerate(rows())]
    keys, _, note, _ = week_keys(changed)
    assert len(set(keys)) == 10 and note == "`period` names 120 weeks and `id` 10: the fewer count"
    same_date = [{**row, "id": f"run-2024-05-01-{n}"} for n, row in enumerate(rows())]
    assert len(set(week_keys(same_date).keys)) == 10


def windows(days, step, count):
    starts = [SUNDAY + timedelta(days=step * number) for number in range(count)]
    return [{"period": f"{start} to {start + timedelta(days=days)}"} for start in starts]


@pytest.mark.parametrize(
    ("found", "weeks"),
    [
        (windows(7, 7, 10), 10),
        (windows(5, 7, 10), 10),
        (windows(14, 7, 9), 1),  # a chain: each overlaps the next
        (windows(8, 7, 3), 1),
        (windows(7, 1, 366), 13),  # daily windows of a year: blocks of four weeks
    ],
)
def test_windows_that_overlap_are_one_week(found, weeks):
    assert len(set(week_keys(found).keys)) == weeks


def test_daily_windows_stay_usable():
    daily = []
    for row in rows(weeks=300, firms=1):
        number = len(daily)
        start = SUNDAY + timedelta(days=number)
        period = f"{start} to {start + timedelta(days=7)}"
        daily.append({**without(row, "id"), "period": period})
    verdict, reasons = judged(daily)
    assert verdict == "skill shown" and "they count as 11 weeks" in reasons


def test_sizes_on_few_rows_hide_the_squared_error_alone():
    changed = rows()
    for row in changed[12:]:
        said = "up" if "Up by" in row["generation"] else "down"
        row["generation"] = answer_with(said)
    metrics, _ = evaluate(changed)
    assert metrics["mse_versus_zero_move"] is None and "12 of 120" in metrics["mse_reason"]
    assert metrics["verdict"] == "skill shown"


NOUNS = [
    "sales",
    "costs",
    "orders",
    "margins",
    "debts",
    "plants",
    "stores",
    "patents",
    "lawsuits",
    "shares",
    "taxes",
    "prices",
]
VERBS = ["rose", "fell", "doubled", "stalled", "recovered", "weakened", "surged", "slipped"]


def long_text(number):
    """A text of one row alone, of over 200 characters."""
    draw = random.Random(number)
    points = (
        f"{draw.choice(NOUNS).capitalize()} of segment{draw.randrange(999)} "
        f"{draw.choice(VERBS)} by {draw.randrange(99)} in region{draw.randrange(999)}."
        for _ in range(12)
    )
    return " ".join(points)


def long_rows(**changes):
    """Rows whose references are long texts of their own."""
    found = rows(**changes)
    for number, row in enumerate(found):
        row["answer"] = answer(row["label"].capitalize(), analysis=long_text(number))
    return found


@pytest.mark.parametrize(
    "period",
    [
        "{start:%m/%d/%Y} - {end:%m/%d/%Y}",
        "{start:%d.%m.%Y}",
        "{start:%B %d, %Y}",
        "{start:%b %d} - {end:%b %d, %Y}",
        "{start:%Y%m%d}{end:%Y%m%d}",
        "{start:%Y\u2011%m\u2011%d} to {end:%Y\u2011%m\u2011%d}",
        "{end:%Y-%m-%d} to {start:%Y-%m-%d}",
        "{start:%Y-%m-%d} to {saturday:%Y-%m-%d}",
        "{monday:%Y-%m-%d} to {friday:%Y-%m-%d}",
        "{monday:%G-W%V}",
    ],
)
def test_copies_under_another_spelling_of_the_week_are_seen(period):
    def respelt(row, index):
        start = SUNDAY + timedelta(weeks=index // 12)
        names = {"end": 7, "saturday": 6, "monday": 1, "friday": 5}
        days = {name: start + timedelta(days=more) for name, more in names.items()}
        return {**row, "id": f"new-{index}", "period": period.format(start=start, **days)}

    copies = [respelt(row, index) for index, row in enumerate(rows())]
    verdict, reasons = judged([*rows(), *copies])
    assert verdict == "not judged" and "120 of 240 rows are there more than once" in reasons
    mixed = [
        copy if number % 2 else row
        for number, (row, copy) in enumerate(zip(rows(), copies, strict=True))
    ]
    assert evaluate(mixed)[0]["skill"] == evaluate(rows())[0]["skill"]


@pytest.mark.parametrize("spelt", ["${}", "{}.US", "NASDAQ:{}", "\u200b{}", " {} "])
def test_copies_under_another_spelling_of_the_symbol_are_seen(spelt):
    copies = [
        {**without(row, "id"), "symbol": spelt.format(row["symbol"].lower())} for row in rows()
    ]
    verdict, reasons = judged([*rows(), *copies])
    assert verdict == "not judged" and "120 of 240 rows are there more than once" in reasons


@pytest.mark.parametrize("symbol", [None, "", "INVENTED"])
@pytest.mark.parametrize("more", ["", " And so on."])
def test_copies_without_their_symbol_are_known_by_their_text(symbol, more):
    def copied(row):
        generation = row["generation"] + more
        return {**without(row, "id"), "symbol": symbol, "generation": generation}

    copies = [copied(row) for row in long_rows()[:30]]
    for week_number, row in enumerate(copies):
        row["symbol"] = symbol and f"{symbol}{week_number}"
    verdict, reasons = judged([*long_rows(), *copies])
    assert verdict == "not judged" and "30 of 150 rows are there more than once" in reasons
    assert judged(long_rows())[0] == "skill shown"


def test_one_answer_to_many_firms_is_no_copy():
    """Such as a long refusal."""
    refused = [
        {**row, "generation": long_text(0)} if n % 3 else row for n, row in enumerate(rows())
    ]
    assert "more than once" not in judged(refused)[1]
    assert "more than once" not in judged([without(row, "symbol", "id") for row in refused])[1]


def test_an_answer_tells_whom_a_nameless_row_copies():
    long = [
        {**row, "generation": f"{row['generation']} {long_text(n)}"} for n, row in enumerate(rows())
    ]
    copies = [
        {**without(row, "id", "symbol"), "answer": f"{row['answer']} So."} for row in long[:9]
    ]
    assert "9 of 129 rows are there more than once" in judged([*copies, *long])[1]


def test_the_same_prompt_is_the_same_row():
    asked = [{**row, "prompt": f"{row['id']} {long_text(1)}"} for row in rows()]
    assert judged(asked)[0] == "skill shown"
    copies = [{**row, "id": f"{row['id']}-x", "symbol": f"X{row['symbol']}"} for row in asked[:3]]
    assert "3 of 123 rows are there more than once" in judged([*asked, *copies])[1]


@pytest.mark.parametrize(
    "written",
    [
        "{}.",
        "<think>Rather so.</think>\n{}",
        "{}<|eot_id|>",
        "**{}**",
        "Sure. {} That is all.",
    ],
)
def test_references_with_other_marks_are_no_answers(written):
    copied = [{**row, "generation": written.format(row["answer"])} for row in long_rows()]
    verdict, reasons = judged([*copied[:12], *long_rows()[12:]])
    assert verdict == "not judged" and "12 of 120 answers equal their references" in reasons


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.replace(" of ", " in ").replace(" by ", " about "),
        lambda text: text.replace("e", "\u0435").replace("o", "\u00f6"),
        lambda text: text.replace("re", "r\u200be"),
        lambda text: text.replace("segment", "**segment**"),
        lambda text: f"Sure. {text} That is all.",
    ],
)
def test_a_reference_with_some_other_words_is_no_answer(change):
    copied = [{**row, "generation": change(row["answer"])} for row in long_rows()]
    assert "answers equal their references" in judged(copied)[1]


def test_one_fictional_row_excuses_no_other():
    copied = [{**row, "generation": row["answer"]} for row in long_rows()[:60]]
    copied[0]["synthetic"] = True
    assert "60 of 120 answers equal" in judged([*copied, *long_rows()[60:]])[1]


def test_a_rare_call_is_measured_against_all_rows():
    """4 of 60 calls, and of 120 rows."""
    up, down = answer_with("up by 1-2%"), answer_with("down by 1-2%")
    changed = [{**row, "generation": up} for row in rows()]
    for number, row in enumerate(changed):
        row["generation"] = down if number % 30 == 0 else up if number % 2 else "I cannot say."
    assert judged(changed)[1].startswith("down is called on 4 of 120 rows, fewer than 5%")


def test_called_weeks_that_all_went_one_way_are_not_judged():
    changed = rows()
    for row in changed:
        if row["label"].startswith("down"):
            row["generation"] = "I cannot say."
    verdict, reasons = judged(changed)
    assert verdict == "not judged"
    assert reasons == "every week for which a direction is called went up: no call can show skill"


def test_reasons_count_in_good_english():
    assert "the rows lie in 1 week:" in judged(rows(weeks=1))[1]


def test_right_answers_in_the_words_of_a_template_are_no_copies():
    """Twelve references for all rows, each as long as a text of its own."""
    found = rows()
    for row in found:
        row["answer"] = answer(row["label"].capitalize(), analysis=long_text(0))
        row["generation"] = row["generation"].replace(
            "The week looks calm. Own words.", long_text(0)
        )
        row["prompt"] = f"About {row['symbol']}: {long_text(2)}"
    assert judged(found) == ("skill shown", "")
    assert judged([without(row, "symbol", "period") for row in found])[0] == "skill shown"


def test_truths_that_are_missing_among_the_others_are_named():
    changed = rows()
    for row in changed[:6]:
        row |= {"label": None, "answer": ""}
    verdict, reasons = judged(changed)
    assert verdict == "not judged" and reasons.startswith("6 of 120 rows have no truth, such as F0")
    to_come = rows()
    for row in to_come[-24:]:
        row |= {"label": None, "answer": ""}
    assert judged(to_come)[0] == "skill shown", "weeks after all others"


def test_the_rows_tell_the_weeks_of_training_themselves():
    manifest = {"dataset": {}, "rows_in_training_weeks": None}
    manifest["train"] = {"dataset": {"last_train_week": str(SUNDAY + timedelta(weeks=1))}}
    (seen,) = manifest_doubts(manifest, rows(), 120)
    assert seen == "24 of 120 rows lie in weeks that the adapter was trained on"
    manifest["train"] = {"dataset": {"last_train_week": None}}
    assert manifest_doubts(manifest, rows(), 120) == []
    assert "states 150" in manifest_doubts({**manifest, "n": 150}, rows(), 120)[0]


def test_references_that_always_contradict_are_no_forecasts():
    changed = rows()
    for row in changed[:12]:
        row["answer"] = answer_with("down by 1-2%" if row["label"] > "up" else "up by 1-2%")
    for number, row in enumerate(changed):
        row["teacher_told"] = number >= 12
    assert "12 of 12 labels contradict" in judged(changed)[1]


def test_many_contradictions_are_said_beside_the_verdict():
    changed = rows()
    for row in changed[:60]:
        row["answer"] = answer_with("down by 1-2%" if row["label"] > "up" else "up by 1-2%")
    verdict, reasons = judged(changed)
    assert verdict == "skill shown"
    assert reasons.startswith("60 of 120 labels contradict their references, which are therefore")


def test_one_week_end_for_all_rows_is_one_week():
    """Forged periods do not hide it."""
    forged = [{**without(row, "id"), "week_end": "2024-01-14"} for row in rows()]
    assert "the rows lie in 1 week" in judged(forged)[1]


def test_an_empty_cell_does_not_hide_its_column():
    forged = [
        {**without(row, "id"), "week_end": str(SUNDAY + timedelta(weeks=number))}
        for number, row in enumerate(rows())
    ]
    forged[0]["period"] = None
    verdict, reasons = judged(forged)
    assert verdict == "not judged"
    assert "`period` is missing in 1 of 120 rows, and in the others it names 10 weeks" in reasons


def test_one_missing_symbol_leaves_the_error_by_firm():
    """Calls that are fixed by firm say less than their weeks make believe."""
    draw = random.Random(3)
    found = rows(weeks=12, firms=5, accuracy=0.5, seed=2)
    for row in found:
        number = int(row["symbol"][1:])
        label = "up by 1-2%" if draw.random() < (0.75 if number < 3 else 0.25) else "down by 1-2%"
        row |= {"label": label, "answer": answer_with(label)}
        row["generation"] = answer_with("up by 1-2%" if number < 3 else "down by 1-2%") + " So."
    whole = evaluate(found)[0]["skill"]
    nameless = [{**without(found[0], "id"), "symbol": None}, *found[1:]]
    assert evaluate(nameless)[0]["skill"]["p"] == pytest.approx(whole["p"], rel=0.5)
    alone = [without({**row, "symbol": None}, "id") for row in found]
    assert evaluate(alone)[0]["skill"]["p"] < whole["p"] / 5


@pytest.mark.parametrize(
    ("days", "respelt"),
    [(14, "{start} to {saturday}"), (4 * 7, "{start} to {saturday}"), (7, "{start} to {saturday}")],
)
def test_copies_whose_window_ends_a_day_earlier_are_seen(days, respelt):
    """Of two and four weeks, too, and of weeks that begin on a Thursday."""
    for begin in (SUNDAY, SUNDAY - timedelta(days=3)):
        changed, copies = [], []
        for number, row in enumerate(rows(weeks=20, firms=4)):
            start = begin + timedelta(days=days * (number // 4))
            end = start + timedelta(days=days)
            saturday = end - timedelta(days=1)
            changed.append({**without(row, "id"), "period": f"{start} to {end}"})
            period = respelt.format(start=start, saturday=saturday)
            copies.append({**changed[-1], "period": period})
        assert judged(changed)[0] == "skill shown"
        verdict, reasons = judged([*changed, *copies[:15]])
        assert verdict == "not judged" and "15 of 95 rows are there more than once" in reasons


@pytest.mark.parametrize("respelt", ["{}-copy0", "copy0-{}", "new_{}_2"])
def test_copies_whose_firm_stands_in_their_id_alone_are_seen(respelt):
    plain = [without(row, "symbol", "period") for row in rows()]
    assert judged(plain)[0] == "skill shown"
    copies = [{**row, "id": respelt.format(row["id"])} for row in plain[:20]]
    verdict, reasons = judged([*plain, *copies])
    assert verdict == "not judged" and "20 of 140 rows are there more than once" in reasons


def learnt(changed):
    train = {"dataset": {"last_train_week": str(SUNDAY)}, "settings": {}}
    manifest = {"dataset": {}, "train": train, "rows_in_training_weeks": None}
    return " ".join(manifest_doubts(manifest, changed, len(changed)))


@pytest.mark.parametrize(
    "column",
    [
        lambda start: {"week_end": str(start + timedelta(days=7))},
        lambda start: {"period": f"{start + timedelta(days=1)} to {start + timedelta(days=5)}"},
        lambda start: {
            "period": "{}-W{:02}".format(*(start + timedelta(days=1)).isocalendar()[:2])
        },
        lambda start: {"period": "fold 1", "week_end": str(start + timedelta(days=7))},
    ],
)
def test_the_weeks_of_training_are_known_in_every_column_and_spelling(column):
    changed = [
        {**without(row, "id", "period"), **column(SUNDAY + timedelta(weeks=number // 12))}
        for number, row in enumerate(rows())
    ]
    assert "12 of 120 rows lie in weeks that the adapter was trained on" in learnt(changed)
    assert learnt(changed[12:]) == ""


def test_weeks_to_come_may_be_known_by_their_end():
    changed = [
        {**without(row, "id", "period"), "week_end": row["period"].split()[-1]} for row in rows()
    ]
    for row in changed[-12:]:
        row["label"] = row["answer"] = None
    assert judged(changed)[0] == "skill shown"


def own_words(number):
    """A sentence that no other row has."""
    draw = random.Random(number)
    return " ".join(f"{draw.choice(WORDS)}{draw.randrange(99)}" for _ in range(9))


WORDS = ["orders", "costs", "margins", "debt", "growth", "supply", "lawsuit", "guidance"]


@pytest.mark.parametrize(
    "written", ["<think>\n\n</think>\n\n{}", "Sure. {}", "{}<|eot_id|>", "{} Bye."]
)
def test_a_short_reference_with_words_around_it_is_no_answer(written):
    changed = []
    for number, row in enumerate(rows()):
        reference = f"Prediction: {row['label'].capitalize()}\nAnalysis: {own_words(number)}"
        changed.append({**row, "answer": reference, "generation": written.format(reference)})
    verdict, reasons = judged(changed)
    assert verdict == "not judged" and "120 of 120 answers equal their references" in reasons


@pytest.mark.parametrize(("weeks", "firms"), [(40, 1), (10, 4), (10, 12), (26, 12)])
@pytest.mark.parametrize("named", [True, False])
def test_references_from_a_template_are_no_copies_of_each_other(weeks, firms, named):
    """Of few texts, or of texts that differ in the firm alone; some bins are hit by chance."""
    changed = []
    for number, row in enumerate(rows(weeks, firms, accuracy=0.4)):
        who = f"Company {row['symbol']}" if named else "The company"
        said = row["generation"].split("Prediction: ")[1].split("\n")[0]
        text = (
            f"[Positive Developments]:\n1. {who} sells more than it did in the year before.\n\n"
            f"[Potential Concerns]:\n1. {who} has costs that rise with its sales.\n\n"
            "[Prediction & Analysis]:\nPrediction: {}\nAnalysis: Good and bad news are weighed."
        )
        reference, answered = text.format(row["label"].capitalize()), text.format(said)
        changed.append({**row, "answer": reference, "generation": answered, "number": number})
    verdict, reasons = judged(changed)
    assert verdict != "not judged", reasons


def test_prompts_of_a_few_states_are_no_copies_of_each_other():
    states = ["rising", "falling", "flat"]
    changed = [
        {**row, "prompt": f"The price is {states[number % 3]}. " * 20, "answer": None}
        for number, row in enumerate(rows(40, 1))
    ]
    assert judged(changed)[0] == "skill shown"


@pytest.mark.parametrize(
    "name", ["{symbol} week {week}", "week {week} ({symbol})", "w{week}/{symbol}"]
)
def test_the_firm_in_the_name_of_a_week_makes_no_week_of_its_own(name):
    changed = [
        {**without(row, "id"), "period": name.format(symbol=row["symbol"], week=number // 12)}
        for number, row in enumerate(rows())
    ]
    assert len(set(week_keys(changed).keys)) == 10


@pytest.mark.parametrize("name", ["week {}", "{}"])
def test_firms_without_a_common_week_are_not_believed(name):
    changed = []
    for number, row in enumerate(rows()):
        dated = SUNDAY + timedelta(weeks=number)
        period = name.format(number) if "week" in name else name.format(dated)
        changed.append({**without(row, "id"), "period": period})
    verdict, reasons = judged(changed)
    assert verdict == "not judged" and "120 weeks for 120 rows of 12 firms" in reasons
    assert judged([{**row, "symbol": "F1"} for row in changed])[0] == "skill shown"


def test_the_week_that_a_prompt_asks_about_counts():
    changed = [
        {
            **without(row, "id"),
            "period": f"{SUNDAY + timedelta(weeks=number)}",
            "prompt": f"News.\n\nForecast {row['symbol']} for the week from "
            f"{SUNDAY + timedelta(weeks=number // 12)}. Begin.",
        }
        for number, row in enumerate(rows())
    ]
    assert len(set(week_keys(changed).keys)) == 10


def test_numbers_that_look_like_dates_in_a_few_ids_name_no_weeks():
    changed = [{**row, "id": 20240001 + number} for number, row in enumerate(rows(25))]
    assert judged(changed)[0] == "skill shown"


@pytest.mark.parametrize("accuracy", [0.5, 0.35])
def test_labels_that_were_made_from_the_answers_are_in_doubt(accuracy):
    """However many: in more than 30 % references are taken as forecasts, which miss elsewhere."""
    honest = rows(accuracy=accuracy)
    changed = [
        {**row, "label": row["generation"].split("Prediction: ")[1].split("\n")[0].casefold()}
        for row in honest
    ]
    verdict, reasons = judged(changed)
    assert verdict == "not judged" and "labels look like the run's answers" in reasons
    draw = random.Random(5)
    forecasts = [{**row, "answer": answer_with(draw.choice(BINS))} for row in rows()]
    assert judged(forecasts)[0] == "skill shown"
