"""TRL's SFTTrainer for this task, and what it measured."""

import logging
import math
import shutil
from collections.abc import Sequence
from copy import copy
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any, cast

import torch
from accelerate.utils import gather_object
from torch.nn.functional import cross_entropy
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from trl import get_peft_config

from data_pipeline.dataset.load import TrainData
from sft.training.callbacks import RunRecord
from sft.training.checks import kept_step
from sft.training.dataset import ids_of_rows_in, to_dataset
from sft.training.divergence import (
    Finding,
    TrainingDivergedError,
    ended_above,
    finite,
    named,
)
from sft.training.finite import total_norm, trained_weights
from sft.training.launch import engine, is_sharded, sharding
from sft.training.row_order import with_seed
from sft.training.saving import cannot_save, is_of_the_disk
from sft.training.sharded import ShardableTrainer
from sft.training.train_log import mean_loss
from sft.training.used import used_facts
from weekahead.models.base_check import not_finite
from weekahead.models.loading import Base, load_base
from weekahead.schema.manifests import TrainingResult
from weekahead.schema.rows import DatasetRow, TrainLogRow

log = logging.getLogger(__name__)

IGNORED_LABEL = -100
"""A label that carries no loss (torch, transformers and TRL agree on it)."""

_BEFORE_THE_LOSS = frozenset(
    (
        "activation_offloading",
        "assistant_only_loss",
        "chat_template_path",
        "completion_only_loss",
        "dataset_kwargs",
        "dataset_num_proc",
        "dataset_text_field",
        "eos_token",
        "max_length",
        "model_init_kwargs",
        "packing_strategy",
        "pad_to_multiple_of",
        "pad_token",
        "shuffle_dataset",
        "truncation_mode",
        "trust_remote_code",
    )
)
"""Fields of TRL's SFTConfig that act on rows, tokenizer or model before the loss."""
_PLAIN_BATCH = frozenset(("input_ids", "attention_mask", "labels"))
"""The keys of a batch that is neither packed, nor free of padding, nor split between processes."""


def asks_for_plain_nll(args: Any) -> bool:
    """Whether an SFTConfig asks for the mean negative log-likelihood of the labels and no more.

    Any field of SFTConfig that is not known to act before the loss must have its default: packing,
    padding_free, router_aux_loss_coef, and whatever a newer TRL adds.
    """
    if args.loss_type != "nll" or args.label_smoothing_factor != 0 or args.use_liger_kernel:
        return False
    of_transformers = {field.name for field in fields(TrainingArguments)}
    for field in fields(args):
        if field.name in of_transformers or field.name in _BEFORE_THE_LOSS:
            continue
        default = field.default
        if field.default_factory is not MISSING:
            default = field.default_factory()
        if getattr(args, field.name) != default:
            return False
    return True


class ForecastTrainer(ShardableTrainer):
    """SFTTrainer, except that what is not finite stops it, and a shorter way to plain NLL on a CPU.

    Without Triton TRL's fused head projects prompts too, four fifths of a row here, and computes
    the backward pass of the projection in fp32. Only positions with a label are scored here. The
    value is TRL's: the same sum over the same tokens. Every other loss, and every GPU, takes TRL's
    own way. Not if the model is shared out: TRL reads the head's weight without calling the head,
    and FSDP, which gathers what is called, then fails in the backward pass.
    """

    def __init__(self, data: TrainData, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._data = data
        self._batches: list[tuple[torch.Tensor, torch.Tensor]] = []
        """Token ids and loss of the batches of this step, or of this evaluation."""
        self._scale = 0.0
        """The gradient scaler's scale in this step."""
        self.skipped_steps = 0
        """How many steps the gradient scaler of fp16 left out in this attempt."""
        self.add_callback(RunRecord())
        self.add_callback(_AfterEachStep(self))

    @property
    def record(self) -> RunRecord:
        """The record of this run. The Trainer makes a new one if it restores its callbacks."""
        callbacks = self.callback_handler.callbacks
        return next(callback for callback in callbacks if isinstance(callback, RunRecord))

    def _get_train_sampler(self, *arguments: Any, **more: Any) -> Any:
        return with_seed(super()._get_train_sampler(*arguments, **more), self.args)

    def training_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        """One batch, forward and backward. Before the optimizer's step everything must be finite.

        Raises TrainingDivergedError, in every process, if the loss or the gradients of one are not.
        """
        loss = super().training_step(model, inputs, *rest, **more)
        self._batches.append((inputs["input_ids"], loss))
        if self.accelerator.sync_gradients:
            self._check_step(model)
        return loss

    def _check_step(self, model: Any) -> None:
        losses = torch.stack([loss.float() for _, loss in self._batches])
        checks = {"the loss is not finite": torch.isfinite(losses).all()}
        scaler = self._scaler()
        if scaler is not None:  # it leaves a step out whose gradients overflow
            self._scale = scaler.get_scale()
        else:
            checks["the gradient norm is not finite"] = torch.isfinite(self._norm(model))
        total = self._stop_unless(checks, losses.sum())
        self.record.losses.append(total / self.accelerator.num_processes)

    def _norm(self, model: Any) -> torch.Tensor:
        """The norm of the gradients that this process holds.

        DeepSpeed's is of all, infinite if it left the step out: its step is part of the backward
        pass, and has removed the gradients.
        """
        if self.is_deepspeed_enabled:
            return torch.as_tensor(model.get_global_grad_norm(), dtype=torch.float32)
        return total_norm(weight.grad for weight in model.parameters())

    def check_weights(self) -> None:
        """Check the weights after a step of the optimizer.

        Raises TrainingDivergedError, in every process, if they are not finite, or if fp16 gradients
        overflow without any scale.
        """
        weights = trained_weights(self.model)
        checks = {"a weight is not finite": torch.isfinite(total_norm(weights.values()))}
        scaler = self._scaler()
        # Not accelerate's `optimizer_step_was_skipped`: a fused optimizer leaves out steps itself.
        if scaler is not None and scaler.get_scale() < self._scale:
            self.skipped_steps += 1
            # A scale that is too high is halved and the step left out. At 1 the gradients
            # themselves overflow, and every further step would be left out too.
            checks["the gradients overflow in fp16 at any scale"] = torch.tensor(self._scale > 1)
        nothing = torch.zeros((), device=self.args.device)
        self._stop_unless(checks, nothing, steps_made=1)
        self._batches.clear()

    def _scaler(self) -> Any:
        scaler = getattr(self.accelerator, "scaler", None)
        return scaler if scaler is not None and scaler.is_enabled() else None

    def _stop_unless(
        self, checks: dict[str, torch.Tensor], total: torch.Tensor, steps_made: int = 0
    ) -> float:
        """The sum of `total` over all processes.

        Raises TrainingDivergedError in all of them if a check fails in one.
        """
        failed = [(~check).float().to(total.device) for check in checks.values()]
        report = torch.stack([total.float(), *failed])
        if self.accelerator.num_processes > 1:
            report = cast("torch.Tensor", self.accelerator.reduce(report, "sum"))
        summed, *counts = report.tolist()
        if not any(counts):
            return summed
        what = next(what for what, processes in zip(checks, counts, strict=True) if processes)
        step = self.state.global_step + 1 - steps_made
        raise TrainingDivergedError(Finding(step, what, self._rows_of_batches(self._data.train)))

    def _rows_of_batches(self, rows: Sequence[DatasetRow], *, bad_only: bool = False) -> list[str]:
        """The ids of the rows in the batches kept, over all processes, in the order of `rows`.

        `bad_only` leaves out the batches whose loss is finite. Every process has to call it.
        """
        sequences: list[list[int]] = []
        for ids, loss in self._batches:
            if not bad_only or not bool(torch.isfinite(loss).all()):
                sequences.extend(ids.tolist())
        own = ids_of_rows_in(sequences, rows, self.processing_class)
        found = set(gather_object(own))
        return [row["id"] for row in rows if row["id"] in found]

    def prediction_step(self, model: Any, inputs: dict[str, Any], *rest: Any, **more: Any) -> Any:
        """One batch of an evaluation."""
        output = super().prediction_step(model, inputs, *rest, **more)
        if output[0] is not None:
            self._batches.append((inputs["input_ids"], output[0]))
        return output

    def evaluate(self, *arguments: Any, **more: Any) -> dict[str, float]:
        """The metrics of an evaluation; a loss that is not finite is told with its rows.

        The training goes on: the Trainer never takes such a step for the best one. Its random state
        is as before (a loader draws a seed each time), so that --eval_steps decides no weights.
        """
        self._batches.clear()
        with torch.random.fork_rng(devices=[]):
            metrics = super().evaluate(*arguments, **more)
        loss = metrics.get("eval_loss")
        if loss is not None and not math.isfinite(loss):
            rows = self._rows_of_batches(self._data.validation, bad_only=True)
            log.warning(
                "step %d: the validation loss is not finite (null in the log); %s",
                self.state.global_step,
                named(rows),
            )
        self._batches.clear()
        return metrics

    def _run_epoch(self, *arguments: Any, **more: Any) -> None:
        # The Trainer makes a step more if it goes on from a checkpoint of the last step.
        if self.state.global_step >= self.state.max_steps:
            self.control.should_training_stop = True
            return
        super()._run_epoch(*arguments, **more)

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Any:
        if return_outputs or not self._can_skip_unlabelled(inputs):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        labels = inputs["labels"][:, 1:]
        positions = (labels != IGNORED_LABEL).any(dim=0).nonzero().squeeze(1)
        model_inputs = {name: value for name, value in inputs.items() if name != "labels"}
        logits = model(**model_inputs, logits_to_keep=positions, use_cache=False).logits
        total = cross_entropy(
            logits.float().flatten(0, 1), labels[:, positions].flatten(), reduction="sum"
        )
        count = num_items_in_batch
        if count is None:
            count = (labels != IGNORED_LABEL).sum()
        loss = total / max(int(count), 1)
        if self.args.average_tokens_across_devices and num_items_in_batch is not None:
            # The count is over all processes, and DDP averages their gradients.
            loss = loss * self.accelerator.num_processes
        return loss

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        """Save a checkpoint. Raises OSError for one that cannot be written whole; it is removed."""
        folder = Path(self._get_output_dir(trial=trial)) / f"checkpoint-{self.state.global_step}"
        try:
            super()._save_checkpoint(model, trial)
        except Exception as error:  # every library has an error of its own for a full disk
            if is_of_the_disk(error):
                shutil.rmtree(folder, ignore_errors=True)
                raise cannot_save(folder, error) from error
            raise

    def _can_skip_unlabelled(self, inputs: dict[str, Any]) -> bool:
        """Whether the sum over labelled positions is what TRL's compute_loss would give here."""
        here = self.is_fsdp_enabled or is_sharded() or inputs["input_ids"].device.type == "cpu"
        if not here or not inputs.keys() <= _PLAIN_BATCH:
            return False
        other_loss = (
            self.compute_loss_func is not None
            or self.label_smoother is not None
            or self.aux_loss_enabled
        )
        sharded = self.accelerator.parallelism_config is not None
        return not other_loss and not sharded and asks_for_plain_nll(self.args)


class _AfterEachStep(TrainerCallback):
    """Lets the trainer look at the weights before they are saved or evaluated."""

    def __init__(self, trainer: ForecastTrainer) -> None:
        self._trainer = trainer

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        self._trainer.check_weights()


def own_targets(model: Any, targets: Any) -> Any:
    """`targets` as PEFT reads them; the name of one module becomes a list again.

    TRL makes a text of a list of one, and PEFT takes a text for a pattern.
    """
    names = [name for name, _ in model.named_modules()]
    is_name = isinstance(targets, str) and any(f".{name}".endswith(f".{targets}") for name in names)
    return [targets] if is_name else targets


def check_targets(model: Any, peft_config: Any) -> None:
    """Check that every name in a LoRA config is one of the model's; PEFT leaves out what is none.

    Raises ValueError naming flag and name.
    """
    modules = [f".{name}" for name, _ in model.named_modules()]
    parameters = [f".{name}" for name, _ in model.named_parameters()]
    for field, flag, names in (
        ("target_modules", "lora_target_modules", modules),
        ("modules_to_save", "lora_modules_to_save", modules),
        ("target_parameters", "lora_target_parameters", parameters),
    ):
        wanted = getattr(peft_config, field)
        for target in [] if wanted is None or isinstance(wanted, str) else wanted:
            if not any(name.endswith(f".{target}") for name in names):
                raise ValueError(
                    f"--{flag} has {target!r}, and this base has no such "
                    f"{'weight' if names is parameters else 'module'}; its last layer has "
                    f"{', '.join(last_names(modules))}"
                )


def last_names(modules: Sequence[str]) -> list[str]:
    """The last part of the names of modules that have a projection's name, each once."""
    ends = [name.rpartition(".")[2] for name in modules]
    return sorted({end for end in ends if end.endswith(("proj", "head"))})


def build_trainer(
    base: Base,
    tokenizer: Any,
    data: TrainData,
    training: Any,
    model_args: Any,
    callbacks: Sequence[TrainerCallback],
) -> Any:
    """Load `base` and return an SFTTrainer over `data`: QLoRA, adapter weights in fp32.

    Raises ValueError for a loss that a model which is shared out cannot compute.
    """
    if is_sharded() and not asks_for_plain_nll(training):
        raise ValueError(
            f"with {engine()} the loss is the plain one (--loss_type nll without label smoothing, "
            "packing and padding_free); leave these flags out, or take accelerate_configs/ddp.yaml"
        )
    storage = base.dtype if is_sharded() else None
    model = load_base(base, own_gpu(training), model_args.attn_implementation, storage)
    trainer: Any = trainer_on(model, tokenizer, data, training, model_args, callbacks)
    # adapter_config.json pins the base too
    trainer.model.peft_config["default"].revision = base.revision
    return trainer


def trainer_on(
    model: Any,
    tokenizer: Any,
    data: TrainData,
    training: Any,
    model_args: Any,
    callbacks: Sequence[TrainerCallback],
) -> Any:
    """An SFTTrainer over `data` that trains a new adapter on the loaded base `model`.

    TRL makes the adapter of a 4-bit model bf16 whatever the precision. In fp32 a checkpoint holds
    what the optimizer holds, so a resumed run equals an uninterrupted one. It is also the only way
    to train in fp16 on a T4: the gradient scaler does not know bf16.
    """
    training = copy(training)
    if not data.validation:
        if training.eval_strategy != "no":
            log.warning(
                "the dataset has no validation rows: --eval_strategy %s evaluates nothing",
                getattr(training.eval_strategy, "value", training.eval_strategy),
            )
        training.eval_strategy = "no"
    training.save_total_limit = None  # see CheckpointCallback
    training.push_to_hub = False  # see sft.hub.checkpoints
    peft_config: Any = get_peft_config(model_args)
    peft_config.target_modules = own_targets(model, peft_config.target_modules)
    check_targets(model, peft_config)
    trainer: Any = ForecastTrainer(
        data,
        model=model,
        args=training,
        train_dataset=to_dataset(data.train),
        eval_dataset=to_dataset(data.validation) if data.validation else None,
        processing_class=tokenizer,
        peft_config=peft_config,
        callbacks=list(callbacks),
    )
    for parameter in trainer.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    for module in trainer.model.modules():
        # On a CPU with bf16 products bitsandbytes repacks 4-bit weights at an evaluation, rounds
        # their scales to bf16 and undoes neither exactly: from then on the base would be another
        # one, but not after a resume.
        if hasattr(module, "support_avx512bf16_for_cpu"):
            module.support_avx512bf16_for_cpu = False
    return trainer


def check_result(trainer: Any) -> None:
    """Check the weights that are about to be kept: those of the last step, or of the best one.

    Raises TrainingDivergedError if one is not finite, or if the gradient scaler left out every
    step.
    """
    step = trainer.state.global_step
    bad = gather_object(not_finite(trained_weights(trainer.model)))
    if bad:
        raise TrainingDivergedError(Finding(step, f"{bad[0]} is not finite", ()))
    if step and trainer.skipped_steps == step:
        what = "the gradients overflow in fp16 at every step, so nothing was trained,"
        raise TrainingDivergedError(Finding(step, what, ()))


def result_of(trainer: Any, end: TrainLogRow) -> TrainingResult:
    """The result of a training for its manifest; a value that was not measured is null.

    `end` is the last row of the log. `eval_loss` is the last one. Loss and seconds are of the whole
    training, the speeds of the part after the last interrupt. Memory is in bytes.
    """
    history = trainer.state.log_history
    losses = [row["eval_loss"] for row in history if "eval_loss" in row]
    resumed_from = end.get("resumed_from_step")
    gpu_memory = end.get("peak_gpu_memory_bytes")
    kept = kept_step(trainer)
    return {
        "steps": trainer.state.global_step,
        "train_loss": finite(mean_loss(history) if resumed_from else end.get("train_loss")),
        "eval_loss": finite(losses[-1]) if losses else None,
        "eval_loss_reason": _eval_loss_reason(losses),
        "tokens_per_second": end.get("tokens_per_second"),
        "samples_per_second": end.get("train_samples_per_second"),
        "steps_per_second": end.get("train_steps_per_second"),
        "runtime_seconds": end.get("time"),
        "peak_memory_bytes": end.get("peak_rss_bytes") if gpu_memory is None else gpu_memory,
        "gpu_energy_wh": end.get("gpu_energy_wh"),
        "resumed_from_step": resumed_from,
        "skipped_steps": trainer.skipped_steps,
        "diverged": ended_above(trainer.record.losses, losses),
        **kept,
        "used": used_facts(trainer),
    }


def _eval_loss_reason(losses: Sequence[float]) -> str | None:
    if not losses:
        return "nothing was evaluated"
    return None if math.isfinite(losses[-1]) else "not finite"


def own_gpu(training: Any) -> dict[str, int] | None:
    """Where this process loads the model: whole, onto its own GPU; None on a CPU.

    None also for stage 3 of ZeRO, with which transformers refuses a place. A model spread over all
    GPUs ("auto") breaks data-parallel training.
    """
    return None if training.use_cpu or sharding() == "zero3" else {"": training.local_process_index}
