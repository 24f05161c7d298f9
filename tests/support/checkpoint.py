"""A checkpoint as the Trainer writes it, of an adapter of one weight."""

import json
import random
from pathlib import Path

STEPS = 9
"""How many steps its training has."""


def write_checkpoint(folder, step, *, world_size=1, fp16=False, run=None, best=None):
    """Write `checkpoint-<step>` into `folder` and return its path; without a run an older one."""
    import numpy as np
    import torch
    from safetensors.torch import save_file
    from transformers import TrainerState

    path = Path(folder) / f"checkpoint-{step}"
    path.mkdir(parents=True, exist_ok=True)
    weight = torch.nn.Parameter(torch.ones(4, 4))
    optimizer = torch.optim.AdamW([weight])
    weight.grad = torch.ones(4, 4)
    optimizer.step()
    scheduler = torch.optim.lr_scheduler.LinearLR(optimizer)
    save_file({"lora_A.weight": weight.detach()}, path / "adapter_model.safetensors")
    (path / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
    torch.save(optimizer.state_dict(), path / "optimizer.pt")
    torch.save(scheduler.state_dict(), path / "scheduler.pt")
    states = {
        "python": random.getstate(),
        "numpy": np.random.get_state(),
        "cpu": torch.random.get_rng_state(),
    }
    ranks = [""] if world_size == 1 else [f"_{rank}" for rank in range(world_size)]
    for rank in ranks:
        torch.save(states, path / f"rng_state{rank}.pth")
    if fp16:
        torch.save({"scale": 65536.0, "growth_factor": 2.0}, path / "scaler.pt")
    state = TrainerState(global_step=step, max_steps=STEPS)
    if run:
        attributes = {"run": run, "losses": [1.0] * step}
        state.stateful_callbacks = {"RunRecord": {"args": {}, "attributes": attributes}}
    if best is not None:
        state.best_global_step = best
        state.best_model_checkpoint = str(Path("elsewhere") / f"checkpoint-{best}")
    state.save_to_json(str(path / "trainer_state.json"))
    return path
