"""Whether tensors are finite: weights, gradients, and the base that a training starts from."""

from collections.abc import Iterable, Mapping
from typing import Any

import torch


def total_norm(tensors: Iterable[torch.Tensor | None]) -> torch.Tensor:
    """The 2-norm over all of `tensors`, in fp32; 0 without any. Not finite if one number is not."""
    norms = [torch.linalg.vector_norm(tensor.float()) for tensor in tensors if tensor is not None]
    if not norms:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))


def not_finite(tensors: Mapping[str, torch.Tensor]) -> list[str]:
    """The names of those `tensors` that hold NaN or an infinity, in their order."""
    return [
        name
        for name, tensor in tensors.items()
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all())
    ]


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """The weights of `model` that a training changes, by name."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}


def check_base(model: Any, name: str) -> None:
    """Check that the weights of a base and the scales of its quantized ones are finite.

    Raises ValueError naming the first that is not.
    """
    tensors: dict[str, torch.Tensor] = {}
    for weight_name, weight in model.named_parameters():
        tensors[weight_name] = weight.detach()
        tensors |= _scales(weight_name, getattr(weight, "quant_state", None))
    bad = not_finite(tensors)
    if bad:
        raise ValueError(
            f"{len(bad)} weights of the base {name} are not finite, the first is {bad[0]}; "
            "download the model again, or choose another revision"
        )


def _scales(name: str, quant_state: Any) -> dict[str, torch.Tensor]:
    """The floating-point tensors of a bitsandbytes QuantState, with those that are nested in it."""
    scales: dict[str, torch.Tensor] = {}
    while quant_state is not None:
        for part in ("absmax", "offset"):
            value = getattr(quant_state, part, None)
            if isinstance(value, torch.Tensor):
                scales[f"{name}.{part}"] = value
        name, quant_state = f"{name}.nested", getattr(quant_state, "state2", None)
    return scales
