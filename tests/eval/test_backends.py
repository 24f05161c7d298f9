"""Greedy answers in fp32 on a tiny model.

No backend, batch size, order or interrupt changes one of them.
"""

import json
import random
from dataclasses import replace

import pytest

from eval.generate import generate, new_job
from eval.generation.backends import BackendOptions, Batched, Endpoint, new_backend
from eval.generation.endpoint import count_cut_prompts
from tests.support.servers.completions import Completions
from tests.support.tiny import FP32
from weekahead.files import read_jsonl
from weekahead.models.decoding import SamplingParams

TIMES = ("seconds", "latency_seconds", "latency_measured")
COUNTED_THERE = "prompt_tokens"
"""Which only a server counts."""


@pytest.fixture
def answers(small, tmp_path):
    """Rows of generations.jsonl by id, without what depends on the clock."""
    count = iter(range(100))

    def generated(data, batch_size=4, backend=None, out=None):
        out = out or tmp_path / str(next(count))
        backend = backend or Batched(BackendOptions())
        sampling = SamplingParams(10, batch_size)
        job = new_job(small.recipe, str(small.adapter), data, sampling, FP32, backend)
        generate(job, backend, out)
        rows = read_jsonl(out / "generations.jsonl")
        assert [row["id"] for row in rows] == [row["id"] for row in data.rows]
        return {
            row["id"]: {
                key: value for key, value in row.items() if key not in (*TIMES, COUNTED_THERE)
            }
            for row in rows
        }

    return generated


def endpoint(prompt="chat"):
    return Endpoint(BackendOptions("mine", prompt))


def test_batch_size_and_order_change_no_answer(answers, market):
    alone = answers(market, batch_size=1)
    assert len({row["generation"] for row in alone.values()}) > 1
    assert answers(market, batch_size=4) == answers(market, batch_size=16) == alone
    assert answers(replace(market, rows=random.Random(1).sample(market.rows, 6))) == alone


def test_a_killed_run_that_had_every_answer_is_put_in_order(answers, market, tmp_path):
    whole = answers(market, out=tmp_path / "a")
    log, manifest = tmp_path / "a/generations.jsonl", tmp_path / "a/manifest.json"
    log.write_bytes(b"".join(reversed(log.read_bytes().splitlines(keepends=True))))
    manifest.write_text(manifest.read_text().replace('"complete": true', '"complete": false'))
    assert answers(market, out=tmp_path / "a") == whole
    stored = json.loads(manifest.read_text())
    assert stored["complete"] and stored["form"] == "plain, adapter merged"


def test_parts_of_killed_processes_are_put_together(answers, market, tmp_path):
    whole = answers(market, out=tmp_path / "a")
    log = tmp_path / "a/generations.jsonl"
    lines = log.read_bytes().splitlines(keepends=True)
    (tmp_path / "a/generations.part0.jsonl").write_bytes(lines[2] + b'{"cut')
    (tmp_path / "a/generations.part3.jsonl").write_bytes(lines[5] + lines[2])
    log.unlink()
    assert answers(market, out=tmp_path / "a") == whole
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == [
        "generations.jsonl",
        "manifest.json",
    ]
    assert lines[2] in log.read_bytes() and lines[5] in log.read_bytes()


def test_answers_that_no_manifest_explains_are_not_mixed_in(answers, market, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/generations.part1.jsonl").write_text('{"id": "x"}\n')
    with pytest.raises(ValueError, match=r"holds answers but no manifest\.json"):
        answers(market, out=tmp_path / "a")
    assert (tmp_path / "a/generations.part1.jsonl").exists()


def test_another_backend_is_another_experiment(answers, market, tmp_path):
    answers(market, out=tmp_path / "a")
    with pytest.raises(ValueError, match="other settings: backend"):
        answers(market, backend=endpoint(), out=tmp_path / "a")


@pytest.mark.parametrize("prompt", ["chat", "text", "ids"])
def test_an_endpoint_answers_as_this_process_does(small, market, answers, monkeypatch, prompt):
    from weekahead.models.loading import find_adapter, load_for_generation

    model, _ = load_for_generation(small.base, find_adapter(str(small.adapter)), FP32)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with Completions(model, small.tokenizer, small.ends, faults={1: 503}) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        served = answers(market, 2, endpoint(prompt))
    assert served == answers(market, 2)
    assert len(server.asked) == 7
    wanted = "/v1/chat/completions" if prompt == "chat" else "/v1/completions"
    assert {path for path, _ in server.asked} == {wanted}


@pytest.fixture
def serve(small, monkeypatch):
    """A server of the tuned model that answers some requests with a status instead."""
    from contextlib import contextmanager

    from weekahead.models.loading import find_adapter, load_for_generation

    model, _ = load_for_generation(small.base, find_adapter(str(small.adapter)), FP32)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)

    @contextmanager
    def served(**faults):
        with Completions(model, small.tokenizer, small.ends, **faults) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            yield server

    return served


@pytest.mark.parametrize("number", [0, 3, 5])
def test_a_row_that_a_server_refuses_is_an_unreadable_answer(
    answers, market, serve, tmp_path, number
):
    row = market.rows[number]
    row["prompt"][-1]["content"] += " Too long."
    with serve(refused={" Too long.": 422}) as server:
        rows = answers(market, 1, endpoint(), out=tmp_path / "a")
        asked = len(server.asked)
        assert rows[row["id"]]["finish_reason"] == "refused"
        refused = [row for row in rows.values() if row["finish_reason"] == "refused"]
        assert [row["generation"] for row in refused] == [""] and len(rows) == 6
        assert answers(market, 1, endpoint(), out=tmp_path / "a") == rows
        assert len(server.asked) == asked, "nothing is asked again"


def test_a_server_that_takes_no_row_at_all_is_an_error(answers, market, serve, tmp_path):
    with (
        serve(refused={"": 400}),
        pytest.raises(ValueError, match="6 rows got no answer, the last for: refused"),
    ):
        answers(market, 2, endpoint(), out=tmp_path / "a")
    assert not list((tmp_path / "a").glob("generations*.jsonl"))


def test_a_server_is_told_every_parameter_of_sampling(answers, market, serve):
    """What a request leaves open, a server takes from the base's generation_config.json."""
    with serve() as server:
        answers(market, 2, endpoint())
    _, body = server.asked[0]
    assert {name: body[name] for name in body if name not in ("model", "messages")} == {
        "max_tokens": 10,
        "temperature": 0.0,
        "seed": 0,
        "top_p": 1.0,
        "frequency_penalty": 0.0,
        "presence_penalty": 0.0,
        "n": 1,
        "top_k": -1,
        "min_p": 0.0,
        "repetition_penalty": 1.0,
        "repeat_penalty": 1.0,
        "stop": ["<|im_end|>"],
    }


def test_a_strict_server_is_asked_without_what_it_refuses(answers, market, serve, tmp_path):
    """Row and manifest say so."""
    knows = {"model", "messages", "max_tokens", "temperature", "top_p", "stop", "n"}
    with serve(knows=knows) as server:
        rows = answers(market, 1, endpoint(), out=tmp_path / "a")
    assert rows == {
        row_id: {**row, "left_out": rows[row_id]["left_out"]}
        for row_id, row in answers(market, 1).items()
    }
    refused = {
        "seed", "frequency_penalty", "presence_penalty", "top_k", "min_p", "repetition_penalty",
        "repeat_penalty",
    }  # fmt: skip
    assert all(set(row["left_out"]) == refused for row in rows.values())
    assert len(server.asked) == 6 + len(refused), "each is learnt once"
    facts = json.loads((tmp_path / "a/manifest.json").read_text())["server"]
    assert facts["left_out"] == dict.fromkeys(facts["left_out"], 6)
    assert set(facts["left_out"]) == refused


def test_an_answer_of_any_shape_is_stored_as_what_it_is(answers, market, serve, tmp_path, caplog):
    """Parts, half of a surrogate pair, a word of the server's own, a count as text."""

    def reshape(whole):
        (choice,) = whole["choices"]
        text = choice["message"]["content"]
        parts = [{"type": "thinking", "thinking": "Up?"}, {"type": "text", "text": f"{text}\ud83d"}]
        message = {"role": "assistant", "content": parts, "reasoning_content": "Down?"}
        usage = {"prompt_tokens": "9", "completion_tokens": "11"}
        return {
            **whole,
            "choices": [{**choice, "message": message, "finish_reason": "model_length"}],
            "usage": usage,
        }

    plain = answers(market, 1)
    with serve(reshape=reshape):
        rows = answers(market, 2, endpoint(), out=tmp_path / "a")
    for row_id, row in rows.items():
        assert row["generation"] == plain[row_id]["generation"] + "\ufffd"
        assert (row["finish_reason"], row["new_tokens"]) == ("model_length", 11)
    facts = json.loads((tmp_path / "a/manifest.json").read_text())["server"]
    assert (facts["finish_reasons"], facts["longer_than_asked"]) == ({"model_length": 6}, 6)
    assert "6 rows may be cut off (finish reason model_length, not stop)" in caplog.text
    assert "6 rows are longer than --max_new_tokens allows" in caplog.text


def test_a_silent_change_of_the_model_is_said(answers, market, serve, tmp_path, caplog):
    with serve(answers_as={"model": "cheap-1"}):
        rows = answers(market, 2, endpoint(), out=tmp_path / "a")
    assert {row["served_model"] for row in rows.values()} == {"cheap-1"}
    facts = json.loads((tmp_path / "a/manifest.json").read_text())["server"]
    assert (facts["models"], facts["other_models"]) == ({"cheap-1": 6}, 6)
    assert "6 rows were answered by cheap-1, as the server says, and not by mine" in caplog.text


@pytest.mark.parametrize(("window", "cut"), [(60, True), (100_000, False)])
def test_a_server_that_cuts_long_prompts_is_said(
    answers, market, serve, tmp_path, caplog, window, cut
):
    """As Ollama does, which keeps 2,048 or 4,096 tokens, without a word."""
    with serve(disobeys="has a window", window=window):
        answers(market, 2, endpoint(), out=tmp_path / "a")
    facts = json.loads((tmp_path / "a/manifest.json").read_text())["server"]
    assert bool(facts["prompts_cut"]) == cut
    assert ("cut them to its context window?" in caplog.text) == cut


@pytest.mark.parametrize(
    ("sizes", "cut"),
    [
        ([(4000, 1000), (8000, 2000), (12000, 3000)], 0),
        ([(4000, 1000), (8000, 2000), (12000, 2048)], 1),
        ([(9000, 2048), (10000, 2048), (12000, 2048), (4000, 1000)], 3),
        ([(12000, 1000)], 1),
        ([(2000, 650), (4000, 1150), (12000, 3150)], 0),
        ([(4000, 0), (8000, 0)], 0),
        ([(4000, 1000)] * 5, 0),
        ([], 0),
    ],
)
def test_a_cut_prompt_has_too_few_tokens(sizes, cut):
    assert count_cut_prompts(sizes) == cut


def test_a_server_s_answers_are_not_asked_for_likelihoods(answers, market, serve, tmp_path, capsys):
    from eval.likelihood import main

    with serve():
        answers(market, 2, endpoint(), out=tmp_path / "a")
    flags = f"--config none.yaml --adapter none --dataset none --out {tmp_path / 'a'}"
    assert main(flags.split()) == 0 and "came from the backend endpoint" in capsys.readouterr().out


def test_a_start_that_left_no_answer_binds_nobody(answers, market, tmp_path):
    whole = answers(market, 2, out=tmp_path / "a")
    # As after a batch that the GPU's memory did not hold.
    (tmp_path / "a/generations.jsonl").unlink()
    assert answers(market, 3, out=tmp_path / "a") == whole


def test_answers_in_other_arithmetic_are_not_mixed_in(answers, market, tmp_path):
    answers(market, 2, out=tmp_path / "a")
    log, manifest = tmp_path / "a/generations.jsonl", tmp_path / "a/manifest.json"
    log.write_bytes(b"".join(log.read_bytes().splitlines(keepends=True)[:2]))
    text = manifest.read_text().replace("plain, adapter merged", "NF4, adapter unmerged")
    manifest.write_text(text)
    message = r"begun on NF4, adapter unmerged, and .* now makes it plain, adapter merged"
    with pytest.raises(ValueError, match=message):
        answers(market, 2, out=tmp_path / "a")
    assert manifest.read_text() == text


def test_an_older_manifest_of_the_backend_is_the_same(answers, market, tmp_path):
    """A manifest of an older version states the backend's name alone, or no backend at all."""
    whole = answers(market, out=tmp_path / "a")
    path = tmp_path / "a/manifest.json"
    manifest = json.loads(path.read_text())
    assert manifest.pop("backend") == {"name": "batched", "runs_locally": True}
    for older in (manifest, {**manifest, "backend": {"name": "batched"}}):
        path.write_text(json.dumps(older))
        assert answers(market, out=tmp_path / "a") == whole


@pytest.mark.parametrize(
    ("name", "options", "match"),
    [
        ("endpoint", BackendOptions(), "--model is None"),
        ("endpoint", BackendOptions("x", "xml"), "--endpoint_prompt is 'xml'"),
        ("batched", BackendOptions("x"), "--model is 'x'"),
        ("vllm", BackendOptions(), "backend 'vllm'"),
    ],
)
def test_a_backend_that_cannot_be_is_refused(name, options, match):
    with pytest.raises(ValueError, match=match):
        new_backend(name, options)
