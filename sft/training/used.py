"""What a training really used, read back from the objects and not from the arguments."""

import hashlib
from enum import Enum
from typing import Any

from sft.training.zero import count
from weekahead.schema.manifests import UsedFacts


def used_facts(trainer: Any) -> UsedFacts:
    """What the manifest states of a trainer whose optimizer has been made."""
    model, args = trainer.model, trainer.args
    adapter = model.peft_config["default"]
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    return {
        "attention": model.config._attn_implementation,
        "quantization": _quantization(model),
        "base_dtype": _name_of(model.get_base_model().dtype),
        "adapter_dtype": ", ".join(sorted({_name_of(weight.dtype) for weight in trained})),
        "mixed_precision": trainer.accelerator.mixed_precision,
        "trained_parameters": sum(count(weight) for weight in trained),
        "lora_r": adapter.r,
        "lora_alpha": adapter.lora_alpha,
        "lora_dropout": adapter.lora_dropout,
        "lora_targets": _targets(adapter.target_modules),
        "use_rslora": adapter.use_rslora,
        "use_dora": adapter.use_dora,
        "activation_checkpointing": bool(model.is_gradient_checkpointing),
        "optimizer": _optimizer(trainer.optimizer),
        "learning_rate": trainer.optimizer.param_groups[0].get("initial_lr", args.learning_rate),
        "rows_per_step": (
            args.per_device_train_batch_size * args.gradient_accumulation_steps * args.world_size
        ),
        "processes": trainer.accelerator.num_processes,
        "planned_steps": trainer.state.max_steps,
        "chat_template_sha256": _template_hash(trainer.processing_class),
    }


def _optimizer(wrapped: Any) -> str:
    """The class that computes the steps, inside what accelerate and DeepSpeed put around it."""
    inner = wrapped
    while hasattr(inner, "optimizer"):
        inner = inner.optimizer
    return type(inner).__name__


def _targets(targets: Any) -> list[str]:
    """The names of the modules that carry an adapter, or the one pattern of them."""
    return [targets] if isinstance(targets, str) else sorted(targets)


def _quantization(model: Any) -> dict[str, Any] | None:
    """The quantization of the loaded weights; None if they are not quantized."""
    config = getattr(model.config, "quantization_config", None)
    if config is None:
        return None
    stated = config if isinstance(config, dict) else config.to_dict()
    names = (
        "quant_method",
        "load_in_4bit",
        "bnb_4bit_quant_type",
        "bnb_4bit_use_double_quant",
        "bnb_4bit_compute_dtype",
    )
    return {name: _plain(stated[name]) for name in names if name in stated}


def _plain(value: Any) -> Any:
    """A value of a quantization config as JSON has it: truth values stay what they are."""
    if isinstance(value, Enum):
        return value.value
    return value if isinstance(value, bool) else _name_of(value)


def _template_hash(tokenizer: Any) -> str:
    return hashlib.sha256(str(tokenizer.chat_template).encode()).hexdigest()


def _name_of(dtype: Any) -> str:
    return str(dtype).removeprefix("torch.")
