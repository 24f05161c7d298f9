"""What is evaluated during a training, which step is kept, and what the rows could show at all."""

import logging
import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipeline.dataset.load import TrainData
from eval.metrics.statistics import planned_skill
from sft.training.arguments import ScriptArguments
from sft.training.divergence import finite
from sft.training.launch import is_sharded
from weekahead.schema.manifests import TrainingResult
from weekahead.schema.rows import DatasetRow

log = logging.getLogger(__name__)

_GPU_ROWS = 8
_LOSS = ("loss", "eval_loss")

PROCESSES = "WEEKAHEAD_PROCESSES"
"""The variable in which the Makefile says how many processes it asked for."""


def check_selection(script: ScriptArguments, training: Any, validation_rows: int) -> None:
    """Check that there is something to choose a checkpoint, to stop, or to answer rows by.

    Raises ValueError naming the fields and the remedy if there are no validation rows or no
    evaluations for it.
    """
    keeps_the_best = training.load_best_model_at_end
    patience, gen_rows = script.early_stopping_patience, script.gen_rows
    if patience is not None and not keeps_the_best:
        raise ValueError(
            f"--early_stopping_patience {patience} without --load_best_model_at_end true would "
            "keep the last weights, which are worse than the best ones; give both"
        )
    flag = None
    if keeps_the_best:
        flag = "--load_best_model_at_end true"
    elif gen_rows:
        flag = f"--gen_rows {gen_rows}"
    if flag and not validation_rows:
        raise ValueError(
            f"{flag} needs validation rows, and {script.dataset} has none; give a dataset of more "
            "weeks, or one with a validation split, or leave the flag out"
        )
    if flag and training.eval_strategy == "no":
        raise ValueError(
            f"{flag} needs evaluations, and --eval_strategy is no; set it to steps or epoch"
        )
    if keeps_the_best:
        _check_best(training)


def _check_best(training: Any) -> None:
    if training.metric_for_best_model not in _LOSS or training.greater_is_better:
        raise ValueError(
            f"--metric_for_best_model {training.metric_for_best_model} (greater_is_better "
            f"{training.greater_is_better}); expected eval_loss, where less is better: it is over "
            "every validation row, while accuracies of a few answers are chance. "
            "Leave both flags out."
        )
    # Every evaluated step needs its checkpoint: the best step could be one that was not saved.
    in_steps = training.eval_strategy == "steps" and training.save_strategy == "steps"
    if in_steps and training.eval_steps != training.save_steps:
        raise ValueError(
            f"--load_best_model_at_end true evaluates every {training.eval_steps} and saves every "
            f"{training.save_steps} steps, so the best step may not be saved; "
            f"set --save_steps {training.eval_steps}"
        )


def rows_to_answer(script: ScriptArguments, training: Any, data: TrainData) -> int:
    """How many validation rows are answered at each evaluation.

    As many as `--gen_rows` says; without the flag 8 on a GPU, none on a CPU, or if the model is
    shared out.
    """
    if script.gen_rows is not None:
        return script.gen_rows
    if is_sharded():  # every token would gather every layer
        return 0
    possible = data.validation and training.eval_strategy != "no" and not training.use_cpu
    return _GPU_ROWS if possible else 0


def planned_steps(training: Any, rows: int) -> int:
    """How many steps of the optimizer a training on `rows` rows makes, as the Trainer counts them.

    Packed rows are fewer; how many is not known before they are packed, so this is the most.
    Raises ValueError naming the flag if there is not one step.
    """
    sizes = ("per_device_train_batch_size", "gradient_accumulation_steps")
    for name in sizes:
        if getattr(training, name) < 1:
            raise ValueError(f"--{name} is {getattr(training, name)}; expected at least 1")
    if training.max_steps == 0 or training.max_steps < -1:
        raise ValueError(
            f"--max_steps is {training.max_steps}; expected at least 1, or -1 for as many as "
            "--num_train_epochs asks for"
        )
    batch = training.per_device_train_batch_size * training.world_size
    batches = rows // batch if training.dataloader_drop_last else math.ceil(rows / batch)
    if not batches:
        raise ValueError(
            f"{rows} rows are not one batch of {batch}, and --dataloader_drop_last true leaves it "
            "out; give more rows, a smaller batch or --dataloader_drop_last false"
        )
    if training.max_steps > 0:
        return training.max_steps
    epochs = training.num_train_epochs
    if not (math.isfinite(epochs) and epochs > 0):
        raise ValueError(
            f"--num_train_epochs is {epochs}; expected more than 0, such as 1: without a step "
            "there is no adapter"
        )
    steps_per_epoch = math.ceil(batches / training.gradient_accumulation_steps)
    return math.ceil(epochs * steps_per_epoch)


def check_processes(world_size: int) -> None:
    """Check that as many processes run as `make train GPUS=n` asked for.

    With fewer, the rows of a step would be fewer as well. Raises ValueError with both numbers.
    """
    asked = os.environ.get(PROCESSES)
    if asked and int(asked) != world_size:
        raise ValueError(
            f"{asked} processes were asked for and {world_size} run; take an accelerate config for "
            "several, such as ACCEL=ddp, and as many GPUs"
        )


def kept_step(trainer: Any) -> TrainingResult:
    """Which step's weights are in the folder and why, its validation loss, and whether training
    stopped before its last step; for the manifest's result.

    The loss is null if that step was not evaluated, or if it is not finite: `failed` then says so.
    """
    state = trainer.state
    losses = {row["step"]: row["eval_loss"] for row in state.log_history if "eval_loss" in row}
    known = [loss for loss in losses.values() if math.isfinite(loss)]
    step, reason = state.global_step, "the last step"
    if trainer.args.load_best_model_at_end and state.best_model_checkpoint:
        step = int(Path(state.best_model_checkpoint).name.rsplit("-", 1)[1])
        reason = f"the lowest validation loss of {len(known)} evaluations"
    elif trainer.args.load_best_model_at_end:
        reason = "the last step: no checkpoint with a known validation loss was left to choose from"
    loss = losses.get(step)
    return {
        "kept_step": step,
        "kept_because": reason,
        "kept_eval_loss": finite(loss),
        "stopped_early": state.global_step < state.max_steps,
        "failed": None
        if loss is None or math.isfinite(loss)
        else f"the validation loss of the kept step {step} is not finite",
    }


def log_detectable_effects(validation: Sequence[DatasetRow], test: Sequence[DatasetRow]) -> None:
    """Log one line per split: rows, weeks, and the smallest skill that they could show."""
    log.info("%s", _detectable_effect("validation", validation))
    if test:
        log.info("%s", _detectable_effect("test", test))


def _detectable_effect(split: str, rows: Sequence[DatasetRow]) -> str:
    weeks = Counter(row["week_start"] for row in rows)
    skill = planned_skill(list(weeks.values()))
    if skill is None:
        conclusion = "too few weeks to show any skill"
    elif skill >= 0.5:
        conclusion = "too few rows to show any skill"
    else:
        conclusion = (
            "to be shown to have skill four times in five, a model must be right in "
            f"{0.5 + skill:.0%} of the rows, with as many calls of up as of down"
        )
    return f"{split}: {len(rows)} rows in {len(weeks)} weeks; {conclusion}"
