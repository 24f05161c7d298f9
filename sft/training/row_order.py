"""Rows by length within a step (--train_sampling_strategy batch_rebalance of transformers).

Each step takes the rows that chance gives it, sorts them by length and makes micro-batches of about
equal cost. The rows of a step, and so its gradient, do not depend on lengths; padding shrinks.
"""

from typing import Any

from transformers.trainer_pt_utils import BatchRebalanceSampler

BY_LENGTH = "batch_rebalance"


def check_row_order(training: Any, rows: int) -> None:
    """Check that rows by length are more than a name here, and that no row is used twice.

    Raises ValueError naming the fields and the remedy.
    """
    if training.train_sampling_strategy != BY_LENGTH:
        return
    own = training.per_device_train_batch_size
    if own == 1:
        raise ValueError(
            f"--train_sampling_strategy {BY_LENGTH} shares the rows of a step out by length, and "
            "with --per_device_train_batch_size 1 every micro-batch is one row; take 2 or more "
            "(and a smaller --gradient_accumulation_steps), or leave the flag out"
        )
    micro_batches = training.gradient_accumulation_steps * training.world_size
    left = rows % (own * micro_batches)
    if 0 < left < micro_batches and not training.dataloader_drop_last:
        raise ValueError(
            f"--train_sampling_strategy {BY_LENGTH}: the last step of an epoch of {rows} rows has "
            f"{left} for {micro_batches} micro-batches, and {micro_batches - left} rows would be "
            "used twice; take a smaller --gradient_accumulation_steps, or leave the flag out"
        )


def with_seed(sampler: Any, training: Any) -> Any:
    """`sampler` with the seed of the run; transformers gives this one 42 whatever --seed says."""
    if isinstance(sampler, BatchRebalanceSampler):
        sampler.seed = training.seed if training.data_seed is None else training.data_seed
    return sampler
