"""Answers in any decoration: headers keep their words, and a thought is never the answer."""

import pytest

from tests.support.linear import linear_work
from weekahead.task.answer import parse_answer

NAMES = ("Positive Developments", "Potential Concerns", "Prediction & Analysis")


def laid_out(header, prediction="Up by 1-2%"):
    """An answer whose headers are `header` with the name in place of @."""
    first, second, third = (header.replace("@", name) for name in NAMES)
    return (
        f"{first}\n1. Sales rose.\n\n{second}\n1. Costs rose.\n\n"
        f"{third}\nPrediction: {prediction}\nAnalysis: The week looks calm."
    )


ANSWER, DRAFT = laid_out("[@]:"), laid_out("[@]:", "Down by 2-3%")

HEADERS = """
# @|###### @ ######|📈 @:|🟢 **@**:|⚠️ @|**1. @**|2) @:|(3) @|1️⃣ **@**:|【@】|《@》|「@」
『@』：|〔@〕|⟦@⟧|\\[@\\]:|\\*\\*@\\*\\*|<h2>@</h2>|<b>@</b>:|<strong>@:</strong>
<p><b>[@]</b>:</p>|> **@**|• @:|– @:|— @ —|=== @ ===|~~~ @ ~~~|*** @ ***|\\section{@}
\\textbf{@}|\\subsection*{@:}|**@ :**|[ @ ]:|[[@]]|{@}|(@)|"@":|“@”:|`@`|__@__:|***@***
<u>@</u>:|Section 2: @|Part II: @|Step 1 - @:|§ @|→ @|■ @|✔ @:|A. @:|b) @|ii. @|IV) @
## @ for AXP|## @ (next week)|@ (AXP):|**@ of Apple:**|#@|\t@:|\u3000@|\u200b@:
<div class="x">@</div>|@.|@ -
"""


@pytest.mark.parametrize(
    "header", [h for line in HEADERS.split("\n") for h in line.split("|") if h]
)
def test_a_header_keeps_its_words_under_any_decoration(header):
    parsed = parse_answer(laid_out(header))
    assert (parsed.direction, parsed.magnitude) == (1, 1.5), parsed.reason
    assert "Sales rose." in parsed.positives and "Costs" not in parsed.positives


@pytest.mark.parametrize("header", ["| @ |", "| **@** | |", "@\n====", "@:\n----"])
def test_tables_and_underlined_headers_are_read(header):
    parsed = parse_answer(laid_out(header))
    assert (parsed.direction, parsed.positives) == (1, "1. Sales rose.")


def test_an_answer_in_one_table_is_read():
    rows = ("| Section | Content |", "|---|---|", f"| {NAMES[0]} | Sales rose. |")
    more = (f"| {NAMES[1]} | Costs rose. |", f"| {NAMES[2]} | Prediction: Up by 1-2% |")
    parsed = parse_answer("\n".join((*rows, *more)))
    assert (parsed.direction, parsed.magnitude) == (1, 1.5)


@pytest.mark.parametrize(
    "name",
    [
        "Prediction &amp; Analysis",
        "Prediction ＆ Analysis",
        "Prediction \\& Analysis",
        "Prediction/Analysis",
        "PREDICTION + ANALYSIS",
        "prediction_and_analysis",
    ],
)
def test_the_third_header_is_read_however_it_joins(name):
    assert parse_answer(ANSWER.replace(NAMES[2], name)).direction == 1


@pytest.mark.parametrize(
    "line",
    [
        "🔮 Prediction: Up by 1-2%",
        "<p><b>Prediction</b>: Up by 1-2%</p>",
        "【Prediction】：Up by 1-2%",
        "| Prediction | Up by 1-2% |",
        "Prediction (next week): Up by 1-2%",
        '"Prediction": "Up by 1-2%",',
    ],
)
def test_the_prediction_line_is_read_under_any_decoration(line):
    parsed = parse_answer(ANSWER.replace("Prediction: Up by 1-2%", line))
    assert (parsed.direction, parsed.magnitude) == (1, 1.5)


THOUGHTS = [
    ("<think>", "</think>"),
    ("<THINKING>", "</THINKING>"),
    ("<thoughts>", "</thoughts>"),
    ("<reasoning>", "</reasoning>"),
    ("<reflection>", "</reflection>"),
    ("< think >", "< /think >"),
    ("<seed:think>", "</seed:think>"),
    ("[THINK]", "[/THINK]"),
    ("[Reasoning]", "[/Reasoning]"),
    ("[BEGIN THOUGHT]", "[END THOUGHT]"),
    ("◁think▷", "◁/think▷"),
    ("«think»", "«/think»"),
    ("<|channel|>analysis<|message|>", "<|end|><|start|>assistant<|channel|>final<|message|>"),
    ("<|channel|>analysis<|message|>", "<|end|>"),
    ("analysis", "assistantfinal"),
    ("<|begin_of_thought|>", "<|end_of_thought|>\n<|begin_of_solution|>"),
    ("<|START_THINKING|>", "<|END_THINKING|><|START_RESPONSE|>"),
    ("<unused94>", "<unused95>"),
    ("<|channel>thought\n", "<channel|>"),
    ("<|thinking_start|>", "<|thinking_end|>"),
    ("Here is my thought process:\n", "\nHere is my response:\n"),
    ("**Thinking:**\n", "\n**Answer:**\n"),
    ("### Reasoning:\n", "\n### Final Answer:\n"),
    ("Thought process: ", "\n\nResponse: "),
    ("＜think＞", "＜/think＞"),
    ("<think id='1'>", "</think>"),
    ("<|im_start|>think\n", "<|im_end|>"),
    ("```thinking\n", "\n```"),
    ("<!-- ", " -->"),
    ("<draft>", "</draft>"),
    ("[DRAFT]", "[/DRAFT]"),
    ("<analysis>", "</analysis>"),
    ("<details>\n<summary>Steps</summary>\n", "</details>"),
    ("<plan type='a'>", "</plan>"),
    ("<think>\n", "\n</think>\n\n<answer>"),
    ("<think>", "<answer>"),
    ("<think><draft>", "</draft></think>"),
    ("<think><reasoning>", "</reasoning> so it may fall</think>"),
    ("<a1>x</a1>\n<b1>", "</b1>"),
    ("", "</think>"),
    ("", "[/THINK]"),
    ("", "◁/think▷"),
    ("", "<|end_of_thought|>"),
]


@pytest.mark.parametrize(("opening", "closing"), THOUGHTS)
def test_a_closed_thought_is_never_the_answer(opening, closing):
    """Even if it holds a whole answer of its own."""
    for around in (f"{opening}\n{DRAFT}\n{closing}\n{ANSWER}", f"{opening}Hm.{closing}{ANSWER}"):
        parsed = parse_answer(around)
        assert (parsed.direction, parsed.magnitude) == (1, 1.5), around[:40]


@pytest.mark.parametrize(
    "wrapper",
    [
        "<answer>\n@\n</answer>",
        "<div>@</div>",
        "<response>@</response>",
        "```\n@\n```",
        "<result>\n@",
        "@<|end|>",
        "@<|im_end|>",
        "<|channel|>final<|message|>@<|return|>",
        "<note>@</note>",
        "[Reasoning]: none.\n@",
        "(thinking) @",
    ],
)
def test_what_only_wraps_an_answer_is_no_thought(wrapper):
    parsed = parse_answer(wrapper.replace("@", ANSWER))
    assert (parsed.direction, parsed.magnitude) == (1, 1.5)


def test_a_label_in_brackets_of_the_answer_is_no_thought():
    text = ANSWER.replace("Analysis: The", "[Reasoning]:\nThe")
    assert parse_answer(text).direction == 1


@pytest.mark.parametrize(
    "piece",
    [
        "<think>",
        "</think>",
        "[THINK]",
        "[/THINK]",
        "<draft>",
        "</draft>",
        "<a>",
        "<|end|>",
        "<!--",
        "<|channel|>analysis",
        "```\n",
        "◁think▷",
        "<|begin_of_thought|>",
        "<answer>",
        "<answer",
        "<1>",
        "Positive Developments",
        "# Positive Developments",
        "**Positive Developments",
        "<b>",
        "\\a{",
    ],
)
@pytest.mark.parametrize("where", ["alone", "before", "in line"])
def test_time_is_linear_in_hostile_layout(piece, where):
    body = piece * (100_000 // len(piece))
    text = {"alone": body, "before": body + ANSWER, "in line": f"{ANSWER}\n{body} {NAMES[0]}"}[
        where
    ]
    with linear_work():
        parse_answer(text)
