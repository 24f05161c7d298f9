"""Which answers of a teacher are accepted. Firms and texts are invented."""

import pytest

from data_pipeline.dataset.public_rows import convert
from data_pipeline.teacher.judgement import (
    BETRAYALS,
    UNRECORDED,
    is_cut_off,
    judge,
    judge_row,
    kind_of,
)
from weekahead.files import read_jsonl
from weekahead.models.families import FAMILIES
from weekahead.schema.rows import reference_text
from weekahead.task.answer import render_answer

BIN = "down by 1-2%"
GOOD = render_answer(["Orders grew."], ["A rival cut prices."], BIN, "The rival weighs more.")


def reason(text, finish_reason="stop", label=BIN):
    return judge(text, finish_reason=finish_reason, label=label)


@pytest.mark.parametrize(
    "text",
    [
        GOOD,
        f"<think>\nhm\n</think>\n\n{GOOD}\n",
        f"hm\n</think>{GOOD}",
        GOOD.replace("The rival", "Note that the rival"),
        GOOD.replace("The rival", "The company's given forecasts aside, the rival"),
        GOOD.replace("The rival", "As required by the regulator, recalls went on. The rival"),
        GOOD.replace("more.", "more.\n\nAll in all I expect a decline of 1-2% next week."),
        GOOD.replace("more.", "more, at <5% of sales & a P/E of >20."),
    ],
)
def test_a_good_answer_is_accepted(text):
    assert reason(text) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty answer"),
        ("<think>no end", "empty answer"),
        (f"Sure!\n{GOOD}", "strict: text before the first section"),
        (GOOD.replace("1. Orders", "- Orders"), "strict: items not numbered 1, 2, ..."),
        (GOOD.replace("Down by 1-2%", "Down by 2-3%"), "another bin than the one told"),
        (GOOD.replace("Down by", "Up by"), "another bin than the one told"),
    ],
)
def test_another_layout_or_bin_is_rejected(text, expected):
    assert reason(text) == expected


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("stop", None),
        ("STOP", None),
        ("length", "cut off (length)"),
        ("model_length", "cut off (model_length)"),
        ("max_tokens", "cut off (max_tokens)"),
        ("MAX_TOKENS", "cut off (MAX_TOKENS)"),
        ("insufficient_system_resource", "cut off (insufficient_system_resource)"),
        ("error", "cut off (error)"),
        ("abort", "cut off (abort)"),
        ("eos", "cut off (eos)"),
        ("end_turn", "cut off (end_turn)"),
        ("stop_sequence", "cut off (stop_sequence)"),
        (None, "cut off (no finish reason)"),
        ("content_filter", "filtered (content_filter)"),
        ("SAFETY", "filtered (SAFETY)"),
        ("tool_calls", "called a tool (tool_calls)"),
        ("refusal", "refused by the model (refusal)"),
        ("refused (400)", "refused (400)"),
    ],
)
@pytest.mark.parametrize("label", [BIN, None])
def test_of_all_finish_reasons_stop_alone_accepts(word, expected, label):
    assert reason(GOOD, word, label) == expected


def test_an_answer_of_an_old_log_must_end_its_sentence():
    """Logs of older versions did not keep the finish reason."""
    assert reason(GOOD, UNRECORDED) is None
    assert reason(GOOD[:-6], UNRECORDED) == "cut off (in mid sentence)"


TOKENS = (
    "<|eot_id|>", "<|im_end|>", "</s>", "<s>", "<end_of_turn>", "<eos>", "<pad>", "[INST]", "[EOS]",
    "[/INST]", "<<SYS>>", "<|endoftext|>", "<｜end▁of▁sentence｜>", "<｜Assistant｜>", "<|im_end",
    "im_start", "<|channel|>final<|message|>", "<0x0A>", "<unused12>", "<extra_id_0>", "[gMASK]",
    "<|start_header_id|>assistant<|end_header_id|>", "<|END_OF_TURN_TOKEN|>", "[TOOL_CALLS]",
    "<tool_call>", "＜|im_end|＞", "<reserved_special_token_3>", "&lt;|eot_id|&gt;", "▁end",
    "<fim_middle>", "<| im_end |>",
)  # fmt: skip


@pytest.mark.parametrize("token", TOKENS)
def test_a_control_token_of_any_family_is_rejected(token):
    """Anywhere: at the end, in an item, in the analysis."""
    for text in (
        f"{GOOD}{token}",
        GOOD.replace("Orders grew.", f"Orders {token} grew."),
        GOOD.replace("weighs", f"{token} weighs"),
    ):
        assert kind_of(reason(text)) == "control token", text


@pytest.mark.parametrize("family", FAMILIES)
def test_the_control_tokens_of_every_family_are_rejected(family):
    for token in FAMILIES[family].chat_format.control_tokens:
        assert kind_of(reason(f"{GOOD}{token}")) == "control token", token


@pytest.mark.parametrize("text", ["\nUser: And now?", "\n### Response:", "\nassistant: Sure."])
def test_the_next_turn_is_no_analysis(text):
    assert kind_of(reason(GOOD + text)) == "control token"


@pytest.mark.parametrize(
    "character", ["\ufffd", "\x00", "\x1b", "\ud83d", "\ue000", "\u200b", "\u202e", "\u2047"]
)
def test_a_character_that_no_text_has_is_rejected(character):
    found = reason(GOOD.replace("weighs", f"we{character}ighs"))
    assert found == f"broken text: U+{ord(character):04X}"


@pytest.mark.parametrize(
    "note",
    [
        "\n\nNote: this is not advice.",
        " Note: past prices say little.",
        "\n\n(Note: written from the facts above.)",
        "\n\n**Disclaimer**: do your own research.",
        " This is not financial advice.",
        " Please note that this does not constitute investment advice.",
        "\n\nLet me know if you need more.",
        " I hope this helps!",
        "\n\nIf you have any questions, feel free to ask.",
        "\n---\nEnd of analysis",
        "\n```",
        "\n\nConfidence: 70%",
        "\n\nP.S. The rival may err.",
        " For illustrative purposes only.",
        "\n\n以上分析仅供参考，不构成投资建议。",
        " 注意：以上内容由模型生成。",
        "\n\nHinweis: keine Anlageberatung.",
    ],
)
def test_text_after_the_analysis_is_rejected(note):
    assert kind_of(reason(GOOD + note)) == "text after the analysis"


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (f"{GOOD}\nPrediction: Up by 1-2%", "a second prediction"),
        (f"{GOOD}\nPrediction: Down by 1-2%", "a second prediction"),
        (f"{GOOD}\n\n**Final prediction:** it rises.", "a second prediction"),
        (f"{GOOD} Prediction: up.", "a second prediction"),
        (f"{GOOD} It may also go up by 2-3%.", "a second prediction"),
        (f"{GOOD}\n\n**Positive Developments**\n1. More.", "a second block"),
        (f"{GOOD}\nAnalysis: The rival weighs less.", "a second block"),
        (f"{GOOD}\n\n{GOOD}", "strict"),
        (f"{GOOD}\n\nQuestion: What of the rival?", "a second block"),
        (f"{GOOD}\n\n[Company Introduction]:\n\nThe rival sells boats.", "a second block"),
    ],
)
def test_a_second_call_or_block_is_rejected(text, kind):
    assert kind_of(reason(text)) == kind


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        (" See https://example.org/a.", "cites a page"),
        (" Orders grew [1](example.org).", "cites a page"),
        (" Orders grew【4†source】.", "cites a page"),
        (" So {{company}} falls.", "placeholder"),
        (" So [Company Name] falls.", "placeholder"),
        (" [insert a risk here]", "placeholder"),
        (" The shares may yet rise." * 5, "repeats itself"),
        (" It isnâ€™t cheap.", "broken text"),
        (" Indeed, the stock closed the week lower.", "betrays hindsight"),
    ],
)
def test_filler_pages_and_loops_are_rejected(text, kind):
    """Prompts hold no address: a teacher that cites a page has searched, and knows the week."""
    assert kind_of(reason(GOOD + text)) == kind


@pytest.mark.parametrize("phrase", BETRAYALS)
def test_a_phrase_that_betrays_hindsight_is_found_in_any_case(phrase):
    assert reason(f"{GOOD} {phrase.upper()}.") == f"betrays hindsight: {phrase!r}"


@pytest.mark.parametrize(
    "leak",
    [
        "As requested, I argue for a decline.",
        "As an AI, I cannot know.",
        "Since the price did fall, the rival won.",
        "Given the known outcome, this fits.",
        "This matches the given label.",
        "I was asked to argue so.",
        "Following your instructions, I weigh both.",
        "Knowing the outcome, the concerns win.",
        "As it turned out, the rival won.",
        "In\nhindsight the rival won.",
        "In retrospect the concerns won.",
        "The stock ultimately fell.",
        "Per your request, this is short.",
        "The required prediction follows.",
        "The correct bin is clear.",
    ],
)
def test_a_sentence_that_leaks_the_teaching_is_rejected(leak):
    assert kind_of(reason(f"{GOOD} {leak}")) == "betrays hindsight"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (GOOD.replace("[Positive Developments]:", "**Positive Developments**"), None),
        (GOOD.replace("Down by 1-2%", "Up by about 2%, in hindsight"), None),
        (f"{GOOD}\n\nNote: not advice.<|eot_id|>", None),
        ("I cannot say.", "no [Positive Developments] section"),
        ("", "empty answer"),
    ],
)
def test_a_forecast_need_only_be_readable(text, expected):
    assert reason(text, label=None) == expected


def test_an_answer_that_an_older_version_accepted_is_judged_again():
    row = {"accepted": True, "reason": None, "answer": f"{GOOD}<|eot_id|>", "finish_reason": "stop"}
    assert judge_row(row, BIN) == "control token: '<|eot_id|>'"
    assert judge_row({**row, "answer": GOOD, "finish_reason": "error"}, BIN) == "cut off (error)"
    assert judge_row({"accepted": True, "reason": None, "answer": GOOD}, BIN) is None
    assert judge_row({**row, "accepted": False, "reason": "old"}, BIN) == "old"


def test_what_a_larger_limit_may_mend():
    assert is_cut_off("cut off (length)") and is_cut_off("cut off by the token limit")
    for other in (
        "cut off by a content filter",
        "filtered (content_filter)",
        "refused (400)",
        None,
    ):
        assert not is_cut_off(other)


def test_real_answers_of_a_teacher_that_was_told_are_accepted(shared_data):
    """542 of the 546 public GPT-4 answers, all but those without a prediction; none is taken for
    a betrayal.
    """
    rows = []
    for name in ("train", "test"):
        rows += convert(read_jsonl(shared_data / "dow30" / f"{name}.jsonl"), name)[0]
    reasons = [reason(reference_text(row), label=row["label"]) for row in rows]
    assert len(reasons) == 546
    assert {each for each in reasons if each} == {
        "strict: prediction not one of the twelve, or no analysis below it"
    }
    assert sum(each is None for each in reasons) == 542
