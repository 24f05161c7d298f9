"""Values of the arguments that cannot work, alone or together."""

import importlib.util
import inspect
import json
import math
import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, cast

from sft.training.launch import check_launcher
from weekahead.models.precision import Precision
from weekahead.schema.shape import shortened


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
_EPOCHS = 1e6
"""More are a slip."""
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
    "dataset_num_proc": _ONE,
    "dataloader_prefetch_factor": _ONE,
    "pad_to_multiple_of": _ONE,
    "ddp_timeout": _ONE,
    "ddp_bucket_cap_mb": _ONE,
    "seed": Range(0, below=2**32),
    "data_seed": Range(0, below=2**32),
    "eval_accumulation_steps": _ONE,
    "router_aux_loss_coef": _ZERO,
    "max_rows": _ONE,
    "gen_rows": _ZERO,
    "gen_max_new_tokens": _ONE,
    "gen_time_share": _POSITIVE,
    "early_stopping_patience": _ONE,
}
"""Field -> the values that make sense."""

_ATTENTION = {
    None: None,
    "eager": None,
    "sdpa": None,
    "sdpa_expanded": None,  # weekahead.models.attention
    "flash_attention_2": "flash_attn",
}
"""Implementation -> the package that it needs. Others are downloaded code: kernels from the Hub."""
_QUANT_TYPES = ("nf4", "fp4")
_NO_WARMUP = ("constant",)
_ADAM_LIKE = ("adam", "lamb", "ademamix")
_ADAM_FIELDS = {"adam_beta1": 0.9, "adam_beta2": 0.999, "adam_epsilon": 1e-8}
"""Field -> its default in transformers."""
_OPTIM_ARGS: Mapping[str, frozenset[str]] = {
    "sgd": frozenset(("momentum", "dampening", "nesterov")),
    "adagrad": frozenset(("lr_decay", "eps")),
    "rmsprop": frozenset(("momentum", "alpha", "eps", "centered")),
    **dict.fromkeys(
        ("ademamix", "ademamix_8bit", "paged_ademamix_32bit", "paged_ademamix_8bit"),
        frozenset(("beta1", "beta2", "beta3", "alpha", "eps", "t_alpha", "t_beta3")),
    ),
    **dict.fromkeys(
        (
            "adamw_torch", "adamw_torch_fused", "adafactor", "adamw_bnb_8bit", "adamw_8bit",
            "paged_adamw_32bit", "paged_adamw_8bit", "lion_8bit", "lion_32bit", "paged_lion_8bit",
            "paged_lion_32bit", "rmsprop_bnb", "rmsprop_bnb_8bit", "rmsprop_bnb_32bit",
        ),
        frozenset[str](),
    ),
}  # fmt: skip
"""Optimizer -> the names of --optim_args that reach it (transformers/trainer_optimizer.py).

weight_decay never does: each group of weights gets that of --weight_decay. Optimizers that need
another package are not listed.
"""
_SWITCHES_OF_OPTIMIZERS = ("nesterov", "centered")
_OF_THE_TRAINER = ("optimizer", "num_warmup_steps", "num_training_steps", "last_epoch")
"""Parameters of a schedule that the Trainer gives itself."""
_NO_PROJECT = "huggingface"
"""The default of --project in transformers; only trackio reads it."""
_TRACKERS = {"trackio": "trackio==0.43.0", "tensorboard": "tensorboard==2.21.0"}
"""Tracker -> the version of its package that was tested; W&B is always installed."""


def check_values(values: Mapping[str, Any], precision: Precision) -> None:
    """Check numbers, and fields that only make sense together.

    `values` are all fields as recipe and flags give them. Raises ValueError naming flag, value,
    what was expected and the remedy.
    """
    check_numbers(values)
    _check_attention(values, precision)
    _check_quantization(values)
    _check_schedule(values)
    _check_schedule_kwargs(values)
    _check_optimizer(values)
    _check_without_effect(values)
    _check_one_process(values, precision)
    _check_reports(values)
    check_launcher(values, precision)


def check_numbers(values: Mapping[str, Any]) -> None:
    """Check each number alone. Raises ValueError naming flag, value and what was expected."""
    counted = _ONE.holds(_number(values.get("max_steps")))  # epochs decide nothing then
    epochs = Range(0 if counted else None, _EPOCHS, above=None if counted else 0)
    ranges = {**RANGES, "num_train_epochs": epochs}
    for name, expected in ranges.items():
        value = values.get(name)
        if value not in (None, "auto") and not expected.holds(_number(value)):
            finite = "" if math.isfinite(_number(value)) else " and finite"
            raise ValueError(f"--{name} is {_shown(value)}; expected {expected}{finite}")
    steps = values.get("max_steps")
    if steps is not None and _number(steps) != -1 and not _ONE.holds(_number(steps)):
        raise ValueError(
            f"--max_steps is {_shown(steps)}; expected at least 1, or -1 for as many as "
            "--num_train_epochs asks for"
        )


def _shown(value: object) -> str:
    return shortened(value).strip("'")


def _number(value: object) -> float:
    """`value` as a number; NaN, which is in no range, if it is none."""
    try:
        return float(str(value))
    except ValueError:
        return float("nan")


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
    if attention == "eager" and precision.mode == "fp16":
        raise ValueError(
            "--attn_implementation eager keeps scores in fp16, where those of some models "
            "(Qwen2.5) overflow; leave it out: sdpa keeps them in fp32"
        )
    for name in ("packing", "eval_packing", "padding_free"):
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
    if quant_type != _QUANT_TYPES[0] and values.get("load_in_4bit") is False:
        raise ValueError(
            f"--bnb_4bit_quant_type {quant_type} has no effect without --load_in_4bit true; give "
            "it, or leave it out"
        )


def _check_schedule(values: Mapping[str, Any]) -> None:
    schedule, warmup = str(values.get("lr_scheduler_type")), values.get("warmup_steps")
    if schedule in _NO_WARMUP and warmup:
        raise ValueError(
            f"--lr_scheduler_type {schedule} ignores --warmup_steps {warmup}; give "
            f"--lr_scheduler_type {schedule}_with_warmup, or --warmup_steps 0"
        )


def _check_schedule_kwargs(values: Mapping[str, Any]) -> None:
    """The names in --lr_scheduler_kwargs against what the schedule's own function takes."""
    from torch.optim.lr_scheduler import ReduceLROnPlateau
    from transformers.optimization import TYPE_TO_SCHEDULER_FUNCTION, GreedyLR

    schedule, given = str(values.get("lr_scheduler_type")), values.get("lr_scheduler_kwargs") or {}
    given = _mapping("lr_scheduler_kwargs", given)
    function: Any = {name.value: make for name, make in TYPE_TO_SCHEDULER_FUNCTION.items()}.get(
        schedule
    )
    if function is None:
        return  # the parser refuses it
    behind = {"reduce_lr_on_plateau": ReduceLROnPlateau, "greedy": GreedyLR}
    parameters = inspect.signature(behind.get(schedule, function)).parameters.values()
    own = [parameter for parameter in parameters if parameter.name not in _OF_THE_TRAINER]
    names = [parameter.name for parameter in own]
    missing = [p.name for p in own if p.default is p.empty and p.name not in given]
    if unknown := [name for name in given if name not in names]:
        raise ValueError(
            f"--lr_scheduler_kwargs has {unknown[0]!r}, which --lr_scheduler_type {schedule} does "
            f"not take; expected {', '.join(names) or 'no kwargs'}"
        )
    for parameter in own:
        value = given.get(parameter.name)
        if isinstance(value, str) and not isinstance(parameter.default, str):
            raise ValueError(
                f"--lr_scheduler_kwargs has {parameter.name} {value!r}; expected a number"
            )
    if missing:
        raise ValueError(
            f"--lr_scheduler_type {schedule} needs {missing[0]}; give "
            f"--lr_scheduler_kwargs '{{\"{missing[0]}\": 10}}'"
        )


def _mapping(name: str, value: object) -> dict[str, object]:
    """A value of JSON that has to be an object."""
    try:
        read: object = json.loads(value) if isinstance(value, str) else value
    except ValueError:
        read = None
    if not isinstance(read, dict):
        raise ValueError(f"--{name} is {value!r}; expected JSON such as '{{\"name\": 0.1}}'")
    return cast("dict[str, object]", read)


def _check_optimizer(values: Mapping[str, Any]) -> None:
    optimizer, stated = str(values.get("optim")), str(values.get("optim_args") or "")
    for part in stated.replace(" ", "").split(",") if stated else []:
        name, equals, value = part.partition("=")
        known = _OPTIM_ARGS.get(optimizer)
        if not (name and equals and value) or "=" in value:
            raise ValueError(f"--optim_args is {stated!r}; expected name=value,name=value")
        if known is not None and name not in known:
            raise ValueError(
                f"--optim_args has {name!r}, which has no effect on --optim {optimizer}; expected "
                f"{', '.join(sorted(known)) or 'none: the fields of the recipe set everything'}"
            )
        if known and name not in _SWITCHES_OF_OPTIMIZERS and math.isnan(_number(value)):
            raise ValueError(f"--optim_args has {name} {value!r}; expected a number")
    if "lion" in optimizer:
        _refuse_adam_fields(values, optimizer, ["adam_epsilon"])
        return
    if any(name in optimizer for name in _ADAM_LIKE):
        return
    _refuse_adam_fields(values, optimizer, _ADAM_FIELDS)


def _refuse_adam_fields(values: Mapping[str, Any], optimizer: str, names: Iterable[str]) -> None:
    for name in names:
        default = _ADAM_FIELDS[name]
        if values.get(name, default) != default:
            raise ValueError(
                f"--{name} {values[name]} has no effect on --optim {optimizer}; leave it out, or "
                "take an Adam"
            )


def _check_without_effect(values: Mapping[str, Any]) -> None:
    """Fields that nothing reads without another field."""
    for name, needed in (
        ("activation_checkpointing_kwargs", "activation_checkpointing"),
        ("liger_kernel_config", "use_liger_kernel"),
        ("hub_model_id", "push_to_hub"),
        ("hub_private_repo", "push_to_hub"),
    ):
        if values.get(name) and not values.get(needed):
            raise ValueError(
                f"--{name} has no effect without --{needed} true; give it, or leave it out"
            )
    smoothing, loss = values.get("label_smoothing_factor"), values.get("loss_type")
    if smoothing and loss not in (None, "nll"):
        raise ValueError(
            f"--label_smoothing_factor {smoothing} has no effect on --loss_type {loss}; leave one "
            "of the two out"
        )
    chooses = (
        values.get("load_best_model_at_end")
        or str(values.get("save_strategy")) == "best"
        or str(values.get("lr_scheduler_type")) == "reduce_lr_on_plateau"
    )
    for name in ("metric_for_best_model", "greater_is_better"):
        if values.get(name) is not None and not chooses:
            raise ValueError(
                f"--{name} has no effect without --load_best_model_at_end true; give it, or leave "
                "it out"
            )


def _check_one_process(values: Mapping[str, Any], precision: Precision) -> None:
    if values.get("activation_offloading") and precision.device == "cpu":
        raise ValueError(
            "--activation_offloading true moves activations from a GPU, and there is none; leave "
            "it out"
        )
    if values.get("ddp_backend") and os.environ.get("WORLD_SIZE", "1") == "1":
        raise ValueError(
            f"--ddp_backend {values['ddp_backend']} is for several processes, and this is one; "
            "leave it out, or take accelerate_configs/ddp.yaml"
        )


def _check_reports(values: Mapping[str, Any]) -> None:
    targets = values.get("report_to", [])
    targets = [targets] if isinstance(targets, str) else targets
    _check_reporters(targets)
    given = [name for name in sorted(values) if name.startswith("trackio_") and values[name]]
    if values.get("project") not in (None, _NO_PROJECT):
        given.append("project")
    if given and not {"trackio", "all"} & set(targets):
        raise ValueError(
            f"--{given[0]} has no effect without --report_to trackio; give it, or leave it out"
            + (" (W&B's project is WANDB_PROJECT)" if given[0] == "project" else "")
        )
    if values.get("do_eval") and values.get("eval_strategy") == "no":
        raise ValueError(
            "--do_eval true without evaluations: --eval_strategy is no; set it to steps or epoch"
        )


def _check_reporters(targets: Iterable[str]) -> None:
    from transformers.integrations import get_available_reporting_integrations

    usable = get_available_reporting_integrations()
    for target in targets:
        if target in _TRACKERS and target not in usable:
            raise ValueError(
                f"--report_to {target} needs a package that is not installed; install it: "
                f".venv/bin/python -m pip install {_TRACKERS[target]}, or leave {target} out"
            )
        if target not in ("none", "all", *usable):
            raise ValueError(
                f"--report_to is {target!r}, which is unknown or not installed; expected none, all "
                f"or one of: {', '.join(sorted(usable))}"
            )
