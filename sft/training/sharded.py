"""Training that is divided among processes: by FSDP 2 (weights are DTensors) or by DeepSpeed.

Whatever is written is whole, in the same files as without it. So a checkpoint can be gone on from
with another number of GPUs, or with one. The Trainer's own way fails for a 4-bit base with FSDP:
torch does not find the quantization's entries of its state dict when it loads.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from peft import get_peft_model_state_dict
from safetensors.torch import load_file
from torch.distributed.fsdp import MixedPrecisionPolicy
from torch.distributed.tensor import DTensor, distribute_tensor
from transformers.trainer import OPTIMIZER_NAME, SCHEDULER_NAME
from trl import SFTTrainer

from sft.training.zero import (
    WholeOptimizer,
    for_groups,
    is_divided,
    keep_adapter_in_fp32,
    load_weights,
    own_part_of_zero,
    whole_weights,
)

_WEIGHTS = "adapter_model.safetensors"


def own_part(tensor: torch.Tensor) -> torch.Tensor:
    """The part of `tensor` that this process holds: all of it, if it is not shared out."""
    if is_divided(tensor):
        return own_part_of_zero(tensor)
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """`tensor` gathered from all processes, each of which has to call this, on the CPU."""
    gathered = tensor.full_tensor() if isinstance(tensor, DTensor) else tensor
    return gathered.detach().cpu()


def part_like(tensor: torch.Tensor, parameter: DTensor) -> DTensor:
    """The whole `tensor`, which every process has, shared out as `parameter` is."""
    mesh = parameter.device_mesh
    moved = tensor.to(device=mesh.device_type, dtype=parameter.dtype)
    return distribute_tensor(moved, mesh, parameter.placements, src_data_rank=None)


def load_adapter(model: Any, file: Path) -> None:
    """Put the weights of an `adapter_model.safetensors` into the trained weights of `model`.

    Raises KeyError if the file lacks one.
    """
    stored = load_file(file)
    # PEFT alone knows which entry of the file each weight is.
    by_entry: Any = get_peft_model_state_dict(model, _trained(model), save_embedding_layers=False)
    pairs = [(weight, stored[entry]) for entry, weight in by_entry.items()]
    if not any(isinstance(weight, DTensor) for weight, _ in pairs):
        load_weights(pairs)
        return
    with torch.no_grad():
        for weight, value in pairs:
            weight.copy_(part_like(value, weight))


def _trained(model: Any) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in model.named_parameters() if weight.requires_grad}


def whole_optimizer_state(optimizer: Any) -> dict[str, Any]:
    """The state of `optimizer` as it is without FSDP; each process has to call this."""
    state = optimizer.state_dict()
    return {**state, "state": {index: _whole_values(v) for index, v in state["state"].items()}}


def _whole_values(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: whole(value) if isinstance(value, torch.Tensor) else value
        for name, value in values.items()
    }


def load_optimizer_state(optimizer: Any, state: dict[str, Any]) -> None:
    """Share a whole state out among the processes, as the weights of `optimizer` are."""
    weights: list[DTensor] = [w for group in optimizer.param_groups for w in group["params"]]
    shared = {
        index: {
            name: part_like(value, weights[index]) if _is_of(value, weights[index]) else value
            for name, value in values.items()
        }
        for index, values in state["state"].items()
    }
    optimizer.load_state_dict({**state, "state": shared})


def _is_of(value: Any, weight: DTensor) -> bool:
    """Whether a value of an optimizer's state has one number per number of the weight."""
    return isinstance(value, torch.Tensor) and value.shape == weight.shape and value.ndim > 0


class ShardableTrainer(SFTTrainer):
    """SFTTrainer, except that a divided training reads and writes the files of any other."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._whole_optimizer: WholeOptimizer | None = None
        """With DeepSpeed, once there is an optimizer."""
        state: Any = self.accelerator.state
        if self.is_fsdp_enabled and self.args.bf16:
            # As in DDP, gradients are added up in fp32. FSDP's own policy would add up in bf16,
            # over the micro-batches of a step too.
            state.fsdp_plugin.mixed_precision_policy = MixedPrecisionPolicy(
                param_dtype=torch.bfloat16,
                reduce_dtype=torch.float32,
                output_dtype=torch.bfloat16,
            )
        if self.is_deepspeed_enabled:
            # DeepSpeed is told so too; accelerate warns if the two differ, and takes DeepSpeed's.
            self.accelerator.gradient_accumulation_steps = self.args.gradient_accumulation_steps
            if self.args.bf16:
                keep_adapter_in_fp32(state.deepspeed_plugin, "bfloat16")

    @property
    def is_divided(self) -> bool:
        """Whether the processes hold parts of weights or of the optimizer's state."""
        return self.is_fsdp_enabled or self.is_deepspeed_enabled

    def create_optimizer(self, model: Any = None) -> Any:
        optimizer = super().create_optimizer(model)
        if self.is_deepspeed_enabled:
            self._whole_optimizer = WholeOptimizer(optimizer)
        return optimizer

    def _prepare_for_training(
        self, max_steps: int, train_dataloader: Any, resume_from_checkpoint: str | None
    ) -> Any:
        if not self.is_deepspeed_enabled:
            return super()._prepare_for_training(
                max_steps, train_dataloader, resume_from_checkpoint
            )
        prepared = super()._prepare_for_training(max_steps, train_dataloader, None)
        if resume_from_checkpoint:  # the Trainer would look for a checkpoint of DeepSpeed's own
            self._load_from_checkpoint(resume_from_checkpoint)
            self._load_optimizer_and_scheduler(resume_from_checkpoint)
        return prepared

    def save_model(
        self,
        output_dir: str | None = None,
        _internal_call: bool = False,  # noqa: FBT001, FBT002 - as in the Trainer
    ) -> None:
        if not self.is_divided:
            super().save_model(output_dir, _internal_call)
            return
        trained = _trained(self.model)
        if self.is_deepspeed_enabled:
            weights = whole_weights(trained)
        else:
            weights = {name: whole(weight) for name, weight in trained.items()}
        if self.args.should_save:
            self._save(output_dir, state_dict=weights)

    def _save_optimizer_and_scheduler(self, output_dir: str) -> None:
        if not self.is_divided:
            super()._save_optimizer_and_scheduler(output_dir)
            return
        if self._whole_optimizer:
            state = self._whole_optimizer.state(self._of_deepspeed)
        else:
            state = whole_optimizer_state(self.optimizer)
        if self.args.should_save:
            torch.save(state, Path(output_dir) / OPTIMIZER_NAME)
            scheduler = cast("Any", self.lr_scheduler)
            schedule = for_groups(scheduler.state_dict(), len(state["param_groups"]))
            torch.save(schedule, Path(output_dir) / SCHEDULER_NAME)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        if not self.is_divided:
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        load_adapter(
            self.model if model is None else model, Path(resume_from_checkpoint) / _WEIGHTS
        )

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is None or not self.is_divided:
            super()._load_optimizer_and_scheduler(checkpoint)
            return
        folder = Path(checkpoint)
        state = _stored(folder / OPTIMIZER_NAME)
        if self._whole_optimizer:
            self._whole_optimizer.load(self._of_deepspeed, state)
        else:
            load_optimizer_state(self.optimizer, state)
        optimizer, scheduler = cast("Any", self.optimizer), cast("Any", self.lr_scheduler)
        schedule = _stored(folder / SCHEDULER_NAME)
        scheduler.load_state_dict(for_groups(schedule, len(optimizer.param_groups)))

    @property
    def _of_deepspeed(self) -> Any:
        """DeepSpeed's own optimizer, behind accelerate's."""
        return cast("Any", self.optimizer).optimizer

    def _load_best_model(self) -> None:
        if not self.is_divided:
            super()._load_best_model()
            return
        load_adapter(self.model, Path(str(self.state.best_model_checkpoint)) / _WEIGHTS)


def _stored(file: Path) -> dict[str, Any]:
    return torch.load(file, map_location="cpu", weights_only=True)
