"""Training with DeepSpeed's ZeRO: it divides the optimizer's state, and in stage 3 the weights too.

Whatever is written is whole, in the same files as without DeepSpeed. So a run can go on with
another number of GPUs, or without it; DeepSpeed's own checkpoints need what wrote them.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch.nn.functional import pad


def keep_adapter_in_fp32(plugin: Any, dtype: str) -> None:
    """Make DeepSpeed compute in `dtype` as DDP does: by autocast, with an adapter in fp32.

    Its own bf16 mode casts the adapter to bf16, and a checkpoint would hold rounded weights.
    `plugin` is accelerate's DeepSpeedPlugin.
    """
    plugin.deepspeed_config["bf16"] = {"enabled": False}
    plugin.deepspeed_config["torch_autocast"] = {
        "enabled": True,
        "dtype": dtype,
        "lower_precision_safe_modules": [],  # gradients are added up in the adapter's format
    }


def is_divided(weight: torch.Tensor) -> bool:
    """Whether stage 3 has divided `weight` among the processes."""
    return hasattr(weight, "ds_tensor")


def own_part_of_zero(weight: torch.Tensor) -> torch.Tensor:
    """The part of a divided weight that this process holds, flat; without what fills it up.

    All parts have one size; what the last one has beyond the weight's end is no number of it.
    """
    divided: Any = weight
    part: torch.Tensor = divided.ds_tensor
    before = part.numel() * torch.distributed.get_rank()
    return part.flatten()[: max(0, min(part.numel(), divided.ds_numel - before))]


def count(weight: torch.Tensor) -> int:
    """How many numbers a weight has, divided or not."""
    divided: Any = weight
    return divided.ds_numel if is_divided(weight) else weight.numel()


def whole_weights(weights: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Copies of `weights` on the CPU; each process has to call this, since all hold a part."""
    import deepspeed  # pyright: ignore[reportMissingImports]

    gathered: Any = deepspeed.zero.GatheredParameters(list(weights.values()))
    with gathered:
        return {name: weight.detach().cpu().clone() for name, weight in weights.items()}


def load_weights(weights: Sequence[tuple[torch.Tensor, torch.Tensor]]) -> None:
    """Put the second of each pair, which every process has, into the first, a trained weight.

    The optimizer's own copy of the weight, from which the next step starts, gets it as well.
    """
    import deepspeed  # pyright: ignore[reportMissingImports]

    gathered: Any = deepspeed.zero.GatheredParameters(
        [weight for weight, _ in weights], modifier_rank=0
    )
    with torch.no_grad(), gathered:
        for weight, stored in weights:
            weight.copy_(stored)
    for weight, stored in weights:
        _set_own_part(weight, stored, None)


def _set_own_part(weight: torch.Tensor, whole: torch.Tensor, name: str | None) -> None:
    """Set this process's part of a state of the optimizer, or of its copy of the weight (None)."""
    from deepspeed import utils  # pyright: ignore[reportMissingImports]

    library: Any = utils
    value = whole.to(device=weight.device, dtype=torch.float32)
    if is_divided(weight):
        divided: Any = weight
        size = divided.ds_tensor.numel()
        rank = torch.distributed.get_rank()
        flat = pad(value.flatten(), (0, size * torch.distributed.get_world_size() - value.numel()))
        part = flat[size * rank : size * (rank + 1)]
        if name is None:
            library.safe_set_local_fp32_param(weight, part)
        else:
            library.safe_set_local_optimizer_state(weight, part, name)
    elif name is None:
        library.safe_set_full_fp32_param(weight, value)
    else:
        library.safe_set_full_optimizer_state(weight, value, name)


class WholeOptimizer:
    """The state of an optimizer that DeepSpeed has taken over, as the optimizer itself states it.

    Made before DeepSpeed replaces the weights by flat parts, and leaves out groups without weights.
    Every process has to call each method. For AdamW: each state has the shape of its weight, or is
    the number of steps.
    """

    def __init__(self, optimizer: Any) -> None:
        self._groups: list[dict[str, Any]] = optimizer.state_dict()["param_groups"]
        """With the numbers of their weights."""
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        self._weights: dict[int, torch.Tensor] = dict(enumerate(weights))

    def state(self, zero: Any) -> dict[str, Any]:
        """What `optimizer.pt` holds; `zero` is DeepSpeed's optimizer."""
        from deepspeed import utils  # pyright: ignore[reportMissingImports]

        library: Any = utils
        kept = _states_of_parts(zero)
        shared = {name: value for name, value in kept.items() if value.ndim == 0}
        divided = [name for name in kept if name not in shared]
        state = {
            index: {name: value.cpu().clone() for name, value in shared.items()}
            | {name: library.safe_get_full_optimizer_state(weight, name).cpu() for name in divided}
            for index, weight in self._weights.items()
        }
        return {"state": state, "param_groups": self._groups_now(zero)}

    def load(self, zero: Any, stored: Mapping[str, Any]) -> None:
        """Divide a stored state among the processes."""
        states: Mapping[int, Mapping[str, torch.Tensor]] = stored["state"]
        some = next(iter(states.values()))
        for part in _parts_of(zero):
            place = _place_of_steps(zero, part)
            zero.optimizer.state[part] = {
                name: torch.zeros_like(part) if value.ndim else value.to(place, copy=True)
                for name, value in some.items()
            }
        if hasattr(zero, "single_partition_of_fp32_groups"):  # else stage 3 finds them by the part
            zero._lazy_init_hp_params_optimizer_state()
        for index, weight in self._weights.items():
            for name, value in states[index].items():
                if value.ndim:
                    _set_own_part(weight, value, name)
        with_weights = [group for group in stored["param_groups"] if group["params"]]
        for group, before in zip(zero.optimizer.param_groups, with_weights, strict=True):
            group.update({name: value for name, value in before.items() if name != "params"})

    def _groups_now(self, zero: Any) -> list[dict[str, Any]]:
        """The groups with their settings of now, such as the learning rate."""
        settings = zero.optimizer.param_groups[0]  # all groups have one learning rate
        return [
            {**group, **{name: settings[name] for name in ("lr", "initial_lr") if name in settings}}
            for group in self._groups
        ]


def _parts_of(zero: Any) -> list[torch.Tensor]:
    """The flat tensors of this process that DeepSpeed's optimizer changes."""
    if hasattr(zero, "single_partition_of_fp32_groups"):  # stage 2
        return list(zero.single_partition_of_fp32_groups)
    return list(zero.fp32_partitioned_groups_flat)


def _place_of_steps(zero: Any, part: torch.Tensor) -> torch.device:
    """Where the optimizer counts its steps: a fused one beside the weights."""
    is_fused = bool(zero.optimizer.param_groups[0].get("fused"))
    return part.device if is_fused else torch.device("cpu")


def _states_of_parts(zero: Any) -> dict[str, torch.Tensor]:
    """The names of the states with the value of one part; empty before the first step."""
    return dict(zero.optimizer.state[_parts_of(zero)[0]])


def for_groups(schedule: Mapping[str, Any], count: int) -> dict[str, Any]:
    """The state of a scheduler for `count` groups of weights, all with one learning rate.

    DeepSpeed leaves out a group without weights, so a run that goes on without it has one more.
    """
    return {
        name: (value * count)[:count] if isinstance(value, list) and value else value
        for name, value in schedule.items()
    }
