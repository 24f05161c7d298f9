"""What is evaluated while a model trains, which step is kept, and what the rows could show at all."""

import logging
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipeline.dataset.load import TrainData, eval_rows
from eval.metrics.statistics import planned_effect
from sft.training.arguments import ScriptArguments
from weekahead.files import Row

log = logging.getLogger(__name__)

_GPU_ROWS = 8
_LOSS = ("loss", "eval_loss")


def check_selection(script: ScriptArguments, training: Any, validation_rows: int) -> None:
    """Stop where a checkpoint is to be chosen, a training to be stopped, or rows to be answered, and nothing can be.

    Raises ValueError naming the fields and the remedy.
    """
    best, patience, gen = (
        training.load_best_model_at_end,
        script.early_stopping_patience,
        script.gen_rows,
    )
    if patience is not None and not best:
        raise ValueError(
            f"--early_stopping_patience {patience} without --load_best_model_at_end true would keep the last weights, "
            "which are worse than the best ones; give both"
        )
    wanted = "--load_best_model_at_end true" if best else f"--gen_rows {gen}" if gen else None
    if wanted and not validation_rows:
        raise ValueError(
            f"{wanted} needs validation rows, and {script.dataset} has none; give a dataset of more weeks, or one "
            "with a validation split, or leave the flag out"
        )
    if wanted and training.eval_strategy == "no":
        raise ValueError(
            f"{wanted} needs evaluations, and --eval_strategy is no; set it to steps or epoch"
        )
    if best:
        _check_best(training)


def _check_best(training: Any) -> None:
    if training.metric_for_best_model not in _LOSS or training.greater_is_better:
        raise ValueError(
            f"--metric_for_best_model {training.metric_for_best_model} (greater_is_better "
            f"{training.greater_is_better}); expected eval_loss, where less is better: it is over every validation "
            "row, while accuracies of a few answers are chance. Leave both flags out."
        )
    # Every evaluated step needs its checkpoint: were only some saved, the best step could be one that is gone.
    steps = training.eval_strategy == "steps" and training.save_strategy == "steps"
    if steps and training.eval_steps != training.save_steps:
        raise ValueError(
            f"--load_best_model_at_end true evaluates every {training.eval_steps} and saves every "
            f"{training.save_steps} steps, so the best step may not be saved; set --save_steps {training.eval_steps}"
        )


def rows_to_answer(script: ScriptArguments, training: Any, data: TrainData) -> int:
    """How many validation rows are answered at each evaluation: as asked, else 8 on a card and none on a CPU."""
    if script.gen_rows is not None:
        return script.gen_rows
    possible = data.validation and training.eval_strategy != "no" and not training.use_cpu
    return _GPU_ROWS if possible else 0


def kept_step(trainer: Any) -> Row:
    """For the manifest's result: which step's weights stand in the folder and why, its validation loss, and
    whether training stopped before its last step. The loss is null where that step was not evaluated."""
    state = trainer.state
    losses = {row["step"]: row["eval_loss"] for row in state.log_history if "eval_loss" in row}
    step, why = state.global_step, "the last step"
    if trainer.args.load_best_model_at_end and state.best_model_checkpoint:
        step = int(Path(state.best_model_checkpoint).name.rsplit("-", 1)[1])
        why = f"the lowest validation loss of {len(losses)} evaluations"
    elif trainer.args.load_best_model_at_end:
        why = "the last step: no checkpoint with a known validation loss was left to choose from"
    return {
        "kept_step": step,
        "kept_because": why,
        "kept_eval_loss": losses.get(step),
        "stopped_early": state.global_step < state.max_steps,
    }


def log_detectable_effects(data: TrainData, source: str) -> None:
    """One line for each of validation and test: rows, weeks, and the smallest effect that they could show."""
    log.info("%s", _could_show("validation", data.validation))
    if test := _test_rows(source):
        log.info("%s", _could_show("test", test))


def _could_show(name: str, rows: Sequence[Row]) -> str:
    weeks = Counter(row["week_start"] for row in rows)
    effect = planned_effect(list(weeks.values()))
    if effect is None:
        could = "too few weeks to show any direction accuracy to differ from 0.5"
    elif effect >= 0.5:
        could = "too few rows to show any direction accuracy to differ from 0.5"
    else:
        could = f"the smallest direction accuracy they could show to differ from 0.5 is about {0.5 + effect:.2f}"
    return f"{name}: {len(rows)} rows in {len(weeks)} weeks; {could}"


def _test_rows(source: str) -> list[Row]:
    """The dataset's test rows; none where it has no such split."""
    try:
        data = eval_rows(source, "test")
    except (
        ValueError
    ):  # train_rows has read the same splits before, so all that can be wrong is that there is none
        return []
    return data.rows if data.split == "test" else []
