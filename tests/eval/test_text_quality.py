"""How answers are written: repetition, length, completeness, figures that are in no prompt."""

import json

import pytest

from eval.metrics.evaluate import evaluate
from eval.metrics.text_quality import (
    answer_quality,
    prompt_figures,
    repetition,
    text_quality,
    unsupported_figures,
)
from weekahead.task.answer import parse_answer

PROMPT = (
    "[Company Introduction]: market capitalization of 168338.49 in USD, 721.5 shares. "
    "From 2024-03-10 to 2024-03-17 the price fell from 222.68 to 217.79. "
    "Revenue of 1,250 million. grossMargin: 0.6334 peTTM: 16.3032 eps: -2.6589"
)
ANSWER = (
    "[Positive Developments]:\n"
    "1. Margin of 63.3% is high.\n2. A dividend of $0.70 was declared.\n\n"
    "[Potential Concerns]:\n"
    "1. The price fell from $222.68 to 217.79.\n2. It trades at 16.3x earnings.\n\n"
    "[Prediction & Analysis]:\nPrediction: Up by 3-4%\n"
    "Analysis: We expect a rise of 3-4% from $218 after 2024-03-17."
)


def quality(text, **fields):
    return answer_quality({"generation": text, **fields}, parse_answer(text))


def test_repetition_by_hand():
    assert repetition("a b c d") == 0.0
    # Runs of four: abca, bcab, cabc, abca, bcab: five, of which three are different.
    assert repetition("a b c a b c a b") == pytest.approx(2 / 5)
    assert repetition("A b C d x a B c D") == pytest.approx(1 / 6)
    assert repetition("a b c") is None


def test_scripts_without_spaces_have_no_words_to_count():
    """Cut at spaces, a sentence of Chinese is one word; in Cyrillic a word is a word."""
    chinese = "\u8ba2\u5355\u589e\u957f \u9700\u6c42 \u8ba2\u5355 \u9700\u6c42 \u8ba2\u5355"
    assert repetition(chinese) is None and quality(chinese).words is None
    cyrillic = "\u0430 \u0431 \u0432 \u0433 \u0430 \u0431 \u0432 \u0433"
    assert repetition(cyrillic) == pytest.approx(1 / 5) and quality(cyrillic).words == 8


def test_one_answer_by_hand():
    result = quality(ANSWER, prompt=PROMPT)
    assert result.words == len(ANSWER.split())
    assert (result.sections, result.is_complete) == (3, True)
    # 63.3 %, $0.70, $222.68, 217.79, 16.3x and $218; only the dividend is not in the prompt. 3-4 %
    # is its forecast.
    assert (result.figures, result.figures_not_in_prompt) == (6, 1)


@pytest.mark.parametrize(
    "figure",
    [
        "$222.68",
        "$223",
        "222.7",
        "$222.6",
        "63%",
        "63.34 percent",
        "0.63",
        "16x",
        "16.3 times",
        "$1,250 million",
        "$1.25 billion",
        "$168 billion",
        "168.3bn",
        "$168338.49",
        "2.66",
        "between 217.8-222.7",
    ],
)
def test_rounded_cut_off_or_scaled_figures_are_in_the_prompt(figure):
    missing, total = unsupported_figures(f"It was {figure} then.", prompt_figures(PROMPT))
    assert (missing, total > 0) == ([], True)


@pytest.mark.parametrize(
    "figure", ["$224", "221.68", "64.3%", "18x", "$1.35 billion", "$12 million", "0.71", "2.2%"]
)
def test_other_figures_are_not(figure):
    text = f"It was {figure} then."
    assert unsupported_figures(text, prompt_figures(PROMPT)) == ([figure], 1)


@pytest.mark.parametrize(
    "text",
    [
        "In 2024 the 737 MAX, 5G, S&P 500, Q3 and 30-day averages, in 12 countries.",
        "From 2021-01-01 to 2022-02-02.",
        "1. First.\n2. Second.\n  **3.** Third.\n- 4) Fourth.",
        "",
    ],
)
def test_names_counts_dates_and_list_numbers_are_not_figures(text):
    assert unsupported_figures(text, []) == ([], 0)


def test_both_ends_of_a_range_count():
    assert unsupported_figures("growth of 12-15%", [12.0]) == (["12-15%"], 2)


def test_the_predicted_size_is_not_a_figure():
    assert unsupported_figures("Up by 3-4%, or 3%, to $221 from $214.", [], [3.0, 4.0, 221.0]) == (
        ["$214"],
        1,
    )


@pytest.mark.parametrize(
    "text",
    ["9" * 2000 + "%", "1," * 2000, "$" * 500, "١٢٣%", "1.2.3.4%", "5" * 400 + "." + "5" * 400],
)
def test_odd_figures_are_read_without_an_error(text):
    assert json.dumps(prompt_figures(text), allow_nan=False)
    assert unsupported_figures(text, [1.0])[1] <= 2000


def test_only_the_users_words_are_the_prompt():
    messages = [
        {"role": "system", "content": "up by 1-2%"},
        {"role": "user", "content": "It closed at 1,234.5 on 2024-03-17."},
    ]
    assert prompt_figures(messages) == [1234.5]
    assert prompt_figures("3 2 3 and -2") == [2.0, 3.0]


def test_messages_do_as_well_as_their_text():
    messages = [{"role": "user", "content": PROMPT}]
    assert quality(ANSWER, prompt=PROMPT) == quality(ANSWER, prompt=messages)
    assert quality(ANSWER, prompt="No number.").figures_not_in_prompt == 6


@pytest.mark.parametrize(
    ("change", "sections", "complete"),
    [
        (lambda text: text.replace("2. A dividend of $0.70 was declared.", ""), 3, False),
        (lambda text: text.replace("\n2. A", "\n2. A\n3. B\n4. C\n5. D"), 3, False),
        (lambda text: text.replace("2. A", "**2)** A"), 3, True),
        (lambda text: text.split("[Prediction")[0], 2, False),
        (lambda text: "I cannot say.", 0, False),
        (lambda text: "", 0, False),
    ],
)
def test_completeness(change, sections, complete):
    result = quality(change(ANSWER))
    assert (result.sections, result.is_complete) == (sections, complete)


def test_a_thought_is_not_part_of_the_text():
    assert quality("<think>one two 99.9%</think>" + ANSWER, prompt=PROMPT) == quality(
        ANSWER, prompt=PROMPT
    )


def test_the_mean_over_rows_with_its_n():
    rows = [
        {"generation": ANSWER, "prompt": PROMPT},
        {"generation": "Up.", "prompt": None},
        {"generation": None},
    ]
    metrics = text_quality(rows, [parse_answer(row["generation"] or "") for row in rows])
    assert (metrics["n"], metrics["words"]) == (3, (len(ANSWER.split()) + 1) / 3)
    assert (metrics["complete"], metrics["sections"], metrics["repetition_n"]) == (1 / 3, 1.0, 1)
    assert (metrics["figures"], metrics["figures_not_in_prompt"], metrics["figures_n"]) == (6, 1, 1)
    assert metrics["share_not_in_prompt"] == 1 / 6
    assert metrics["figures_reason"] is None


def test_without_a_prompt_the_figures_are_null_with_a_reason():
    metrics = evaluate([{"generation": ANSWER, "answer": ANSWER}])[0]["text_quality"]
    assert [
        metrics[key] for key in ("figures", "figures_not_in_prompt", "share_not_in_prompt")
    ] == [None] * 3
    assert metrics["figures_reason"] == "no row has its `prompt`"


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"prompt": 3}, "row 1: prompt is 3; expected a text or messages"),
        ({"prompt": [{"role": "user"}]}, "expected a text or messages of role and content"),
    ],
)
def test_an_invalid_prompt_is_named(fields, message):
    with pytest.raises(ValueError, match=message):
        evaluate([{"generation": ANSWER, "answer": ANSWER, **fields}])


def test_real_answers_take_figures_from_their_own_prompt(shared_data):
    def read(name):
        return [
            json.loads(line)
            for line in (shared_data / name).read_text(encoding="utf-8").splitlines()
        ]

    prompts = [row["prompt"] for row in read("dow30/test.jsonl")[:100]]
    texts = [row["generation"] for row in read("generations/deepseek_r1_llama8b_lora.jsonl")]
    shares = []
    for paired in (prompts, prompts[37:] + prompts[:37]):
        pairs = zip(texts, paired, strict=True)
        rows = [{"generation": text, "prompt": prompt} for text, prompt in pairs]
        shares.append(
            text_quality(rows, [parse_answer(text) for text in texts])["share_not_in_prompt"]
        )
    own, other = shares
    assert own < 0.01 and other > 0.4


def test_headers_do_not_decide_the_script():
    """A short answer of Chinese has more letters in its English headers than in its sections."""
    sections = {"[Positive Developments]": "\u8ba2\u5355\u589e\u957f"}
    sections |= {"[Potential Concerns]": "\u9700\u6c42"}
    text = "\n".join(f"{header}:\n1. {item}" for header, item in sections.items())
    text += "\n[Prediction & Analysis]:\nPrediction: Up by 1-2%\nAnalysis: \u5229\u6da6"
    result = quality(text)
    assert result.sections == 3
    assert result.words is None and result.repetition is None


@pytest.mark.parametrize(
    "letters",
    ["\u80a1\u4ef7", "\u0440\u043e\u0441\u0442 "],
    ids=["Chinese", "Cyrillic"],
)
def test_figures_of_other_scripts_are_unknown(letters):
    """The figure is there and made up, but stands against a letter or has an unknown unit."""
    prompt = "The price is $3.50."
    for text, told in ((f"{letters}1,5%", prompt), ("It rose by 12.5%", f"{letters}3.50")):
        row = {"generation": text, "answer": "", "prompt": told}
        assert answer_quality(row, parse_answer(text)).figures is None
        metrics = text_quality([row], [parse_answer(text)])
        assert metrics["figures"] is None and "a to z" in metrics["figures_reason"]
    english = text_quality(
        [{"generation": "It rose by 12.5%", "answer": "", "prompt": prompt}],
        [parse_answer("It rose by 12.5%")],
    )
    assert (english["figures"], english["figures_not_in_prompt"]) == (1, 1)
