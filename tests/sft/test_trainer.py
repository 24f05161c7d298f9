"""What the trainer puts into the loss, against TRL's own."""

from dataclasses import field, make_dataclass, replace

import pytest

from data_pipeline.dataset.load import load_dataset
from sft.training.arguments import parse
from weekahead.models.chat_format import render_row_ids
from weekahead.models.loading import NF4, Base, load_tokenizer
from weekahead.models.precision import Precision

IGNORED_LABEL = -100
FP32 = Precision("fp32", "cpu", "for the test")
ITEMS = 977
"""The count of labels in an accumulated step, over all its batches."""


@pytest.fixture(scope="module")
def make_trainer(tiny, tmp_path_factory):
    """Makes a trainer on six rows: no dropout, and an adapter that changes the output."""
    import torch

    from sft.training.trainer import build_trainer

    data = load_dataset(tiny / "data/datasets/m").train
    data = replace(data, train=data.train[:6], validation=[])

    def make(*more_flags):
        out = str(tmp_path_factory.mktemp("out"))
        flags = ["--config", str(tiny / "recipe.yaml"), "--output_dir", out]
        flags += ["--lora_dropout", "0", "--report_to", "none", "--eval_strategy", "no"]
        script, training, model = parse([*flags, *more_flags], FP32)
        base = Base(model.model_name_or_path, script.turn_format, "float32", quantization=NF4)
        trainer = build_trainer(base, load_tokenizer(base), data, training, model, [])
        torch.manual_seed(1)
        for name, weight in trainer.model.named_parameters():
            if "lora_B" in name:
                weight.data.normal_(std=0.1)
        return trainer

    return make


@pytest.fixture(scope="module")
def trainer(make_trainer):
    return make_trainer()


def batch_of(trainer, indices):
    return trainer.data_collator([trainer.train_dataset[index] for index in indices])


def loss_and_gradients(owner, trainer, indices, items=None):
    """The loss that `owner.compute_loss` gives on a batch, and the gradients of the adapter."""
    import torch

    trainer.model.zero_grad()
    count = None if items is None else torch.tensor(items)
    batch = batch_of(trainer, indices)
    loss = owner.compute_loss(trainer, trainer.model, batch, num_items_in_batch=count)
    loss.backward()
    named = trainer.model.named_parameters()
    gradients = {name: weight.grad.clone() for name, weight in named if weight.requires_grad}
    return loss.detach(), gradients


def label_logprobs(trainer, indices):
    """(log-probabilities of every next token, the labels), of the positions that have a label."""
    import torch

    batch = batch_of(trainer, indices)
    labels = batch.pop("labels")[:, 1:]
    with torch.no_grad():
        logits = trainer.model(**batch).logits[:, :-1].float()
    labelled = labels != IGNORED_LABEL
    return logits.log_softmax(-1)[labelled], labels[labelled]


def test_only_the_answer_and_its_end_carry_loss(tiny, trainer):
    """Prompt and padding have no label; the answer has all of them, its stop token included."""
    tokenizer = trainer.processing_class
    batch = batch_of(trainer, range(6))
    rows = load_dataset(tiny / "data/datasets/m").train.train[:6]
    token_ids, labels = batch["input_ids"].tolist(), batch["labels"].tolist()
    for row, row_ids, row_labels in zip(rows, token_ids, labels, strict=True):
        prompt, completion = render_row_ids(tokenizer, row["prompt"], row["completion"])
        assert row_ids[: len(prompt) + len(completion)] == prompt + completion
        padding = len(row_ids) - len(prompt) - len(completion)
        unlabelled = [IGNORED_LABEL]
        assert row_labels == unlabelled * len(prompt) + completion + unlabelled * padding
        assert trainer.model.config.eos_token_id in completion


FOUR_ROWS = pytest.param([0, 1, 2, 3], marks=pytest.mark.slow)


@pytest.mark.parametrize("indices", [[0], FOUR_ROWS, [5, 2]])
@pytest.mark.parametrize("items", [None, ITEMS])
def test_plain_nll_and_its_gradients_are_trls(trainer, indices, items):
    """TRL projects every position, the short way only those with a label."""
    import torch
    from trl import SFTTrainer

    assert trainer._can_skip_unlabelled(batch_of(trainer, indices))
    ours, our_gradients = loss_and_gradients(type(trainer), trainer, indices, items)
    trls, trl_gradients = loss_and_gradients(SFTTrainer, trainer, indices, items)
    torch.testing.assert_close(ours, trls, rtol=1e-5, atol=1e-6)
    assert our_gradients.keys() == trl_gradients.keys() and len(our_gradients) == 2 * 7 * 2
    for name, gradient in our_gradients.items():
        torch.testing.assert_close(gradient, trl_gradients[name], rtol=1e-3, atol=1e-5, msg=name)
    assert max(gradient.abs().max() for gradient in our_gradients.values()) > 1e-3


def test_loss_type_dft_is_used_on_a_cpu(make_trainer, trainer):
    """DFT weights the loss of a token by its probability (arXiv:2508.05629); the value is TRL's."""
    import torch
    from trl import SFTTrainer

    dft = make_trainer("--loss_type", "dft")
    logprobs, labels = label_logprobs(dft, [0, 1])
    chosen = logprobs.gather(1, labels[:, None]).squeeze(1)
    expected = -(chosen * chosen.exp()).sum() / len(labels)
    ours, our_gradients = loss_and_gradients(type(dft), dft, [0, 1])
    trls, trl_gradients = loss_and_gradients(SFTTrainer, dft, [0, 1])
    plain, _ = loss_and_gradients(type(trainer), trainer, [0, 1])
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-6)
    assert torch.equal(ours, trls) and ours < 0.01 * plain
    assert all(torch.equal(our_gradients[name], trl_gradients[name]) for name in our_gradients)


def test_label_smoothing_is_used_on_a_cpu(make_trainer, trainer):
    """A share `factor` of the target is spread evenly over the vocabulary; the value is TRL's."""
    import torch
    from trl import SFTTrainer

    smoothed = make_trainer("--label_smoothing_factor", "0.2")
    logprobs, labels = label_logprobs(smoothed, [0, 1])
    of_labels = -logprobs.gather(1, labels[:, None]).mean()
    expected = 0.8 * of_labels - 0.2 * logprobs.mean()
    ours, our_gradients = loss_and_gradients(type(smoothed), smoothed, [0, 1])
    trls, trl_gradients = loss_and_gradients(SFTTrainer, smoothed, [0, 1])
    plain, _ = loss_and_gradients(type(trainer), trainer, [0, 1])
    torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(ours, trls) and not torch.isclose(ours, plain, rtol=1e-4)
    assert all(torch.equal(our_gradients[name], trl_gradients[name]) for name in our_gradients)


def test_a_loss_function_of_the_callers_is_used(trainer, monkeypatch):
    """So are the auxiliary loss of experts and the scaling of a model that is split up."""
    monkeypatch.setattr(
        trainer, "compute_loss_func", lambda outputs, labels, **_: outputs.logits.mean()
    )
    assert not trainer._can_skip_unlabelled(batch_of(trainer, [0]))
    monkeypatch.undo()
    monkeypatch.setattr(trainer, "aux_loss_enabled", True)
    assert not trainer._can_skip_unlabelled(batch_of(trainer, [0]))
    monkeypatch.undo()
    monkeypatch.setattr(trainer.accelerator.state, "parallelism_config", object(), raising=False)
    assert not trainer._can_skip_unlabelled(batch_of(trainer, [0]))


def test_a_gpu_takes_the_short_way_with_fsdp_alone(trainer, monkeypatch):
    """TRL reads the head's weight without calling the head, which FSDP does not survive."""
    import torch

    batch = {name: torch.ones(1, 8, device="meta") for name in batch_of(trainer, [0])}
    assert not trainer._can_skip_unlabelled(batch)
    monkeypatch.setattr(trainer, "is_fsdp_enabled", True)
    assert trainer._can_skip_unlabelled(batch)


@pytest.mark.parametrize("key", ["position_ids", "shift_labels", "cu_seq_lens_q"])
def test_a_batch_without_padding_goes_trls_way(trainer, key):
    batch = batch_of(trainer, [0])
    assert trainer._can_skip_unlabelled(batch)
    assert not trainer._can_skip_unlabelled({**batch, key: batch["input_ids"]})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("loss_type", "dft"),
        ("label_smoothing_factor", 0.1),
        ("use_liger_kernel", True),
        ("packing", True),
        ("eval_packing", True),
        ("padding_free", True),
        ("router_aux_loss_coef", 0.1),
    ],
)
def test_what_may_change_the_loss_is_no_plain_nll(tiny, tmp_path, name, value):
    from sft.training.trainer import asks_for_plain_nll

    recipe = ["--config", str(tiny / "recipe.yaml"), "--output_dir", str(tmp_path)]
    training = parse(recipe, FP32).training
    assert asks_for_plain_nll(training)
    setattr(training, name, value)
    assert not asks_for_plain_nll(training)


def test_a_field_that_a_newer_trl_adds_is_not_swallowed(tmp_path):
    from trl import SFTConfig

    from sft.training.trainer import asks_for_plain_nll

    new_field = ("entropy_bonus", float, field(default=0.0))
    newer = make_dataclass("NewerConfig", [new_field], bases=(SFTConfig,))
    assert asks_for_plain_nll(newer(str(tmp_path), bf16=False, use_cpu=True))
    assert not asks_for_plain_nll(newer(str(tmp_path), bf16=False, use_cpu=True, entropy_bonus=0.1))


def test_an_evaluation_leaves_the_4_bit_base_as_it_was(trainer):
    """Only a CPU with bf16 products (lscpu: avx512_bf16) could fail it."""
    import torch

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


def test_an_evaluation_draws_no_random_number(make_trainer):
    """Else --eval_steps would decide the dropout that comes after it, and so the weights."""
    import torch

    trainer = make_trainer()
    before = torch.get_rng_state()
    assert trainer.evaluate(eval_dataset=trainer.train_dataset)["eval_loss"] > 0
    assert torch.equal(torch.get_rng_state(), before)


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


ADAPTER_FILES = (
    "adapter_config.json",
    "adapter_model.safetensors",
    "chat_template.jinja",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
)


@pytest.mark.parametrize("name", ADAPTER_FILES)
def test_an_adapter_is_not_said_to_be_there_if_it_is_not(tmp_path, name):
    """FSDP with a sharded state dict leaves no adapter file and no error, for example."""
    from sft.training.saving import check_written

    for other in ADAPTER_FILES:
        (tmp_path / other).write_text("{}")
    check_written(tmp_path)
    (tmp_path / name).write_text("")
    with pytest.raises(ValueError, match=f"{name} of its adapter was not written"):
        check_written(tmp_path)
    (tmp_path / name).unlink()
    with pytest.raises(ValueError, match=name):
        check_written(tmp_path)
