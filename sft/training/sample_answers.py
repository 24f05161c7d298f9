"""Answers during a training: the same few validation rows at every evaluation.

They show whether the layout is learnt and what the texts look like. So few rows say nothing about
the accuracy of a forecast; `make eval` on the test rows does.
"""

import hashlib
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypedDict

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
from weekahead.models.chat_format import render_prompt_ids
from weekahead.models.decoding import SamplingParams, decode, plan_batches
from weekahead.schema.manifests import JsonObject
from weekahead.schema.rows import DatasetRow, ScorableRow, reference_text
from weekahead.tracking.run import TrackedRun

log = logging.getLogger(__name__)

COLUMNS = ("id", "step", "label", "prediction", "text")
"""Columns of the table that is logged to the tracked run."""
_TOO_LARGE = "the GPU's memory has no room for them beside the training; fewer --gen_rows may fit"


@dataclass(frozen=True)
class Sampling:
    """How the rows are answered, and for how long at most."""

    params: SamplingParams
    stop_token_ids: Sequence[int]
    time_share: float
    """The most time that answering may take, as a share of the rest of the training."""


class AnswersCallback(TrainerCallback):
    """Answers `rows` at every evaluation; the first process logs. The training does not notice.

    Every process generates all rows: so few do not fill a batch, so dividing them would save no
    time, and no process has to wait for another. An evaluation is left without answers if, going by
    the last time, they would take more than their share of time. The first process alone decides
    that, since clocks differ. The callback must come before TrainLogCallback, whose clock of
    training proper goes on after an evaluation.
    """

    def __init__(
        self,
        rows: Sequence[DatasetRow],
        tokenizer: Any,
        sampling: Sampling,
        train_log: TrainLog,
        tracker: TrackedRun,
    ) -> None:
        self._rows, self._tokenizer, self._sampling = rows, tokenizer, sampling
        self._log, self._tracker = train_log, tracker
        self._start = time.monotonic()
        self._spent = self._last = 0.0
        """Seconds spent on answers so far, and at the last evaluation that had some."""
        self._out_of_memory = False

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._start = time.monotonic()

    def on_evaluate(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        model: Any = None,
        **kwargs: Any,
    ) -> None:
        reason = broadcast_object_list([self._reason_to_skip()])[0]
        start = time.monotonic()
        answers = [] if reason else self._generate(model, args)
        seconds = time.monotonic() - start
        if answers:
            self._last = seconds
        self._spent += seconds
        if not state.is_world_process_zero:
            return
        if self._out_of_memory and reason is None:
            reason = _TOO_LARGE
        if reason is None:
            self._report(state, answers)
        else:
            self._report_skipped(state, reason)

    def _generate(self, model: Any, args: TrainingArguments) -> list[ScorableRow]:
        """The answers; none, now and later, if the GPU's memory has no room for them."""
        try:
            with ready_to_generate(model, args) as inner:
                return answer(inner, self._tokenizer, self._rows, self._sampling)
        except torch.OutOfMemoryError:
            self._out_of_memory = True
        # Here and not in the handler: the traceback holds the tensors until then.
        torch.cuda.empty_cache()
        return []

    def _reason_to_skip(self) -> str | None:
        if self._out_of_memory:
            return _TOO_LARGE
        rest = time.monotonic() - self._start - self._spent
        share = self._sampling.time_share
        if self._spent and self._spent + self._last > share * rest:
            return (
                f"it took {self._spent:.1f} s of {rest:.1f} s of training so far, and once more "
                f"would pass the limit of {share:.0%} (--gen_time_share)"
            )
        return None

    def _report_skipped(self, state: TrainerState, reason: str) -> None:
        log.info("step %d: no answers of validation rows: %s", state.global_step, reason)
        self._log.add("gen", state.global_step, state.epoch or 0.0, {"skipped": reason})

    def _report(self, state: TrainerState, rows: Sequence[ScorableRow]) -> None:
        step = state.global_step
        values, answers = measure(rows)
        values["seconds"] = round(self._last, 3)
        self._log.add("gen", step, state.epoch or 0.0, {**values, "answers": answers})
        figures: dict[str, Any] = {"train/global_step": step}
        for name, value in values.items():
            if not isinstance(value, str):
                figures[f"gen/{name}"] = value
        self._tracker.log(figures)
        cells = [
            (answer["id"], step, answer["label"], answer["prediction"], answer["text"])
            for answer in answers
        ]
        self._tracker.log_table("gen/answers", COLUMNS, cells)


def choose_rows(validation: Sequence[DatasetRow], count: int) -> list[DatasetRow]:
    """The `count` rows whose hashed ids come first, whatever the order of the rows.

    They are the same in every run on these rows.
    """

    def hashed_id(row: DatasetRow) -> str:
        return hashlib.sha256(row["id"].encode()).hexdigest()

    return sorted(validation, key=hashed_id)[:count]


@contextmanager
def ready_to_generate(model: Any, args: TrainingArguments) -> Iterator[Any]:
    """The base of `model` with its adapters in it, computing as in training but without dropout.

    Afterwards mode, cache, generation config and random states are as before, so that the training
    goes on as if nothing had happened.
    """
    inner = model.get_base_model()
    training, cache, config = model.training, inner.config.use_cache, inner.generation_config
    gpus = [torch.cuda.current_device()] if model.device.type == "cuda" else []
    dtype = torch.bfloat16 if args.bf16 else torch.float16
    mixed = torch.autocast(model.device.type, dtype=dtype, enabled=args.bf16 or args.fp16)
    with torch.random.fork_rng(devices=gpus), mixed:
        model.eval()
        # A base's own file may ask for sampling or a repetition penalty, and generate() follows it
        # even if decoding is greedy.
        inner.config.use_cache, inner.generation_config = True, GenerationConfig()
        try:
            yield inner
        finally:
            inner.config.use_cache, inner.generation_config = cache, config
            model.train(training)


def answer(
    model: Any, tokenizer: Any, rows: Sequence[DatasetRow], sampling: Sampling
) -> list[ScorableRow]:
    """What `model` writes for each of `rows`, in their order, as rows that `evaluate` reads."""
    prompts = [render_prompt_ids(tokenizer, row["prompt"]) for row in rows]
    answers: dict[int, ScorableRow] = {}
    for batch in plan_batches([len(prompt) for prompt in prompts], sampling.params.batch_size):
        completions = decode(
            model,
            tokenizer,
            [prompts[index] for index in batch],
            sampling.stop_token_ids,
            sampling.params,
        )
        for index, completion in zip(batch, completions, strict=True):
            answers[index] = {
                "id": rows[index]["id"],
                "label": rows[index]["label"],
                "answer": reference_text(rows[index]),
                "generation": completion.text,
                "new_tokens": completion.new_tokens,
                "finish_reason": completion.finish_reason,
            }
    return [answers[index] for index in range(len(rows))]


class SampleAnswer(TypedDict):
    """One answer in a row of kind gen."""

    id: str | int | None
    label: str | None
    prediction: str | None
    """The bin that the answer predicts."""
    text: str | None


def measure(rows: Sequence[ScorableRow]) -> tuple[JsonObject, list[SampleAnswer]]:
    """(numbers of a row of kind gen, the answers with what they predict); unknown values are None.

    The numbers are those of `evaluate`; parse rates are shares of all rows. There is no interval.
    """
    metrics, scored = evaluate(rows)
    n = metrics["n"]
    values: JsonObject = {
        "n": n,
        "parse_rate_strict": metrics["valid_strict"] / n,
        "parse_rate_lenient": metrics["valid_lenient"] / n,
        "direction_accuracy": metrics["bin_acc"],
        "direction_n": n - metrics["n_no_truth"],
        "direction_ci95": None,
        "interval_reason": f"{n} rows are too few for one",
    }
    for section in SECTIONS:
        scores = metrics[f"{section}_rouge_scores"]
        for kind in ("rouge1", "rougeL"):
            values[f"{section}_{kind}"] = scores[kind] if scores else None
    values |= {"new_tokens": metrics["new_tokens"], "stop_rate": metrics["stop_rate"]}
    answers: list[SampleAnswer] = []
    for row, score in zip(rows, scored, strict=True):
        prediction = Prediction(score["direction"], score["magnitude"])
        answers.append(
            {
                "id": row.get("id"),
                "label": row.get("label"),
                "prediction": bin_of(prediction),
                "text": row.get("generation"),
            }
        )
    return values, answers
