"""The teacher stage over a real wire, against tests/support/servers/teacher.py: asked once,
judged, logged, never lost.
"""

import json
import random
import re
import signal
import subprocess
import sys
import time
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.teacher import made_up_records
from data_pipeline.teacher import run as stage
from data_pipeline.teacher.answer_log import AnswerIndex, TeacherLog, writing
from data_pipeline.teacher.prompts import first_messages
from tests.support.servers.teacher import Teacher, answer_to, key_of
from weekahead.files import read_jsonl, write_jsonl
from weekahead.task.prompt import render_prompt

ROOT = Path(__file__).parents[2]
SECRET = "sk-never-to-be-seen"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def records_file(count=6, change=lambda record: record):
    records = [change(record) for record in made_up_records(count)]
    write_jsonl("records.jsonl", (record.to_json() for record in records))
    return records


def ask(monkeypatch, teacher, *flags, kind="hindsight", model="loopback"):
    """The real command in this process; its exit code."""
    monkeypatch.setenv("OPENAI_BASE_URL", teacher.url)
    monkeypatch.setenv("OPENAI_API_KEY", SECRET)
    return stage.main(["records.jsonl", "--kind", kind, "--model", model, *flags])


def logged(kind="hindsight", model="loopback"):
    path = Path("data/teacher") / model / f"{kind}.jsonl"
    return read_jsonl(path) if path.exists() else []


def process(teacher, *flags, start=("-m", "data_pipeline.teacher")):
    """The real command in a process of its own, in the current folder."""
    command = [
        sys.executable,
        *start,
        "records.jsonl",
        "--kind",
        "hindsight",
        "--model",
        "loopback",
        *flags,
    ]
    env = {**teacher.environment(SECRET), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def wait_until(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.01)


# --- asking and judging --------------------------------------------------------------------------


def test_every_record_is_asked_once_and_every_answer_logged(monkeypatch, capsys):
    records = records_file()
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "1") == 0
    assert [request["messages"] for request in teacher.asked] == [
        first_messages(r, "hindsight") for r in records
    ]
    rows = {row["id"]: row for row in logged()}
    assert set(rows) == {record.id for record in records}
    request = teacher.asked[0]
    assert request == {
        "model": "loopback",
        "messages": request["messages"],
        "temperature": 0.0,
        "max_tokens": 1024,
    }
    row = rows[records[0].id]
    prompt_sha256 = key_of({"prompt": render_prompt(records[0]), "label": records[0].label})
    assert row == {
        "key": key_of(request),
        "id": records[0].id,
        "kind": "hindsight",
        "prompt_sha256": prompt_sha256,
        "attempt": 1,
        "model": "loopback",
        "answer": answer_to(request),
        "accepted": True,
        "reason": None,
        "finish_reason": "stop",
        "prompt_tokens": sum(len(turn["content"]) for turn in request["messages"]) // 4,
        "completion_tokens": len(answer_to(request)) // 4,
        "cost": None,
        "teaching_version": "t2",
        "max_tokens": 1024,
        "question_sha256": key_of({n: request[n] for n in ("model", "messages", "temperature")}),
    }
    out = capsys.readouterr().out.splitlines()
    assert out[0].startswith(
        "6 records: 0 answered already, 0 skipped (no return), 6 to ask; about "
    )
    assert out[0].endswith("cost unknown: loopback is not in prices.yaml")
    counts = "6 accepted, 0 asked again, 0 rejected, 0 failed, 0 left"
    assert out[1] == f"{counts}; this run: 6 answers, cost unknown"
    assert out[2:] == ["data/teacher/loopback/hindsight.jsonl"]


def test_what_is_in_the_log_is_never_asked_again(monkeypatch, capsys):
    records_file(4)
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher) == 0
        records_file(6)
        assert ask(monkeypatch, teacher) == 0
        assert ask(monkeypatch, teacher) == 0
    assert len(teacher.asked) == 6
    monkeypatch.delenv("OPENAI_API_KEY")
    monkeypatch.delenv("OPENAI_BASE_URL")
    assert stage.main(["records.jsonl", "--kind", "hindsight", "--model", "loopback"]) == 0
    assert "nothing to ask" in capsys.readouterr().out


def test_a_forecast_asks_what_the_student_is_asked(monkeypatch):
    """And nothing else."""
    records = records_file()
    with Teacher() as teacher:
        assert (
            ask(
                monkeypatch,
                teacher,
                "--seed",
                "7",
                "--concurrency",
                "1",
                kind="forecast",
                model="some/teacher:8b",
            )
            == 0
        )
    assert [request["messages"] for request in teacher.asked] == [
        render_prompt(record) for record in records
    ]
    assert {request["seed"] for request in teacher.asked} == {7}
    assert len(logged("forecast", "some-teacher-8b")) == 6


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("empty", "empty answer"),
        ("wrong bin", "another bin than the one told"),
        ("unparsable", "strict: [Positive Developments]: missing"),
        ("length", "cut off (length)"),
        ("betrayal", "betrays hindsight: 'as we know'"),
    ],
)
def test_a_bad_answer_is_asked_for_once_more_then_kept_apart(monkeypatch, capsys, fault, reason):
    good, mended, lost = records_file(3)
    faults = {
        f"Forecast {mended.symbol} for": [fault],
        f"Forecast {lost.symbol} for": [fault, fault],
    }
    with Teacher(faults=faults) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "1") == 0
        assert len(teacher.asked) == 5
        assert ask(monkeypatch, teacher) == 0
        assert len(teacher.asked) == 5
    assert reason in teacher.asked[2]["messages"][-1]["content"]
    answers = [(row["id"], row["attempt"], row["accepted"], row["reason"]) for row in logged()]
    assert answers == [
        (good.id, 1, True, None),
        (mended.id, 1, False, reason),
        (mended.id, 2, True, None),
        (lost.id, 1, False, reason),
        (lost.id, 2, False, reason),
    ]
    index = AnswerIndex("data/teacher/loopback/hindsight.jsonl")
    assert (index.find(lost), index.reason(lost)) == (None, reason)
    assert index.reason(mended) is None
    assert (
        f"2 accepted, 2 asked again, 1 rejected ({reason}: 1), 0 failed" in capsys.readouterr().out
    )


def test_an_answer_is_accepted_and_found_without_its_thought(monkeypatch):
    (record,) = records_file(1)
    with Teacher(faults={"": ["thinking always"]}) as teacher:
        assert ask(monkeypatch, teacher) == 0
    index = AnswerIndex("data/teacher/loopback/hindsight.jsonl")
    assert logged()[0]["answer"].startswith("<think>")
    assert index.find(record) == answer_to(teacher.asked[0])
    assert index.teacher == "loopback, told the label"


def test_weeks_without_a_return_are_asked_for_a_forecast_alone(monkeypatch, capsys):
    """They are skipped for hindsight."""
    records_file(3, lambda r: replace(r, weekly_return=None) if r.symbol == "FIRM01" else r)
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher) == 0
        assert len(teacher.asked) == 2
        assert "1 skipped (no return), 2 to ask" in capsys.readouterr().out
        assert ask(monkeypatch, teacher, kind="forecast") == 0
        assert len(teacher.asked) == 5


def test_only_the_records_of_another_file_are_asked_about(monkeypatch, capsys):
    records = records_file(5)
    write_jsonl("test.jsonl", ({"id": record.id} for record in records[3:]))
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher, "--only", "test.jsonl", kind="forecast") == 0
        assert ask(monkeypatch, teacher, "--only", "none.jsonl", kind="forecast") == 2
    assert {row["id"] for row in logged("forecast")} == {record.id for record in records[3:]}
    assert "none.jsonl" in capsys.readouterr().err


def test_logs_hold_the_same_lines_whatever_was_at_once(monkeypatch):
    records_file(40)
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "1", "--out", "one") == 0
        assert ask(monkeypatch, teacher, "--concurrency", "16", "--out", "two") == 0
    sequential, parallel = (
        Path(out, "loopback", "hindsight.jsonl").read_text().splitlines() for out in ("one", "two")
    )
    assert len(sequential) == 40 and sorted(sequential) == sorted(parallel)


def test_no_more_are_asked_at_once_than_allowed(monkeypatch):
    records_file(24)
    with Teacher(latency=0.05) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "4") == 0
    assert teacher.most_at_once == 4


def test_the_rate_limit_counts_retries_too(monkeypatch):
    records_file(20)
    with Teacher(faults={"": ["status 500"] * 10}) as teacher:
        begun = time.monotonic()
        assert ask(monkeypatch, teacher, "--per_minute", "600") == 0
        assert len(teacher.asked) == 30
        assert time.monotonic() - begun >= 1.9  # ten at once, then ten a second


# --- faults of the wire --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "message"),
    [
        (401, "refuses the key (401); check OPENAI_API_KEY"),
        (403, "refuses the key (403); check OPENAI_API_KEY"),
        (404, "no such model or address (404); check OPENAI_MODEL"),
        (402, "no credit left (402)"),
        (400, "does not take such requests: refused (400): fault of status 400 for Bearer ..."),
    ],
)
def test_a_refusal_stops_the_run_at_once_and_is_no_answer(monkeypatch, capsys, status, message):
    records_file(30)
    with Teacher(faults={"": [f"status {status} always"]}) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "4") == 2
        assert len(teacher.asked) <= 4
    assert logged() == []
    output = capsys.readouterr()
    assert message in output.err.splitlines()[-1]
    assert SECRET not in output.err + output.out


def test_a_refusal_keeps_the_answers_that_were_on_their_way(monkeypatch):
    records = records_file(8)
    with Teacher(
        latency=0.2, faults={f"Forecast {records[3].symbol} for": ["status 401"]}
    ) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "8") == 2
    assert len(logged()) == len(teacher.delivered) == 7


def test_a_request_that_is_not_taken_does_not_stop_the_others(monkeypatch, capsys):
    records = records_file(5)
    with Teacher(faults={f"Forecast {records[2].symbol} for": ["status 400 always"]}) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "1") == 0
        assert [row["id"] for row in logged() if not row["accepted"]] == [records[2].id] * 2
        assert "rejected (refused (400): 1)" in capsys.readouterr().out
        asked = len(teacher.asked)
        assert ask(monkeypatch, teacher, "--concurrency", "1") == 0
        assert len(teacher.asked) == asked  # it would be refused again
    assert [row["answer"] for row in logged() if not row["accepted"]] == ["", ""]


@pytest.mark.parametrize("fault", ["status 500", "status 503", "status 429", "hang up", "cut body"])
def test_what_may_pass_is_tried_again(monkeypatch, fault):
    records_file(3)
    with Teacher(faults={"": [fault, fault]}) as teacher:
        assert ask(monkeypatch, teacher) == 0
        assert len(teacher.asked) == 5
    assert len(logged()) == 3


def test_a_slow_body_is_waited_for(monkeypatch):
    records_file(2)
    with Teacher(faults={"": ["slow body always"]}) as teacher:
        assert ask(monkeypatch, teacher) == 0
    assert len(teacher.asked) == 2 and len(logged()) == 2


def test_retry_after_is_waited_for(monkeypatch):
    records_file(1)
    with Teacher(faults={"": ["status 429 retry-after 1"]}) as teacher:
        begun = time.monotonic()
        assert ask(monkeypatch, teacher) == 0
        assert time.monotonic() - begun >= 1.0


@pytest.mark.parametrize("fault", ["status 429 retry-after 600", "broken json", "page"])
def test_a_failed_request_is_counted_and_asked_by_the_next_run(monkeypatch, capsys, fault):
    """It is not stored."""
    records_file(5)
    with Teacher(faults={"": [fault, fault]}) as teacher:
        begun = time.monotonic()
        assert ask(monkeypatch, teacher) == 1
        assert time.monotonic() - begun < 30
        output = capsys.readouterr()
        assert "2 failed, 2 left" in output.out
        assert "2 records failed" in output.err and "run the same command again" in output.err
        assert len(logged()) == 3
        assert ask(monkeypatch, teacher) == 0
        assert len(teacher.asked) == 7
    assert len(logged()) == 5


def test_a_teacher_that_only_fails_ends_the_run(monkeypatch, capsys):
    records_file(60)
    with Teacher(faults={"": ["status 500 always"]}) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "2") == 2
        assert len({key_of(request) for request in teacher.asked}) <= 22
    assert (
        "20 requests in a row came to nothing, the last with status 500" in capsys.readouterr().err
    )
    assert logged() == []


def test_failures_with_answers_between_them_do_not_end_the_run(monkeypatch):
    records = records_file(50)
    faults = {f"Forecast {record.symbol} for": ["broken json"] for record in records[::2]}
    with Teacher(faults=faults) as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "1") == 1
    assert len(logged()) == 25


def test_no_key_is_needed_for_a_server_of_ones_own(monkeypatch):
    records_file(2)
    with Teacher() as teacher:
        monkeypatch.setenv("OPENAI_BASE_URL", teacher.url)
        monkeypatch.setenv("OPENAI_MODEL", "from-the-environment")
        assert stage.main(["records.jsonl", "--kind", "hindsight"]) == 0
    assert {request["model"] for request in teacher.asked} == {"from-the-environment"}


def test_key_and_address_may_stand_in_a_dot_env_file(monkeypatch):
    records_file(2)
    with Teacher() as teacher:
        Path(".env").write_text(f"OPENAI_BASE_URL={teacher.url}\nOPENAI_API_KEY={SECRET}\n")
        for name in (
            "OPENAI_BASE_URL",
            "OPENAI_API_KEY",
        ):  # so that monkeypatch takes them away again
            monkeypatch.setenv(name, "x")
            monkeypatch.delenv(name)
        assert stage.main(["records.jsonl", "--kind", "hindsight", "--model", "m"]) == 0
    assert teacher.authorization == {f"Bearer {SECRET}"}
    assert SECRET not in Path("data/teacher/m/hindsight.jsonl").read_text()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ([], "no model: give --model, or set OPENAI_MODEL"),
        (["--model", "m"], "no teacher: set OPENAI_API_KEY"),
        (["--model", "m", "--concurrency", "0"], "--concurrency is 0; expected 1 or more"),
        (["--model", "m", "--temperature", "nan"], "--temperature is nan"),
        (["--model", "m", "--max_cost", "5"], "--max_cost needs a price for 'm': add a line to "),
    ],
)
def test_what_is_missing_is_named_before_anything_is_asked(capsys, flags, message):
    records_file(1)
    assert stage.main(["records.jsonl", "--kind", "hindsight", *flags]) == 2
    errors = capsys.readouterr().err.splitlines()
    assert len(errors) == 1 and message in errors[0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (['{"symbol": "A"}'], "records.jsonl, row 1: record A-?"),
        (["nonsense"], "records.jsonl, line 1: not JSON"),
        (["GOOD", "GOOD"], "row 2: FIRM00-2031-01-05 is the record of row 1 too"),
        (["NAN"], "record FIRM00-2031-01-05: weekly_return is nan"),
    ],
)
def test_a_bad_record_is_named_before_anything_is_asked(monkeypatch, capsys, lines, message):
    good = next(made_up_records(1)).to_json()
    nan = {**good, "weekly_return": float("nan")}
    by_name = {"GOOD": json.dumps(good), "NAN": json.dumps(nan)}
    Path("records.jsonl").write_text("".join(by_name.get(line, line) + "\n" for line in lines))
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher) == 2
    assert message in capsys.readouterr().err and not teacher.asked


# --- costs ---------------------------------------------------------------------------------------


def test_a_dry_run_asks_nothing_writes_nothing_and_needs_no_key(capsys):
    records = records_file(10)
    assert (
        stage.main(["records.jsonl", "--kind", "hindsight", "--model", "gpt-4.1", "--dry_run"]) == 0
    )
    line = capsys.readouterr().out
    tokens = (
        sum(len(turn["content"]) for r in records for turn in first_messages(r, "hindsight")) / 4
    )
    numbers = re.search(
        r"10 to ask; about (\d+) tokens in and 5000 out at 500 per answer; about \$(\d+\.\d+)", line
    )
    assert numbers and int(numbers[1]) == pytest.approx(tokens, abs=10)
    assert float(numbers[2]) == pytest.approx((tokens * 2 + 5000 * 8) / 1e6, abs=0.006)
    assert not Path("data").exists()


def test_the_cost_of_every_answer_is_logged_and_summed(monkeypatch, capsys):
    records_file(10)
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher, model="gpt-4.1") == 0
    rows = logged(model="gpt-4.1")
    assert all(
        r["cost"] == pytest.approx((r["prompt_tokens"] * 2 + r["completion_tokens"] * 8) / 1e6)
        for r in rows
    )
    assert f"10 answers, ${sum(row['cost'] for row in rows):.2f}" in capsys.readouterr().out


@pytest.mark.parametrize("concurrency", ["1", "16"])
def test_a_run_stops_before_it_could_pass_its_budget(monkeypatch, capsys, concurrency):
    """The next run goes on."""
    records_file(40)
    flags = ["--concurrency", concurrency, "--max_cost", "0.05"]
    with Teacher(latency=0.01) as teacher:
        assert ask(monkeypatch, teacher, *flags, model="gpt-4.1") == 1
        first = logged(model="gpt-4.1")
        spent = sum(row["cost"] for row in first)
        # A request may cost at most about 0.014, and did cost about 0.0035: the budget is used, and
        # never passed.
        assert 0.05 - 0.015 < spent <= 0.05
        left = 40 - len(first)
        assert (
            f"stopped before --max_cost 0.05 could be passed: {left} records are left"
            in capsys.readouterr().out
        )
        ends = [ask(monkeypatch, teacher, *flags, model="gpt-4.1") for _ in range(5)]
        assert ends == sorted(ends, reverse=True) and ends[-1] == 0
    assert len(logged(model="gpt-4.1")) == len(teacher.asked) == 40


def test_an_answer_without_counts_is_taken_for_the_dearest(monkeypatch, capsys):
    records_file(20)
    with Teacher(faults={"": ["no usage always"]}) as teacher:
        assert ask(monkeypatch, teacher, "--max_cost", "0.05", model="gpt-4.1") == 1
    rows = logged(model="gpt-4.1")
    assert 2 <= len(rows) <= 4 and sum(row["cost"] for row in rows) <= 0.05
    assert all(row["cost"] > 0.01 and row["cost_estimated"] for row in rows)
    assert "of it estimated: tokens not stated" in capsys.readouterr().out


# --- the log -------------------------------------------------------------------------------------


def test_a_cut_last_line_is_removed_and_its_record_asked_again(monkeypatch):
    """No other record is."""
    records_file(5)
    path = Path("data/teacher/loopback/hindsight.jsonl")
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher, "--concurrency", "1") == 0
        whole = path.read_bytes()
        path.write_bytes(whole[:-100])
        assert ask(monkeypatch, teacher) == 0
        assert len(teacher.asked) == 6
    assert path.read_bytes() == whole


@pytest.mark.parametrize("damage", [b"{nonsense}\n", b'{"key": "k"}\n', b"[1]\n", b"\xff\n", b"\n"])
def test_a_damaged_line_elsewhere_stops_the_run(monkeypatch, capsys, damage):
    """Nothing is touched."""
    records_file(3)
    path = Path("data/teacher/loopback/hindsight.jsonl")
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher) == 0
        lines = path.read_bytes().splitlines(keepends=True)
        path.write_bytes(lines[0] + damage + lines[2])
        before = path.read_bytes()
        assert ask(monkeypatch, teacher) == 2
        assert len(teacher.asked) == 3
    assert "hindsight.jsonl, line 2: not an answer" in capsys.readouterr().err
    assert path.read_bytes() == before


def test_a_second_writer_is_turned_away(monkeypatch, capsys):
    records_file(2)
    with Teacher() as teacher, writing(Path("data/teacher/loopback/hindsight.jsonl")):
        assert ask(monkeypatch, teacher) == 2
        assert not teacher.asked
    assert "is being written by another process" in capsys.readouterr().err


def test_a_full_disk_ends_the_run_with_a_log_of_whole_lines():
    """A limit on the size of files stands for the disk: the last write that begins below it is
    cut short.
    """
    records_file(30)
    limited = """import resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
from data_pipeline.teacher.run import main
sys.exit(main(sys.argv[1:]))"""
    with Teacher() as teacher:
        running = process(teacher, start=("-c", limited))
        _, err = running.communicate(timeout=30)
        assert (
            running.returncode == 2
            and "hindsight.jsonl could not be written (File too large)" in err
        )
        path = Path("data/teacher/loopback/hindsight.jsonl")
        assert path.read_bytes().endswith(b"\n") and 5 < len(logged()) < 30
        before = path.read_bytes()
        running = process(teacher)
        running.communicate(timeout=30)
    assert running.returncode == 0
    assert path.read_bytes().startswith(before) and len(logged()) == 30


def test_the_log_keeps_places_and_not_texts_in_memory():
    row = {
        "id": "i",
        "kind": "forecast",
        "prompt_sha256": "p",
        "model": "m",
        "accepted": True,
        "reason": None,
    }
    write_jsonl(
        "log.jsonl",
        ({**row, "key": f"k{n}", "id": f"i{n}", "answer": f"{n} " * 5000} for n in range(1000)),
    )
    tracemalloc.start()
    log, index = TeacherLog(Path("log.jsonl")), AnswerIndex("log.jsonl")
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 2e6 < Path("log.jsonl").stat().st_size
    assert log.row("k999")["answer"].startswith("999 ") and index.teacher == "m"


def test_an_answer_is_found_for_exactly_its_record(monkeypatch):
    record, other = records_file(2)
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher) == 0
    index = AnswerIndex("data/teacher/loopback/hindsight.jsonl")
    asked = {request["messages"][1]["content"]: request for request in teacher.asked}
    for each in (record, other):
        assert index.find(each) == answer_to(asked[first_messages(each, "hindsight")[1]["content"]])
        assert index.reason(each) is None
    for changed in (
        replace(record, company="Another."),
        replace(record, weekly_return=-record.weekly_return),
        replace(record, weekly_return=None),
        replace(record, symbol=other.symbol, week_start="2032-01-04"),
    ):
        assert (index.find(changed), index.reason(changed)) == (None, "not asked")


def test_a_forecast_is_still_found_when_the_return_becomes_known(monkeypatch):
    (record,) = records_file(1, lambda record: replace(record, weekly_return=None))
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher, kind="forecast") == 0
    index = AnswerIndex("data/teacher/loopback/forecast.jsonl")
    assert index.find(replace(record, weekly_return=0.02)) == answer_to(teacher.asked[0])
    assert index.teacher == "loopback"


def test_no_log_and_a_log_of_two_kinds_are_errors(monkeypatch):
    with pytest.raises(ValueError, match=r"none\.jsonl: no answers; ask a teacher first"):
        AnswerIndex("none.jsonl")
    records_file(2)
    with Teacher() as teacher:
        assert ask(monkeypatch, teacher) == ask(monkeypatch, teacher, kind="forecast") == 0
    write_jsonl("mixed.jsonl", logged("hindsight") + logged("forecast"))
    with pytest.raises(
        ValueError, match=r"mixed\.jsonl, line 3: kind 'forecast' among answers of kind 'hindsight'"
    ):
        AnswerIndex("mixed.jsonl")


# --- interrupts ----------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_waits_for_answers_and_sends_nothing_more(number):
    records_file(40)
    with Teacher(latency=0.5) as teacher:
        running = process(teacher, "--concurrency", "4")
        wait_until(lambda: len(teacher.asked) >= 6)
        running.send_signal(number)
        out, err = running.communicate(timeout=30)
        assert running.returncode == 128 + number
        asked = len(teacher.asked)
        assert asked == len(teacher.delivered) == len(logged()) < 12
        assert "waiting for the answers that are on their way" in err
        assert (
            f"interrupted: {asked} answers are in data/teacher/loopback/hindsight.jsonl; the same"
            in err
        )
        assert SECRET not in out + err
        teacher.latency = 0
        running = process(teacher)
        assert running.communicate(timeout=30) and running.returncode == 0
    assert len(teacher.asked) == len(logged()) == 40


def test_a_second_signal_does_not_wait():
    records_file(4)
    with Teacher(latency=60) as teacher:
        running = process(teacher)
        wait_until(lambda: len(teacher.asked) == 4)
        running.send_signal(signal.SIGTERM)
        time.sleep(1.2)  # sooner it would count as the first
        assert running.poll() is None
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=10)
    assert running.returncode == 143


def test_a_signal_does_not_wait_for_a_retry():
    records_file(4)
    with Teacher(faults={"": ["status 429 retry-after 100 always"]}) as teacher:
        running = process(teacher)
        wait_until(lambda: len(teacher.asked) == 4)
        time.sleep(0.3)
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=10)
    assert running.returncode == 130 and len(teacher.asked) == 4


def test_a_signal_ends_the_retries_of_a_broken_connection_too():
    records_file(4)
    with Teacher(latency=0.5, faults={"": ["hang up always"]}) as teacher:
        running = process(teacher)
        wait_until(lambda: len(teacher.asked) == 4)
        running.send_signal(signal.SIGTERM)
        running.communicate(timeout=10)
    assert running.returncode == 143 and len(teacher.asked) == 4


@pytest.mark.slow
def test_kills_lose_nothing_and_pay_for_nothing_twice():
    """200 records, ten kills, then the end: as if nothing had happened, but for what a SIGKILL
    caught on its way.
    """
    records_file(200)
    again = {
        f"Forecast FIRM{number:02} for": ["first wrong bin always"] for number in range(0, 50, 7)
    }
    numbers = [signal.SIGKILL] * 4 + [signal.SIGTERM] * 3 + [signal.SIGINT] * 3
    draw = random.Random(20310105)
    draw.shuffle(numbers)
    with Teacher(latency=0.2, faults=again) as teacher:
        running = process(teacher, "--concurrency", "32", "--out", "whole")
        running.communicate(timeout=60)
        assert running.returncode == 0 and len(teacher.asked) == 200 + 4 * 8
        del teacher.asked[:], teacher.delivered[:]
        caught: set[str] = set()  # on its way at a SIGKILL
        for number in numbers:
            caught |= killed(teacher, number, draw.uniform(0, 0.5))
        begun = len(teacher.asked)
        running = process(teacher, "--concurrency", "8")
        running.communicate(timeout=60)
        assert running.returncode == 0 and 0 < begun < len(teacher.asked), (
            "the kills came too early or too late"
        )
    sent = [key_of(request) for request in teacher.asked]
    assert {key for key in sent if sent.count(key) > 1} <= caught
    ours, theirs = (
        Path(out, "loopback/hindsight.jsonl").read_bytes() for out in ("data/teacher", "whole")
    )
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())


def killed(teacher, number, delay):
    """Start the command, kill it, look into the log; the requests that a SIGKILL caught on their
    way.
    """
    path = Path("data/teacher/loopback/hindsight.jsonl")
    before = keys_in(path)
    start, running = len(teacher.asked), process(teacher, "--concurrency", "8")
    wait_until(lambda: len(teacher.asked) > start)
    time.sleep(delay)
    running.send_signal(number)
    running.communicate(timeout=30)
    time.sleep(2 * teacher.latency)  # what was on its way has passed through the teacher
    sent = {key_of(request) for request in teacher.asked[start:]}
    assert len(sent) == len(teacher.asked) - start
    assert not before & sent, "what stands in the log was asked for again"
    now = keys_in(path)
    assert before <= now <= before | sent
    if number != signal.SIGKILL:
        assert running.returncode == 128 + number and sent <= now, (
            "an answer that was paid for is not in the log"
        )
    assert len(sent - now) <= 8
    return sent - now


def keys_in(path):
    """The keys of the whole lines; a SIGKILL may leave a part of a line."""
    lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
    return {json.loads(line)["key"] for line in lines if line.endswith(b"\n")}
