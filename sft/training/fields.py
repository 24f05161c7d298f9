"""What becomes of each field of the three argument classes: obeyed, decided or without effect.

A field of a newer library has no entry, and a test fails until somebody has looked at it.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sft.training.launch import is_sharded
from weekahead.models.precision import Precision


@dataclass(frozen=True)
class Decided:
    """A field that this suite decides: any value but those of `allowed` is refused.

    The first value is what a training uses. `because` says the reason and the remedy.
    """

    allowed: tuple[Any, ...]
    because: str


_TEMPLATE = (
    "evaluation would use another template than training; --turn_format names the one that both use"
)
_BY_LAUNCHER = (
    "the accelerate config says how several GPUs work together: ddp.yaml (a whole copy on each), "
    "fsdp_qlora.yaml (the model shared out) or deepspeed_zero2.yaml of accelerate_configs/"
)
_NO_METRICS = "evaluations of a training measure the loss alone; python -m eval.score measures more"
_HUB = "one upload after the other, onto the main branch; leave the flag out"
_BY_CPU_OR_GPU = "the number format is decided by the hardware; leave the flag out"
_HARDWARE_FIELDS = frozenset(("bf16", "fp16", "use_cpu", "dtype"))

DECIDED: Mapping[str, Decided] = {
    # the model
    "use_peft": Decided((True,), "only adapters are trained; set use_peft: true"),
    "load_in_8bit": Decided(
        (False,), "a base is loaded in 4 bits or not quantized; set load_in_4bit: true"
    ),
    "bnb_4bit_quant_storage": Decided(
        (None, "uint8"), "4-bit weights are stored as uint8; leave the flag out"
    ),
    "trust_remote_code": Decided(
        (False,), "this suite never runs code from a model repository; leave it out"
    ),
    "model_init_kwargs": Decided(
        (None,), "the base is loaded by the fields of the recipe; use those"
    ),
    "lora_task_type": Decided(("CAUSAL_LM",), "a forecast is a text; leave it out"),
    "use_cache": Decided((False,), "a training needs no cache of keys and values; leave it out"),
    # the rows
    "chat_template_path": Decided((None,), _TEMPLATE),
    "eos_token": Decided((None,), _TEMPLATE),
    "pad_token": Decided((None,), _TEMPLATE),
    "dataset_text_field": Decided(("text",), "rows have a prompt and a completion; leave it out"),
    "dataset_kwargs": Decided((None,), "rows have a prompt and a completion; leave it out"),
    "truncation_mode": Decided(
        ("keep_start",), "no row is cut: a row longer than --max_length is refused"
    ),
    "assistant_only_loss": Decided(
        (False,), "the prompt carries no loss already (completion_only_loss)"
    ),
    "packing_strategy": Decided(("bfd",), "other strategies cut rows or join them differently"),
    "label_names": Decided((None,), "TRL makes the labels; leave it out"),
    # the steps
    "auto_find_batch_size": Decided(
        (False,),
        "it would train with another batch than the recipe states; "
        "take the model's _t4 recipe, or a smaller --per_device_train_batch_size",
    ),
    "optim_target_modules": Decided(
        (None,), "only optimizers of whole weights read it, and only adapters are trained"
    ),
    "gradient_checkpointing": Decided((True,), "give --activation_checkpointing, its new name"),
    "gradient_checkpointing_kwargs": Decided(
        (None,), "give --activation_checkpointing_kwargs, its new name"
    ),
    "resume_from_checkpoint": Decided(
        (None,), "the same command goes on from the last whole checkpoint of --output_dir by itself"
    ),
    "save_only_model": Decided(
        (False,), "a checkpoint without optimizer and random state cannot be gone on from"
    ),
    "enable_jit_checkpoint": Decided(
        (False,), "a terminated training saves a checkpoint already; leave it out"
    ),
    "save_on_each_node": Decided((False,), "one process writes the folder; leave it out"),
    "restore_callback_states_from_checkpoint": Decided(
        (False,), "it follows from --early_stopping_patience; leave it out"
    ),
    # evaluation and logs
    "bf16_full_eval": Decided((False,), _BY_CPU_OR_GPU),
    "fp16_full_eval": Decided((False,), _BY_CPU_OR_GPU),
    "include_for_metrics": Decided(([],), _NO_METRICS),
    "batch_eval_metrics": Decided((False,), _NO_METRICS),
    "do_predict": Decided((False,), "answers are made by make eval; leave it out"),
    "include_num_input_tokens_seen": Decided(
        (False,), "speed counts the tokens that are not padding; leave it out"
    ),
    "logging_nan_inf_filter": Decided(
        (False,), "it would log 0.0 for a loss that is not a number; leave it out"
    ),
    "run_name": Decided((None,), "a run has the name of its folder; give another --output_dir"),
    # several processes
    "fsdp": Decided((None, "", [], False), _BY_LAUNCHER),
    "fsdp_config": Decided((None,), _BY_LAUNCHER),
    "deepspeed": Decided((None,), _BY_LAUNCHER),
    "parallelism_config": Decided((None,), _BY_LAUNCHER),
    # the Hub
    "hub_token": Decided((None,), "a token comes from HF_TOKEN in the environment or in .env"),
    "hub_strategy": Decided(
        ("checkpoint", "all_checkpoints", "end"),
        "weights alone cannot be gone on from; set it to checkpoint, all_checkpoints or end",
    ),
    "hub_always_push": Decided((False,), _HUB),
    "hub_revision": Decided((None,), _HUB),
    # the hardware; see decided_by_hardware()
    **{name: Decided((), _BY_CPU_OR_GPU) for name in _HARDWARE_FIELDS},
}
"""Field -> what this suite decides about it."""

HONOURED = frozenset((
    # ours
    "turn_format", "dataset", "max_rows", "knowledge_cutoff", "gen_rows", "gen_max_new_tokens",
    "gen_time_share", "early_stopping_patience", "upload_artifacts",
    # the model and its adapter
    "model_name_or_path", "model_revision", "attn_implementation", "load_in_4bit",
    "bnb_4bit_quant_type", "use_bnb_nested_quant", "lora_r", "lora_alpha", "lora_dropout",
    "lora_target_modules", "lora_target_parameters", "lora_modules_to_save", "use_rslora",
    "use_dora",
    # the rows
    "max_length", "packing", "eval_packing", "padding_free", "pad_to_multiple_of",
    "shuffle_dataset", "dataset_num_proc", "train_sampling_strategy", "length_column_name",
    "remove_unused_columns",
    "dataloader_drop_last", "dataloader_in_order", "accelerator_config", "ignore_data_skip",
    "seed", "data_seed", "full_determinism",
    # the loss
    "loss_type", "completion_only_loss", "label_smoothing_factor", "router_aux_loss_coef",
    "neftune_noise_alpha", "average_tokens_across_devices",
    # the steps
    "per_device_train_batch_size", "gradient_accumulation_steps", "num_train_epochs", "max_steps",
    "learning_rate", "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim",
    "optim_args", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon", "max_grad_norm",
    # how it is computed
    "tf32", "activation_checkpointing", "activation_checkpointing_kwargs", "activation_offloading",
    "torch_compile", "torch_compile_backend", "torch_compile_mode", "use_liger_kernel",
    "liger_kernel_config", "torch_empty_cache_steps",
    # evaluations, checkpoints, logs
    "eval_strategy", "eval_steps", "eval_delay", "eval_on_start", "per_device_eval_batch_size",
    "save_strategy", "save_steps", "save_total_limit", "load_best_model_at_end",
    "metric_for_best_model", "greater_is_better", "output_dir", "logging_strategy",
    "logging_steps", "logging_first_step", "log_level", "log_level_replica", "log_on_each_node",
    "disable_tqdm", "report_to", "project", "trackio_space_id", "trackio_bucket_id",
    "trackio_static_space_id", "debug",
    # the Hub
    "push_to_hub", "hub_model_id", "hub_private_repo",
    # several processes
    "ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers",
    "ddp_static_graph", "ddp_backend", "ddp_timeout",
))  # fmt: skip
"""Fields that are obeyed, here or in the library."""

HARMLESS = frozenset((
    # how batches reach the model: the same batches, sooner or later
    "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers",
    "dataloader_prefetch_factor", "dataloader_multiprocessing_context",
    # how predictions of an evaluation are gathered: none are kept
    "prediction_loss_only", "eval_do_concat_batches", "eval_use_gather_object",
    "eval_accumulation_steps",
    # what a launcher or an old script gives; the command trains, and evaluates as it was told
    "local_rank", "do_train", "do_eval", "skip_memory_metrics",
))  # fmt: skip
"""Fields that cannot change a result."""


def decided_by_hardware(precision: Precision) -> dict[str, bool | str]:
    """The fields that the precision settles, as defaults of a parser.

    They are set before the arguments are parsed: SFTConfig turns bf16 on by default, and raises
    while parsing if the machine has none.
    """
    return {**precision.trainer_flags(), "dtype": precision.dtype}


def check_decided(values: Mapping[str, Any], precision: Precision) -> None:
    """Check that no field which the suite decides has another value.

    `values` are all fields as recipe and flags give them. Raises ValueError naming flag, value,
    reason and remedy. The value of a token is not repeated.
    """
    hardware = decided_by_hardware(precision)
    for name, decided in DECIDED.items():
        allowed = (hardware[name],) if name in hardware else decided.allowed
        if name == "bnb_4bit_quant_storage" and is_sharded():
            allowed = (*allowed, precision.dtype)  # it is that; the parser's default says uint8
        value = values.get(name, allowed[0])
        value = getattr(value, "value", value)  # of an enum
        if value in allowed and not _is_other_type(value, allowed):
            continue
        told = "is set" if name.endswith("token") and "hub" in name else f"is {value!r}"
        expected = " or ".join(map(repr, allowed if name == "hub_strategy" else allowed[:1]))
        if name in hardware:
            expected += f" ({precision.mode} on {precision.device}: {precision.reason})"
        raise ValueError(f"--{name} {told}, and only {expected} is possible: {decided.because}")


def _is_other_type(value: object, allowed: tuple[Any, ...]) -> bool:
    """Whether `value` equals an allowed one only as 0 equals False."""
    return not any(value == other and type(value) is type(other) for other in allowed)
