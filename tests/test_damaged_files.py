"""Every file that a command reads, damaged in every way: exit 2, one line, the file named.

A damage that leaves the file usable (a null where the reader knows "unknown") may pass.
"""

import json
import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from data_pipeline import build, fetch, fingpt, forecasts
from data_pipeline.audit import run as audit
from data_pipeline.controls import __main__ as controls
from data_pipeline.teacher import run as teacher
from eval import score, tfidf
from eval.report import __main__ as report
from sft import publish as push
from tests.support import records
from tests.support.market import news, write_prices
from tests.support.report_runs import make_pair
from tests.support.tiny import ROOT
from weekahead.files import write_json, write_jsonl
from weekahead.schema.file_names import ADAPTER_NEEDS
from weekahead.task.labels import BINS

TEXTS = {
    "empty": b"",
    "blank": b" \n",
    "binary": bytes(range(256)) * 4,
    "utf-16": '{"a": "\u20ac"}\n'.encode("utf-16"),
    "latin-1": '{"a": "\u00e9"}\n'.encode("latin-1"),
    "list": b"[1, 2]\n",
    "text": b'"text"\n',
    "number": b"3\n",
    "null": b"null\n",
    "nested": b'{"a": ' + b"[" * 50_000,
    "not a number": b'{"a": NaN}\n',
    "huge number": b'{"a": ' + b"9" * 5000 + b"}\n",
}
WITHOUT_A_NAME = ("none with any news", "the base is 'not recorded'", "has no result")
"""Faults of what a file says and not of the file: the message names the run or the remedy."""
VALUES = (None, "x", 3, [None], {"a": None})
"""What each field of an object is replaced by in turn."""


def damages(path: Path):
    """(name, content) of each damaged form of a file; None for a folder in its place."""
    content = path.read_bytes()
    fields = list(fields_damaged(path, content))
    most = int(os.environ.get("MOST_DAMAGES", "40"))
    yield from fields[:: 1 + len(fields) // most]
    yield from TEXTS.items()
    yield "cut", content[: len(content) * 2 // 3]
    yield "folder", None


def fields_damaged(path: Path, content: bytes):
    """The damages of single fields of a file's object, or of its first row."""
    try:
        first = json.loads(content if path.suffix == ".json" else content.splitlines()[0])
    except (ValueError, IndexError):
        return
    rest = b"" if path.suffix == ".json" else b"\n".join(content.splitlines()[1:])
    for place, changed in changed_fields(first):
        yield place, json.dumps(changed).encode() + b"\n" + rest


def changed_fields(value, where="", depth=3):
    """(place, whole value) for each field of an object: without it, and with other values."""
    if not isinstance(value, dict) or not depth:
        return
    for name, inner in value.items():
        yield f"{where}{name} absent", {key: one for key, one in value.items() if key != name}
        for other in VALUES:
            if type(other) is not type(inner):
                yield f"{where}{name} {other!r}", {**value, name: other}
        for place, changed in changed_fields(inner, f"{where}{name}.", depth - 1):
            yield place, {**value, name: changed}


def replace(path: Path, content: bytes | None) -> None:
    if content is None:
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(content)


def faults(
    folder: Path, file: str, call: Callable[[], int], capsys, *, prepare=lambda path: None
) -> list[str]:
    """What is wrong with how a command takes each damage of `file`; the folder is mended after."""
    path, found = folder / file, []
    original = path.read_bytes()
    for name, content in damages(path):
        replace(path, content)
        prepare(path)
        try:
            status: object = call()
        except SystemExit as end:
            status = end.code
        except BaseException as error:
            status = f"{type(error).__name__}: {error}"
        error = capsys.readouterr().err
        said = error.strip().splitlines()
        is_named = bool(said) and path.name in said[-1]
        is_named |= any(words in error for words in WITHOUT_A_NAME)
        if status not in (0, 1, 2) or (status == 2 and not is_named) or "Traceback" in error:
            found.append(f"{file}, {name}: {status}: {said[-1:]}")
        if name in TEXTS and name not in ("blank", "empty") and status == 0 and content:
            found.append(f"{file}, {name}: taken")
        if path.is_dir():
            path.rmdir()
        path.write_bytes(original)
    return found


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    make_pair(folder)
    rows = [json.loads(line) for line in (folder / "results/demo-tuned/generations.jsonl").open()]
    likelihoods = [
        {"id": row["id"], "symbol": row["symbol"], "week_end": row["week_end"],
         "label": row["label"], "logprobs": dict.fromkeys(BINS, -2.5),
         "probs": dict.fromkeys(BINS, 1 / 12), "up": 0.5, "mass": 0.9, "prefix": "own",
         "train_up_share": 0.5, "seconds": 0.1}
        for row in rows
    ]  # fmt: skip
    write_jsonl(folder / "results/demo-tuned/likelihoods.jsonl", likelihoods)
    run = folder / "results/demo-tuned"
    assert score.main([str(run / "generations.jsonl"), "--out", str(run)]) == 0
    return folder


RUN = "results/demo-tuned"


@pytest.mark.parametrize("name", ["generations.jsonl", "likelihoods.jsonl", "manifest.json"])
def test_score(results, capsys, name, tmp_path):
    def call():
        source = results / RUN / "generations.jsonl"
        return score.main([str(source), "--out", str(tmp_path)])

    found = faults(results, f"{RUN}/{name}", call, capsys)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [f"{RUN}/metrics.json", f"{RUN}/scored.jsonl", f"{RUN}/generations.jsonl",
     f"{RUN}/manifest.json", "outputs/tuned/train_log.jsonl"],
)  # fmt: skip
def test_report(results, capsys, name, tmp_path, monkeypatch):
    def draw_nothing(figure, target, **_):
        if isinstance(target, str | Path):
            Path(target).write_bytes(b"")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", draw_nothing)
    call = report_call(results, tmp_path)
    found = faults(results, name, call, capsys)
    assert not found, "\n".join(found)


def report_call(results, tmp_path):
    def call():
        runs = [str(results / "results" / name) for name in ("demo-base", "demo-tuned")]
        return report.main([*runs, "--out", str(tmp_path / "r")])

    return call


@pytest.fixture(scope="module")
def stages(tmp_path_factory):
    """Records, answers, a dataset, public rows, prices, news and recipes."""
    folder = tmp_path_factory.mktemp("stages")
    made = records.records(weeks=12)
    for kind in ("hindsight", "forecast"):
        path, _ = records.write(folder, made, kind=kind)
    write_json(path.with_name("made.manifest.json"), {"context_weeks": [1, 2], "start": "a"})
    words = [str(path), "--answers", str(folder / "hindsight.jsonl"), "--name", "made"]
    assert build.main([*words, "--datasets", str(folder)]) == 0
    shutil.copy(ROOT / "tests/fixtures/fingpt_rows.jsonl", folder / "public.jsonl")
    write_prices(folder / "prices", ["AA"], date(2026, 1, 2), date(2026, 3, 31))
    write_jsonl(folder / "news.jsonl", news("AA", date(2026, 1, 2), date(2026, 3, 31)))
    return folder


def calls(folder: Path, out: Path) -> dict[str, tuple[str, Callable[[], int]]]:
    """Name of a test -> the file that is damaged, and the command that reads it."""
    made, log = str(folder / "records/made.jsonl"), str(folder / "hindsight.jsonl")
    building = [made, "--answers", log, "--name", "new", "--datasets", str(out)]
    told = [str(folder / "made"), made, "--answers", str(folder / "forecast.jsonl")]
    fetching = ["--symbols", "AA", "--start", "2026-02-01", "--end", "2026-03-14", "--name", "new",
                "--prices", str(folder / "prices"), "--news", str(folder / "news.jsonl"),
                "--data", str(folder), "--min_weeks", "1", "--max_weeks", "1"]  # fmt: skip
    return {
        "build records": ("records/made.jsonl", lambda: build.main(building)),
        "build manifest": ("records/made.manifest.json", lambda: build.main(building)),
        "build answers": ("hindsight.jsonl", lambda: build.main(building)),
        "forecasts records": ("records/made.jsonl", lambda: forecasts.main(told)),
        "forecasts answers": ("forecast.jsonl", lambda: forecasts.main(told)),
        "forecasts dataset": ("made/test.jsonl", lambda: forecasts.main(told)),
        "forecasts manifest": ("made/manifest.json", lambda: forecasts.main(told)),
        "audit dataset": (
            "made/train.jsonl",
            lambda: audit.main([str(folder / "made"), "--out", str(out)]),
        ),
        "audit records": ("records/made.jsonl", lambda: audit.main([made, "--out", str(out)])),
        "audit public": (
            "public.jsonl",
            lambda: audit.main([str(folder / "public.jsonl"), "--out", str(out)]),
        ),
        "fingpt": (
            "public.jsonl",
            lambda: fingpt.main([str(folder / "public.jsonl"), "--out", str(out / "public")]),
        ),
        "controls": (
            "made/train.jsonl",
            lambda: controls.main(
                [str(folder / "made"), "--out", str(out / "c"), "--control", "no_news"]
            ),
        ),
        "teacher": (
            "records/made.jsonl",
            lambda: teacher.main([made, "--model", "m", "--kind", "hindsight", "--dry_run"]),
        ),
        "tfidf": (
            "made/train.jsonl",
            lambda: tfidf.main(["--dataset", str(folder / "made"), "--out", str(out / "t")]),
        ),
        "fetch prices": ("prices/AA.csv", lambda: fetch.main(fetching)),
        "fetch news": ("news.jsonl", lambda: fetch.main(fetching)),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", calls(Path(), Path()))
def test_data_commands(stages, capsys, tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPENAI_API_KEY", "none")
    file, call = calls(stages, tmp_path)[name]
    found = faults(stages, file, call, capsys)
    assert not found, "\n".join(found)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["adapter_config.json", "tokenizer_config.json", "generation_config.json",
             "manifest.json", "metrics.json"]
)  # fmt: skip
def test_push(results, capsys, tmp_path, monkeypatch, name):
    """Up to the missing token; what is not JSON of the right kind is named before."""
    folder = tmp_path / "run"
    for file in ADAPTER_NEEDS:
        base = {"name": "user/base", "dtype": "bfloat16"}
        write_json(folder / file, {"base": base, "run": "r", "result": {"steps": 3}})
    measured = tmp_path / "measured/metrics.json"
    measured.parent.mkdir()
    shutil.copy(results / RUN / "metrics.json", measured)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HF_TOKEN", raising=False)
    monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "absent"))
    words = [str(folder), "--repo", "a/b", "--metrics", str(measured)]

    def call():
        status = push.main(words)
        if "no Hugging Face token" in capsys.readouterr().err:
            return 0
        return push.main(words) or status

    file = f"{'measured' if name == 'metrics.json' else 'run'}/{name}"
    found = faults(tmp_path, file, call, capsys)
    assert not [one for one in found if not one.endswith("taken")], "\n".join(found)
