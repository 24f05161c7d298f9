"""Our turn formats beside TRL: its own templates, and what its SFTTrainer makes of our rows."""

from importlib.resources import files

import pytest

from tests.support.family_tokenizers import family_tokenizer
from tests.weekahead.test_chat_format import COMPLETION, PROMPT
from weekahead.models.chat_format import render_row_ids
from weekahead.models.families import FAMILIES

pytestmark = pytest.mark.usefixtures("embedded_model")


def trl_template(name):
    return (files("trl") / "chat_templates" / f"{name}.jinja").read_text(encoding="utf-8")


def test_chatml_is_trls_qwen_template_without_the_last_newline():
    tokenizer, theirs = family_tokenizer("qwen"), trl_template("qwen2_5")
    prompt = tokenizer.apply_chat_template(PROMPT, add_generation_prompt=True, tokenize=False)
    assert prompt == tokenizer.apply_chat_template(
        PROMPT, chat_template=theirs, add_generation_prompt=True, tokenize=False
    )
    ours = tokenizer.apply_chat_template(PROMPT + COMPLETION, tokenize=False)
    assert ours + "\n" == tokenizer.apply_chat_template(
        PROMPT + COMPLETION, chat_template=theirs, tokenize=False
    )


def test_deepseek_is_trls_template_with_the_think_block_closed():
    tokenizer, theirs = family_tokenizer("deepseek"), trl_template("deepseek_r1_distill")
    prompt = tokenizer.apply_chat_template(PROMPT, add_generation_prompt=True, tokenize=False)
    their_prompt = tokenizer.apply_chat_template(
        PROMPT, chat_template=theirs, add_generation_prompt=True, tokenize=False
    )
    assert their_prompt.endswith("<think>\n") and prompt == their_prompt + "\n</think>\n\n"
    ours = tokenizer.apply_chat_template(PROMPT + COMPLETION, tokenize=False)
    their_row = tokenizer.apply_chat_template(
        PROMPT + COMPLETION, chat_template=theirs, tokenize=False
    )
    assert ours.replace("<think>\n\n</think>\n\n", "") == their_row


@pytest.mark.parametrize("name", FAMILIES)
def test_sft_trainer_prepares_exactly_our_ids(name, tmp_path):
    from datasets import Dataset
    from transformers import LlamaConfig, LlamaForCausalLM
    from trl import SFTConfig, SFTTrainer

    tokenizer = family_tokenizer(name)
    rows = [
        {"prompt": PROMPT, "completion": COMPLETION},
        {"prompt": PROMPT, "completion": [{"role": "assistant", "content": "\nshort "}]},
    ]
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
    )
    trainer = SFTTrainer(
        model=LlamaForCausalLM(config),
        args=SFTConfig(
            output_dir=str(tmp_path),
            use_cpu=True,
            bf16=False,
            report_to="none",
            max_length=4096,
            disable_tqdm=True,
        ),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
    )
    expected = [render_row_ids(tokenizer, row["prompt"], row["completion"]) for row in rows]
    prepared = [trainer.train_dataset[i] for i in range(len(rows))]
    for row, (prompt_ids, completion_ids) in zip(prepared, expected, strict=True):
        assert row["input_ids"] == prompt_ids + completion_ids
        assert row["labels"] == [-100] * len(prompt_ids) + completion_ids
    # In a padded batch the end of the answer counts in the loss, and prompt and padding do not.
    batch = trainer.data_collator(prepared)
    assert (batch["labels"] == tokenizer.eos_token_id).sum(dim=1).tolist() == [1, 1]
    assert (batch["labels"] != -100).sum(dim=1).tolist() == [
        len(completion) for _, completion in expected
    ]
