"""Answers that the model writes while it trains: a fixed handful of validation rows at every evaluation.

They show whether the layout is learnt and what the texts look like. So few rows say nothing about the
accuracy of a forecast; `make eval` on the test rows does.
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from accelerate.utils import broadcast_object_list
from transformers import (
    GenerationConfig,
    TrainerCallback,
    TrainerControl,
    TrainerState,
    TrainingArguments,
)

from eval.metrics.baselines import Prediction
from eval.metrics.evaluate import evaluate
from eval.metrics.scored_answer import SECTIONS, bin_of
from sft.training.train_log import TrainLog
from weekahead.files import Row
from weekahead.models.chat_format import render_prompt_ids
from weekahead.models.decoding import SamplingParams, decode, plan_batches
from weekahead.tracking.run import TrackedRun

log = logging.getLogger(__name__)

COLUMNS = ("id", "step", "label", "prediction", "text")
"""Of the table that is logged to the tracked run."""
_TOO_LARGE = "the card's memory does not hold them beside the training; fewer --gen_rows may fit"


class AnswersCallback(TrainerCallback):
    """Answers `rows` at every evaluation; the first process logs. The training is left exactly as it was.

    Every process generates all rows: so few fill no batch, so shares would save no time, and no process
    has to wait for another. Generation takes at most `time_share` of the time spent on the rest of this
    training; an evaluation at which it would take more, going by the last time, goes without. The first
    process alone decides that, since clocks differ. It must stand before TrainLogCallback, whose clock of
    training proper goes on after an evaluation.
    """

    def __init__(
        self,
        rows: Sequence[Row],
        tokenizer: Any,
        stops: Sequence[int],
        how: SamplingParams,
        time_share: float,
        train_log: TrainLog,
        tracker: TrackedRun,
    ) -> None:
        self._rows, self._tokenizer, self._stops, self._how = rows, tokenizer, stops, how
        self._share, self._log, self._tracker = time_share, train_log, tracker
        self._begun = time.monotonic()
        self._spent = self._last = 0.0
        self._too_large = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._begun = time.monotonic()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        reason = broadcast_object_list([self._reason_to_skip()])[0]
        began = time.monotonic()
        written = [] if reason else self._generate(model, args)
        if written:
            self._last = time.monotonic() - began
        self._spent += time.monotonic() - began
        if state.is_world_process_zero:
            self._report(state, written, reason or (_TOO_LARGE if self._too_large else None))

    def _generate(self, model: Any, args: TrainingArguments) -> list[Row]:
        """The answers; none, from now on, where the card's memory does not hold them beside the training."""
        try:
            with ready_to_generate(model, args) as inner:
                return answer(inner, self._tokenizer, self._rows, self._stops, self._how)
        except torch.OutOfMemoryError:
            self._too_large = True
        torch.cuda.empty_cache()  # only now has the traceback let go of the tensors
        return []

    def _reason_to_skip(self) -> str | None:
        if self._too_large:
            return _TOO_LARGE
        rest = time.monotonic() - self._begun - self._spent
        if self._spent and self._spent + self._last > self._share * rest:
            return (
                f"it took {self._spent:.1f} s of {rest:.1f} s of training so far, and once more would pass the limit "
                f"of {self._share:.0%} (--gen_time_share)"
            )
        return None

    def _report(self, state: TrainerState, written: Sequence[Row], reason: str | None) -> None:
        if reason is not None:
            log.info("step %d: no answers of validation rows: %s", state.global_step, reason)
            self._log.add("gen", state.global_step, state.epoch or 0.0, {"skipped": reason})
            return
        values, answers = measure(written)
        values["seconds"] = round(self._last, 3)
        self._log.add("gen", state.global_step, state.epoch or 0.0, {**values, "answers": answers})
        numbers = {
            f"gen/{name}": value for name, value in values.items() if not isinstance(value, str)
        }
        self._tracker.log({**numbers, "train/global_step": state.global_step})
        rows = [[{"step": state.global_step, **one}[name] for name in COLUMNS] for one in answers]
        self._tracker.log_table("gen/answers", COLUMNS, rows)


def choose_rows(validation: Sequence[Row], count: int) -> list[Row]:
    """The `count` rows whose hashed ids come first: the same in every run over these rows, whatever their order."""
    return sorted(validation, key=lambda row: hashlib.sha256(row["id"].encode()).hexdigest())[
        :count
    ]


@contextmanager
def ready_to_generate(model: Any, args: TrainingArguments) -> Iterator[Any]:
    """The base of `model` with its adapters inside it, computing as in training but without dropout.

    Afterwards mode, cache, generation config and random states are as before, so that the training goes on
    as if nothing had been.
    """
    inner = model.get_base_model()
    training, cache, config = model.training, inner.config.use_cache, inner.generation_config
    cards = [torch.cuda.current_device()] if model.device.type == "cuda" else []
    dtype = torch.bfloat16 if args.bf16 else torch.float16
    mixed = torch.autocast(model.device.type, dtype=dtype, enabled=args.bf16 or args.fp16)
    with torch.random.fork_rng(devices=cards), mixed:
        model.eval()
        # A base's own file may ask for sampling or a repetition penalty, and generate() obeys it even when greedy.
        inner.config.use_cache, inner.generation_config = True, GenerationConfig()
        try:
            yield inner
        finally:
            inner.config.use_cache, inner.generation_config = cache, config
            model.train(training)


def answer(
    model: Any, tokenizer: Any, rows: Sequence[Row], stops: Sequence[int], how: SamplingParams
) -> list[Row]:
    """What `model` writes for each of `rows`, in their order, as rows that `eval.metrics` reads."""
    prompts = [render_prompt_ids(tokenizer, row["prompt"]) for row in rows]
    written: dict[int, Row] = {}
    for batch in plan_batches([len(prompt) for prompt in prompts], how.batch_size):
        texts = decode(model, tokenizer, [prompts[i] for i in batch], stops, how)
        for i, text in zip(batch, texts, strict=True):
            written[i] = {
                "id": rows[i]["id"],
                "label": rows[i]["label"],
                "answer": rows[i]["completion"][0]["content"],
                "generation": text.text,
                "new_tokens": text.new_tokens,
                "finish_reason": text.finish_reason,
            }
    return [written[i] for i in range(len(rows))]


def measure(written: Sequence[Row]) -> tuple[Row, list[Row]]:
    """The numbers of a `gen` row, and the answers with what they predict; unknown values are None.

    They are those of `eval.metrics`; parse rates are shares of all rows. There is no interval.
    """
    metrics, scored = evaluate(written)
    n = metrics["n"]
    values = {
        "n": n,
        "parse_rate_strict": metrics["valid_strict"] / n,
        "parse_rate_lenient": metrics["valid_lenient"] / n,
        "direction_accuracy": metrics["bin_acc"],
        "direction_n": n - metrics["n_no_truth"],
        "direction_ci95": None,
        "interval_reason": f"{n} rows are too few for one",
    }
    for section in SECTIONS:
        scores = metrics[f"{section}_rouge_scores"] or {}
        values |= {f"{section}_{kind}": scores.get(kind) for kind in ("rouge1", "rougeL")}
    values |= {"new_tokens": metrics["new_tokens"], "stop_rate": metrics["stop_rate"]}
    answers = [
        {
            "id": row["id"],
            "label": row["label"],
            "prediction": bin_of(Prediction(one["direction"], one["magnitude"])),
            "text": row["generation"],
        }
        for row, one in zip(written, scored, strict=True)
    ]
    return values, answers
