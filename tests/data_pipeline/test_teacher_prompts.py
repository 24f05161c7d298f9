"""What the teacher is asked. Firms and texts are invented."""

from dataclasses import replace

import pytest

from benchmarks.teacher import made_up_records
from data_pipeline.teacher.prompts import (
    digest,
    fingerprint,
    first_messages,
    next_messages,
    without_thought_and_space,
)
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
