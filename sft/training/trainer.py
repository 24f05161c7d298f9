"""TRL's SFTTrainer for this task, and the complete adapter folder that it leaves."""

from collections.abc import Sequence
from copy import copy
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from torch.nn.functional import cross_entropy
from transformers import TrainerCallback, TrainingArguments
from trl import SFTTrainer, get_peft_config

from data_pipeline.dataset.load import TrainData
from sft.training.checks import kept_step
from sft.training.dataset import to_dataset
from sft.training.train_log import mean_loss
from weekahead.models.chat_format import stop_token_ids
from weekahead.models.loading import Base, load_base
from weekahead.schema.manifests import TrainingResult
from weekahead.schema.rows import TrainLogRow

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


class ForecastTrainer(SFTTrainer):
    """SFTTrainer, except that plain NLL on a CPU scores only positions with a label.

    Without Triton TRL's fused head projects prompts too, four fifths of a row here, and computes
    the backward pass of the projection in fp32. The value is TRL's: the same sum over the same
    tokens. Every other loss, and every GPU, takes TRL's own way.
    """

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

    def _can_skip_unlabelled(self, inputs: dict[str, Any]) -> bool:
        """Whether the sum over labelled positions is what TRL's compute_loss would give here."""
        if inputs["input_ids"].device.type != "cpu" or not inputs.keys() <= _PLAIN_BATCH:
            return False
        other_loss = (
            self.compute_loss_func is not None
            or self.label_smoother is not None
            or self.aux_loss_enabled
        )
        sharded = self.accelerator.parallelism_config is not None
        return not other_loss and not sharded and asks_for_plain_nll(self.args)


def build_trainer(
    base: Base,
    tokenizer: Any,
    data: TrainData,
    training: Any,
    model_args: Any,
    callbacks: Sequence[TrainerCallback],
) -> Any:
    """An SFTTrainer over `data`: QLoRA on `base`, adapter weights in fp32.

    TRL makes the adapter of a 4-bit model bf16 whatever the precision. In fp32 a checkpoint holds
    what the optimizer holds, so a resumed run equals an uninterrupted one. It is also the only way
    to train in fp16 on a T4: the gradient scaler does not know bf16.
    """
    if not data.validation:
        training = copy(training)
        training.eval_strategy = "no"
    trainer: Any = ForecastTrainer(
        model=load_base(base, device_map=own_gpu(training)),
        args=training,
        train_dataset=to_dataset(data.train),
        eval_dataset=to_dataset(data.validation) if data.validation else None,
        processing_class=tokenizer,
        peft_config=get_peft_config(model_args),
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


def save_adapter(trainer: Any, tokenizer: Any, folder: Path) -> None:
    """Make `folder` a complete adapter folder: weights, tokenizer with template, generation config.

    `generation_config.json` says where an answer ends, so a reader need not know the chat format.
    """
    from transformers import GenerationConfig

    trainer.save_model(str(folder))
    if not trainer.is_world_process_zero():
        return
    config = GenerationConfig(
        eos_token_id=stop_token_ids(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        do_sample=False,
    )
    config.save_pretrained(folder)
    # The first is a pickle with paths of this machine, the second TRL's card, which names no base.
    (folder / "training_args.bin").unlink(missing_ok=True)
    (folder / "README.md").unlink(missing_ok=True)


def result_of(trainer: Any, end: TrainLogRow) -> TrainingResult:
    """The result of a training for its manifest; a value that was not measured is null.

    `end` is the last row of the log. `eval_loss` is the last one. Loss and seconds are of the whole
    training, the speeds of the part after the last interrupt. Memory is in bytes.
    """
    history = trainer.state.log_history
    losses = [row["eval_loss"] for row in history if "eval_loss" in row]
    resumed_from = end.get("resumed_from_step")
    gpu_memory = end.get("peak_gpu_memory_bytes")
    return {
        "steps": trainer.state.global_step,
        "train_loss": mean_loss(history) if resumed_from else end.get("train_loss"),
        "eval_loss": losses[-1] if losses else None,
        "tokens_per_second": end.get("tokens_per_second"),
        "samples_per_second": end.get("train_samples_per_second"),
        "steps_per_second": end.get("train_steps_per_second"),
        "runtime_seconds": end.get("time"),
        "peak_memory_bytes": end.get("peak_rss_bytes") if gpu_memory is None else gpu_memory,
        "resumed_from_step": resumed_from,
        **kept_step(trainer),
    }


def own_gpu(training: Any) -> dict[str, int] | None:
    """Where this process loads the model: whole, onto its own GPU; None on a CPU.

    A model spread over all GPUs ("auto") breaks data-parallel training.
    """
    return None if training.use_cpu else {"": training.local_process_index}
