"""Answers: the strict layout, the lenient reading of model texts, and what is never guessed."""

import json
import random

import pytest

from tests.support.linear import linear_work
from weekahead.task.answer import HEADERS, Answer, parse_answer, render_answer
from weekahead.task.labels import BINS, direction_of, label_of_magnitude, magnitude_of
from weekahead.task.prediction_line import read_prediction
from weekahead.task.prediction_reading import (
    CONTRADICTS,
    NEGATED,
    NO_DIRECTION,
    UNKNOWN_WORDS,
    kind_of_failure,
)

POSITIVES, CONCERNS = ["Orders grew.", "A new plant opened."], ["Costs are high."]
PLAIN = render_answer(POSITIVES, CONCERNS, "up by 1-2%", "Demand should carry the stock.")


def answer(prediction: str, analysis: str = "Analysis: Demand should carry it.") -> str:
    return (
        f"{HEADERS[0]}\n1. Orders grew.\n\n{HEADERS[1]}\n1. Costs are high.\n\n"
        f"{HEADERS[2]}\nPrediction: {prediction}\n{analysis}"
    )


def predicted(text: str) -> tuple[int | None, float | None]:
    parsed = parse_answer(text)
    return parsed.direction, parsed.magnitude


# --- strict and written ---------------------------------------------------------------------------


@pytest.mark.parametrize("label", BINS)
def test_a_rendered_answer_reads_back_strictly(label):
    text = render_answer(POSITIVES, CONCERNS, label, "Because\nof demand.")
    expected = Answer(
        positives="1. Orders grew.\n2. A new plant opened.",
        concerns="1. Costs are high.",
        prediction=label.capitalize(),
        analysis="Because of demand.",
        direction=direction_of(label),
        magnitude=magnitude_of(label),
        valid=True,
    )
    assert parse_answer(text, strict=True) == expected
    assert parse_answer(text) == expected


@pytest.mark.parametrize(
    ("positives", "label", "analysis", "message"),
    [
        ([], "up by 1-2%", "Fine.", "numbered"),
        (["", "b"], "up by 1-2%", "Fine.", "numbered"),
        (["a"], "up by 1-2%", " ", "analysis"),
        (["a"], "up by 2-1%", "Fine.", "unknown label"),
        ([f"a {HEADERS[1]} b"], "up by 1-2%", "Fine.", "not once"),
    ],
)
def test_an_answer_that_could_not_be_read_back_is_not_written(positives, label, analysis, message):
    with pytest.raises(ValueError, match=message):
        render_answer(positives, CONCERNS, label, analysis)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t: "Sure:\n" + t, "strict: text before the first section"),
        (lambda t: "<think>\n\n</think>\n\n" + t, "strict: text before the first section"),
        (lambda t: t + "\n" + t, "strict: [Positive Developments]: not once on a line of its own"),
        (
            lambda t: t.replace("[Potential Concerns]:", "**Potential Concerns**:"),
            "strict: [Potential Concerns]: missing",
        ),
        (
            lambda t: t.replace("& Analysis]:", "and Analysis]:"),
            "strict: [Prediction & Analysis]: missing",
        ),
        (
            lambda t: t.replace("& Analysis]:", "& Analysis]"),
            "strict: [Prediction & Analysis]: missing",
        ),
        (lambda t: t.replace("1. Orders", "Orders"), "strict: items not numbered 1, 2, ..."),
        (lambda t: t.replace("2. A new", "3. A new"), "strict: items not numbered 1, 2, ..."),
        (
            lambda t: t.replace("1-2%", "1-3%"),
            "strict: prediction not one of the twelve, or no analysis below it",
        ),
        (
            lambda t: t.replace("Up by", "up by"),
            "strict: prediction not one of the twelve, or no analysis below it",
        ),
        (
            lambda t: t.split("Analysis: Dem")[0],
            "strict: prediction not one of the twelve, or no analysis below it",
        ),
        (lambda t: t.split(" Demand should")[0], "strict: empty analysis"),
    ],
)
def test_strict_takes_exactly_the_written_layout(change, reason):
    parsed = parse_answer(change(PLAIN), strict=True)
    assert (parsed.valid, parsed.reason) == (False, reason)


def test_strict_lets_white_space_pass():
    spaced = "\n \n" + PLAIN.replace("]:\n", "]: \n\n").replace("\n", "  \r\n") + "\n"
    assert parse_answer(spaced, strict=True).valid


# --- lenient layout -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "headers",
    [
        ("**Positive Developments**:", "**Potential Concerns**:", "**Prediction & Analysis**:"),
        ("**Positive Developments:**", "**Potential Concerns:**", "**Prediction & Analysis:**"),
        (
            "**[Positive Developments]:**",
            "**[Potential Concerns]**:",
            "**[Prediction & Analysis]**",
        ),
        ("## [Positive Developments]:", "## [Potential Concerns]:", "## [Prediction & Analysis]:"),
        ("### Positive Developments", "### Potential Concerns", "### Prediction and Analysis"),
        (
            "## 1. Positive Developments:",
            "## 2. Potential Concerns:",
            "## 3. Prediction & Analysis:",
        ),
        ("__Positive Developments__", "__Potential Concerns__", "__Prediction and Analysis__"),
        ("[Positive Developments]", "[Potential Concerns]", "[Prediction and Analysis]"),
        ("[POSITIVE DEVELOPMENTS]:", "[potential concerns]:", "[Prediction &amp; Analysis]:"),
        ("Positive Developments:", "Potential Concerns:", "Prediction & Analysis:"),
        ("[Positive Developments]：", "[Potential Concerns]：", "[Prediction & Analysis]："),
        (
            "- **Positive Developments:**",
            "- **Potential Concerns:**",
            "- **Prediction & Analysis:**",
        ),
    ],
)
def test_decorated_headers_are_read(headers):
    text = PLAIN
    for plain, decorated in zip(HEADERS, headers, strict=True):
        text = text.replace(plain, decorated)
    assert parse_answer(text) == parse_answer(PLAIN)


def test_a_header_without_its_colon_is_read():
    assert parse_answer(PLAIN.replace("& Analysis]:", "& Analysis]")) == parse_answer(PLAIN)


@pytest.mark.parametrize(
    "label",
    [
        "**Prediction**: {}\n\n**Analysis**: {}",
        "**Prediction:** {}\n**Analysis:** {}",
        "- **Prediction:** {}\n- **Analysis:** {}",
        "**Prediction:**\n{}\n\n**Analysis**\n{}",
        "1. Prediction: **{}**\n2. Analysis: {}",
        "Prediction: {} Analysis: {}",
        "Prediction {}\nAnalysis: {}",
        "prediction: {}\nanalysis: {}",
        "Prediction: {}\n{}",
    ],
)
def test_the_prediction_line_is_found_in_its_decoration(label):
    text = PLAIN.split("Prediction: ")[0] + label.format(
        "Up by 1-2%", "Demand should carry the stock."
    )
    parsed = parse_answer(text)
    assert (parsed.direction, parsed.magnitude) == (1, 1.5)
    assert parsed.analysis == "Demand should carry the stock."


def test_an_analysis_above_its_prediction_is_read():
    parsed = parse_answer(
        PLAIN.split("Prediction: ")[0] + "Analysis: Demand is good.\nPrediction: Down by 2-3%"
    )
    assert (parsed.direction, parsed.magnitude, parsed.analysis) == (-1, -2.5, "Demand is good.")


@pytest.mark.parametrize(
    "thought",
    [
        "<think>\n\n</think>\n\n{}",
        "<think>\nIt may go down. [Positive Developments]: none so far.\n</think>\n{}",
        "The prompt had opened this thought.\nPrediction: Down by 4-5%\n</think>\n\n{}",
        "<think>never closed, then all at once:\n{}",
        "<THINK>a</THINK>{}<think>and another thought",
        "<think>a <think> b</think>{}",
    ],
)
def test_thoughts_are_not_the_answer(thought):
    assert parse_answer(thought.format(PLAIN)) == parse_answer(PLAIN)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (f"<think>{PLAIN}</think>", "nothing but a <think> block"),
        ("<think> I think the stock goes up", "unclosed <think> without an answer"),
        (f"<think>{PLAIN.split('Prediction:')[0]}", "unclosed <think> without an answer"),
    ],
)
def test_a_thought_without_an_answer_is_a_stated_failure(text, reason):
    parsed = parse_answer(text)
    assert (parsed.valid, parsed.direction, parsed.reason) == (False, None, reason)


def test_the_first_of_several_glued_copies_counts():
    second = PLAIN.replace("Up by 1-2%", "Down by 3-4%")
    for tail in (second, second[:40], second[:-40], "## " + second):
        assert parse_answer(PLAIN + tail) == parse_answer(PLAIN)


def test_a_truncated_or_empty_first_copy_does_not_count():
    placeholder = (
        answer("...", "Analysis: ...")
        .replace("Orders grew.", "...")
        .replace("Costs are high.", "...")
    )
    for first in (
        PLAIN[:60],
        PLAIN.split("Prediction:")[0],
        placeholder,
        PLAIN.split("\nAnalysis:")[0],
    ):
        second = PLAIN.replace("Up by 1-2%", "Down by 3-4%")
        assert predicted(first + "\n\n" + second) == (-1, -3.5)


def test_an_unreadable_first_copy_is_not_replaced():
    parsed = parse_answer(answer("Up or down by 1%") + "\n" + PLAIN)
    assert (parsed.valid, parsed.reason) == (False, CONTRADICTS)


def test_section_names_in_sentences_are_not_headers():
    analysis = (
        "Analysis: The potential concerns: few. "
        "The [Positive Developments] and positive developments weigh more."
    )
    parsed = parse_answer(answer("Up by 1-2%", analysis))
    assert parsed.valid
    assert parsed.analysis == analysis.removeprefix("Analysis: ")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty answer"),
        (" \n", "empty answer"),
        (None, "not a text but NoneType"),
        (3.5, "not a text but float"),
        ("Up by 1-2%", "no [Positive Developments] section"),
        (PLAIN.split(HEADERS[1])[0], "no [Potential Concerns] section"),
        (PLAIN.split(HEADERS[2])[0], "no [Prediction & Analysis] section"),
        (
            f"{HEADERS[1]}\nb\n{HEADERS[0]}\na\n{HEADERS[2]}\nPrediction: Up by 1-2%",
            "sections out of order",
        ),
        (
            PLAIN.replace("1. Orders grew.\n2. A new plant opened.", ""),
            "empty [Positive Developments] section",
        ),
        (PLAIN.replace("1. Costs are high.", "1. ..."), "empty [Potential Concerns] section"),
        (
            PLAIN.replace("Prediction: Up by 1-2%", "The stock goes up by 1-2%."),
            "no Prediction line",
        ),
        (answer("..."), "empty Prediction line"),
        (answer(""), "empty Prediction line"),
        (answer("[Up/Down] by 0-1%, 1-2%, 2-3%, 3-4%, 4-5% or more than 5%"), CONTRADICTS),
    ],
)
def test_every_failure_has_its_reason(text, reason):
    parsed = parse_answer(text)
    assert (parsed.valid, parsed.direction, parsed.magnitude, parsed.reason) == (
        False,
        None,
        None,
        reason,
    )
    assert not parse_answer(text, strict=True).valid


# --- wording --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Down by 1-2% in the upcoming week", (-1, -1.5)),
        ("Down by 2-3% (support at 100)", (-1, -2.5)),
        ("Down by 0-1% on an update about supply", (-1, -0.5)),
        ("Down by up to 3%", (-1, -1.5)),
        ("Decline by 1-2%, with limited upside", (-1, -1.5)),
        ("Up by 1-2%, with limited downside", (1, 1.5)),
        ("Up by 1-2% despite a recent decline of 4%", (1, 1.5)),
        ("Up by 1-2% because rates fall", (1, 1.5)),
        ("Up by 1-2% as recent losses end", (1, 1.5)),
        ("If the market holds, up by 1-2%", (1, 1.5)),
    ],
)
def test_the_stated_direction_is_read(text, expected):
    assert predicted(answer(text)) == expected


@pytest.mark.parametrize(
    "text",
    [
        "News in the upcoming week", "Support at 100", "Supply update", "Limited downside",
        "Upside of 12% to our target", "An upgrade", "A downgrade by two analysts",
        "Increased volatility",
        "Rising interest rates", "A setup", "Up to 3%", "Dividend increases", "Higher oil prices",
        "Backed by growth in orders", "Uncertain", "1-2%", "A range of $165 to $175",
        "Mixed trading", "Risk of a decline", "50% chance", "Depends on whether it can rise",
        "The weight loss drug", "It gives rise to questions", "Moderate by 2%",
    ],
)  # fmt: skip
def test_words_that_only_look_like_a_direction_are_none(text):
    parsed = parse_answer(answer(text))
    assert (parsed.valid, parsed.direction) == (False, None)
    assert kind_of_failure(parsed.reason) in (NO_DIRECTION, UNKNOWN_WORDS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Up by 12%", (1, 12.0)), ("Down by 0.5-1%", (-1, -0.75)), ("Up by 5+%", (1, 5.5)),
        ("Up by 5%+", (1, 5.5)), ("Down by 2 - 3%", (-1, -2.5)), ("Down by 2–3%", (-1, -2.5)),
        ("Down by 2—3 %", (-1, -2.5)), ("Up by 2 to 3%", (1, 2.5)), ("Up by 2% to 3%", (1, 2.5)),
        ("Up between 2 and 3 percent", (1, 2.5)), ("Up by >5%", (1, 5.5)),
        ("Up by more than 5%", (1, 5.5)), ("Up by over 5 percent", (1, 5.5)),
        ("Down by 5% or more", (-1, -5.5)), ("Down by at least 4%", (-1, -4.5)),
        ("Up by 10-15%", (1, 12.5)), ("Up by less than 1%", (1, 0.5)),
        ("Up by no more than 2%", (1, 1.0)), ("Up by 1.25-1.75%", (1, 1.5)),
        ("Up by .5%", (1, 0.5)), ("Up by ２－３％", (1, 2.5)), ("Up by 1,5%", (1, 1.5)),
        ("Up by 1,500%", (1, None)), ("Up by 1, 5%", (1, None)), ("Down by 2,0-2,5 %", (-1, -2.25)),
        ("Up", (1, None)), ("Up by $2", (1, None)), ("A decline of -2% to -3%", (-1, -2.5)),
        ("Up by +1.5%", (1, 1.5)), ("Up by 0-1%, 1-2% or 2-3%", (1, None)),
        ("Up by 1 or 2%", (1, None)), ("Up 1.5% to 220.20", (1, 1.5)),
        ("Up by 1-2% (70% confidence)", (1, 1.5)), ("Up, with a probability of 70%", (1, None)),
        ("Up by 1-2% in 2024-03-03 to 2024-03-10", (1, 1.5)),
        ("Up by 2%, driven by a 16% dividend", (1, 2.0)),
    ],
)  # fmt: skip
def test_figures_are_read_as_sizes(text, expected):
    assert predicted(answer(text)) == expected


UP = "up rise rises rising gain increase climb rebound higher upward bullish uptrend"
DOWN = "down fall falls falling decline drop slip slips decrease lose lower dip bearish downtrend"


@pytest.mark.parametrize(("words", "sign"), [(UP, 1), (DOWN, -1)])
def test_each_word_of_movement_has_its_direction(words, sign):
    for word in words.split():
        assert predicted(answer(f"The stock: {word} by 1-2%")) == (sign, sign * 1.5), word


@pytest.mark.parametrize(
    "text",
    [
        "Neutral", "Flat", "Sideways movement", "Unchanged", "It should remain stable.",
        "No significant change", "Little changed", "Flat (0-1%)", "It consolidates",
        "Flat, between -1% and +1%",
    ],
)  # fmt: skip
def test_no_move_is_a_direction_of_zero(text):
    assert predicted(answer(text)) == (0, 0.0)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("Up or down by 1%", CONTRADICTS),
        ("Up by 1-2%, then down by 2-3%", CONTRADICTS),
        ("Flat to slightly up", CONTRADICTS),
        ("A rise, but with a risk of a pullback", CONTRADICTS),
        ("A mixed trend with a slight rise", CONTRADICTS),
        ("Up by -2%", CONTRADICTS),
        ("Down by +2%", CONTRADICTS),
        ("Rise of -1% to +1%", CONTRADICTS),
        ("Not expected to rise", NEGATED),
        ("It won't gain 2%", NEGATED),
        ("It is unlikely to fall", NEGATED),
        ("Neither up nor down", NEGATED),
        ("It will not remain flat", NEGATED),
        ("The stock fails to rise", NEGATED),
        ("+/-1%", NO_DIRECTION),
        ("±1%", NO_DIRECTION),
        ("-1% to 1%", NO_DIRECTION),
    ],
)
def test_contradiction_and_negation_are_stated_and_not_guessed(text, reason):
    parsed = parse_answer(answer(text))
    assert (parsed.valid, parsed.direction, parsed.magnitude, parsed.reason) == (
        False,
        None,
        None,
        reason,
    )


@pytest.mark.parametrize(
    ("text", "expected"), [("+1.5%", (1, 1.5)), ("-1.5%", (-1, -1.5)), ("−2%", (-1, -2.0))]
)
def test_a_sign_alone_is_a_direction(text, expected):
    assert predicted(answer(text)) == expected


def test_only_the_prediction_line_is_read():
    assert predicted(answer("Down by 1-2%", "Analysis: It may go up by 12% later.")) == (-1, -1.5)
    assert predicted(answer("Down by 1-2%", "It may go up by 12% later.")) == (-1, -1.5)


# --- any text at all ------------------------------------------------------------------------------

FRAGMENTS = [
    *HEADERS, *(header.strip("[]:") for header in HEADERS), "**", "##", "[", "]:", "\n", "\n\n",
    " ", "1. ", "...", "Prediction:", "Prediction", "Analysis:", "<think>", "</think>", "Up",
    "down", "by", "not", "up to", "1-2%", "5+%", "-", "+", ">", "%", ".5%", "9" * 30 + "%", "flat",
    "but", "risk of", "despite", "word", "é", "\ud800", "\x00", "\u2028", "ﷺ", "：",
]  # fmt: skip


def test_shuffled_fragments_never_raise_and_stay_consistent():
    dice = random.Random(7)
    valid = 0
    for _ in range(3000):
        body = "".join(dice.choices(FRAGMENTS, k=dice.randint(0, 40)))
        text = dice.choice([body, PLAIN + body, body + "\n" + PLAIN, answer(body)])
        lenient, strict = parse_answer(text), parse_answer(text, strict=True)
        valid += lenient.valid
        assert lenient.valid == (lenient.direction is not None) == (lenient.reason is None)
        assert lenient.direction in (-1, 0, 1, None)
        if lenient.magnitude:
            assert lenient.magnitude * (lenient.direction or 0) > 0
        if strict.valid:
            assert strict == lenient
    assert 300 < valid < 2700  # the fragments reach both sides


@pytest.mark.parametrize(
    "piece",
    [
        *HEADERS, "[Positive Developments]", "**", "#", "[", " ", "\n", "*\n", "Prediction:",
        "Prediction & ", "Analysis: ", "<think>", "</think>", "1-", "1 ", "1%", "5+", "- ", "up ",
        "up-", "up-1", "not ", "risk of a ", "recent a ", "due to ", "due to, ", "no change ", "(",
        "more than ", "cap the ", "1. a\n", "\r", "\u00a0",
    ],
)  # fmt: skip
@pytest.mark.parametrize("where", ["alone", "prediction", "repeated"])
def test_time_is_linear_in_hostile_text(piece, where):
    body = piece * (100_000 // len(piece))
    text = {"alone": body, "prediction": answer(body), "repeated": PLAIN + body + PLAIN}[where]
    with linear_work():
        parse_answer(text)


def test_time_is_linear_in_many_copies():
    with linear_work():
        parse_answer((answer("Up or down") + "\n") * 6000)
        parse_answer(HEADERS[0] + "a" * 200_000 + HEADERS[1] + "b" + (HEADERS[2] + "\n") * 16_000)


# --- real rows ------------------------------------------------------------------------------------


def rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_public_references_parse_strictly_and_match_their_label(shared_data):
    failed = []
    for row in rows(shared_data / "dow30" / "train.jsonl") + rows(
        shared_data / "dow30" / "test.jsonl"
    ):
        parsed = parse_answer(row["answer"], strict=True)
        if not parsed.valid:
            failed.append((row["symbol"], row["period"][:10], parse_answer(row["answer"]).reason))
            continue
        assert label_of_magnitude(parsed.magnitude) == row["label"]
        assert parse_answer(row["answer"]) == parsed
    weeks = [
        ("DOW", "2023-07-16"),
        ("GS", "2024-04-14"),
        ("KO", "2024-03-31"),
        ("UNH", "2024-03-17"),
    ]
    assert sorted(failed) == [(*week, "no Prediction line") for week in weeks]


@pytest.mark.parametrize("model", ["llama3.1_8b", "deepseek_r1_llama8b"])
def test_tuned_models_are_read(shared_data, model):
    answers = [
        parse_answer(row["generation"])
        for row in rows(shared_data / "generations" / f"{model}_lora.jsonl")
    ]
    assert sum(parsed.valid for parsed in answers) >= 99
    for parsed in answers:
        if parsed.valid:
            # Both tuned models write the bin itself, so a plain comparison must agree.
            assert parsed.prediction.lower() in BINS
            assert parsed.magnitude == magnitude_of(parsed.prediction)
            assert not any(header in parsed.analysis for header in HEADERS)


def test_reading_is_the_same_for_a_line_and_an_answer():
    assert read_prediction("Up by 1-2%").magnitude == parse_answer(PLAIN).magnitude


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_prediction_with_no_label_below_ends_with_its_line(end):
    # Found by fuzzing: a lone carriage return ends a line as well.
    text = answer("It depends on the market", "").rstrip() + end + "nalysis:** Down 5% is possible."
    parsed = parse_answer(text)
    assert (parsed.direction, parsed.prediction) == (None, "It depends on the market")
    assert parsed.analysis == "nalysis:** Down 5% is possible."
