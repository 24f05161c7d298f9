"""Going on after an interrupt: where a training starts, and the settings a run was begun with."""

import json
import logging
import math
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from sft.training.arguments import ScriptArguments
from sft.training.checkpoints import Resumable, checkpoints, last_checkpoint
from sft.training.launch import SHARDING, sharding
from weekahead.models.base_identity import difference_between
from weekahead.schema.file_names import MANIFEST
from weekahead.schema.manifests import BaseFacts, JsonObject, TrainingManifest
from weekahead.told_files import check_unfinished

log = logging.getLogger(__name__)

WEIGHTS_DEPEND_ON = (
    # the rows and their order
    "max_rows", "max_length", "truncation_mode", "packing", "packing_strategy",
    "padding_free", "pad_to_multiple_of", "shuffle_dataset", "dataset_kwargs",
    "dataset_text_field", "chat_template_path", "eos_token", "pad_token",
    "remove_unused_columns", "train_sampling_strategy", "length_column_name",
    "dataloader_drop_last", "dataloader_in_order", "accelerator_config", "ignore_data_skip",
    "seed", "data_seed",
    # the loss
    "loss_type", "completion_only_loss", "assistant_only_loss", "label_smoothing_factor",
    "label_names", "router_aux_loss_coef", "neftune_noise_alpha",
    "average_tokens_across_devices",
    # the steps
    "num_train_epochs", "max_steps", "per_device_train_batch_size",
    "gradient_accumulation_steps", "auto_find_batch_size", "learning_rate",
    "lr_scheduler_type", "lr_scheduler_kwargs", "warmup_steps", "optim", "optim_args",
    "optim_target_modules", "weight_decay", "adam_beta1", "adam_beta2", "adam_epsilon",
    "max_grad_norm",
    # the model and its adapter
    "model_init_kwargs", "attn_implementation", "lora_r", "lora_alpha", "lora_dropout",
    "lora_target_modules", "lora_target_parameters", "lora_modules_to_save", "lora_task_type",
    "use_rslora", "use_dora",
    # how it is computed: rounding follows from it
    "tf32", "torch_compile", "torch_compile_backend", "torch_compile_mode",
    "use_liger_kernel", "liger_kernel_config", "activation_checkpointing",
    "activation_checkpointing_kwargs", "gradient_checkpointing",
    "gradient_checkpointing_kwargs", "activation_offloading", "full_determinism",
    "parallelism_config", "fsdp", "fsdp_config", "deepspeed",
    # which step is kept
    "load_best_model_at_end", "early_stopping_patience", "save_only_model",
)  # fmt: skip
"""The fields of the three argument classes that decide the weights: a resume compares these alone.

Precision, base and training rows are compared too; they stand elsewhere in a manifest.
"""
EVAL_LOSS_DEPENDS_ON = (
    # which steps have one, and which of them are saved
    "metric_for_best_model", "greater_is_better", "eval_strategy", "eval_steps", "eval_delay",
    "eval_on_start", "save_strategy", "save_steps",
    # its value: the mean over batches of each batch's mean over tokens
    "per_device_eval_batch_size", "eval_packing", "bf16_full_eval", "fp16_full_eval",
    "prediction_loss_only", "batch_eval_metrics",
)  # fmt: skip
"""The fields that decide eval_loss; they decide the weights too if it chooses the step to keep, or
the learning rate (_SCHEDULED_BY_EVAL_LOSS). A resume then compares them, and the validation rows.
"""
_SCHEDULED_BY_EVAL_LOSS = ("reduce_lr_on_plateau", "greedy")

ALWAYS_STATED = (
    "learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size",
    "gradient_accumulation_steps", "lr_scheduler_type", "warmup_steps", "weight_decay",
    "max_grad_norm", "optim", "max_length", "packing", "activation_checkpointing", "seed",
    "logging_steps", "eval_steps", "save_steps", "save_total_limit", "load_best_model_at_end",
    "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_rslora", "use_dora",
    "max_rows", "early_stopping_patience", "gen_rows", "gen_max_new_tokens", "gen_time_share",
)  # fmt: skip
"""What a reader of a manifest looks for, stated even if it is the library's default.

Any other field stands in a manifest only if its value is not the default: a model card with all
150 fields would hide the few that were chosen. A field of WEIGHTS_DEPEND_ON cannot be added here:
manifests of older versions lack its default, and a resume would take that for another value.
"""
PLACES = frozenset((
    # folders, names, logs, tokens and this machine; also hub_* and trackio_*
    "output_dir", "run_name", "project", "report_to", "disable_tqdm", "dataset",
    "resume_from_checkpoint", "push_to_hub", "log_level", "log_level_replica",
    "logging_strategy", "logging_first_step", "ddp_timeout", "dataloader_num_workers",
    "dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor",
    "dataset_num_proc", "local_rank", "trust_remote_code", "skip_memory_metrics", "do_train",
    "do_eval", "do_predict",
    # stated under `precision` and `base`
    "bf16", "fp16", "use_cpu", "model_name_or_path", "model_revision", "turn_format", "dtype",
    "use_peft", "load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "use_bnb_nested_quant",
    "bnb_4bit_quant_storage",
    # set by this suite, always to the same
    "include_num_input_tokens_seen", "restore_callback_states_from_checkpoint",
))  # fmt: skip
"""Fields that the settings of a manifest leave out."""
_SHARED_ROWS = ("world_size", "gradient_accumulation_steps")
"""Their product times the batch of a process is the number of rows per step."""
_SHARES_NO_ORDER = (None, "random", "sequential")
"""The orders of rows (--train_sampling_strategy) that do not depend on the accumulation."""
_OF_THE_BASE = ("turn_format", "dtype", "quantization")


@dataclass(frozen=True)
class RunFacts:
    """What a training is about to do, as far as a resume compares it."""

    settings: JsonObject
    """As `settings_of` states them."""
    base: BaseFacts
    train_sha256: str | None
    validation_sha256: str | None
    steps: int | None = None
    """How many steps it has; None if that is not known."""


@dataclass(frozen=True)
class Start:
    """Where a training starts."""

    checkpoint: Path | None
    """None: from the base."""
    run_id: str | None
    """The id of the run that goes on; None for a new one."""


_ANEW = Start(None, None)


def find_start(folder: Path, now: RunFacts) -> Start:
    """Where a training with these settings starts in `folder`: anew, or at a checkpoint.

    A run that was begun there and left nothing to go on from does not bind: the training starts
    anew, whatever its settings were. Nothing in the folder is touched.
    Raises FileExistsError if the folder holds a finished run, and ValueError naming what differs if
    the run there was begun with other settings, on another base or on other rows, and if its
    checkpoints are of another run than its manifest.
    """
    begun = check_unfinished(folder)
    if begun is None:
        return _without_manifest(folder)
    differences = differences_to(begun, now)
    steps = None if differences else now.steps
    wanted = replace(resumable(begun), steps=steps)
    checkpoint = last_checkpoint(folder, wanted)
    if checkpoint is None:
        _check_not_of_another(folder, replace(wanted, run_id=None))
        with_others = " with other settings" if differences else ""
        log.info("%s was begun%s and left no checkpoint to go on from: anew", folder, with_others)
        return _ANEW
    if begun["run"] not in (None, "", folder.name):
        log.warning(
            "%s was begun as the run %s, whose W&B run goes on: a copy of a folder that is still "
            "trained needs another RUN",
            folder,
            begun["run"],
        )
    if differences:
        raise ValueError(
            f"{folder} was begun with other settings: {'; '.join(differences)}. "
            "Set them back to go on, choose another RUN, or remove the folder to start over."
        )
    if begun.get("diverged"):
        log.warning("the last attempt diverged; it does again unless the hardware was at fault")
    if begun["settings"].get("world_size") != now.settings["world_size"]:
        log.info("%s", _other_processes(begun["settings"], now.settings))
    return Start(checkpoint, begun["run_id"])


def _other_processes(before: JsonObject, now: JsonObject) -> str:
    shares = [f"{s['world_size']} x {s['gradient_accumulation_steps']}" for s in (before, now)]
    return (
        f"processes x accumulation were {shares[0]} and are now {shares[1]}: the rows of each step "
        "stay; with dropout the random numbers are others"
    )


def _check_not_of_another(folder: Path, wanted: Resumable) -> None:
    """Raise ValueError if the checkpoints are whole, and only the manifest is of another run.

    A training that starts anew would write over them.
    """
    kept = last_checkpoint(folder, wanted) if checkpoints(folder) else None
    if kept:
        raise ValueError(
            f"{kept} is whole, but {folder / MANIFEST} is of another run; put the manifest of its "
            "own run back, choose another RUN, or remove the folder to start over"
        )


def resumable(begun: TrainingManifest) -> Resumable:
    """What a checkpoint of the run with this manifest must have."""
    processes = begun["settings"].get("world_size")
    return Resumable(
        world_size=processes if isinstance(processes, int) and processes > 0 else 1,
        fp16=begun["precision"].get("mode") == "fp16",
        run_id=begun["run_id"],
    )


def _without_manifest(folder: Path) -> Start:
    """A training writes its manifest first, so nobody knows what a checkpoint alone is of."""
    checkpoint = last_checkpoint(folder, Resumable())
    if checkpoint:
        raise ValueError(
            f"{checkpoint} has no {MANIFEST} beside its folder, so its settings are not known; "
            "choose another RUN, or remove the folder to start over"
        )
    return _ANEW


def differences_to(begun: TrainingManifest, now: RunFacts) -> list[str]:
    """What decides the weights and is not as it was when a run was begun, in words."""
    # A manifest states what is not the default, so a field that it lacks was the default.
    before, settings = begun["settings"], now.settings
    chosen_by_eval_loss = _depends_on_eval_loss(before) or _depends_on_eval_loss(settings)
    names = ["world_size", *WEIGHTS_DEPEND_ON, *(EVAL_LOSS_DEPENDS_ON * chosen_by_eval_loss)]
    if _same_rows_per_step(before, settings):
        names = [name for name in names if name not in _SHARED_ROWS]
    values = [(name, before.get(name), settings.get(name)) for name in names]
    base = begun["base"]
    values += [(f"the base's {name}", base.get(name), now.base.get(name)) for name in _OF_THE_BASE]
    if base.get("revision"):  # older files lack it for every base of the Hub
        values.append(("the base's revision", base.get("revision"), now.base.get("revision")))
    differences = [
        f"{name} {'(its default)' if stored is None else repr(stored)} is now {value!r}"
        for name, stored, value in values
        if _plain(value) != stored
    ]
    another = difference_between(base, now.base)
    if another:
        differences.append(f"the base was {another}")
    dataset = begun["dataset"]
    if dataset.get("sha256") != now.train_sha256:
        differences.append("the training rows are others")
    validation = dataset.get("validation_sha256")  # manifests of older versions lack it
    if chosen_by_eval_loss and validation and validation != now.validation_sha256:
        differences.append("the validation rows are others")
    return differences


def _same_rows_per_step(before: JsonObject, now: JsonObject) -> bool:
    """Whether processes x accumulation stayed, in an order of rows that does not depend on them."""
    shares = [_share(settings) for settings in (before, now)]
    order = now.get("train_sampling_strategy")
    return None not in shares and shares[0] == shares[1] and order in _SHARES_NO_ORDER


def _share(settings: JsonObject) -> int | None:
    """Processes x accumulation; None if a manifest states no numbers."""
    numbers = [settings.get(name) for name in _SHARED_ROWS]
    counts = [number for number in numbers if type(number) is int and number > 0]
    return math.prod(counts) if len(counts) == len(numbers) else None


def _depends_on_eval_loss(settings: JsonObject) -> bool:
    scheduler = settings.get("lr_scheduler_type")
    return bool(settings.get("load_best_model_at_end")) or scheduler in _SCHEDULED_BY_EVAL_LOSS


def settings_of(script: ScriptArguments, training: Any, model: Any) -> JsonObject:
    """The settings of a run, flat and ready for JSON, from all three argument objects."""
    # The default is built with the same machine: building an SFTConfig changes its own fields.
    machine = {name: getattr(training, name) for name in ("output_dir", "bf16", "fp16", "use_cpu")}
    pairs = (
        (training, type(training)(**machine)),
        (model, type(model)()),
        (script, ScriptArguments()),
    )
    settings: JsonObject = {"world_size": training.world_size}
    if divided := sharding():
        settings[SHARDING] = divided
    for arguments, defaults in pairs:
        for field in fields(arguments):
            value = getattr(arguments, field.name)
            is_default = value == getattr(defaults, field.name)
            if field.name in ALWAYS_STATED or not (is_default or _is_place(field.name)):
                text = getattr(value, "value", value)  # of an enum
                settings[field.name] = _plain(text)
    return settings


def _is_place(name: str) -> bool:
    return name in PLACES or name.startswith(("hub_", "trackio_"))


def _plain(value: Any) -> Any:
    """`value` as it comes back from JSON."""
    return json.loads(json.dumps(value, default=str))
