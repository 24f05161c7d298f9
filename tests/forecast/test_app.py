"""The page of make app: Gradio's own client over loopback, and a real browser."""

import html
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import urllib.error
import urllib.request
from types import SimpleNamespace

import pytest

from forecast.__main__ import main as forecast
from forecast.app import GRADIO
from tests.support.browser import CHROMIUM, browser
from tests.support.tiny import ROOT
from weekahead.files import read_jsonl, write_jsonl

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gradio") is None, reason=f"{GRADIO} is not installed"
)
KEY = "not-to-be-seen-9f2c"
HEADLINE = "${7*7} {{7*7}} `x` <b>bold</b>"
LINK = "https://example.com/story?a=1&b=2"


@pytest.fixture(scope="module")
def room(tiny, small, tmp_path_factory):
    """A folder with records of the fictional market, one headline of which is hostile."""
    folder = tmp_path_factory.mktemp("room")
    rows = read_jsonl(tiny / "data/records/m.jsonl")
    week = max(row["week_start"] for row in rows)
    symbol = min(row["symbol"] for row in rows if row["week_start"] == week)
    for row in rows:
        if (row["symbol"], row["week_start"]) == (symbol, week):
            row["weeks"][-1]["news"][0] |= {"headline": HEADLINE, "link": LINK}
    write_jsonl(folder / "r.jsonl", rows)
    flags = ["--config", str(tiny / "fp32.yaml"), "--adapter", str(small.adapter)]
    flags += ["--records", "r.jsonl", "--max_new_tokens", "8", "--date", week]
    return SimpleNamespace(folder=folder, flags=flags, week=week, symbol=symbol)


@pytest.fixture(scope="module")
def page(room):
    """The address of the page, served by this process."""
    from forecast.browser import serving
    from forecast.browser.asking import models
    from forecast.browser.options import AppOptions
    from weekahead.cli import add_options, new_parser, read_options

    parser = new_parser(None, "forecast.app")
    add_options(parser, AppOptions)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(room.folder)
        patch.setenv("FINNHUB_API_KEY", KEY)
        options = read_options(parser.parse_args(room.flags), AppOptions)
        with serving.listen("127.0.0.1", 0) as sock:
            server = serving.server(serving.build(options, models(options)), "127.0.0.1")
            thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
            thread.start()
            yield f"http://127.0.0.1:{sock.getsockname()[1]}"
            server.should_exit = True
            thread.join(30)


@pytest.fixture(scope="module")
def client(page):
    from gradio_client import Client

    return Client(page, verbose=False, analytics_enabled=False)


def ask(client, room, symbol=None, day=None, weeks="", both=True):
    """The page's three parts when everything has come."""
    return client.predict(
        symbol or room.symbol, day or room.week, weeks, both, api_name="/forecast"
    )


def text_of(part):
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", part)).split())


def test_the_page_says_what_the_command_says(client, room, monkeypatch):
    """The same answer, probabilities, inputs and record, of adapter and base."""
    inputs, answers, bins = ask(client, room)
    cells = re.findall(r'class="share">([\d.]+)<', bins)
    monkeypatch.chdir(room.folder)
    for number, adapter in enumerate((room.flags[3], "none")):
        flags = [*room.flags, "--symbols", room.symbol]
        flags[3] = adapter
        assert forecast(flags) == 0
        made = json.loads((room.folder / f"forecasts/{room.week}/{room.symbol}.json").read_text())
        assert " ".join(made["answer"].split()) in text_of(answers)
        assert made["record"]["sentence"] in text_of(answers)
        stated = [f"{share:.3f}" for share in reversed(made["probabilities"].values())]
        assert cells[number :: len(cells) // 12] == stated
        for fact in made["inputs"]:
            assert " ".join(fact["text"].split()) in text_of(inputs)
        assert made["decision_time"] in inputs


def test_an_answer_comes_while_it_is_written(client, room):
    """The inputs first, then pieces of the first answer, then the probabilities."""
    job = client.submit(room.symbol, room.week, "", False, api_name="/forecast")
    job.result(60)
    answers = [text_of(answer) for _, answer, _ in job.outputs() if isinstance(answer, str)]
    assert "Waits for its turn." in answers[0]
    assert any("Being written." in answer for answer in answers)
    assert "Record" in answers[-1] and "Base" not in answers[-1]


def test_two_pages_at_once_take_turns(client, page, room):
    from gradio_client import Client

    other = Client(page, verbose=False, analytics_enabled=False)
    words = (room.symbol, room.week, "", False)
    jobs = [one.submit(*words, api_name="/forecast") for one in (client, other)]
    first, second = (job.result(60) for job in jobs)
    assert first == second and "Record" in first[1]


@pytest.mark.parametrize(
    ("symbol", "day", "weeks"),
    [
        ("NONE", "", ""),
        ("A/B", "", ""),
        ("", "2026-11-22", ""),
        ("", "tomorrow", ""),
        ("", "", "9"),
        ("", "", "4"),
        ("", "", "x"),
    ],
)
def test_what_the_command_refuses_the_page_refuses(
    client, room, symbol, day, weeks, capsys, monkeypatch
):
    monkeypatch.chdir(room.folder)
    symbol, day = symbol or room.symbol, day or room.week
    words = [*room.flags, "--symbols", symbol, "--date", day]
    try:
        assert forecast([*words, *(["--weeks", weeks] if weeks else [])]) == 2
    except SystemExit as end:  # argparse's own
        assert end.code == 2
    sentence = capsys.readouterr().err.splitlines()[-1].partition(": ")[2].removeprefix("error: ")
    inputs, answers, bins = ask(client, room, symbol, day, weeks)
    assert text_of(inputs) == f"forecast: {sentence}" and 'role="alert"' in inputs
    assert answers == bins == ""


def get(page, path, method="GET"):
    """(status, body) of a request."""
    request = urllib.request.Request(page + path, method=method)
    try:
        with urllib.request.urlopen(request) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_no_file_and_no_key_leaves_the_machine(page, client, room):
    for path in ("/etc/passwd", room.folder / "r.jsonl", "r.jsonl", "../r.jsonl"):
        for route in ("/gradio_api/file=", "/file=", "/gradio_api/file/", "/static/", "/assets/"):
            status, body = get(page, f"{route}{path}")
            assert status >= 400 and "symbol" not in body and "root:" not in body, (route, path)
    assert get(page, "/gradio_api/upload", "POST")[0] == 404
    seen = [get(page, path)[1] for path in ("/", "/config", "/gradio_api/info")]
    seen += ask(client, room, "NONE")
    assert KEY not in "".join(map(str, seen))


def test_the_page_loads_nothing_from_elsewhere(page):
    status, body = get(page, "/")
    assert status == 200
    loaded = re.findall(r"<(?:script|link|img|iframe)\b[^>]*?(?:src|href)=[\"']([^\"']+)", body)
    assert loaded and not [address for address in loaded if "//" in address], loaded
    assert not re.search(r"@import|url\([\"']?(?:https?:)?//", get(page, "/theme.css")[1])


READY = "[...document.querySelectorAll('button')].some(x => x.innerText.trim() == 'Forecast')"
FOCUSED = """(() => { const e = document.activeElement, l = e.closest('label');
    return (e.getAttribute('aria-label') || (l && l.innerText) || e.innerText || '').trim() })()"""
DONE = "document.querySelectorAll('#answers .record').length == 2"


def tab_to(shown, name):
    """Press Tab until what bears this name has the focus."""
    for _ in range(20):
        shown.press("Tab")
        if (shown.ask(FOCUSED) or "").startswith(name):
            return
    pytest.fail(f"Tab reaches no {name}")


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no Chromium on the PATH")
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_the_forecast(page, room, width):
    """By keys alone, with a name for each field, and nothing from elsewhere."""
    with browser() as shown:
        shown.open(page, width)
        shown.wait(READY)
        for name in ("Company", "Date"):
            tab_to(shown, name)
        shown.write("yesterday")
        shown.press("Enter")
        shown.wait("document.querySelector('#inputs [role=alert]')")
        assert "'yesterday' is not a date" in shown.ask("document.body.innerText")
        shown.write(room.week)
        tab_to(shown, "Weeks of context")
        tab_to(shown, "Ask the base")
        tab_to(shown, "Forecast")
        shown.press("Enter")
        shown.wait(DONE)
        text = shown.ask("document.body.innerText")
        assert HEADLINE in text and "Probabilities of the twelve bins" in text
        link = shown.ask("document.querySelector('#inputs a').href")
        assert link == LINK
        assert shown.ask("document.documentElement.scrollWidth") <= width
        assert shown.ask("document.querySelectorAll('#bins tbody tr').length") == 13
        named = shown.ask("document.querySelector('#inputs svg').getAttribute('aria-label')")
        assert named is None or "the prompt shows the last" in named
        elsewhere = [a for a in shown.requests if not a.startswith((page, "data:"))]
        assert elsewhere == [] and shown.errors == []


@pytest.mark.slow
def test_the_command_serves_until_a_signal(room):
    words = [sys.executable, "-m", "forecast.app", *room.flags, "--port", "0"]
    env = {**os.environ, "PYTHONPATH": str(ROOT), "CUDA_VISIBLE_DEVICES": ""}
    with subprocess.Popen(
        words, cwd=room.folder, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        line = process.stdout.readline()
        address = re.match(r"Open (http://127\.0\.0\.1:\d+) in a browser", line)
        assert address, process.stderr.read()
        assert get(address[1], "/config")[0] == 200
        process.send_signal(signal.SIGTERM)
        said = process.communicate(timeout=60)[1]
    assert process.returncode == 143 and "app: interrupted by SIGTERM" in said
    shutil.rmtree(room.folder / "forecasts", ignore_errors=True)
