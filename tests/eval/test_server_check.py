"""What happens before the first answer of a server."""

from dataclasses import replace
from functools import partial

import pytest

from eval.generate import generate, main
from eval.generation import server_check
from eval.generation.backends import BackendOptions, Endpoint, GenerationJob
from eval.generation.server_check import check_server, served_model, why_not_here
from tests.eval.test_parity import serving
from tests.support.tiny import FP32
from weekahead.models.decoding import SamplingParams
from weekahead.models.loading import find_adapter


@pytest.fixture
def job(small, market, monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    adapter = find_adapter(str(small.adapter))
    return GenerationJob(market, small.base, adapter, FP32, SamplingParams(8, 64))


@pytest.fixture
def answer(job, tmp_path, monkeypatch):
    """Answer all rows by the server at a URL, checked in a mode; the manifest, and the answers."""

    def call(url, mode="auto", prompt="chat"):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        backend = Endpoint(BackendOptions("mine", prompt))
        check = partial(check_server, served=served_model("mine", prompt), mode=mode)
        return generate(job, backend, tmp_path / "a", check=check)

    return call


def test_a_server_with_the_adapter_is_asked_three_prompts(answer, small, market):
    with serving(small, small.adapter) as server:
        manifest = answer(server.url, prompt="ids")
    assert manifest["parity"]["prompts"] == 3
    assert manifest["parity"]["verdict"].startswith("agree: 3 prompts")
    assert len(server.asked) == 3 + len(market.rows)


def test_a_server_without_the_adapter_answers_nothing(answer, small, tmp_path):
    with serving(small, None) as server, pytest.raises(ValueError, match="the base's") as error:
        answer(server.url)
    assert "--parity off" in str(error.value) and "make serve" in str(error.value)
    assert len(server.asked) == 3
    assert not (tmp_path / "a" / "manifest.json").exists()


def test_an_unchecked_server_is_stated(answer, small):
    with serving(small, None) as server:
        manifest = answer(server.url, "off")
    assert manifest["parity"] == {"prompts": 0, "verdict": "left out by --parity off"}


def test_a_resumed_run_does_not_ask_again(answer, small, tmp_path, market):
    with serving(small, small.adapter) as server:
        answer(server.url)
        log = tmp_path / "a/generations.jsonl"
        log.write_text("".join(log.read_text().splitlines(keepends=True)[:2]))
        asked = len(server.asked)
        manifest = answer(server.url)
    assert len(server.asked) - asked == len(market.rows) - 2
    assert manifest["parity"]["prompts"] == 3


def test_a_model_that_only_the_server_knows_is_not_compared(job, caplog):
    alone = replace(job, adapter=None)
    facts = check_server(alone, served_model("x", "chat"), "auto")
    assert facts["prompts"] == 0 and "only the server knows its model" in facts["verdict"]
    assert "not compared" in caplog.text
    with pytest.raises(ValueError, match="only the server knows"):
        check_server(alone, served_model("x", "chat"), "check")


def test_a_base_that_is_not_here_is_not_downloaded_for_a_check(job, monkeypatch):
    """Neither in a folder nor in the Hub's cache, which is looked into without the network."""
    elsewhere = replace(job, base=replace(job.base, name="nobody/no-such-base"))
    facts = check_server(elsewhere, served_model("x", "chat"), "auto")
    assert (
        facts["prompts"] == 0
        and "nobody/no-such-base are not on this machine" in (facts["verdict"])
    )


def test_a_base_without_room_is_not_loaded_for_a_check(job, monkeypatch):
    assert why_not_here(job) == ""
    monkeypatch.setattr(server_check, "_memory", lambda size, precision: (2.0**35, 2.0**31))
    assert why_not_here(job) == "it would need about 32.0 GiB, and 2.0 are free here"


def test_parity_without_a_server_is_refused(tiny, small, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tiny)
    flags = ["--config", "fp32.yaml", "--adapter", "none", "--dataset", "data/datasets/m"]
    assert main([*flags, "--out", str(tmp_path / "a"), "--parity", "off"]) == 2
    assert "it is about a server" in capsys.readouterr().err
    assert not (tmp_path / "a").exists()
