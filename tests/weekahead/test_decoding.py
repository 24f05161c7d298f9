"""Batches and decoding."""

import pytest

from weekahead.models.chat_format import render_prompt_ids, stop_token_ids
from weekahead.models.decoding import SamplingParams, decode, plan_batches
from weekahead.models.loading import Base, load_base, load_for_generation, load_tokenizer
from weekahead.models.precision import Precision


def test_batches_take_the_longest_first_and_every_row_once():
    assert plan_batches([3, 9, 9, 1, 5], 2) == [[1, 2], [4, 0], [3]]
    assert plan_batches([], 2) == []


def test_a_batch_answers_like_its_rows_alone(tiny):
    base = Base(str(tiny / "base"), "smollm2", "float32")
    tokenizer, model = load_tokenizer(base), load_base(base).eval()
    texts = [
        "Up or down?",
        "A much longer question about orders, costs and the week to come.",
        "Why?",
    ]
    prompts = [render_prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in texts]
    sampling = SamplingParams(max_new_tokens=12)
    together = decode(model, tokenizer, prompts, stop_token_ids(tokenizer), sampling)
    alone = [
        decode(model, tokenizer, [prompt], stop_token_ids(tokenizer), sampling)[0]
        for prompt in prompts
    ]
    assert [answer.text for answer in together] == [answer.text for answer in alone]


def test_an_answer_ends_at_its_first_stop_token(tiny):
    base = Base(str(tiny / "base"), "smollm2", "float32")
    tokenizer, model = load_tokenizer(base), load_base(base).eval()
    prompt = render_prompt_ids(tokenizer, [{"role": "user", "content": "Up or down?"}])
    (free,) = decode(model, tokenizer, [prompt], [], SamplingParams(max_new_tokens=5))
    assert (free.new_tokens, free.finish_reason) == (5, "length")
    every_token = list(range(len(tokenizer)))
    (stopped,) = decode(model, tokenizer, [prompt], every_token, SamplingParams(max_new_tokens=5))
    assert (stopped.new_tokens, stopped.finish_reason) == (1, "stop")


def test_what_a_base_says_about_sampling_changes_nothing(tiny, tmp_path):
    import shutil

    from transformers import GenerationConfig

    shutil.copytree(tiny / "base", tmp_path / "base")
    hidden = GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=0.01, max_length=3, eos_token_id=2
    )
    hidden.save_pretrained(tmp_path / "base")
    answers = []
    for folder in (tiny / "base", tmp_path / "base"):
        base = Base(str(folder), "smollm2", "float32")
        model, _ = load_for_generation(base, None, Precision("fp32", "cpu", "for the test"))
        tokenizer = load_tokenizer(base)
        prompt = render_prompt_ids(tokenizer, [{"role": "user", "content": "Up or down?"}])
        answers.append(decode(model, tokenizer, [prompt], [], SamplingParams(max_new_tokens=30))[0])
    assert answers[0].text == answers[1].text and answers[1].new_tokens == 30


@pytest.mark.parametrize("bad", [{"max_new_tokens": 0}, {"batch_size": 0}, {"temperature": -1.0}])
def test_settings_that_cannot_be_are_refused(bad):
    with pytest.raises(ValueError, match="must be at least 1"):
        SamplingParams(**bad)
