"""Going on after an interrupt: the last whole checkpoint, and the settings a run was begun with."""

import json
from dataclasses import fields
from pathlib import Path
from typing import Any

from sft.training.arguments import ScriptArguments
from weekahead.files import Row

MANIFEST = "manifest.json"
_FREE_TO_CHANGE = {
    "logging_steps", "save_total_limit", "gen_rows", "gen_max_new_tokens", "gen_time_share", "knowledge_cutoff",
    "per_device_eval_batch_size",
}  # fmt: skip
"""Settings that do not touch the weights a resumed run ends with."""
_FREE_WITHOUT_SELECTION = {"save_steps", "eval_steps", "save_strategy", "eval_strategy"}
"""Neither do these, unless the best of the evaluated steps is kept."""
_ALWAYS = (
    "learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps",
    "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "optim", "max_length", "packing",
    "activation_checkpointing", "seed", "logging_steps", "eval_steps", "save_steps", "save_total_limit",
    "load_best_model_at_end", "lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_rslora", "use_dora",
    "max_rows", "early_stopping_patience", "gen_rows", "gen_max_new_tokens", "gen_time_share",
)  # fmt: skip
"""Settings that every manifest states; any other stands there where it is not the library's default."""
_NEVER = {
    "output_dir", "run_name", "project", "report_to", "disable_tqdm", "dataset", "resume_from_checkpoint",
    "push_to_hub", "log_level", "log_level_replica", "logging_strategy", "logging_first_step", "ddp_timeout",
    "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor",
    "dataset_num_proc", "local_rank", "trust_remote_code", "skip_memory_metrics", "do_train", "do_eval", "do_predict",
    # stated elsewhere in the manifest, under precision and base
    "bf16", "fp16", "use_cpu", "model_name_or_path", "model_revision", "turn_format", "dtype", "use_peft",
    "load_in_4bit", "load_in_8bit", "bnb_4bit_quant_type", "use_bnb_nested_quant", "bnb_4bit_quant_storage",
    # ours, always the same
    "include_num_input_tokens_seen", "restore_callback_states_from_checkpoint",
}  # fmt: skip
"""These never do: they name places and machines, or stand elsewhere. Nor does hub_* or trackio_*: one is a token."""
_OF_THE_BASE = ("name", "revision", "turn_format", "dtype", "quantization")


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole, or None.

    The Trainer writes `trainer_state.json` last, so a folder in which it does not read was cut off.
    """
    found = sorted(
        folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True
    )
    return next((path for path in found if _reads(path / "trainer_state.json")), None)


def _reads(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def check_folder(folder: Path, settings: Row, base: Row, dataset_sha256: str) -> None:
    """Stop where `folder` holds a finished run, or one begun with other settings, on another base or other rows.

    `base` is what a manifest says of it.
    Raises FileExistsError or ValueError naming what differs and the remedy; nothing in the folder is touched.
    """
    path = folder / MANIFEST
    if not path.exists():
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    if begun.get("result"):
        raise FileExistsError(
            f"{folder} holds a finished training; choose another RUN, or remove the folder first"
        )
    free = _FREE_TO_CHANGE | (
        set() if settings["load_best_model_at_end"] else _FREE_WITHOUT_SELECTION
    )
    pairs = [
        (name, begun["settings"].get(name), settings.get(name))
        for name in begun["settings"] | settings
    ]
    pairs = [pair for pair in pairs if pair[0] not in free]
    pairs += [
        (f"the base's {name}", begun["base"].get(name), base.get(name)) for name in _OF_THE_BASE
    ]
    differences = [
        f"{name} {old!r} is now {new!r}" for name, old, new in pairs if _plain(new) != old
    ]
    if begun["dataset"]["sha256"] != dataset_sha256:
        differences.append("the training rows are others")
    if differences:
        raise ValueError(
            f"{folder} was begun with other settings: {'; '.join(differences)}. "
            "Set them back to go on, choose another RUN, or remove the folder to start over."
        )


def settings_of(script: ScriptArguments, training: Any, model: Any) -> Row:
    """The settings that make a run what it is, flat and ready for JSON, from all three argument objects."""
    # Built the same way, since building one changes its own fields; the precision is the machine's.
    same = {name: getattr(training, name) for name in ("output_dir", "bf16", "fp16", "use_cpu")}
    values: Row = {"world_size": training.world_size}
    for given, default in (
        (training, type(training)(**same)),
        (model, type(model)()),
        (script, type(script)()),
    ):
        for name in (field.name for field in fields(given)):
            value = getattr(given, name)
            told = name not in _NEVER and not name.startswith(("hub_", "trackio_"))
            if name in _ALWAYS or (told and value != getattr(default, name)):
                values[name] = _plain(getattr(value, "value", value))  # enums to their text
    return values


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))
