"""A loaded base is whole: every weight comes from its files, none is left over, all are finite.

transformers gives weights that a file lacks random values, and leaves out what a model does not
know, both with no more than a report.
"""

import logging
from collections.abc import Iterable, Mapping
from typing import Any, cast

from weekahead.schema.manifests import JsonObject

log = logging.getLogger(__name__)

_SHOWN = 2
"""Names of tensors in a message."""
_OTHER_PARTS = (
    "mtp",
    "visual",
    "vision_tower",
    "vision_model",
    "audio_tower",
    "multi_modal_projector",
)
"""First names of tensors that are no part of the language model: heads that predict further tokens
at once, and the eyes and ears of a model of several media. They cannot change an answer to text."""
_KERNEL_FIELDS = (
    "attn_implementation",
    "_attn_implementation",
    "_attn_implementation_internal",
    "experts_implementation",
    "_experts_implementation",
    "_experts_implementation_internal",
)
"""Keys of a config.json by which transformers may load compiled code from the Hub."""


def check_config(config: JsonObject, origin: object) -> None:
    """Raise ValueError for a config.json that names code of the Hub to compute with."""
    for name, value in _nested_fields(config):
        if name in _KERNEL_FIELDS and "/" in str(value):
            raise ValueError(
                f"{origin}: {name} is {value!r}, code of the Hub that would be run; take the key "
                "out of a local copy, or take another base"
            )


def _nested_fields(config: JsonObject) -> Iterable[tuple[str, object]]:
    for name, value in config.items():
        yield name, value
        if isinstance(value, dict):
            yield from _nested_fields(cast("JsonObject", value))


def check_no_adapter_inside(path: str | None, name: str) -> None:
    """Raise ValueError if a base's repository holds the adapter config `path`.

    transformers would load the model that this file names, and apply the adapter to it.
    """
    if path:
        raise ValueError(
            f"{name} is no base: it holds an adapter_config.json, so an adapter would be applied "
            "to every answer. Name its base in the recipe and the adapter with --adapter, or take "
            "the file out of a local copy"
        )


def other_parts(keys: Iterable[str]) -> set[str]:
    """Those tensors of a file that belong to no part of the language model."""
    return {key for key in keys if key.removeprefix("model.").partition(".")[0] in _OTHER_PARTS}


def check_all_loaded(report: Mapping[str, Any], name: str) -> None:
    """Check what transformers reports of loading the base `name` (its `output_loading_info`).

    Tensors of other parts than the language model are left out with a line.
    Raises ValueError with counts and two names if weights are missing, left over or misshapen.
    """
    unknown = set(report["unexpected_keys"])
    left_out = other_parts(unknown)
    if left_out:
        log.info("%s: %d tensors are no part of the language model", name, len(left_out))
    kinds = {
        "missing": report["missing_keys"],
        "not known to the model": unknown - left_out,
        "of another shape": {key for key, *_ in report["mismatched_keys"]},
    }
    problems = [
        f"{len(keys)} {kind} ({', '.join(sorted(keys)[:_SHOWN])})"
        for kind, keys in kinds.items()
        if keys
    ]
    problems += [" ".join(str(message).split()) for message in report["error_msgs"]]
    if problems:
        raise ValueError(
            f"the weights of {name} are not those that its config.json describes: tensors "
            f"{', '.join(problems)}; download the model again, or choose another base"
        )


def check_all_finite(model: Any, name: str) -> None:
    """Check that the weights of a base and the scales of its quantized ones are finite.

    Raises ValueError naming the first that is not.
    """
    tensors: dict[str, Any] = {}
    for weight_name, weight in model.named_parameters():
        quant_state = getattr(weight, "quant_state", None)
        if quant_state is None:  # 4-bit weights are no numbers, whatever they are packed into
            tensors[weight_name] = weight.detach()
        tensors |= _scales(weight_name, quant_state)
    bad = not_finite(tensors)
    if bad:
        raise ValueError(
            f"{len(bad)} weights of the base {name} are not finite, the first is {bad[0]}; "
            "download the model again, or choose another revision"
        )


def not_finite(tensors: Mapping[str, Any]) -> list[str]:
    """The names of those `tensors` that hold NaN or an infinity, in their order."""
    import torch

    return [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]


def _scales(name: str, quant_state: Any) -> dict[str, Any]:
    """The floating-point tensors of a bitsandbytes QuantState, with those that are nested in it."""
    import torch

    scales: dict[str, Any] = {}
    while quant_state is not None:
        for part in ("absmax", "offset"):
            value = getattr(quant_state, part, None)
            if isinstance(value, torch.Tensor):
                scales[f"{name}.{part}"] = value
        name, quant_state = f"{name}.nested", getattr(quant_state, "state2", None)
    return scales
