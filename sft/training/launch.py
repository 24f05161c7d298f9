"""What an accelerate config asks for, which reaches a training as environment variables.

FSDP 2 (`fsdp_qlora.yaml`) and stage 3 of DeepSpeed's ZeRO (`deepspeed_zero3.yaml`) share the model
out among GPUs. Otherwise each has a whole copy; stage 2 divides the optimizer's state alone.
"""

import os
from collections.abc import Mapping
from typing import Any

from weekahead.deepspeed_package import check_deepspeed_installed
from weekahead.models.precision import Precision

SHARDING = "sharding"
"""The name under which a manifest's settings state it; left out for a whole copy on each GPU."""

_FSDP_CONFIG = "take accelerate_configs/fsdp_qlora.yaml, or change that line"
_DDP = "take accelerate_configs/ddp.yaml"
_DIVIDED_OPTIMIZERS: Mapping[str, tuple[str, ...]] = {
    "FSDP": ("adamw_torch", "adamw_torch_fused", "sgd"),
    "DeepSpeed": ("adamw_torch", "adamw_torch_fused"),
}
"""Optimizers that can compute on a part of a weight; those of bitsandbytes cannot."""
_OWN_CHECKPOINTING = "FSDP_ACTIVATION_CHECKPOINTING"
_UNTRIED = ("torch_compile", "use_liger_kernel", "activation_offloading", "lora_modules_to_save")
_STAGE = "ACCELERATE_DEEPSPEED_ZERO_STAGE"
_STAGES = ("2", "3")
_SET_BY_RECIPE = {
    "ACCELERATE_GRADIENT_ACCUMULATION_STEPS": "gradient_accumulation_steps",
    "ACCELERATE_GRADIENT_CLIPPING": "max_grad_norm",
}
"""Variable of a line of DeepSpeed's config -> the field of the recipe that decides it."""


def sharding() -> str | None:
    """What this launch divides among its processes, for a manifest: "fsdp" or "zero3" (weights and
    the optimizer's state), "zero2" (the optimizer's state alone), None (nothing)."""
    if _is_on("ACCELERATE_USE_FSDP"):
        return "fsdp"
    return f"zero{_zero_stage()}" if _uses_deepspeed() else None


def is_sharded() -> bool:
    """Whether this launch shares the model out among its processes."""
    return sharding() not in (None, "zero2")


def _uses_deepspeed() -> bool:
    return _is_on("ACCELERATE_USE_DEEPSPEED")


def _zero_stage() -> str:
    return os.environ.get(_STAGE, "2")


def engine() -> str:
    """The library that divides, as it is called in messages."""
    return "DeepSpeed" if _uses_deepspeed() else "FSDP"


def _is_on(variable: str) -> bool:
    return os.environ.get(variable, "").lower() in ("1", "true")


def check_launcher(values: Mapping[str, Any], precision: Precision) -> None:
    """Check what the accelerate config asks for against the machine and the fields.

    Raises ValueError naming the line of the config, or the flag, and the remedy; if DeepSpeed is
    needed and missing, with the command that installs it.
    """
    if _uses_deepspeed():
        check_deepspeed_installed("the accelerate config")
        _check_deepspeed(values)
    if _is_on("ACCELERATE_USE_FSDP"):
        _check_fsdp()
    if sharding():
        _check_precision_of(engine(), precision)
        _check_fields_of(engine(), values)
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    decided = "no" if precision.mode == "fp32" else precision.mode
    if asked not in ("no", decided):
        raise ValueError(
            f"the accelerate config asks for mixed_precision {asked}, and this training computes "
            f"in {precision.mode} ({precision.reason}); take mixed_precision out of the config"
        )


def _check_deepspeed(values: Mapping[str, Any]) -> None:
    if os.environ.get("ACCELERATE_DEEPSPEED_CONFIG_FILE"):
        raise ValueError(
            "the accelerate config names a deepspeed_config_file, which would decide precision, "
            "batch and optimizer beside the recipe; take accelerate_configs/deepspeed_zero2.yaml"
        )
    if _zero_stage() not in _STAGES:
        raise ValueError(
            f"the accelerate config asks for zero_stage {_zero_stage()}; expected "
            f"{' or '.join(_STAGES)}; {_DDP} for a whole copy on each GPU"
        )
    for line in ("offload_optimizer_device", "offload_param_device"):
        device = os.environ.get(f"ACCELERATE_DEEPSPEED_{line.upper()}", "none")
        if device != "none":
            raise ValueError(
                f"the accelerate config has {line} {device}, which was not tried with 4-bit "
                "weights; set it to none"
            )
    for variable, field in _SET_BY_RECIPE.items():
        asked = os.environ.get(variable, "auto")
        if asked != "auto" and float(asked) != float(values[field]):
            raise ValueError(
                f"the accelerate config has {variable.removeprefix('ACCELERATE_').lower()} "
                f"{asked}, and --{field} is {values[field]}; take the line out of the config"
            )


def _check_fsdp() -> None:
    version = os.environ.get("FSDP_VERSION", "1")
    if version != "2":
        raise ValueError(
            f"the accelerate config asks for FSDP with fsdp_version {version}; expected 2: "
            f"{_FSDP_CONFIG}"
        )
    for line in ("fsdp_offload_params", "fsdp_cpu_ram_efficient_loading"):
        if _is_on(line.upper()):
            raise ValueError(
                f"the accelerate config has {line} true, which was not tried with 4-bit weights; "
                f"set it to false: {_FSDP_CONFIG}"
            )


def _check_precision_of(library: str, precision: Precision) -> None:
    if precision.mode == "fp16":
        raise ValueError(
            f"the accelerate config asks for {library}, and this machine computes in fp16 "
            f"({precision.reason}), whose gradient scaler does not work with it; {_DDP}"
        )


def _check_fields_of(library: str, values: Mapping[str, Any]) -> None:
    optimizer, possible = str(values.get("optim")), _DIVIDED_OPTIMIZERS[library]
    if optimizer not in possible:
        raise ValueError(
            f"--optim {optimizer} does not work with {library}; expected one of "
            f"{', '.join(possible)}, or {_DDP}"
        )
    for name in _UNTRIED:
        if values.get(name):
            raise ValueError(
                f"--{name} {values[name]} does not work with {library}; leave it out, or {_DDP}"
            )
    if is_sharded() and values.get("gen_rows"):
        raise ValueError(
            f"--gen_rows {values['gen_rows']} with {library} would gather every layer for every "
            f"token; leave it out, or {_DDP}"
        )


def move_checkpointing() -> bool:
    """Whether the config asks for FSDP's own activation checkpointing; it is then switched off.

    The model's own takes its place. It gathers as often, and restores the random state: FSDP's
    would draw other dropout when it computes a layer again, so the gradients would be wrong.
    """
    asked = _is_on("ACCELERATE_USE_FSDP") and _is_on(_OWN_CHECKPOINTING)
    if asked:
        os.environ[_OWN_CHECKPOINTING] = "false"
    return asked


def check_sharding(training: Any) -> None:
    """Check that there are several GPUs if something is to be divided among them.

    `training` is TRL's SFTConfig. Raises ValueError with the remedy.
    """
    if not sharding():
        return
    from accelerate import DistributedType

    on_gpus = (DistributedType.MULTI_GPU, DistributedType.DEEPSPEED)
    if training.distributed_state.distributed_type not in on_gpus:
        raise ValueError(
            f"the accelerate config asks for {engine()}, which needs several GPUs, and this "
            "launch has none; take accelerate_configs/cpu.yaml"
        )
    if training.world_size == 1:
        raise ValueError(
            f"the accelerate config asks for {engine()}, which divides a training among several "
            "GPUs, and this is one process; give GPUS=2 or more, or take "
            "accelerate_configs/single_gpu.yaml"
        )


def check_can_be_sharded(base: str, *, stored_in_4_bits: bool) -> None:
    """Check that the 4-bit weights of a base are packed here, into numbers that can be shared out.

    Raises ValueError with the remedy.
    """
    if is_sharded() and stored_in_4_bits:
        raise ValueError(
            f"the weights of {base} are stored in 4 bits, as bytes, which {engine()} does not "
            f"share out; name the base in 16 bits, or {_DDP}"
        )
