"""The parity check against real servers that hold the right model, and the wrong one."""

import pytest

from eval.generation.parity import Compared, chosen_rows, compare, parity_verdict
from eval.generation.parting import LocalAnswer, Parting, ServedModel, parting_index
from eval.parity import main
from tests.support.servers.completions import Completions
from tests.support.tiny import FP32
from weekahead.models.loading import find_adapter, load_for_generation


@pytest.fixture
def check(small, market, monkeypatch):
    """Compare three rows in fp32 with what answers at `url`."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def call(url, prompt="chat", tolerance=1e-3):
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        served = ServedModel("mine", prompt, max_new_tokens=8, tolerance=tolerance)
        adapter = find_adapter(str(small.adapter))
        return compare(market.rows[:3], small.base, adapter, FP32, served)

    return call


def serving(small, adapter, **settings):
    model, _ = load_for_generation(small.base, adapter and find_adapter(str(adapter)), FP32)
    return Completions(model, small.tokenizer, small.ends, **settings)


@pytest.mark.parametrize("prompt", ["chat", "ids"])
def test_a_server_with_the_adapter_agrees(check, small, prompt):
    with serving(small, small.adapter) as server:
        compared = check(server.url, prompt)
    assert parity_verdict(compared, 1e-3) == (
        0,
        "agree: 3 prompts, 0 of them ties, log-probabilities stated for 3; the adapter changes 3",
    )


def test_a_server_without_log_probabilities_is_asked_for_text(check, small):
    with serving(small, small.adapter, logprobs=False) as server:
        compared = check(server.url)
    code, sentence = parity_verdict(compared, 1e-3)
    assert code == 0 and "stated for 0" in sentence


def test_a_server_that_forgot_the_adapter_is_found_out(check, small):
    with serving(small, None) as server:
        code, sentence = parity_verdict(check(server.url), 1e-3)
    assert code == 1 and "answers are the base's; is the adapter loaded there?" in sentence


def test_a_server_with_another_template_is_found_out(check, small):
    with serving(small, small.adapter) as server:
        template = server.tokenizer.chat_template
        server.tokenizer.chat_template = "{% for m in messages %}{{ m['content'] }}{% endfor %}"
        try:
            code, sentence = parity_verdict(check(server.url), 1e-3)
        finally:
            server.tokenizer.chat_template = template
    assert code == 1 and sentence.startswith("differ: 3 of 3")
    assert "another chat template" in sentence


@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("samples", "does it obey temperature 0"),
        ("penalizes", "a repetition penalty of 1"),
        ("cuts answers", "beyond ties"),
        ("cuts prompts", "cut long prompts?"),
        ("says stop", "does it stop at the same token?"),
    ],
)
def test_a_server_that_disobeys_is_found_out(check, small, way, cause):
    with serving(small, small.adapter, disobeys=way) as server:
        code, sentence = parity_verdict(check(server.url), 1e-3)
    assert code == 1 and sentence.startswith("differ: ") and cause in sentence


@pytest.mark.parametrize("way", ["samples", "penalizes", "cuts answers", "cuts prompts"])
def test_what_disobeys_is_not_taken_for_ties(check, small, way):
    """Not even with the wide tolerance of bf16, in which many tokens of this model lie."""
    with serving(small, small.adapter, disobeys=way) as server:
        compared = check(server.url, tolerance=0.25)
    assert parity_verdict(compared, 0.25)[0] == 1


def test_the_longest_prompt_is_among_those_compared(market):
    assert [row["id"] for row in chosen_rows(market.rows, 2)] == [
        market.rows[0]["id"],
        max(market.rows, key=lambda row: len(row["prompt"][-1]["content"]))["id"],
    ]
    assert chosen_rows(market.rows, 99) == market.rows


def compared(parting, gap, *, adapter_matters=True):
    return Compared("a", parting, gap, adapter_matters=adapter_matters, like_base=False)


def test_an_adapter_that_changes_nothing_is_no_agreement():
    assert parity_verdict([compared(None, 0.0, adapter_matters=False)], 1e-3)[0] == 1


def test_a_tie_is_within_the_tolerance_and_only_in_the_text():
    apart = compared(Parting(3, 0.0005), None)
    assert parity_verdict([apart], 1e-3)[0] == 0 and parity_verdict([apart], 1e-4)[0] == 1
    assert parity_verdict([compared(Parting(None, None), None)], 1e-3)[0] == 1
    assert parity_verdict([compared(None, 0.5)], 1e-3)[0] == 1


@pytest.mark.parametrize(("text", "index"), [("Up by", 1), ("Down by 1-2%", 0), ("", 0)])
def test_the_token_at_which_two_texts_part(small, text, index):
    ids = [small.tokenizer(word)["input_ids"][0] for word in ("Up", " in")]
    reference = LocalAnswer(ids, small.tokenizer.decode(ids), "length", 0.0)
    assert parting_index(small.tokenizer, reference, text) == index


def test_what_cannot_be_checked_ends_with_2(small, tiny, monkeypatch, capsys):
    monkeypatch.chdir(tiny)
    flags = ["--config", "fp32.yaml", "--adapter", "none", "--dataset", "data/datasets/m"]
    flags += ["--against", "endpoint"]
    assert main(flags) == 2
    assert "--model is missing" in capsys.readouterr().err
    monkeypatch.setenv("OPENAI_BASE_URL", "")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert main([*flags, "--model", "mine", "--prompts", "1", "--max_new_tokens", "2"]) == 2
    assert "no endpoint: set OPENAI_API_KEY" in capsys.readouterr().err
