"""Rows by length within a step."""

from types import SimpleNamespace

import pytest
import torch

from sft.training.row_order import check_row_order
from tests.sft.test_trainer import make_trainer  # noqa: F401 - a fixture


def training(**fields):
    """The fields of SFTConfig that decide the order of rows."""
    plain = {
        "train_sampling_strategy": "batch_rebalance",
        "per_device_train_batch_size": 4,
        "gradient_accumulation_steps": 4,
        "world_size": 1,
        "dataloader_drop_last": False,
    }
    return SimpleNamespace(**plain | fields)


@pytest.mark.parametrize(
    ("fields", "rows", "words"),
    [
        ({"per_device_train_batch_size": 1}, 64, "every micro-batch is one row"),
        ({}, 18, "has 2 for 4 micro-batches, and 2 rows would be used twice"),
        ({"world_size": 2}, 71, "has 7 for 8 micro-batches, and 1 rows would be used twice"),
    ],
)
def test_an_order_that_repeats_rows_or_does_nothing_is_refused(fields, rows, words):
    with pytest.raises(ValueError, match=words):
        check_row_order(training(**fields), rows)


@pytest.mark.parametrize(
    ("fields", "rows"),
    [
        ({}, 64),
        ({}, 20),  # 4 rows for 4 micro-batches
        ({"dataloader_drop_last": True}, 18),
        ({"train_sampling_strategy": "random", "per_device_train_batch_size": 1}, 18),
    ],
)
def test_an_order_that_uses_every_row_once_is_taken(fields, rows):
    check_row_order(training(**fields), rows)


def rows_by_step(trainer):
    """The numbers of the rows of each step of the first epoch, and the micro-batches."""
    batches = list(trainer._get_train_sampler())
    per_step = trainer.args.gradient_accumulation_steps
    steps = [batches[at : at + per_step] for at in range(0, len(batches), per_step)]
    return [sorted(row for batch in step for row in batch) for step in steps], batches


FLAGS = ("--train_sampling_strategy", "batch_rebalance", "--per_device_train_batch_size", "2")
FLAGS = (*FLAGS, "--gradient_accumulation_steps", "3")


def test_the_seed_decides_the_order(make_trainer):  # noqa: F811 - the fixture
    flags = (*FLAGS[:-1], "1")
    one, again, other = (make_trainer(*flags, "--seed", seed) for seed in ("1", "1", "2"))
    assert rows_by_step(one) == rows_by_step(again) != rows_by_step(other)
    used = [row for step in rows_by_step(one)[0] for row in step]
    assert sorted(used) == [0, 1, 2, 3, 4, 5], "each row once"


@pytest.mark.slow
def test_a_step_is_the_same_whatever_its_micro_batches(make_trainer):  # noqa: F811
    """Six rows in one step: one by one, by chance in pairs, and by length."""
    by_one = ("--per_device_train_batch_size", "1", "--gradient_accumulation_steps", "6")
    pairs = FLAGS[2:]
    losses, weights = [], []
    for flags in (by_one, pairs, FLAGS):
        trainer = make_trainer(*flags, "--max_steps", "2", "--save_strategy", "no")
        trainer.train()
        losses.append(trainer.record.losses)
        trained = [weight for weight in trainer.model.parameters() if weight.requires_grad]
        weights.append(torch.cat([weight.detach().flatten() for weight in trained]))
    for loss, weight in zip(losses[1:], weights[1:], strict=True):
        assert loss == pytest.approx(losses[0], rel=1e-5)
        torch.testing.assert_close(weight, weights[0], rtol=1e-3, atol=1e-5)
