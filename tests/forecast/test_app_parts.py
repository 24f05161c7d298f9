"""The page's parts without Gradio: fields, history, pictures, streams, and the gate."""

import asyncio
import re
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from forecast.app import main
from forecast.browser import drawing, serving
from forecast.browser.asking import (
    Column,
    Fields,
    View,
    forecast_options,
    models,
    offer,
    views,
)
from forecast.browser.options import AppOptions
from forecast.browser.streaming import Stopped, streamed
from forecast.company.cautions import Knowledge
from forecast.company.history import WeekMove, history_of_records, live_history
from forecast.company.inputs import Known, LiveSources, cases_of
from tests.support.market import news, write_prices
from tests.support.records import record
from tests.support.servers.teacher import Teacher
from tests.support.tiny import ROOT
from weekahead.files import write_jsonl
from weekahead.task.labels import BINS

OPTIONS = AppOptions(config=Path("recipe.yaml"), adapter="none", records=Path("r.jsonl"))
SUNDAY = date(2026, 1, 4)
LINK = "https://example.com/story"


def typed(symbol="AAA", day="2026-01-07", weeks=""):
    return Fields(symbol, day, weeks, both=True)


def test_fields_become_the_flags_of_the_command():
    asked = forecast_options(OPTIONS, typed(" aaa ", " 2026-01-07 ", " 2 "))
    assert (asked.symbols, asked.date, asked.weeks) == ("AAA", date(2026, 1, 7), 2)
    assert (asked.records, asked.adapter) == (Path("r.jsonl"), "none")
    empty = forecast_options(OPTIONS, typed(day="", weeks=""))
    assert empty.date is None and empty.weeks is None


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        (typed(day="yesterday"), "argument --date: 'yesterday' is not a date; expected YYYY-MM-DD"),
        (typed(weeks="9"), "--weeks is 9; expected 1 to 4 past weeks"),
        (typed(weeks="many"), "argument --weeks: invalid int value: 'many'"),
        (typed(symbol=""), "symbol is ''; expected one company"),
        (typed(symbol="AAA BBB"), "symbol is 'AAA BBB'; expected one company"),
        (typed(symbol="A" * 101), "symbol has 101 characters; expected 100 at most"),
    ],
)
def test_a_field_that_cannot_be_is_named(fields, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        forecast_options(OPTIONS, fields)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"port": 65536}, "--port is 65536; expected 0 to 65535"),
        ({"timeout": 0.0}, "--timeout is 0; expected seconds, more than 0"),
        ({"index": "dow30"}, "--index and --records each say what to forecast"),
    ],
)
def test_flags_that_cannot_be_are_refused(change, said):
    with pytest.raises(ValueError, match=re.escape(said)):
        replace(OPTIONS, **change).check()


def test_the_first_company_is_one_of_the_week_shown(tmp_path):
    path = tmp_path / "r.jsonl"
    write_jsonl(path, (record(*one).to_json() for one in (("AAA", 0), ("BBB", 0), ("BBB", 1))))
    shown = offer(replace(OPTIONS, records=path))
    assert (shown.companies, shown.company, shown.day) == (["AAA", "BBB"], "BBB", "2026-01-11")
    earlier = offer(replace(OPTIONS, records=path, date=date(2026, 1, 8)))
    assert (earlier.company, earlier.day) == ("AAA", "2026-01-08")
    assert offer(replace(OPTIONS, records=None, symbols="msft,aapl")).companies == ["AAPL", "MSFT"]
    with pytest.raises(FileNotFoundError, match=r"RECORDS is \S+: no such file; did you mean r\.j"):
        offer(replace(OPTIONS, records=tmp_path / "rr.jsonl"))
    assert offer(replace(OPTIONS, records=None)) == offer(replace(OPTIONS, records=None, run="x"))


def test_the_history_of_records_ends_before_the_week(tmp_path):
    """Prices before a split are told in the shares of the newest record."""
    path = tmp_path / "r.jsonl"
    rows = [record("AAA", week) for week in range(4)]
    closes = (100.0, 110.0, 60.0, 66.0)  # two new shares for an old one after the second
    opens = (100.0, 100.0, 55.0, 60.0)
    for number, (row, opened, closed) in enumerate(zip(rows, opens, closes, strict=True)):
        (week,) = row.weeks
        week = replace(week, open_price=opened, close_price=closed)
        rows[number] = replace(row, weeks=(week,), last_week_return=closed / opened - 1)
    write_jsonl(path, (row.to_json() for row in [*rows, record("BBB", 0)]))
    moves = history_of_records(path, "AAA", SUNDAY + timedelta(weeks=2))
    assert [move.start for move in moves] == [SUNDAY + timedelta(weeks=n) for n in (-1, 0, 1)]
    assert [move.close for move in moves] == [50.0, 55.0, 60.0]
    assert [move.weekly_return for move in moves] == pytest.approx([0.0, 0.1, 60 / 55 - 1])


def test_the_history_of_prices_ends_before_the_week(tmp_path):
    """Later prices change nothing, and a week without a price has no return."""
    first, week = date(2025, 10, 1), date(2026, 1, 4)
    write_prices(tmp_path / "now", ["AAA"], first, week - timedelta(days=1))
    write_prices(tmp_path / "later", ["AAA"], first, week + timedelta(days=30))
    now, later = (
        live_history("AAA", week, LiveSources(tmp_path, tmp_path / name, news_needed=False))
        for name in ("now", "later")
    )
    assert now == later and len(now) == 13
    assert now[-1].start == week - timedelta(weeks=1)
    assert now[0].weekly_return is None and now[1].weekly_return is not None


def moves(*closes):
    return [
        WeekMove(SUNDAY + timedelta(weeks=number), close, change)
        for number, (close, change) in enumerate(closes)
    ]


def test_the_weeks_that_the_prompt_shows_are_marked():
    picture = drawing.price_picture(moves((10.0, None), (12.0, 0.2), (11.0, -0.08)), 2)
    assert picture
    assert [text for *_, text in picture.dots] == ["2026-01-18: 12.00", "2026-01-25: 11.00"]
    heights = [float(point.split(",")[1]) for point in picture.line.split()]
    assert heights[1] < heights[2] < heights[0], "a higher price stands higher"
    assert picture.band[0] < picture.dots[0][0] and sum(picture.band) == pytest.approx(472)
    assert "the prompt shows the last 2 weeks." in picture.told
    assert drawing.price_picture(moves((10.0, None)), 1) is None
    flat = drawing.price_picture(moves((10.0, None), (10.0, 0.0)), 1)
    assert flat and "nan" not in flat.line


def test_bins_stand_beside_the_companys_own_weeks():
    even = dict.fromkeys(BINS, 1 / 12)
    column = Column("Adapter", "a", forecast={"probabilities": even})
    history = moves((1, None), (1, 0.005), (1, 0.005), (1, -0.2), (1, 0.015))
    table = drawing.bin_table([column, Column("Base", "b")], history)
    assert table.header == ("Adapter", "Its last 4 weeks")
    shares = {label: [bar.text for bar in bars] for label, bars in table.rows}
    assert list(shares) == list(reversed(BINS))
    assert shares["up by 0-1%"] == ["0.083", "0.500"]
    assert shares["down by more than 5%"] == ["0.083", "0.250"]
    assert table.rises == ("0.50", "0.75")
    assert drawing.bin_table([Column("Base", "b")], []) is None


def view_of(headline, link=None):
    (past,) = record("AAA", 0).weeks
    news = (replace(past.news[0], headline=headline, summary="", link=link),)
    (case,) = cases_of(Known([record("AAA", 0, weeks=(replace(past, news=news),))], {}))
    return View(case, ["beware"], ["a note"], [], "no server", (Column("Base", "b"),))


def test_what_others_wrote_is_text():
    shown = drawing.inputs_html(view_of("<script>x</script> & co", "https://example.com/a?b=1&c=2"))
    assert "<script>" not in shown and "&lt;script&gt;x&lt;/script&gt; &amp; co" in shown
    assert 'href="https://example.com/a?b=1&amp;c=2"' in shown and 'rel="noopener' in shown
    assert "beware" in shown and "a note" in shown and "No picture of the price: no server" in shown
    assert "<a " not in drawing.inputs_html(view_of("x", "javascript:alert(1)"))
    answer = drawing.answers_html(
        replace(view_of("x"), columns=(Column("Base", "b", True, "<b>"),))
    )
    assert "&lt;b&gt;" in answer and "Being written." in answer
    assert "&lt;i&gt;" in drawing.error_html("<i>")
    stopped = drawing.stopped_html(answer)
    assert "Stopped." in stopped and "Being written." not in stopped and "&lt;b&gt;" in stopped


def test_a_stream_passes_on_and_ends():
    assert list(streamed(lambda emit: [emit(n) for n in range(3)], 10)) == [0, 1, 2]

    def fails(emit):
        emit(1)
        raise ValueError("no")

    stream = streamed(fails, 10)
    assert next(stream) == 1
    with pytest.raises(ValueError, match="no"):
        next(stream)


def test_a_reader_who_leaves_stops_the_work():
    ended = threading.Event()

    def work(emit):
        try:
            while True:
                emit(1)
                time.sleep(0.001)
        except Stopped:
            ended.set()
            raise

    stream = streamed(work, 60)
    assert next(stream) == 1
    stream.close()
    assert ended.wait(10)
    assert list(streamed(lambda emit: emit(2), 10)) == [2], "the next one has its turn"


def test_work_that_takes_too_long_is_said():
    release = threading.Event()
    with pytest.raises(TimeoutError, match=r"no whole answer within 0\.1 s"):
        list(streamed(lambda emit: release.wait(60), 0.1))
    with pytest.raises(TimeoutError, match="no whole answer"):  # the first one holds the model
        list(streamed(lambda emit: emit(1), 0.1))
    release.set()


class Model:
    """Writes a word, then does what it is told."""

    def __init__(self, then):
        self.then = then

    def forecast(self, rows, on_said, on_text=None):
        on_text("word")
        self.then()


def chosen(then):
    """The base b, which ends so."""
    facts = SimpleNamespace(served_as=None, adapter=None, base="b")
    return SimpleNamespace(model=Model(then), facts=facts, knowledge=Knowledge(None, False, None))


def shown_with(then, tmp_path, timeout=10.0):
    """What the page shows in the end if its model ends so."""
    write_jsonl(tmp_path / "r.jsonl", [record("AAA", 0).to_json()])
    options = replace(OPTIONS, records=tmp_path / "r.jsonl", timeout=timeout)
    return [*serving._shown(options, [chosen(then)], typed())][-1]


def test_an_error_of_the_model_is_a_sentence_without_secrets(tmp_path, monkeypatch, caplog):
    """The inputs stay. What nobody foresaw stands in the terminal, not on the page."""
    monkeypatch.setenv("FINNHUB_API_KEY", "not-to-" + "be-seen-9f2c")

    def fails(error):
        raise error("no GPU for not-to-be-seen-9f2c")

    inputs, problem, _ = shown_with(lambda: fails(RuntimeError), tmp_path)
    assert "AAA opens plant" in inputs and "forecast: no GPU for ***" in problem
    inputs, problem, _ = shown_with(lambda: fails(KeyError), tmp_path)
    assert "an error that nobody foresaw" in problem and "no GPU" not in problem
    assert "no GPU for ***" in caplog.text and "not-to-be-seen" not in caplog.text


def test_a_forecast_that_takes_too_long_is_a_sentence(tmp_path):
    release = threading.Event()
    _, problem, _ = shown_with(lambda: release.wait(60), tmp_path, timeout=0.5)
    release.set()
    assert "no whole answer within 0.5 s" in problem


def test_prices_and_news_of_files_are_shown_with_links(tmp_path):
    """As many weeks of context as asked for, on the picture too."""
    first, last = date(2025, 10, 1), SUNDAY + timedelta(days=10)
    write_prices(tmp_path / "prices", ["AAA"], first, last)
    write_jsonl(tmp_path / "news.jsonl", ({**n, "url": LINK} for n in news("AAA", first, last)))
    files = {"prices": tmp_path / "prices", "news": (tmp_path / "news.jsonl",), "data": tmp_path}
    options = replace(OPTIONS, records=None, **files)
    *_, last_view = views(options, [chosen(lambda: None)], typed(weeks="3"))
    assert len(last_view.history) == 13 and not last_view.no_history
    shown = drawing.inputs_html(last_view)
    assert shown.count("<circle") == 3 and f'href="{LINK}"' in shown
    assert "the prompt shows the last 3 weeks" in shown
    assert max(move.start for move in last_view.history) < SUNDAY


def test_a_served_model_answers_alone(small, tmp_path, monkeypatch):
    write_jsonl(tmp_path / "r.jsonl", [record("AAA", 0).to_json()])
    served = replace(
        OPTIONS,
        config=small.adapter.parent / "fp32.yaml",
        adapter=str(small.adapter),
        records=tmp_path / "r.jsonl",
        model="loopback",
    )
    with Teacher() as server:
        for name, value in server.environment().items():
            monkeypatch.setenv(name, value)
        *_, last = views(served, models(served), typed())
    (column,) = last.columns
    assert (column.role, column.name) == ("Served", "loopback")
    assert "No probabilities, since" in drawing.said(column).call


def status_of(path, host="127.0.0.1:7860", listening="127.0.0.1", **headers):
    """(status, headers) of a request that the gate answers or passes on."""
    sent = []

    async def inner(scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def send(message):
        sent.append(message)

    given = [(b"host", host.encode())]
    given += [(name.replace("_", "-").encode(), text.encode()) for name, text in headers.items()]
    scope = {"type": "http", "path": path, "headers": given}
    asyncio.run(serving.Gate(inner, listening)(scope, None, send))
    return sent[0]["status"], dict(sent[0]["headers"])


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/", 200),
        ("/assets/index.js", 200),
        ("/gradio_api/queue/join", 200),
        ("/gradio_api/heartbeat/abc1", 200),
        ("/gradio_api/file=/etc/passwd", 404),
        ("/gradio_api/upload", 404),
        ("/gradio_api/proxy=https://example.com/x", 404),
        ("/gradio_api/queue/join/../../file=x", 404),
        ("/monitoring", 404),
        ("/gradio_api/run/forecast", 404),
    ],
)
def test_the_gate_knows_the_pages_own_paths_alone(path, status):
    found, headers = status_of(path)
    assert found == status
    if status == 200:
        assert "default-src 'self'" in headers[b"content-security-policy"].decode()


def test_the_gate_answers_to_names_of_this_machine_alone():
    for host in ("localhost:1", "127.0.0.1", "[::1]:7860"):
        assert status_of("/", host)[0] == 200, host
    for host in ("example.com", "127.0.0.1.example.com", ""):
        assert status_of("/", host)[0] == 421, host
    assert status_of("/", "example.com", listening="0.0.0.0")[0] == 200
    assert status_of("/", content_length="100001")[0] == 413
    assert status_of("/", transfer_encoding="chunked")[0] == 413


def test_a_port_that_is_taken_is_one_line():
    with serving.listen("127.0.0.1", 0) as sock:
        port = sock.getsockname()[1]
        with pytest.raises(OSError, match=f'port {port} cannot .* ARGS="--port {port + 1}"'):
            serving.listen("127.0.0.1", port)
    with pytest.raises(OSError, match="expected an address of this machine: leave --host out"):
        serving.listen("192.0.2.1", 0)
    assert serving.is_loopback("::1") and not serving.is_loopback("0.0.0.0")


def test_without_gradio_one_line_says_how_to_install_it(monkeypatch, capsys):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["--config", "recipe.yaml", "--adapter", "none"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert re.fullmatch(r"app: .* install it: \S+ -m pip install gradio==\d+\.\d+\.\d+", line)


def test_the_flags_of_the_page_need_no_torch():
    code = "import sys, forecast.app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
