"""Answers of every shape that servers send, over a real wire, to the real command.

Each is accepted with the right text, rejected for the right reason, or failed: never a traceback,
and never a good answer by mistake.
"""

import gzip
import json
import time
from email.utils import formatdate
from pathlib import Path

import pytest

from data_pipeline.teacher import run as stage
from data_pipeline.teacher.answer_log import AnswerIndex
from tests.data_pipeline.test_teacher import SECRET, ask, logged, records_file
from tests.support.servers.teacher import Teacher, answer_to, http


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def choice(**changes):
    """A change of the only choice of a completion."""
    return lambda whole: {**whole, "choices": [{**whole["choices"][0], **changes}]}


def content(make):
    """A change of the text."""

    def change(whole):
        message = whole["choices"][0]["message"]
        return choice(message={**message, "content": make(message["content"])})(whole)

    return change


def message(**changes):
    def change(whole):
        return choice(message={**whole["choices"][0]["message"], **changes})(whole)

    return change


def fields(**changes):
    return lambda whole: {**whole, **changes}


def without(name):
    return lambda whole: {key: value for key, value in whole.items() if key != name}


def events(whole, end=b"data: [DONE]\n\n", reason="stop"):
    """The completion as server-sent events, in pieces of 40 characters."""
    text = whole["choices"][0]["message"]["content"]
    pieces = [text[at : at + 40] for at in range(0, len(text), 40)]
    chunks = [{"choices": [{"index": 0, "delta": {"content": piece}}]} for piece in pieces]
    chunks.append({"choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    chunks.append({"choices": [], "usage": whole["usage"]})
    return b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks) + end


def two_choices(whole):
    good = whole["choices"][0]
    other = {**good, "index": 1, "message": {"role": "assistant", "content": "No."}}
    return {**whole, "choices": [other, good]}


THOUGHT = {"type": "thinking", "thinking": [{"type": "text", "text": "Prediction: Up by 1-2%"}]}

GOOD_SHAPES = {
    "plain": lambda whole: whole,
    "parts": content(lambda text: [{"type": "text", "text": text}]),
    "two parts": content(lambda text: [{"type": "text", "text": text[:50]}, text[50:]]),
    "thinking part": content(lambda text: [THOUGHT, {"type": "text", "text": text}]),
    "output text": content(lambda text: [{"type": "output_text", "text": text}]),
    "text of an object": content(lambda text: {"type": "text", "text": text}),
    "think block": content(lambda text: f"<think>\nUp by 1-2%?\n</think>\n\n{text}"),
    "reasoning beside": message(reasoning_content="Up by 1-2%?", reasoning="Up?"),
    "empty lists": message(tool_calls=[], refusal=None, function_call=None, annotations=[]),
    "no ids": fields(id=None, created=None, object=None, system_fingerprint=None),
    "two choices, shuffled": two_choices,
    "index as text": choice(index="0"),
    "usage as text": fields(usage={"prompt_tokens": "900", "completion_tokens": "90"}),
    "usage as float": fields(usage={"prompt_tokens": 900.0, "completion_tokens": 90.0}),
    "usage null": fields(usage=None),
    "usage a list": fields(usage=[1, 2]),
    "no usage": without("usage"),
    "no model": without("model"),
    "upper case": choice(finish_reason="STOP"),
    "byte order mark": lambda whole: b"\xef\xbb\xbf" + json.dumps(whole).encode(),
    "white space": lambda whole: b"\n  \n" + json.dumps(whole).encode() + b"\n",
    "nan": fields(score=float("nan"), usage={"prompt_tokens": float("nan")}),
    "error null": fields(error=None),
    "legacy text": lambda whole: {
        **whole,
        "choices": [{"text": whole["choices"][0]["message"]["content"], "finish_reason": "stop"}],
    },
    "events": events,
    "native end": choice(native_finish_reason="end_turn"),
    "events of two choices": lambda whole: (
        b'data: {"choices": [{"index": 1, "delta": {"content": "No."}}]}\n\n' + events(whole)
    ),
    "events with comments": lambda whole: b": keep-alive\n\n" + events(whole),
}

REJECTED_SHAPES = {
    "length": (choice(finish_reason="length"), "cut off (length)"),
    "model_length": (choice(finish_reason="model_length"), "cut off (model_length)"),
    "null reason": (choice(finish_reason=None), "cut off (no finish reason)"),
    "no reason": (
        lambda whole: {**whole, "choices": [{"message": whole["choices"][0]["message"]}]},
        "cut off (no finish reason)",
    ),
    "null in mid sentence": (
        lambda whole: choice(finish_reason=None)(content(lambda text: text[:-20])(whole)),
        "cut off (no finish reason)",
    ),
    "insufficient resource": (
        choice(finish_reason="insufficient_system_resource"),
        "cut off (insufficient_system_resource)",
    ),
    "error": (choice(finish_reason="error"), "cut off (error)"),
    "a router's stop": (
        choice(finish_reason="stop", native_finish_reason="MAX_TOKENS"),
        "cut off (MAX_TOKENS)",
    ),
    "abort": (choice(finish_reason="abort"), "cut off (abort)"),
    "a number": (choice(finish_reason=2), "cut off (2)"),
    "an object": (choice(finish_reason={"type": "max_tokens"}), "cut off (max_tokens)"),
    "filter": (choice(finish_reason="content_filter"), "filtered (content_filter)"),
    "tool call": (
        message(content=None, tool_calls=[{"id": "a", "function": {"name": "f"}}]),
        "called a tool (tool_calls)",
    ),
    "refusal": (message(content=None, refusal="I cannot."), "refused by the model (refusal)"),
    "all tokens thought": (
        lambda whole: choice(finish_reason="length")(
            message(content=None, reasoning_content="Hm")(whole)
        ),
        "cut off (length)",
    ),
    "thought alone": (message(content=None, reasoning_content="Hm"), "empty answer"),
    "thinking part alone": (content(lambda text: [THOUGHT]), "empty answer"),
    "lone surrogate": (
        content(lambda text: text.replace("reports", "rep\ud83dorts")),
        "broken text: U+FFFD",
    ),
    "token inside": (
        content(lambda text: text.replace("reports", "<|eot_id|>reports")),
        "control token: '<|eot_id|>'",
    ),
    "token at the end": (content(lambda text: text + "</s>"), "control token: '</s>'"),
    "note": (
        content(lambda text: text + "\n\nNote: this is not advice."),
        "text after the analysis: 'Note:'",
    ),
    "second call": (
        content(lambda text: text + "\nPrediction: Up by 4-5%\nPrediction: Down by 4-5%"),
        "a second prediction",
    ),
    "events cut off": (
        lambda whole: events(whole, reason=None, end=b""),
        "cut off (no finish reason)",
    ),
}

FAILED_SHAPES = {
    "no choices": fields(choices=[]),
    "choices null": fields(choices=None),
    "choices a text": fields(choices="none"),
    "message null": choice(message=None),
    "content a number": content(lambda text: 7),
    "unknown part": content(lambda text: [{"type": "image_url", "image_url": "x"}]),
    "a list": lambda whole: [whole],
    "a text": lambda whole: "ok",
    "null": lambda whole: None,
    "page": lambda whole: b"<html><body>502 Bad Gateway</body></html>",
    "nothing": lambda whole: b"",
    "half": lambda whole: json.dumps(whole).encode()[:200],
    "deep": lambda whole: b'{"a":' * 100_000,
    "events without answer": lambda whole: b"data: [DONE]\n\n",
}


def reshaping(change, headers=""):
    """A teacher's respond: the good completion, changed, with status 200."""
    return lambda request, whole: http(change(whole), headers=headers)


@pytest.mark.parametrize("name", GOOD_SHAPES)
def test_a_good_answer_of_any_shape_is_accepted(monkeypatch, name):
    (record,) = records_file(1)
    kind = "content-type: text/event-stream\r\n" if "events" in name else ""
    with Teacher(respond=reshaping(GOOD_SHAPES[name], kind)) as teacher:
        assert ask(monkeypatch, teacher) == 0
    index = AnswerIndex("data/teacher/loopback/hindsight.jsonl")
    assert index.find(record) == answer_to(teacher.asked[0])


@pytest.mark.parametrize("name", REJECTED_SHAPES)
def test_a_bad_answer_of_any_shape_is_rejected(monkeypatch, capsys, name):
    """No record is accepted, so the status is 1, also when there is nothing to ask."""
    (record,) = records_file(1)
    change, reason = REJECTED_SHAPES[name]
    with Teacher(respond=reshaping(change)) as teacher:
        assert ask(monkeypatch, teacher) == 1
        assert ask(monkeypatch, teacher) == 1
        assert len(teacher.asked) == 2
    assert {row["reason"] for row in logged()} == {reason}
    assert AnswerIndex("data/teacher/loopback/hindsight.jsonl").find(record) is None
    assert "0 accepted: " in capsys.readouterr().err


@pytest.mark.parametrize("name", FAILED_SHAPES)
def test_what_is_no_answer_is_not_stored(monkeypatch, capsys, name):
    records_file(1)
    with Teacher(respond=reshaping(FAILED_SHAPES[name])) as teacher:
        assert ask(monkeypatch, teacher) == 1
    assert logged() == []
    assert "1 records failed and stay unanswered" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"error": {"message": "overloaded", "code": 503}}, (1, 6, "status 503: overloaded")),
        ({"error": "try later"}, (1, 6, "status 200: try later")),
        ({"object": "error", "message": "engine died"}, (1, 6, "engine died")),
        ({"detail": "busy"}, (1, 6, "busy")),
        ({"error": {"message": "bad key", "code": 401}}, (2, 1, "refuses the key (401)")),
        ({"error": {"message": "m", "code": "insufficient_quota"}}, (2, 1, "no credit left")),
        ({"error": {"message": "m", "code": "model_not_found"}}, (2, 1, "no such model")),
    ],
)
def test_an_error_with_status_200_is_an_error(monkeypatch, capsys, body, expected):
    """Tried again if it may pass, refused at once if not, and never stored."""
    records_file(1)
    status, asked, words = expected
    raw = http(body, headers="retry-after-ms: 1\r\n")
    with Teacher(respond=lambda request, whole: raw) as teacher:
        assert ask(monkeypatch, teacher) == status
        assert len(teacher.asked) == asked
    assert logged() == [] and words in capsys.readouterr().err


def once(first):
    """Respond with `first` to the first request and as usual to the others."""
    left = [first]
    return lambda request, whole: left.pop() if left else None


ANSWER = {"choices": []}


@pytest.mark.parametrize(
    "first",
    [
        http({"error": {}}, 429, "retry-after-ms: 5\r\n"),
        http({"error": {}}, 429, "retry-after: 0\r\n"),
        http({"error": {}}, 429, f"retry-after: {formatdate(time.time() - 5, usegmt=True)}\r\n"),
        http({"error": {}}, 429, "retry-after: soon\r\n"),
        http(b"<html>busy</html>", 503, "retry-after: 0\r\n"),
        http({"type": "error", "error": {"type": "overloaded_error"}}, 529, "retry-after: 0\r\n"),
        http([], 500, "retry-after: 0\r\n"),
        http(b"{", 502, "retry-after: 0\r\n"),
        http({"error": {"message": "x", "code": 502}}, 200, "retry-after: 0\r\n"),
        http(b"{", 200, "connection: close\r\n", length=500),
        http(b"not gzip", 200, "content-encoding: gzip\r\n"),
    ],
)
def test_what_may_pass_is_tried_again_however_it_is_said(monkeypatch, first):
    records_file(1)
    with Teacher(respond=once(first)) as teacher:
        assert ask(monkeypatch, teacher) == 0
        assert len(teacher.asked) == 2


@pytest.mark.parametrize("way", ["gzip", "chunked", "text"])
def test_an_answer_is_read_in_any_encoding(monkeypatch, way):
    records_file(1)

    def respond(request, whole):
        body = json.dumps(whole).encode()
        if way == "gzip":
            return http(gzip.compress(body), headers="content-encoding: gzip\r\n")
        if way == "text":
            return http(body, headers="content-type: text/plain\r\n")
        chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
        head = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n"
        return head + b"content-type: application/json\r\n\r\n" + chunks

    with Teacher(respond=respond) as teacher:
        assert ask(monkeypatch, teacher) == 0


def test_a_redirect_that_loses_the_question_is_refused(monkeypatch, capsys):
    records_file(1)
    raw = http(b"", 302, "location: http://127.0.0.1:9/login?token=abc\r\n")
    with Teacher(respond=lambda request, whole: raw) as teacher:
        assert ask(monkeypatch, teacher) == 2
    error = capsys.readouterr().err
    assert "redirects to http://127.0.0.1:9/login (302)" in error and "abc" not in error


def test_a_refused_parameter_is_left_out_and_said(monkeypatch, capsys):
    """As OpenAI's newer models do: another name of the limit, and no temperature."""
    records_file(3)

    def respond(request, whole):
        for name in ("max_tokens", "temperature"):
            if name in request:
                said = f"Unsupported parameter: '{name}' is not supported with this model."
                return http({"error": {"message": said, "param": name}}, 400)
        return None

    with Teacher(respond=respond) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "2") == 0
    assert teacher.asked[-1]["max_completion_tokens"] == 1024
    assert all(row["left_out"] == ["temperature"] for row in logged())
    assert "the teacher refuses temperature, so it was asked without" in capsys.readouterr().err


def test_a_value_out_of_range_is_refused_and_not_dropped(monkeypatch, capsys):
    records_file(1)
    said = {"error": {"message": "temperature must be below 2", "param": "temperature"}}
    with Teacher(respond=lambda request, whole: http(said, 400)) as teacher:
        assert ask(monkeypatch, teacher, "--temperature", "3") == 2
    assert "temperature must be below 2" in capsys.readouterr().err


def test_another_model_than_the_one_asked_for_is_said(monkeypatch, capsys):
    records_file(2)
    with Teacher(respond=reshaping(fields(model="cheap-1"))) as teacher:
        assert ask(monkeypatch, teacher) == 0
    assert "2 answers came from cheap-1, as the server says, and not" in capsys.readouterr().err
    index = AnswerIndex("data/teacher/loopback/hindsight.jsonl")
    assert index.teacher == "loopback (served as cheap-1), told the label"


# --- rejections in a row, the limit --------------------------------------------------------------


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("length", "raise --max_tokens above 1024: the same command then asks again what was cut"),
        ("eos", "the finish reason 'eos', and only 'stop' says that an answer is whole"),
        ("end_turn", "put a proxy before this one that says 'stop' at a normal end"),
        (None, "the server gives no finish reason, so nobody knows whether an answer is whole"),
    ],
)
def test_thirty_rejections_of_one_kind_stop_the_run(monkeypatch, capsys, word, said):
    """The last line names the server's word and what helps; the remedy works with the same log."""
    records_file(60)
    with Teacher(respond=reshaping(choice(finish_reason=word))) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "2") == 1
    assert 30 <= len(teacher.asked) <= 32 and len(logged()) == len(teacher.asked)
    reason = f"cut off ({word or 'no finish reason'})"
    last = capsys.readouterr().err.splitlines()[-1]
    assert f"answers were rejected in a row ({reason}) and none was accepted" in last
    assert said in last and "--max_tokens above 1024" in last
    with Teacher() as mended:
        assert ask(monkeypatch, mended, "--max_tokens", "1025") == 0
    assert "60 accepted, " in capsys.readouterr().out


def test_rejections_for_many_reasons_of_one_kind_stop_it_too(monkeypatch, capsys):
    """The line names the most common one, and that what was rejected stays rejected."""
    records_file(60)
    tokens = [f"<|t{number}|>" for number in range(7)] * 10

    def respond(request, whole):
        return http(content(lambda text: text + tokens.pop())(whole))

    with Teacher(respond=respond) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "1") == 1
    assert len(teacher.asked) == 30
    last = capsys.readouterr().err.splitlines()[-1]
    assert "30 answers were rejected in a row (control token: '<|t" in last
    assert "mend its chat template or its stop tokens. They are not asked again unless" in last


def test_rejections_with_accepted_answers_between_them_do_not(monkeypatch):
    records = records_file(50)
    faults = {f"Forecast {record.symbol} for": ["length always"] for record in records[::2]}
    with Teacher(faults=faults) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "1") == 0
    assert len(teacher.asked) == 75


def test_a_larger_limit_asks_again_only_what_was_cut_off(monkeypatch, capsys):
    """Not what was accepted, and not what was rejected for another reason."""
    _, cut, wrong = records_file(3)

    def respond(request, whole):
        asked = request["messages"][1]["content"]
        if f"Forecast {wrong.symbol} for" in asked:
            return http(content(lambda text: text + "</s>")(whole))
        is_short = f"Forecast {cut.symbol} for" in asked and request["max_tokens"] < 500
        return http(choice(finish_reason="length")(whole)) if is_short else None

    flags = ["--concurrency", "1", "--max_tokens"]
    with Teacher(respond=respond) as teacher:
        assert ask(monkeypatch, teacher, *flags, "100") == 0
        first = Path("data/teacher/loopback/hindsight.jsonl").read_bytes()
        assert len(teacher.asked) == 5
        assert ask(monkeypatch, teacher, *flags, "50") == 0
        assert len(teacher.asked) == 5, "a smaller limit asks nothing again"
        assert ask(monkeypatch, teacher, *flags, "200") == 0
        assert len(teacher.asked) == 7, "cut off again, twice"
        assert ask(monkeypatch, teacher, *flags, "900") == 0
        assert len(teacher.asked) == 8
        assert ask(monkeypatch, teacher, *flags, "1800") == 0
        assert len(teacher.asked) == 8
    assert f"Forecast {cut.symbol} for" in teacher.asked[-1]["messages"][1]["content"]
    assert Path("data/teacher/loopback/hindsight.jsonl").read_bytes().startswith(first)
    assert "2 accepted, 1 asked again, 1 rejected (control token" in capsys.readouterr().out


def test_a_log_of_an_older_version_is_not_asked_again_for_a_larger_limit(monkeypatch):
    records_file(3)
    path = Path("data/teacher/loopback/hindsight.jsonl")
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher) == 0
        new = ("max_tokens", "question_sha256")
        older = [{k: v for k, v in row.items() if k not in new} for row in logged()]
        path.write_text("".join(json.dumps(row) + "\n" for row in older))
        assert ask(monkeypatch, teacher, "--max_tokens", "2000") == 0
    assert len(teacher.asked) == 3


def test_an_old_answer_that_is_bad_by_todays_rules_is_asked_once_more(monkeypatch):
    (record,) = records_file(1)
    path = Path("data/teacher/loopback/hindsight.jsonl")
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher) == 0
        (row,) = logged()
        row["answer"] += "<|eot_id|>"
        path.write_text(json.dumps(row) + "\n")
        assert AnswerIndex(path).find(record) is None
        assert AnswerIndex(path).reason(record) == "control token: '<|eot_id|>'"
        assert ask(monkeypatch, teacher) == 0
    assert len(teacher.asked) == 2 and AnswerIndex(path).find(record)


def test_no_record_to_ask_about_is_no_success(monkeypatch, capsys):
    records_file(1)
    Path("none.jsonl").write_text('{"id": "other"}\n')
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    flags = ["--kind", "hindsight", "--model", "loopback", "--only", "none.jsonl"]
    assert stage.main(["records.jsonl", *flags]) == 1
    assert "0 accepted" in capsys.readouterr().err


# --- money ---------------------------------------------------------------------------------------

UNREADABLE = {
    "missing": without("usage"),
    "null": fields(usage=None),
    "zero": fields(usage={"prompt_tokens": 0, "completion_tokens": 0}),
    "nan": fields(usage={"prompt_tokens": float("nan"), "completion_tokens": "many"}),
    "negative": fields(usage={"prompt_tokens": -5, "completion_tokens": -5}),
    "page": lambda whole: b"<html></html>",
    "half": lambda whole: json.dumps(whole).encode()[:99],
    "error": lambda whole: {"error": {"message": "x"}},
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_unreadable_usage_cannot_pass_the_budget(monkeypatch, name):
    """A request costs at most 0.0138: three fit into 0.05, whatever they bring."""
    records_file(12)
    respond = reshaping(UNREADABLE[name], "retry-after-ms: 1\r\n")
    with Teacher(respond=respond) as teacher:
        ended = ask(monkeypatch, teacher, "--max_cost", "0.05", model="gpt-4.1")
    assert ended == 1 and len(teacher.asked) == 3


@pytest.mark.parametrize(
    ("usage", "counts"),
    [
        ({"prompt_tokens": "900", "completion_tokens": "90"}, (900, 90)),
        ({"prompt_tokens": 900.0, "completion_tokens": 90.0}, (900, 90)),
        ({"input_tokens": 900, "output_tokens": 90}, (900, 90)),
        ({"input_tokens": 100, "cache_read_input_tokens": 800, "output_tokens": 90}, (900, 90)),
        ({"prompt_tokens": 900, "total_tokens": 990}, (900, 90)),
        ({"prompt_tokens": 900, "completion_tokens": 40, "total_tokens": 990}, (900, 90)),
        ({"prompt_tokens": 900, "completion_tokens": 40,
          "completion_tokens_details": {"reasoning_tokens": 50}}, (900, 90)),
        ({"prompt_tokens": 900, "completion_tokens": 90,
          "completion_tokens_details": {"reasoning_tokens": 50},
          "prompt_tokens_details": {"cached_tokens": 800}}, (900, 90)),
    ],
)  # fmt: skip
def test_tokens_are_counted_under_any_name(monkeypatch, usage, counts):
    records_file(1)
    with Teacher(respond=reshaping(fields(usage=usage))) as teacher:
        assert ask(monkeypatch, teacher, model="gpt-4.1") == 0
    (row,) = logged(model="gpt-4.1")
    assert (row["prompt_tokens"], row["completion_tokens"]) == counts
    assert row["cost"] == pytest.approx((counts[0] * 2 + counts[1] * 8) / 1e6)


def test_an_error_that_was_paid_counts(monkeypatch, capsys):
    records_file(1)
    usage = {"prompt_tokens": 500_000, "completion_tokens": 0}
    body = {"error": {"message": "too late", "code": 400}, "usage": usage}
    with Teacher(respond=reshaping(lambda whole: body)) as teacher:
        assert ask(monkeypatch, teacher, model="gpt-4.1") == 2
    assert logged(model="gpt-4.1") == [] and SECRET not in capsys.readouterr().err
