"""The flags of `sft.train` and `eval.generate`, without the libraries that take seconds to load.

tests/weekahead/test_preflight.py holds both tables equal to the parsers of the commands.
"""

from collections.abc import Mapping
from typing import Literal

FlagKind = Literal["whole number", "number", "true or false", "other"]

_INTEGERS = (
    "data_seed dataloader_num_workers dataloader_prefetch_factor dataset_num_proc "
    "ddp_bucket_cap_mb ddp_timeout early_stopping_patience eval_accumulation_steps "
    "gen_max_new_tokens gen_rows gradient_accumulation_steps local_rank lora_alpha lora_r "
    "max_length max_rows max_steps per_device_eval_batch_size per_device_train_batch_size "
    "save_total_limit seed torch_empty_cache_steps"
)
_NUMBERS = (
    "adam_beta1 adam_beta2 adam_epsilon eval_delay eval_steps gen_time_share "
    "label_smoothing_factor learning_rate logging_steps lora_dropout max_grad_norm "
    "neftune_noise_alpha num_train_epochs router_aux_loss_coef save_steps warmup_steps "
    "weight_decay"
)
_SWITCHES = (
    "activation_checkpointing activation_offloading assistant_only_loss auto_find_batch_size "
    "average_tokens_across_devices batch_eval_metrics bf16 bf16_full_eval completion_only_loss "
    "dataloader_drop_last dataloader_in_order dataloader_persistent_workers "
    "dataloader_pin_memory ddp_broadcast_buffers ddp_find_unused_parameters ddp_static_graph "
    "disable_tqdm do_eval do_predict do_train enable_jit_checkpoint eval_do_concat_batches "
    "eval_on_start eval_packing eval_use_gather_object fp16 fp16_full_eval full_determinism "
    "gradient_checkpointing greater_is_better hub_always_push hub_private_repo ignore_data_skip "
    "include_num_input_tokens_seen load_best_model_at_end load_in_4bit load_in_8bit "
    "log_on_each_node logging_first_step logging_nan_inf_filter packing padding_free "
    "prediction_loss_only push_to_hub remove_unused_columns "
    "restore_callback_states_from_checkpoint save_on_each_node save_only_model shuffle_dataset "
    "skip_memory_metrics tf32 torch_compile trust_remote_code upload_artifacts "
    "use_bnb_nested_quant use_cache use_cpu use_dora use_liger_kernel use_peft use_rslora"
)
_OTHERS = (
    "accelerator_config activation_checkpointing_kwargs attn_implementation "
    "bnb_4bit_quant_storage bnb_4bit_quant_type chat_template_path "
    "dataloader_multiprocessing_context dataset dataset_kwargs dataset_text_field ddp_backend "
    "debug deepspeed dtype eos_token eval_strategy fsdp fsdp_config "
    "gradient_checkpointing_kwargs hub_model_id hub_revision hub_strategy hub_token "
    "include_for_metrics knowledge_cutoff label_names length_column_name liger_kernel_config "
    "log_level log_level_replica logging_strategy lora_modules_to_save lora_target_modules "
    "lora_target_parameters lora_task_type loss_type lr_scheduler_kwargs lr_scheduler_type "
    "metric_for_best_model model_init_kwargs model_name_or_path model_revision optim optim_args "
    "optim_target_modules output_dir packing_strategy pad_to_multiple_of pad_token "
    "parallelism_config project report_to resume_from_checkpoint run_name save_strategy "
    "torch_compile_backend torch_compile_mode trackio_bucket_id trackio_space_id "
    "trackio_static_space_id train_sampling_strategy truncation_mode turn_format"
)
_NEGATED = (
    "average_tokens_across_devices dataloader_in_order dataloader_pin_memory "
    "eval_do_concat_batches gradient_checkpointing log_on_each_node logging_nan_inf_filter "
    "remove_unused_columns skip_memory_metrics upload_artifacts"
)


def _kinds(kind: FlagKind, names: str) -> dict[str, FlagKind]:
    return dict.fromkeys(names.split(), kind)


TRAINING_FLAGS: Mapping[str, FlagKind] = {
    **_kinds("whole number", _INTEGERS),
    **_kinds("number", _NUMBERS),
    **_kinds("true or false", _SWITCHES),
    **_kinds("other", _OTHERS),
}
"""Field of the three argument classes -> what its value is."""
NEGATED = frozenset(_NEGATED.split())
"""The switches that have a flag --no_NAME as well."""
LISTS = frozenset((
    "include_for_metrics", "label_names", "debug", "lora_target_modules", "lora_target_parameters",
    "lora_modules_to_save", "report_to",
))  # fmt: skip
"""The flags of a training that take several values."""
CHOICES: Mapping[str, tuple[str, ...]] = {
    "optim": (
        "adamw_torch", "adamw_torch_fused", "adamw_torch_xla", "adamw_torch_npu_fused", "adafactor",
        "adamw_anyprecision", "adamw_torch_4bit", "adamw_torch_8bit", "ademamix", "sgd", "adagrad",
        "adamw_bnb_8bit", "adamw_8bit", "ademamix_8bit", "lion_8bit", "lion_32bit",
        "paged_adamw_32bit", "paged_adamw_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit",
        "paged_lion_32bit", "paged_lion_8bit", "rmsprop", "rmsprop_bnb", "rmsprop_bnb_8bit",
        "rmsprop_bnb_32bit", "galore_adamw", "galore_adamw_8bit", "galore_adafactor",
        "galore_adamw_layerwise", "galore_adamw_8bit_layerwise", "galore_adafactor_layerwise",
        "lomo", "adalomo", "grokadamw", "schedule_free_radam", "schedule_free_adamw",
        "schedule_free_sgd", "apollo_adamw", "apollo_adamw_layerwise", "stable_adamw",
    ),
    "lr_scheduler_type": (
        "linear", "cosine", "cosine_with_restarts", "polynomial", "constant",
        "constant_with_warmup", "inverse_sqrt", "reduce_lr_on_plateau", "cosine_with_min_lr",
        "cosine_warmup_with_min_lr", "warmup_stable_decay", "greedy",
    ),
    "eval_strategy": ("no", "steps", "epoch"),
    "logging_strategy": ("no", "steps", "epoch"),
    "save_strategy": ("no", "steps", "epoch", "best"),
    "loss_type": ("nll", "dft", "chunked_nll"),
    "train_sampling_strategy": ("random", "sequential", "group_by_length", "batch_rebalance"),
}  # fmt: skip
"""Flag of a training -> the values that it can have."""
GENERATION_FLAGS: Mapping[str, FlagKind] = {
    **_kinds("whole number", "limit max_new_tokens batch_size seed"),
    **_kinds("number", "temperature"),
    **_kinds("other", "config adapter dataset out split backend model endpoint_prompt parity"),
}
