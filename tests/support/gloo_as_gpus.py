"""`sft.train` where accelerate takes processes over gloo, on the CPU, for GPUs over NCCL.

    MODE=fp32 python -m weekahead.launch --config_file accelerate_configs/fsdp_qlora.yaml \\
        -m tests.support.gloo_as_gpus --config ...

accelerate considers FSDP and DeepSpeed for GPUs alone. What it, transformers, TRL and PEFT do from
there on is the real thing; NCCL, streams and the memory of a GPU are not there. The variable MODE
names the precision, fp32 or bf16, whatever the CPU can do. `shares-<rank>.json` beside the
checkpoints says how many elements the weights of the base and of the adapter have, and how many a
process holds.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import torch
from accelerate import DistributedType, PartialState

import weekahead.models.precision as precision
from sft.train import main
from sft.training.sharded import ShardableTrainer, own_part
from sft.training.zero import count


def prepare_backend(*_: Any, **__: Any) -> tuple[str, DistributedType]:
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group("gloo")
    return "gloo", DistributedType.MULTI_GPU


def set_device(state: PartialState) -> None:
    state.device = torch.device("cpu")


def started(state: PartialState, *arguments: Any, **more: Any) -> None:
    """As on GPUs: told that it is on a CPU, accelerate would not start DeepSpeed."""
    start_state(state, *arguments, **{**more, "cpu": False})


def state_shares(trainer: Any) -> None:
    """Write down what this process holds of the weights, once they are shared out."""
    shares = {kind: [0, 0] for kind in ("base", "adapter")}
    for weight in trainer.model.parameters():
        counts = shares["adapter" if weight.requires_grad else "base"]
        counts[0] += count(weight)
        counts[1] += own_part(weight).numel()
    path = Path(trainer.args.output_dir) / f"shares-{trainer.args.process_index}.json"
    path.write_text(json.dumps(shares))


def watched(trainer: Any, *arguments: Any) -> Any:
    if trainer.is_deepspeed_enabled:  # stage 3 keeps small weights whole, and here all are small
        zero = trainer.accelerator.state.deepspeed_plugin.deepspeed_config["zero_optimization"]
        zero["stage3_param_persistence_threshold"] = 0
    prepared = prepare_for_training(trainer, *arguments)
    state_shares(trainer)
    return prepared


if __name__ == "__main__":
    if "RANK" in os.environ:  # else it is one process, without any of this
        PartialState._prepare_backend = prepare_backend
        PartialState.set_device = set_device
        if os.environ.get("ACCELERATE_USE_DEEPSPEED"):
            os.environ["DS_ACCELERATOR"] = "cpu"
            start_state, PartialState.__init__ = PartialState.__init__, started
    precision._native_bf16 = lambda flags: os.environ["MODE"] == "bf16"
    prepare_for_training = ShardableTrainer._prepare_for_training
    ShardableTrainer._prepare_for_training = watched
    sys.exit(main())
