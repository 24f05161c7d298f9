"""Whether what a training changes is finite: weights and gradients."""

from collections.abc import Iterable
from typing import Any

import torch


def total_norm(tensors: Iterable[torch.Tensor | None]) -> torch.Tensor:
    """The 2-norm over all of `tensors`, in fp32; 0 without any. Not finite if one number is not."""
    norms = [torch.linalg.vector_norm(tensor.float()) for tensor in tensors if tensor is not None]
    if not norms:
        return torch.zeros(())
    return torch.linalg.vector_norm(torch.stack([norm.to(norms[0].device) for norm in norms]))


def trained_weights(model: Any) -> dict[str, torch.Tensor]:
    """The weights of `model` that a training changes, by name."""
    return {name: p.detach() for name, p in model.named_parameters() if p.requires_grad}
