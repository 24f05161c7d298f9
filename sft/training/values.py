"""Values of the arguments that cannot work, alone or together."""

import importlib.util
import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from weekahead.models.precision import Precision


class Range(NamedTuple):
    """The values that a number may have; None is no limit. The limits belong to the range."""

    smallest: float | None
    largest: float | None = None
    above: float | None = None
    """The value must be larger than this one."""
    below: float | None = None
    """The value must be smaller than this one."""

    def __str__(self) -> str:
        limits = {
            "at least": self.smallest,
            "at most": self.largest,
            "more than": self.above,
            "less than": self.below,
        }
        return " and ".join(
            f"{word} {limit:g}" for word, limit in limits.items() if limit is not None
        )

    def holds(self, value: float) -> bool:
        """Whether `value` is in the range; NaN is in none."""
        return (
            (self.smallest is None or value >= self.smallest)
            and (self.largest is None or value <= self.largest)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
            and value - value == 0  # neither NaN nor infinite
        )


_ONE, _ZERO, _POSITIVE = Range(1), Range(0), Range(None, above=0)
_SHARE = Range(0, below=1)
RANGES: Mapping[str, Range] = {
    "learning_rate": _POSITIVE,
    "weight_decay": _ZERO,
    "adam_beta1": _SHARE,
    "adam_beta2": _SHARE,
    "adam_epsilon": _POSITIVE,
    "max_grad_norm": _ZERO,
    "warmup_steps": _ZERO,
    "label_smoothing_factor": _SHARE,
    "neftune_noise_alpha": _POSITIVE,
    "per_device_train_batch_size": _ONE,
    "per_device_eval_batch_size": _ONE,
    "gradient_accumulation_steps": _ONE,
    "logging_steps": _POSITIVE,
    "eval_steps": _POSITIVE,
    "eval_delay": _ZERO,
    "save_steps": _POSITIVE,
    "save_total_limit": _ONE,
    "max_length": _ONE,
    "lora_r": _ONE,
    "lora_alpha": _ONE,
    "lora_dropout": _SHARE,
    "torch_empty_cache_steps": _ONE,
    "dataloader_num_workers": _ZERO,
    "seed": Range(0, below=2**32),
    "data_seed": Range(0, below=2**32),
}
"""Field -> the values that make sense. Fields of ScriptArguments check themselves."""

_ATTENTION = {None: None, "eager": None, "sdpa": None, "flash_attention_2": "flash_attn"}
"""Implementation -> the package that it needs. Others are downloaded code: kernels from the Hub."""
_QUANT_TYPES = ("nf4", "fp4")
_NO_WARMUP = ("constant",)
_ADAM_LIKE = ("adam", "lion", "lamb", "ademamix")
_ADAM_FIELDS = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
"""Field -> its default in transformers."""
_FOREIGN_LAUNCHERS = ("ACCELERATE_USE_FSDP", "ACCELERATE_USE_DEEPSPEED")


def check_values(values: Mapping[str, Any], precision: Precision) -> None:
    """Check numbers, and fields that only make sense together.

    `values` are all fields as recipe and flags give them. Raises ValueError naming flag, value,
    what was expected and the remedy.
    """
    for name, expected in RANGES.items():
        value = values.get(name)
        if value is not None and not expected.holds(float(value)):
            raise ValueError(f"--{name} is {value}; expected {expected}")
    _check_attention(values, precision)
    _check_quantization(values)
    _check_schedule(values)
    _check_reports(values)
    _check_launcher(precision)


def _check_attention(values: Mapping[str, Any], precision: Precision) -> None:
    attention = values.get("attn_implementation")
    if attention not in _ATTENTION:
        known = ", ".join(name for name in _ATTENTION if name)
        raise ValueError(
            f"--attn_implementation is {attention!r}; expected one of {known}. "
            "Other names download code from the Hub, which is not run here"
        )
    package = _ATTENTION[attention]
    if package and importlib.util.find_spec(package) is None:
        raise ValueError(
            f"--attn_implementation {attention} needs the package {package}, which is not "
            "installed; install it, or leave the flag out (sdpa is then used)"
        )
    if package and precision.mode == "fp32":
        raise ValueError(
            f"--attn_implementation {attention} computes in bf16 or fp16, and this machine in "
            "fp32; leave the flag out"
        )
    for name in ("packing", "padding_free"):
        if values.get(name) and attention != "flash_attention_2":
            raise ValueError(
                f"--{name} true joins rows into one, and with attention {attention or 'sdpa'} a "
                "row would see its neighbours; give --attn_implementation flash_attention_2, or "
                f"leave --{name} out"
            )


def _check_quantization(values: Mapping[str, Any]) -> None:
    quant_type = values.get("bnb_4bit_quant_type")
    if quant_type not in _QUANT_TYPES:
        raise ValueError(
            f"--bnb_4bit_quant_type is {quant_type!r}; expected {' or '.join(_QUANT_TYPES)}"
        )


def _check_schedule(values: Mapping[str, Any]) -> None:
    schedule, warmup = str(values.get("lr_scheduler_type")), values.get("warmup_steps")
    if schedule in _NO_WARMUP and warmup:
        raise ValueError(
            f"--lr_scheduler_type {schedule} ignores --warmup_steps {warmup}; give "
            f"--lr_scheduler_type {schedule}_with_warmup, or --warmup_steps 0"
        )
    optimizer = str(values.get("optim"))
    if any(name in optimizer for name in _ADAM_LIKE):
        return
    for name, default in _ADAM_FIELDS.items():
        if values.get(name, default) != default:
            raise ValueError(
                f"--{name} {values[name]} has no effect on --optim {optimizer}; leave it out, or "
                "take an Adam"
            )


def _check_reports(values: Mapping[str, Any]) -> None:
    targets = values.get("report_to") or []
    targets = [targets] if isinstance(targets, str) else targets
    given = [name for name in sorted(values) if name.startswith("trackio_") and values[name]]
    if given and not {"trackio", "all"} & set(targets):
        raise ValueError(
            f"--{given[0]} has no effect without --report_to trackio; give it, or leave it out"
        )
    if values.get("do_eval") and values.get("eval_strategy") == "no":
        raise ValueError(
            "--do_eval true without evaluations: --eval_strategy is no; set it to steps or epoch"
        )


def _check_launcher(precision: Precision) -> None:
    """What an accelerate config asks for by the environment of the process."""
    for variable in _FOREIGN_LAUNCHERS:
        if os.environ.get(variable, "").lower() in ("1", "true"):
            raise ValueError(
                f"the accelerate config asks for {variable.rpartition('_')[2]}; this suite trains "
                "with a whole copy of the model on each GPU: take accelerate_configs/ddp.yaml"
            )
    asked = os.environ.get("ACCELERATE_MIXED_PRECISION", "no").lower()
    decided = "no" if precision.mode == "fp32" else precision.mode
    if asked not in ("no", decided):
        raise ValueError(
            f"the accelerate config asks for mixed_precision {asked}, and this training computes "
            f"in {precision.mode} ({precision.reason}); take mixed_precision out of the config"
        )
