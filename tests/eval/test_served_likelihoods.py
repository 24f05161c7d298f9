"""The twelve probabilities from a server: those of the model here, or none and why."""

import json

import pytest

from eval.generation.parting import TOLERANCE
from eval.generation.prompts import prompt_ids
from eval.likelihoods.continuations import DIRECT_PREFIX, choices, log_probabilities
from eval.likelihoods.served import NotStated, served_log_probabilities, tail_log_probability
from tests.support.servers.completions import Completions
from tests.support.tiny import FP32
from weekahead.models.loading import find_adapter, load_for_generation
from weekahead.openai_reply import read_reply


@pytest.fixture(scope="module")
def model(small):
    return load_for_generation(small.base, find_adapter(str(small.adapter)), FP32)[0]


@pytest.fixture
def served(small, model, market, monkeypatch):
    """Asks a server that holds the model, in some way of its own, for the bins of a short row."""
    first = market.rows[0]
    first["prompt"][-1]["content"] = first["prompt"][-1]["content"][:200]

    def ask(prefix=DIRECT_PREFIX, tokenizer=small.tokenizer, **ways):
        row = choices(tokenizer, prompt_ids(tokenizer, first), prefix)
        with Completions(model, small.tokenizer, small.ends, **ways) as server:
            monkeypatch.setenv("OPENAI_BASE_URL", server.url)
            return row, served_log_probabilities("mine", row, tokenizer), server

    return ask


KNOWN = {"model", "prompt", "max_tokens", "temperature", "echo", "logprobs", "n", "top_p"}


@pytest.mark.parametrize(
    ("prefix", "knows"),
    [(DIRECT_PREFIX, None), ("[Positive Developments]:\n1. x\n\nPrediction:", KNOWN)],
)
def test_a_server_gives_what_the_model_here_gives(served, model, prefix, knows):
    """Also one that refuses top_k and others: they are left out."""
    row, logs, server = served(prefix, knows=knows)
    (wanted,) = log_probabilities(model, [row], 0)
    assert logs == pytest.approx(wanted, abs=TOLERANCE["fp32"])
    assert {path for path, _ in server.asked} == {"/v1/completions"}


@pytest.mark.parametrize(
    ("ways", "reason"),
    [
        ({"logprobs": False}, "of 0 tokens, not of the"),
        ({"refused": {"prompt": 403}}, "refuses the key"),
        ({"refused": {"prompt": 409}}, "409"),
        ({"reshape": lambda whole: {**whole, "choices": []}}, "without choices"),
    ],
)
def test_a_server_that_does_not_give_them_is_told(served, monkeypatch, ways, reason):
    monkeypatch.setattr("weekahead.openai_client.MAX_RETRIES", 0)
    with pytest.raises(NotStated, match=reason):
        served(**ways)


def test_twelve_sure_texts_are_refused(served):
    """A server that states 0 for what it does not know would make all bins as likely."""

    def all_sure(whole):
        told = whole["choices"][0]["logprobs"]
        told["token_logprobs"] = [0.0] * len(told["tokens"])
        return whole

    with pytest.raises(NotStated, match=r"add up to 12\.00"):
        served(reshape=all_sure)


TOKENS = ["<s>", "Prediction", ":", " Up", " by", "\n", "Wh"]
VALUES = [None, -3.0, -2.0, -1.0, -0.5, -0.25, -0.1]


def value_of(tokens, values, **usage):
    """That of the tail " Up by\\n" in an answer with these tokens."""
    told = {"tokens": tokens, "token_logprobs": values}
    choice = {"text": "", "finish_reason": "length", "logprobs": told}
    reply = read_reply(json.dumps({"choices": [choice], "usage": usage}).encode())
    return tail_log_probability(reply, [1, 2, 3], [4, 5, 6], " Up by\n")


def test_the_tail_alone_is_added_up():
    """With the token that the server wrote behind it, or without; spaces may be left out."""
    assert value_of(TOKENS, VALUES, prompt_tokens=6) == -1.75
    assert value_of(TOKENS[:-1], VALUES[:-1]) == -1.75
    assert value_of([token.strip(" ") for token in TOKENS], [0.0, *VALUES[1:]]) == -1.75


@pytest.mark.parametrize(
    ("tokens", "values", "usage", "reason"),
    [
        (TOKENS[-1:], VALUES[-1:], {}, "of 1 tokens, not of the 6"),  # as llama.cpp does
        (None, VALUES, {}, "of 0 tokens, not of the 6"),
        (TOKENS, VALUES[1:], {}, "of 0 tokens"),
        (TOKENS, [*VALUES[1:], None], {}, "read others"),
        (TOKENS, VALUES, {"prompt_tokens": 7}, "it counts 7"),
        (["<s>", *TOKENS[:-1]], VALUES, {}, "as ': Up by': its model has another tokenizer"),
        (TOKENS, [*VALUES[:4], None, *VALUES[5:]], {}, "no log-probability of a token"),
        (TOKENS, [*VALUES[:4], 0.5, *VALUES[5:]], {}, "no log-probability of a token"),
        (TOKENS, [*VALUES[:4], "x", *VALUES[5:]], {}, "no log-probability of a token"),
    ],
)
def test_another_quantity_is_refused(tokens, values, usage, reason):
    with pytest.raises(NotStated, match=reason):
        value_of(tokens, values, **usage)
