"""Going on after an interrupt: the last whole checkpoint, and the settings a run was begun with."""

import json
from pathlib import Path
from typing import Any

from data_pipeline.files import Row
from sft.args import ScriptArguments

MANIFEST = "manifest.json"
_FREE_TO_CHANGE = {"logging_steps", "save_total_limit", "gen_rows", "gen_max_new_tokens", "gen_time_share"}
"""Settings that do not touch the weights a resumed run ends with."""
_FREE_WITHOUT_SELECTION = {"save_steps", "eval_steps"}
"""Neither do these, unless the best of the evaluated steps is kept."""


def last_checkpoint(folder: Path) -> Path | None:
    """The newest checkpoint that was written whole, or None.

    The Trainer writes `trainer_state.json` last, so a folder in which it does not read was cut off.
    """
    found = sorted(folder.glob("checkpoint-*"), key=lambda path: int(path.name.rsplit("-", 1)[1]), reverse=True)
    return next((path for path in found if _reads(path / "trainer_state.json")), None)


def _reads(path: Path) -> bool:
    try:
        json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


def check_folder(folder: Path, settings: Row, dataset_sha256: str) -> None:
    """Stop where `folder` holds a finished run, or one begun with other settings or other rows.

    Raises FileExistsError or ValueError naming what differs and the remedy; nothing in the folder is touched.
    """
    path = folder / MANIFEST
    if not path.exists():
        return
    begun = json.loads(path.read_text(encoding="utf-8"))
    if begun.get("result"):
        raise FileExistsError(f"{folder} holds a finished training; choose another RUN, or remove the folder first")
    free = _FREE_TO_CHANGE | (set() if settings["load_best_model_at_end"] else _FREE_WITHOUT_SELECTION)
    differences = [
        f"{name} {old!r} is now {settings.get(name)!r}"
        for name, old in begun["settings"].items()
        if name not in free and json.loads(json.dumps(settings.get(name))) != old
    ]
    if begun["dataset"]["sha256"] != dataset_sha256:
        differences.append("the training rows are others")
    if differences:
        raise ValueError(
            f"{folder} was begun with other settings: {'; '.join(differences)}. "
            "Set them back to go on, choose another RUN, or remove the folder to start over."
        )


def settings_of(script: ScriptArguments, training: Any, model: Any) -> Row:
    """The settings that make a run what it is, flat, from all three argument objects."""
    of_training = (
        "learning_rate", "num_train_epochs", "max_steps", "per_device_train_batch_size", "gradient_accumulation_steps",
        "lr_scheduler_type", "warmup_steps", "weight_decay", "max_grad_norm", "optim", "max_length", "packing",
        "activation_checkpointing", "seed", "logging_steps", "eval_steps", "save_steps", "save_total_limit",
        "world_size", "load_best_model_at_end",
    )  # fmt: skip
    of_script = ("max_rows", "early_stopping_patience", "gen_rows", "gen_max_new_tokens", "gen_time_share")
    of_model = ("lora_r", "lora_alpha", "lora_dropout", "lora_target_modules", "use_rslora", "use_dora")
    values = {name: getattr(training, name) for name in of_training}
    values |= {name: getattr(model, name) for name in of_model}
    values |= {name: getattr(script, name) for name in of_script}
    return {name: getattr(value, "value", value) for name, value in values.items()}  # enums to their text
