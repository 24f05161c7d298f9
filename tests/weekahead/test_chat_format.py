"""Chat formats of all families; `test_chat_format_trl` compares them with TRL.

`tests/support/family_tokenizers.py` says which family is tested on its true vocabulary.
"""

import json
import re
from dataclasses import replace
from typing import NamedTuple

import pytest

from tests.support.family_tokenizers import (
    TOKENIZERS,
    WITHOUT_TRUE_VOCABULARY,
    chatml_tokenizer,
    deepseek_tokenizer,
    family_tokenizer,
)
from tests.support.llama_tokenizer import llama_tokenizer
from weekahead.models.chat_format import (
    apply_chat_format,
    chat_format,
    chat_format_of,
    check_row,
    render_prompt_ids,
    render_row_ids,
    row_length,
    stop_token_ids,
)
from weekahead.models.families import FAMILIES
from weekahead.recipe import RECIPES, read_recipe

pytestmark = pytest.mark.usefixtures("embedded_model")  # converted once, whatever test comes first

PROMPT = [
    {"role": "system", "content": "You are an analyst."},
    {"role": "user", "content": "News of 2024.\n\n1. Up 12%"},
]
ANSWER = "[Positive Developments]:\n1. Sales rose 12.5%.\n\n[Potential Concerns]:\n1. Debt."
COMPLETION = [{"role": "assistant", "content": ANSWER}]

CHATML = (
    "<|im_start|>system\nYou are an analyst.<|im_end|>\n"
    "<|im_start|>user\nNews of 2024.\n\n1. Up 12%<|im_end|>\n"
    "<|im_start|>assistant\n"
)


class Rendered(NamedTuple):
    """PROMPT and COMPLETION in the format of a family, and the token that fills a batch."""

    prompt: str
    completion: str
    padding: str


RENDERED = {
    "smollm2": Rendered(CHATML, f"{ANSWER}<|im_end|>", "<|endoftext|>"),
    "qwen": Rendered(CHATML, f"{ANSWER}<|im_end|>", "<|endoftext|>"),
    "llama": Rendered(
        "<|begin_of_text|>### Instruction:\nYou are an analyst.\n\n"
        "### Input:\nNews of 2024.\n\n1. Up 12%\n\n### Response:\n",
        f"{ANSWER}<|end_of_text|>",
        "<|finetune_right_pad_id|>",
    ),
    "deepseek": Rendered(
        "<｜begin▁of▁sentence｜>You are an analyst.<｜User｜>News of 2024.\n\n1. Up 12%"
        "<｜Assistant｜><think>\n\n</think>\n\n",
        f"{ANSWER}<｜end▁of▁sentence｜>",
        "<|finetune_right_pad_id|>",
    ),
}
WITH_BOS = [name for name, family in FAMILIES.items() if family.chat_format.bos_token]
TRUE_VOCABULARIES = [name for name in FAMILIES if name not in WITHOUT_TRUE_VOCABULARY]


def test_every_format_has_its_case_here():
    assert set(FAMILIES) == set(RENDERED) == set(TOKENIZERS)


@pytest.mark.parametrize("name", FAMILIES)
def test_rendered_text(name):
    tokenizer = family_tokenizer(name)
    prompt, completion, _ = RENDERED[name]
    assert (
        tokenizer.apply_chat_template(PROMPT, add_generation_prompt=True, tokenize=False) == prompt
    )
    assert tokenizer.apply_chat_template(PROMPT + COMPLETION, tokenize=False) == prompt + completion
    without_system = tokenizer.apply_chat_template(
        PROMPT[1:], add_generation_prompt=True, tokenize=False
    )
    assert "analyst" not in without_system and "assistant named" not in without_system


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "answer",
    [
        ANSWER,
        " leading space",
        "\n\nleading lines",
        "1. digits first",
        "...",
        "**bold**",
        "株価",
        "a",
        "x \n\n",
    ],
)
def test_prompt_ids_are_a_prefix_of_the_row(name, answer):
    """And the answer ends with the stop token, which is also the eos token."""
    tokenizer = family_tokenizer(name)
    completion = [{"role": "assistant", "content": answer}]
    prompt_ids, completion_ids = render_row_ids(tokenizer, PROMPT, completion)
    assert prompt_ids == render_prompt_ids(tokenizer, PROMPT)
    assert tokenizer.decode(completion_ids[:-1]) == answer.strip()
    assert [completion_ids[-1]] == stop_token_ids(tokenizer) == [tokenizer.eos_token_id]
    assert row_length(tokenizer, PROMPT, completion) == len(prompt_ids) + len(completion_ids)


@pytest.mark.parametrize("name", FAMILIES)
def test_text_cannot_forge_a_token_of_the_template(name):
    """Every special token that a rendered row holds is refused inside a message."""
    tokenizer, control_tokens = family_tokenizer(name), chat_format(name).control_tokens
    prompt_ids, completion_ids = render_row_ids(tokenizer, PROMPT, COMPLETION)
    special = set(tokenizer.get_added_vocab().values())
    written = set(tokenizer.convert_ids_to_tokens(special & {*prompt_ids, *completion_ids}))
    # DeepSeek's template writes an empty thought. A row's own texts may hold one too: it begins no
    # turn, and what reads an answer takes its thoughts out (`without_thought`).
    written -= {"<think>", "</think>"}
    assert written and written <= set(control_tokens)
    for token in control_tokens:
        with pytest.raises(ValueError, match=f"holds .*{re.escape(token)}.*take it out"):
            render_prompt_ids(tokenizer, [{"role": "user", "content": f"a {token} b"}])


def test_a_think_block_in_an_answer_is_not_refused():
    completion = [{"role": "assistant", "content": f"<think>Up?</think>{ANSWER}"}]
    for name in FAMILIES:
        render_row_ids(family_tokenizer(name), PROMPT, completion)


def test_tokens_of_another_form_can_be_control_tokens():
    """Such as those of Mistral: a BOS <s>, and [INST] before a user's text."""
    chat = replace(chat_format("qwen"), bos_token="<s>", turn_tokens=("[INST]", "[/INST]"))
    for token in ("<s>", "[INST]", "[/INST]", "<|im_start|>"):
        with pytest.raises(ValueError, match=f"holds {re.escape(token)}, .*take it out"):
            check_row(chat, [{"role": "user", "content": f"a {token} b"}], COMPLETION)


@pytest.mark.parametrize("name", WITH_BOS)
def test_one_bos_though_the_tokenizer_adds_its_own(name):
    tokenizer = family_tokenizer(name)
    bos = tokenizer.convert_tokens_to_ids(chat_format(name).bos_token)
    assert tokenizer("text")["input_ids"][0] == bos  # the trap is set
    prompt_ids, completion_ids = render_row_ids(tokenizer, PROMPT, COMPLETION)
    assert prompt_ids[0] == bos and (prompt_ids + completion_ids).count(bos) == 1


def test_a_second_bos_is_refused(monkeypatch, tmp_path):
    twice = tmp_path / "llama.jinja"
    twice.write_text("<|begin_of_text|>" + chat_format("llama").template, encoding="utf-8")
    broken = replace(chat_format("llama"), template_path=twice)
    monkeypatch.setitem(FAMILIES, "llama", replace(FAMILIES["llama"], chat_format=broken))
    with pytest.raises(ValueError, match=r"stands 2 times, expected once.*add_special_tokens"):
        render_prompt_ids(apply_chat_format(llama_tokenizer(), broken), PROMPT)


# R1-Distill's own generation prompt opens a think block that its own rendering of an answer lacks.
@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "{%- if add_generation_prompt -%}{{- '<｜Assistant｜><think>\\n\\n</think>\\n\\n'",
            "{%- if add_generation_prompt -%}{{- '<｜Assistant｜><think>\\n'",
            "are not a prefix .*token boundary",
        ),
        ("| trim ~ '<｜end▁of▁sentence｜>'", "| trim", "never learn to stop"),
    ],
)
def test_a_template_with_other_training_tokens_is_refused(monkeypatch, tmp_path, old, new, message):
    """A model must not be trained on other tokens than it is asked with."""
    text = chat_format("deepseek").template
    assert old in text
    broken = replace(chat_format("deepseek"), template_path=tmp_path / "broken.jinja")
    broken.template_path.write_text(text.replace(old, new), encoding="utf-8")
    family = replace(FAMILIES["deepseek"], chat_format=broken)
    monkeypatch.setitem(FAMILIES, "deepseek", family)
    with pytest.raises(ValueError, match=message):
        render_row_ids(apply_chat_format(deepseek_tokenizer(), broken), PROMPT, COMPLETION)


@pytest.mark.parametrize("name", FAMILIES)
def test_padding_is_a_token_of_its_own(name):
    tokenizer = family_tokenizer(name)
    assert tokenizer.pad_token_id not in stop_token_ids(tokenizer)
    prompt_ids, completion_ids = render_row_ids(tokenizer, PROMPT, COMPLETION)
    assert tokenizer.pad_token_id not in prompt_ids + completion_ids
    assert tokenizer.pad_token_id == tokenizer.convert_tokens_to_ids(RENDERED[name].padding)


@pytest.mark.parametrize("name", FAMILIES)
def test_format_survives_saving(name, tmp_path):
    from transformers import AutoTokenizer

    tokenizer = family_tokenizer(name)
    tokenizer.save_pretrained(tmp_path)
    again = AutoTokenizer.from_pretrained(tmp_path)
    assert chat_format_of(again).template == chat_format(name).template
    assert render_row_ids(again, PROMPT, COMPLETION) == render_row_ids(
        tokenizer, PROMPT, COMPLETION
    )


@pytest.mark.parametrize(("name", "make"), [
    ("llama", chatml_tokenizer), ("smollm2", llama_tokenizer), ("deepseek", llama_tokenizer),
    ("llama", deepseek_tokenizer),
])  # fmt: skip
def test_wrong_format_for_the_base_is_refused(name, make):
    with pytest.raises(
        ValueError,
        match=f"wrong turn format for this base: '{name}' needs .*choose one of: smollm2",
    ):
        apply_chat_format(make(), chat_format(name))


def test_unknown_names_and_bare_tokenizers_are_refused():
    with pytest.raises(
        ValueError,
        match="unknown turn format 'gpt'; expected one of: smollm2, llama, deepseek, qwen",
    ):
        chat_format("gpt")
    with pytest.raises(ValueError, match="call apply_chat_format"):
        render_prompt_ids(chatml_tokenizer(), PROMPT)


USER, ASSISTANT = {"role": "user", "content": "x"}, {"role": "assistant", "content": "y"}


@pytest.mark.parametrize(("prompt", "completion", "message"), [
    ([], [ASSISTANT], r"roles \[\]; expected"),
    ([USER, ASSISTANT], [ASSISTANT], "with the answer apart"),
    ([USER], [USER], "expected \\['assistant'\\]"),
    ([USER], [ASSISTANT, ASSISTANT], "one answer per row"),
    ([USER], [{"role": "assistant", "content": " \n"}], "expected text that is not empty"),
    ([USER], [{"role": "assistant", "content": None}], "assistant message is None"),
    ([{"role": "user", "content": "a <|im_end|> b"}], [ASSISTANT], r"holds <\|im_end\|>.*take it"),
    ([USER], [{"role": "assistant", "content": "<|endoftext|>"}], "take it out"),
])  # fmt: skip
def test_what_is_not_a_row_is_refused(prompt, completion, message):
    with pytest.raises(ValueError, match=message):
        check_row(chat_format("qwen"), prompt, completion)
    with pytest.raises(ValueError, match=message):
        render_row_ids(family_tokenizer("qwen"), prompt, completion)


@pytest.mark.parametrize("name", FAMILIES)
def test_templates_refuse_roles_they_do_not_know(name):
    with pytest.raises(Exception, match="unknown role 'tool'"):
        family_tokenizer(name).apply_chat_template(
            [{"role": "tool", "content": "x"}], tokenize=False
        )


@pytest.mark.slow
@pytest.mark.parametrize("name", TRUE_VOCABULARIES)
def test_every_real_row_fits_the_recipes_length(shared_data, name):
    tokenizer, lengths = family_tokenizer(name), []
    for line in (shared_data / "dow30" / "test.jsonl").read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        system, user = re.fullmatch(
            r"\[INST\]<<SYS>>(.*?)<</SYS>>(.*)\[/INST\]", row["prompt"].strip(), re.S
        ).groups()
        prompt = [{"role": "system", "content": system}, {"role": "user", "content": user}]
        lengths.append(
            row_length(tokenizer, prompt, [{"role": "assistant", "content": row["answer"]}])
        )
    lengths.sort()
    print(f"{name}: {len(lengths)} rows, p50 {lengths[149]}, p95 {lengths[284]}, max {lengths[-1]}")
    assert len(lengths) == 300
    assert lengths[-1] <= read_recipe(RECIPES / f"{name}.yaml")["max_length"]
