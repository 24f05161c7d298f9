"""What the teacher is asked, and which answers are accepted. Firms and texts are invented."""

from dataclasses import replace

import pytest

from benchmarks.teacher import made_up_records
from data_pipeline.dataset.public_rows import convert
from data_pipeline.teacher.prompts import (
    BETRAYALS,
    digest,
    fingerprint,
    first_messages,
    judge,
    next_messages,
    without_thought_and_space,
)
from weekahead.files import read_jsonl
from weekahead.schema.rows import reference_text
from weekahead.task.answer import render_answer
from weekahead.task.labels import BINS
from weekahead.task.prompt import render_prompt

GOOD = render_answer(
    ["Orders grew."], ["A rival cut prices."], "down by 1-2%", "The rival weighs more."
)


@pytest.fixture
def record():
    return replace(next(made_up_records(1)), weekly_return=-0.013)


def test_a_forecast_is_the_prompt_of_the_student_to_the_letter(record):
    assert first_messages(record, "forecast") == render_prompt(record)


def test_hindsight_adds_one_paragraph_that_names_the_bin(record):
    """To the prompt of the student, which stays as it is."""
    system, user = first_messages(record, "hindsight")
    plain = render_prompt(record)
    assert system == plain[0]
    assert user["content"].startswith(plain[1]["content"] + "\n\n")
    added = user["content"].removeprefix(plain[1]["content"])
    assert "Prediction: Down by 1-2%" in added
    assert not any(bin_.capitalize() in added for bin_ in BINS if bin_ != "down by 1-2%")


def test_hindsight_about_an_unknown_week_cannot_be_asked(record):
    with pytest.raises(ValueError, match=rf"record {record.id} has no weekly_return"):
        first_messages(replace(record, weekly_return=None), "hindsight")


def test_the_second_question_shows_the_answer_and_the_reason(record):
    messages = first_messages(record, "hindsight")
    again = next_messages(
        messages, answer="<think>hm</think>\nI cannot say.", reason="no Prediction line"
    )
    assert again[:2] == messages
    assert again[2] == {"role": "assistant", "content": "I cannot say."}
    assert "no Prediction line" in again[3]["content"] and again[3]["role"] == "user"


def test_an_answer_without_text_keeps_the_roles_alternating(record):
    messages = first_messages(record, "hindsight")
    again = next_messages(messages, answer=" ", reason="empty answer")
    assert [turn["role"] for turn in again] == ["system", "user"]
    assert (
        again[1]["content"].startswith(messages[1]["content"])
        and "empty answer" in again[1]["content"]
    )


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        (GOOD, "stop", None),
        (GOOD, None, None),
        (f"<think>\nhm\n</think>\n\n{GOOD}\n", "stop", None),
        (f"hm\n</think>{GOOD}", "stop", None),
        ("", "stop", "empty answer"),
        ("<think>no end", "stop", "empty answer"),
        (GOOD, "length", "cut off by the token limit"),
        (GOOD, "content_filter", "cut off by a content filter"),
        (f"Sure!\n{GOOD}", "stop", "strict: text before the first section"),
        (GOOD.replace("1. Orders", "- Orders"), "stop", "strict: items not numbered 1, 2, ..."),
        (GOOD.replace("Down by 1-2%", "Down by 2-3%"), "stop", "another bin than the one told"),
        (GOOD.replace("Down by", "Up by"), "stop", "another bin than the one told"),
        (
            GOOD.replace("The rival", "In\nhindsight the rival"),
            "stop",
            "betrays hindsight: 'in hindsight'",
        ),
    ],
)
def test_a_hindsight_answer_is_accepted_or_has_a_reason(text, finish, reason):
    assert judge(text, finish_reason=finish, label="down by 1-2%") == reason


@pytest.mark.parametrize("phrase", BETRAYALS)
def test_a_phrase_that_betrays_hindsight_is_found_in_any_case(phrase):
    reason = judge(f"{GOOD} {phrase.upper()}.", finish_reason="stop", label="down by 1-2%")
    assert reason == f"betrays hindsight: {phrase!r}"


@pytest.mark.parametrize(
    ("text", "finish", "reason"),
    [
        (GOOD.replace("[Positive Developments]:", "**Positive Developments**"), "stop", None),
        (GOOD.replace("Down by 1-2%", "Up by about 2%, in hindsight"), "stop", None),
        ("I cannot say.", "stop", "no [Positive Developments] section"),
        ("", "stop", "empty answer"),
        (GOOD, "length", "cut off by the token limit"),
    ],
)
def test_a_forecast_need_only_be_readable(text, finish, reason):
    assert judge(text, finish_reason=finish, label=None) == reason


def test_what_a_student_learns_has_no_thought_and_no_outer_space():
    assert without_thought_and_space(f" <think>a\n</think>\n\n{GOOD} \n") == GOOD


def test_an_answer_belongs_to_a_prompt_and_the_bin_it_was_told(record):
    first = fingerprint(record, "hindsight")
    assert fingerprint(replace(record, weekly_return=-0.019), "hindsight") == first  # the same bin
    assert fingerprint(replace(record, weekly_return=0.019), "hindsight") != first
    assert fingerprint(replace(record, company="Another."), "hindsight") != first


def test_a_forecast_stays_that_of_its_prompt(record):
    """Also when the return becomes known."""
    assert fingerprint(replace(record, weekly_return=None), "forecast") == fingerprint(
        record, "forecast"
    )


def test_a_digest_does_not_depend_on_the_order_of_names():
    assert digest({"a": 1, "b": [1.5, "é"]}) == digest({"b": [1.5, "é"], "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    # sha256 of the bytes {"a":"é"} in UTF-8, from `printf '{"a":"\xc3\xa9"}' | sha256sum`
    assert digest({"a": "é"}) == "b3a092a6af48807fa9482b2ee140105575daa26d5b24b3c0e60a7e2dee6683b1"


def test_real_answers_of_a_teacher_that_was_told_are_accepted(shared_data):
    """542 of the 546 public GPT-4 answers, all but those without a prediction; none is taken for
    a betrayal.
    """
    rows = []
    for name in ("train", "test"):
        rows += convert(read_jsonl(shared_data / "dow30" / f"{name}.jsonl"), name)[0]
    reasons = [judge(reference_text(row), finish_reason="stop", label=row["label"]) for row in rows]
    assert len(reasons) == 546
    assert {reason for reason in reasons if reason} == {
        "strict: prediction not one of the twelve, or no analysis below it"
    }
    assert sum(reason is None for reason in reasons) == 542
