"""Made-up records and a log of answers to them, for tests."""

from datetime import date, timedelta

from data_pipeline.teacher.prompts import digest, fingerprint, first_messages
from weekahead.files import write_jsonl
from weekahead.task.answer import render_answer
from weekahead.task.record import News, PastWeek, Record

SUNDAY = date(2026, 1, 4)


def record(symbol, week, weekly_return=None, **change):
    """One record of the week that begins `week` Sundays after SUNDAY."""
    start = SUNDAY + timedelta(weeks=week)
    before = start - timedelta(weeks=1)
    friday = f"{before + timedelta(days=5)}T21:00:00+00:00"
    news = (
        News(
            f"{symbol} opens plant {week}",
            "It makes springs.",
            f"{before + timedelta(days=2)}T12:00:00+00:00",
        ),
    )
    facts = {
        "symbol": symbol,
        "company": f"{symbol} Inc.",
        "weeks": (PastWeek(str(before), str(start), 100.0, 101.0 + week, news, friday),),
        "week_start": str(start),
        "week_end": str(start + timedelta(weeks=1)),
        "decision_time": f"{start}T00:00:00+00:00",
        "weekly_return": (0.015 if (week + len(symbol)) % 2 else -0.025)
        if weekly_return is None
        else weekly_return,
        "last_week_return": 0.01,
        "extra": {"synthetic": True},
    }
    return Record(**facts | change)


def records(symbols=("AA", "BBB", "CC"), weeks=20):
    """Every symbol in every week, in the order of a file of records."""
    return [record(symbol, week) for week in range(weeks) for symbol in symbols]


def answer_row(record, kind="hindsight", accepted=True, model="loopback", label=None):
    """The log's line of an answer to a record."""
    text = render_answer(
        ["It grew."], ["It cost."], label or record.label or "up by 0-1%", "So it goes."
    )
    body = {"model": model, "messages": first_messages(record, kind)}
    return {
        "key": digest(body),
        "id": record.id,
        "kind": kind,
        "prompt_sha256": fingerprint(record, kind),
        "attempt": 1,
        "model": model,
        "answer": text,
        "accepted": accepted,
        "reason": None if accepted else "no Prediction line",
        "finish_reason": "stop",
        "prompt_tokens": 10,
        "completion_tokens": 10,
        "cost": None,
    }


def write(folder, written, answered=None, kind="hindsight"):
    """(file of records, log of answers) under `folder`.

    `answered` are the records with an answer, all if it is None.
    """
    path, log = folder / "records" / "made.jsonl", folder / f"{kind}.jsonl"
    write_jsonl(path, (record.to_json() for record in written))
    answered = written if answered is None else answered
    write_jsonl(log, (answer_row(record, kind) for record in answered))
    return path, log
