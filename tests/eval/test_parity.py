"""The parity check against real servers that hold the right model, and the wrong one."""

from argparse import Namespace

import pytest

from eval.parity import Compared, Local, compare, main, parting, verdict
from tests.support.servers.completions import Completions
from tests.support.tiny import FP32
from weekahead.models.loading import find_adapter, load_for_generation


@pytest.fixture
def check(small, market, monkeypatch):
    """Compare three rows in fp32 with what answers at `url`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def call(against, url="", prompt="chat"):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        flags = Namespace(against=against, model="mine", endpoint_prompt=prompt, max_new_tokens=8)
        return compare(flags, market.rows[:3], small.base, find_adapter(str(small.adapter)), FP32)

    return call


def serving(small, adapter, **settings):
    model, _ = load_for_generation(small.base, adapter and find_adapter(str(adapter)), FP32)
    return Completions(model, small.tokenizer, small.ends, **settings)


@pytest.mark.parametrize("prompt", ["chat", "ids"])
def test_a_server_with_the_adapter_agrees(check, small, prompt):
    with serving(small, small.adapter) as server:
        found = check("endpoint", server.url, prompt)
    assert verdict(found, 1e-3)[0] == 0 and all(one.gap is not None for one in found)


def test_a_server_without_log_probabilities_is_asked_for_the_text_alone(check, small):
    with serving(small, small.adapter, logprobs=False) as server:
        found = check("endpoint", server.url)
    code, sentence = verdict(found, 1e-3)
    assert code == 0 and "told for 0" in sentence


def test_a_server_that_forgot_the_adapter_is_found_out(check, small):
    with serving(small, None) as server:
        code, sentence = verdict(check("endpoint", server.url), 1e-3)
    assert code == 1 and "answers are the base's; is the adapter loaded there?" in sentence


def test_a_server_with_another_template_is_found_out(check, small):
    with serving(small, small.adapter) as server:
        template = server.tokenizer.chat_template
        server.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
        try:
            code, sentence = verdict(check("endpoint", server.url), 1e-3)
        finally:
            server.tokenizer.chat_template = template
    assert code == 1 and sentence.startswith("differ: 3 of 3")


def test_an_adapter_that_changes_nothing_is_no_agreement():
    one = Compared("a", True, None, None, 0.0, adapter_matters=False, like_base=False)
    assert verdict([one], 1e-3)[0] == 1


def test_a_difference_is_a_tie_only_within_the_tolerance_and_only_in_the_text():
    apart = Compared("a", False, 3, 0.0005, None, adapter_matters=True, like_base=False)
    assert verdict([apart], 1e-3)[0] == 0 and verdict([apart], 1e-4)[0] == 1
    shifted = Compared("a", True, None, None, 0.5, adapter_matters=True, like_base=False)
    assert verdict([shifted], 1e-3)[0] == 1


@pytest.mark.parametrize(("said", "place"), [("Up by", 1), ("Down by 1-2%", 0), ("", 0)])
def test_the_place_where_two_texts_part(small, said, place):
    ids = [small.tokenizer(word)["input_ids"][0] for word in ("Up", " in")]
    assert (
        parting(small.tokenizer, Local(ids, small.tokenizer.decode(ids), "length", 0.0), said)
        == place
    )


def test_what_cannot_be_checked_ends_with_2(small, tiny, monkeypatch, capsys):
    monkeypatch.chdir(tiny)
    flags = [
        "--config",
        "fp32.yaml",
        "--adapter",
        "none",
        "--dataset",
        "data/datasets/m",
        "--against",
        "endpoint",
    ]
    assert main(flags) == 2
    assert "--model is missing" in capsys.readouterr().err
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main([*flags, "--model", "mine", "--prompts", "1", "--max_new_tokens", "2"]) == 2
    assert "no endpoint: set OPENAI_API_KEY" in capsys.readouterr().err
