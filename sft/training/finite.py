"""Whether what a training changes is finite: weights and gradients."""

from collections.abc import Iterable
from typing import Any

import torch

from sft.training.sharded import own_part


def total_norm(tensors: Iterable[torch.Tensor | None]) -> torch.Tensor:
    """The 2-norm over what this process holds of `tensors`, in fp32; 0 without any.

    Not finite if one number is not.
    """
    parts = [own_part(tensor) for tensor in tensors if tensor is not None]
    norms = [torch.linalg.vector_norm(part.float()) for part in parts]
    if not norms:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """What this process holds of the weights of `model` that a training changes, by name."""
    named = model.named_parameters()
    return {name: own_part(p.detach()) for name, p in named if p.requires_grad}
