"""The whole pipeline by its public command, over a real wire: Finnhub and the teacher on
loopback, price files.
"""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from data_pipeline import fetch
from data_pipeline.fetch import FetchOptions
from data_pipeline.records.indices import load, members_on
from tests.support import market as made_market
from tests.support.servers.finnhub import FORBIDDEN, FinnhubServer, news_item
from tests.support.servers.teacher import Teacher
from tests.support.tiny import TRAIN, command
from weekahead.cli import new_parser, read_options
from weekahead.files import read_jsonl, write_jsonl
from weekahead.schema.manifests import read_records_manifest
from weekahead.schema.rows import user_text

ROOT = Path(__file__).parents[2]
FIRST, LAST = date(2025, 11, 9), date(2026, 7, 3)
WINDOW = ("--start", "2025-12-28", "--end", "2026-06-30")
# Members from the first week to the last.
_NASDAQ = load("nasdaq100")
SYMBOLS = sorted(
    {*members_on(_NASDAQ, date(2025, 12, 28))} & {*members_on(_NASDAQ, date(2026, 6, 21))}
)[:20]


def data_command(folder, *flags, env=None, module="data_pipeline"):
    command = [sys.executable, "-m", module, *map(str, flags)]
    own = {"HOME": str(folder / "home"), "PYTHONPATH": str(ROOT)}
    env = {**(env or os.environ), **own}
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, timeout=300)


def make_data(folder, finnhub, teacher, *flags):
    folders = ("--prices", folder / "prices", "--data", folder / "data")
    settings = ("--finnhub_per_minute", "1000000", "--model", "gpt-4.1")
    environment = {**finnhub.environment(), **teacher.environment()}
    return data_command(folder, *folders, *settings, *WINDOW, *flags, env=environment)


@pytest.mark.slow
def test_make_data_of_an_index_and_again_without_a_call(tmp_path):
    """The whole pipeline for an index; a second run asks only for what was refused."""
    made_market.write_prices(tmp_path / "prices", SYMBOLS, FIRST, LAST)
    companies = {symbol: made_market.company(symbol, FIRST, LAST) for symbol in SYMBOLS}
    with FinnhubServer(companies) as finnhub, Teacher() as teacher:
        finnhub.fail("stock/financials-reported", FORBIDDEN, times=9, symbol=SYMBOLS[0])
        flags = ("--index", "nasdaq100", "--max_cost", "9", "--forecast")
        result = make_data(tmp_path, finnhub, teacher, *flags)
        assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
        folder = tmp_path / "data" / "datasets" / "nasdaq100"
        before = {path.name: path.read_bytes() for path in folder.glob("*.jsonl")}
        calls, asked = finnhub.calls.copy(), len(teacher.asked)
        again = make_data(tmp_path, finnhub, teacher, *flags)
        assert again.returncode == 0, again.stderr[-3000:]
        assert len(teacher.asked) == asked
        # Only what was refused is asked again.
        assert set(finnhub.calls - calls) <= {"stock/financials-reported"}
    assert {path.name: path.read_bytes() for path in folder.glob("*.jsonl")} == before

    manifest = json.loads((folder / "manifest.json").read_text(encoding="utf-8"))
    records = read_records_manifest(tmp_path / "data/records/nasdaq100.manifest.json")
    assert manifest["read"] == records["records"]
    rows = sum(split["rows"] for split in manifest["splits"].values())
    assert rows + sum(manifest["dropped"].values()) == manifest["read"]
    assert records["records"] == 20 * 26 and records["without_news"] == 0
    prompts = [user_text(row["prompt"]) for row in read_jsonl(folder / "train.jsonl")]
    stories = [prompt.count("\n- ") for prompt in prompts]
    assert min(stories) >= 3 and max(stories) == 20  # four weeks of five
    questions = [user_text(request["messages"]) for request in teacher.asked]
    hindsight = sum("[To the author" in question for question in questions)
    assert hindsight == manifest["read"] - manifest["dropped"]["gap"]
    assert records["no_prices"] and set(records["no_prices"]).isdisjoint(SYMBOLS)
    assert calls["stock/profile2"] == calls["stock/metric"] == 20
    assert calls["company-news"] == 20 * 8  # November to June
    missing = sorted(records["no_prices"])
    assert f"no prices: {', '.join(missing)} ({len(missing)}: no file)" in result.stdout
    assert "dated by their end plus 45 days" in result.stdout
    assert re.search(r"about \$\d+\.\d\d", result.stdout) and "no leak found" in result.stdout
    audit = json.loads((folder / "audit.json").read_text(encoding="utf-8"))
    assert not any(check["leak"] for check in audit.values())
    assert (audit["duplicate"]["count"], audit["missing_prediction"]["count"]) == (0, 0)
    assert "# nasdaq100" in (folder / "README.md").read_text(encoding="utf-8")
    assert len(read_jsonl(folder / "forecast.jsonl")) == manifest["splits"]["test"]["rows"]
    written = [path for path in (tmp_path / "data").rglob("*") if path.is_file()]
    assert not any(finnhub.key.encode() in path.read_bytes() for path in written)


def test_a_dry_run_asks_no_teacher_and_tells_the_price(tmp_path):
    made_market.write_prices(tmp_path / "prices", ["AAPL"], FIRST, LAST)
    with (
        FinnhubServer({"AAPL": made_market.company("AAPL", FIRST, LAST)}) as finnhub,
        Teacher() as teacher,
    ):
        result = make_data(tmp_path, finnhub, teacher, "--symbols", "AAPL", "--dry_run")
        assert result.returncode == 0, result.stderr
        assert teacher.asked == [] and "18 to ask" in result.stdout  # eight of 26 weeks are gaps
    assert not (tmp_path / "data" / "datasets").exists()


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--index", "nasdaq1000"), "nasdaq100"),
        (("--index", "nasdaq100", "--start", "1999-01-01", "--end", "1999-06-30"), "--symbols"),
        (("--symbols", "AAPL", "--start", "2026-01-05", "--end", "2026-01-16"), "no whole week"),
        (("--symbols", "NONE"), "no prices"),
        (("--symbols", "AAPL", "--min_weeks", "5"), "expected 1 <= min <= max"),
        (("--symbols", " , "), "--symbols is ' , '; expected names such as AAPL,MSFT"),
        (("--symbols", "7203.T"), "7203.T: no exchange is known for its suffix"),
        (("--symbols", "AAPL", "--filing_lag", "1"), "--filing_lag is 1; expected at least 30"),
        (("--symbols", "AAPL", "--name", "../up"), "--name is '../up'"),
        (("--symbols", "AAPL", "--end", "2099-01-01"), "--end 2099-01-01 lies ahead"),
        (("--symbols", "AAPL", "--news", "none.jsonl"), "--news none.jsonl: there is no such file"),
    ],
)
def test_what_cannot_work_is_one_line_and_exit_2(tmp_path, capsys, monkeypatch, flags, message):
    monkeypatch.setenv("FINNHUB_API_KEY", "never-sent")
    made_market.write_prices(tmp_path / "prices", ["AAPL"], FIRST, LAST)
    result = fetch.main(
        [*WINDOW, *flags, "--prices", str(tmp_path / "prices"), "--data", str(tmp_path / "data")]
    )
    error = capsys.readouterr().err
    assert result == 2 and message in error and error.count("\n") == 1
    assert not (tmp_path / "data" / "records").exists()


@pytest.fixture
def fetched(tmp_path, capsys, monkeypatch):
    """Run a fetch of AAPL from files; the exit status and what it said."""
    monkeypatch.delenv("FINNHUB_API_KEY", raising=False)
    made_market.write_prices(tmp_path / "prices", ["AAPL"], FIRST, LAST)
    rows = [news_item(n, datetime(2026, 1, 7, 12 + n, tzinfo=UTC), "AAPL") for n in range(3)]
    write_jsonl(tmp_path / "news.jsonl", rows)

    def fetch_again():
        folder = ["--prices", str(tmp_path / "prices"), "--data", str(tmp_path / "data")]
        flags = ["--symbols", "AAPL", "--news", str(tmp_path / "news.jsonl"), *folder]
        status = fetch.main([*WINDOW, *flags])
        said = capsys.readouterr()
        return status, said.out + said.err

    return fetch_again


def test_the_manifest_says_who_gave_what_and_a_change_is_told(fetched, tmp_path):
    path = tmp_path / "data/records/symbols.manifest.json"
    status, said = fetched()
    manifest = json.loads(path.read_text(encoding="utf-8"))
    assert status == 0 and "replaces" not in said
    assert manifest["sources"] == {
        "prices": "price files",
        "news": "news files",
        "facts": "no provider",
    }
    assert "prices from price files, news from news files" in said
    manifest["sources"]["news"] = "Finnhub"
    path.write_text(json.dumps(manifest))
    assert (
        "this replaces records with news from Finnhub (now from news files); --name keeps both"
        in fetched()[1]
    )
    del manifest["sources"]  # as an older version wrote it
    path.write_text(json.dumps(manifest))
    assert "replaces" not in fetched()[1]


def test_without_a_whole_week_the_error_speaks_of_sessions(fetched, tmp_path):
    """And not of news."""
    path = tmp_path / "prices/AAPL.csv"
    header, *rows = path.read_text().splitlines()
    kept = [row for row in rows if date.fromisoformat(row[:10]).weekday() != 4]
    path.write_text("\n".join([header, *kept]))
    status, said = fetched()
    assert status == 2 and "no record: every week lacks a session or its price" in said
    assert "sessions: no price on 2026-01-02" in said and "news" not in said.splitlines()[-1]


def test_flags_become_the_options_of_the_stage():
    parser = new_parser(None, "data_pipeline.fetch")
    fetch.add_arguments(parser)
    flags = ["--symbols", "AAPL", *WINDOW, "--news", "a.jsonl", "b.jsonl", "--min_weeks", "2"]
    options = read_options(parser.parse_args(flags), FetchOptions)
    assert options == FetchOptions(
        symbols="AAPL",
        start=date(2025, 12, 28),
        end=date(2026, 6, 30),
        news=(Path("a.jsonl"), Path("b.jsonl")),
        min_weeks=2,
    )
    assert options.records == Path("data/records/symbols.jsonl")


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--start", "0001-01-01"), "'0001-01-01' is too far away; expected a year from 1900"),
        (("--start", "2025-13-01"), "'2025-13-01' is not a date; expected YYYY-MM-DD"),
        (("--index", "dow30", "--symbols", "A"), "not allowed with argument --index"),
        ((), "one of the arguments --index --symbols is required"),
    ],
)
def test_flags_that_cannot_be_read_are_named(capsys, flags, message):
    with pytest.raises(SystemExit) as stop:
        fetch.main([*WINDOW, *flags])
    assert stop.value.code == 2 and message in capsys.readouterr().err


def test_without_a_key_and_news_files_nothing_is_asked_for(tmp_path, capsys):
    assert fetch.main([*WINDOW, "--symbols", "AAPL", "--data", str(tmp_path / "data")]) == 2
    assert "no news: set FINNHUB_API_KEY" in capsys.readouterr().err


@pytest.mark.slow
def test_real_prices_to_a_trained_and_scored_adapter_offline(tmp_path, tiny, shared_data):
    """Two years of four real price series; no key, no Finnhub, a teacher on loopback, a base of
    two layers.
    """
    symbols = ("AAPL", "IBM", "KO", "MSFT")
    first, last = date(2015, 11, 1), date(2016, 12, 31)
    stories = [
        item for symbol in symbols for item in made_market.news(symbol, first, last, a_day=1)
    ]
    write_jsonl(tmp_path / "news.jsonl", stories)
    with Teacher() as teacher:
        env = {
            name: value
            for name, value in teacher.environment().items()
            if name != "FINNHUB_API_KEY"
        }
        result = data_command(
            tmp_path,
            "--symbols",
            ",".join(symbols),
            "--start",
            "2016-01-01",
            "--end",
            "2016-12-31",
            "--name",
            "old",
            "--prices",
            shared_data / "prices_daily",
            "--news",
            tmp_path / "news.jsonl",
            "--data",
            tmp_path / "data",
            "--model",
            "loopback",
            "--max_weeks",
            "1",
            env=env,
        )
    assert result.returncode == 0, result.stdout[-2000:] + result.stderr[-2000:]
    dataset = tmp_path / "data" / "datasets" / "old"
    assert all("\n- " in row["prompt"][1]["content"] for row in read_jsonl(dataset / "train.jsonl"))
    assert "no splits: prompts may show" in result.stdout
    assert (
        "returns leave out dividends, unless" in result.stdout
        and "FINNHUB_API_KEY is not set" in result.stdout
    )
    run, results = tmp_path / "outputs" / "old", tmp_path / "results" / "old"
    flags = ("--config", "recipe.yaml", "--dataset", dataset, "--max_length", "1000")
    trained = command(
        tiny, TRAIN, *flags, "--max_steps", "2", "--eval_strategy", "no", "--output_dir", run
    )
    assert trained.returncode == 0, trained.stderr[-2000:]
    flags = (
        "--config",
        "recipe.yaml",
        "--dataset",
        dataset,
        "--max_new_tokens",
        "8",
        "--limit",
        "12",
    )
    answered = command(tiny, "-m eval.generate", *flags, "--adapter", run, "--out", results)
    assert answered.returncode == 0, answered.stderr[-2000:]
    scored = command(tiny, "-m eval.score", results / "generations.jsonl", "--out", results)
    assert scored.returncode == 0, scored.stderr[-2000:]
    assert json.loads((results / "metrics.json").read_text())["n"] == 12
