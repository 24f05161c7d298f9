"""What is learnt from a server that refuses a parameter. The messages are those of real servers."""

import pytest

from weekahead.request_form import NEUTRAL, NEUTRAL_ELSEWHERE, RequestForm, refused_parameter

BODY = {
    "model": "m",
    "messages": [],
    "max_tokens": 512,
    "temperature": 0.0,
    "seed": 0,
    "stop": ["<|im_end|>"],
    **NEUTRAL,
    **NEUTRAL_ELSEWHERE,
}


@pytest.mark.parametrize(
    ("error", "name"),
    [
        ({"message": "Unrecognized request argument supplied: top_k"}, "top_k"),
        ({"message": "Unknown parameter: 'min_p'.", "param": "min_p"}, "min_p"),
        ({"message": "property 'repetition_penalty' is unsupported"}, "repetition_penalty"),
        ({"message": '[{"loc": ["body", "n"], "msg": "extra fields not permitted"}]'}, "n"),
        ({"message": "[{'type': 'extra_forbidden', 'loc': ('body', 'seed')}]"}, "seed"),
        ({"message": "Argument not supported on this model: presencePenalty"}, "presence_penalty"),
        ({"message": "Input validation error: `top_p` must be > 0.0 and < 1.0"}, "top_p"),
        ({"message": 'Invalid JSON payload received. Unknown name "stop": no field.'}, "stop"),
        ({"message": "'temperature' does not support 0.0 with this model. Only the default"
          " (1) value is supported.", "param": "temperature"}, "temperature"),
        ({"message": "Unsupported parameter: 'max_tokens' is not supported with this model. Use"
          " 'max_completion_tokens' instead.", "param": "max_tokens"}, "max_tokens"),
        ({"message": "max_tokens is too large: 512. This model's maximum context length is 256",
          "param": "max_tokens"}, None),
        ({"message": "This model's maximum context length is 4096 tokens. However, you requested"
          " 5000 tokens. Please reduce the length of the messages or completion."}, None),
        ({"message": "Invalid request: the prompt was filtered, stop asking"}, None),
        ({}, None),
    ],
)  # fmt: skip
def test_the_parameter_that_an_error_names(error, name):
    assert refused_parameter(error, BODY) == name


def test_a_setting_out_of_range_is_no_unknown_parameter():
    """The user asked for it: it is refused, and not dropped."""
    error = {"message": "temperature must be between 0 and 2", "param": "temperature"}
    assert refused_parameter(error, {**BODY, "temperature": 3.0}) is None


def test_the_limit_gets_its_new_name_once():
    form = RequestForm(own_server=True)
    error = {"message": "Unsupported parameter: 'max_tokens'", "param": "max_tokens"}
    assert form.learn(BODY, error) == "max_tokens"
    sent = form.apply(BODY)
    assert sent["max_completion_tokens"] == 512 and "max_tokens" not in sent
    new = {"message": "Unsupported parameter: 'max_completion_tokens'"}
    assert form.learn(sent, new) is None
    text = {"prompt": "a", "max_tokens": 5}
    assert form.apply(text) == text, "a completion has the old name everywhere"


def test_openai_itself_gets_no_unknown_name_and_the_new_limit():
    form = RequestForm(own_server=False)
    sent = form.apply(BODY)
    assert sent["max_completion_tokens"] == 512 and not set(NEUTRAL_ELSEWHERE) & set(sent)
    assert form.missing(BODY, sent) == (), "nothing was refused"


def test_what_is_refused_stays_out_and_is_known():
    form = RequestForm(own_server=True)
    form.learn(BODY, {"message": "Unknown parameter: 'top_k'"})
    sent = form.apply(BODY)
    assert "top_k" not in sent and form.missing(BODY, sent) == ("top_k",)


def test_only_a_first_request_is_probed():
    form = RequestForm(own_server=True)
    assert form.probes({**BODY, "logprobs": True})[:2] == [["logprobs"], list(NEUTRAL_ELSEWHERE)]
    assert form.probes({"model": "m", "messages": [], "max_tokens": 5, "temperature": 0}) == []
    form.settled = True
    assert form.probes(BODY) == []
