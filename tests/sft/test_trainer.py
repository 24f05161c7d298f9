"""What the trainer puts into the loss, against TRL's own."""

import pytest

from data_pipeline.dataset.load import TrainData, train_rows
from sft.training.arguments import parse
from weekahead.models.chat_format import render_row_ids
from weekahead.models.loading import base_from_recipe, load_tokenizer
from weekahead.models.precision import Precision

FP32 = Precision("fp32", "cpu", "for the test")
IGNORED = -100


@pytest.fixture(scope="module")
def made(tiny, tmp_path_factory):
    """(trainer, rows, tokenizer) on six rows of the fictional market, no dropout, an adapter that does something."""
    import torch

    from sft.training.trainer import build_trainer

    out = tmp_path_factory.mktemp("out")
    flags = [
        "--lora_dropout",
        "0",
        "--output_dir",
        out,
        "--report_to",
        "none",
        "--eval_strategy",
        "no",
    ]
    script, training, model = parse(["--config", str(tiny / "recipe.yaml"), *map(str, flags)], FP32)
    base = base_from_recipe(
        {**vars(model), "model_revision": None, "turn_format": script.turn_format}, FP32
    )
    tokenizer = load_tokenizer(base)
    rows = train_rows(tiny / "data/datasets/m").train[:6]
    trainer = build_trainer(
        base, tokenizer, TrainData(rows, [], [], [], "m", "", 1), training, model, []
    )
    torch.manual_seed(1)
    for name, weight in trainer.model.named_parameters():
        if "lora_B" in name:
            weight.data.normal_(std=0.1)
    return trainer, rows, tokenizer


def batch_of(trainer, places):
    return trainer.data_collator([trainer.train_dataset[place] for place in places])


def test_c1_a_prompt_and_padding_carry_no_loss_and_the_answers_end_does(made):
    trainer, rows, tokenizer = made
    batch = batch_of(trainer, range(6))
    for row, ids, labels in zip(
        rows, batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True
    ):
        prompt, completion = render_row_ids(tokenizer, row["prompt"], row["completion"])
        assert ids[: len(prompt) + len(completion)] == prompt + completion
        rest = len(ids) - len(prompt) - len(completion)
        assert labels == [IGNORED] * len(prompt) + completion + [IGNORED] * rest
        assert trainer.model.config.eos_token_id in completion


@pytest.mark.parametrize("places", [[0], [0, 1, 2, 3], [5, 2]])
@pytest.mark.parametrize("items", [None, 977])
def test_the_loss_and_its_gradients_are_trls(made, places, items):
    """TRL projects every position, ours those that count; `items` is the count of an accumulated step."""
    import torch
    from trl import SFTTrainer

    trainer, _, _ = made
    found = []
    for owner in (type(trainer), SFTTrainer):
        trainer.model.zero_grad()
        count = None if items is None else torch.tensor(items)
        loss = owner.compute_loss(
            trainer, trainer.model, batch_of(trainer, places), num_items_in_batch=count
        )
        loss.backward()
        trained = {
            name: p.grad.clone() for name, p in trainer.model.named_parameters() if p.requires_grad
        }
        found.append((loss.detach(), trained))
    (ours, our_gradients), (theirs, their_gradients) = found
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert our_gradients.keys() == their_gradients.keys() and len(our_gradients) == 2 * 7 * 2
    for name, gradient in our_gradients.items():
        torch.testing.assert_close(gradient, their_gradients[name], rtol=1e-3, atol=1e-5, msg=name)
    assert max(gradient.abs().max() for gradient in our_gradients.values()) > 1e-3


def test_an_evaluation_leaves_the_4_bit_base_as_it_was(made):
    """Only a CPU with bf16 products (lscpu: avx512_bf16) could fail it."""
    import torch

    trainer, _, _ = made
    packed = {name: p for name, p in trainer.model.named_parameters() if hasattr(p, "quant_state")}
    before = {name: (p.data.clone(), p.quant_state.absmax.clone()) for name, p in packed.items()}
    batch = batch_of(trainer, [0, 1])
    trainer.model.eval()
    with torch.no_grad():
        trainer.model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
    trainer.model.train()
    assert len(before) == 2 * 7
    for name, parameter in trainer.model.named_parameters():
        if name in before:
            data, scales = before[name]
            assert torch.equal(parameter.data, data) and torch.equal(
                parameter.quant_state.absmax, scales
            ), name


def test_the_loss_of_a_resumed_training_is_that_of_all_its_steps():
    from sft.training.train_log import mean_loss

    history = [
        {"step": 10, "loss": 3.0},
        {"step": 10, "eval_loss": 9.0},
        {"step": 20, "loss": 2.0},
        {"step": 25, "loss": 1.0},
    ]
    assert mean_loss(history) == pytest.approx((10 * 3.0 + 10 * 2.0 + 5 * 1.0) / 25)
    assert mean_loss([{"step": 3, "eval_loss": 1.0}]) is None
