"""Speed, use of the card and peak memory of one recipe's training, on made-up rows of one length.

    python -m benchmarks.train --config recipes/smollm2.yaml --length 400 --steps 2
    python -m benchmarks.train --config recipes/llama.yaml --shapes llama8b

The recipe's own batch, accumulation, LoRA, quantization, checkpointing and optimizer run through the trainer
that `make train` uses. `--shapes` takes random weights of a known shape instead of the recipe's model, with
the embedded tokenizer, so that no gated model is needed; `llama8b` writes 16 GB to a temporary folder first.
`--shapes llama8b`, `--memory_gib` and every number for a card: written for a GPU, never run on one yet.
"""

import argparse
import json
import logging
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from transformers import AutoConfig, TrainerCallback

from benchmarks.flops import COMPLETION_SHARE, flops_per_row, machine, peak_of
from benchmarks.shapes import SHAPES, write_checkpoint
from data_pipeline.dataset.load import TrainData
from sft.training.arguments import parse
from sft.training.callbacks import peak_gpu_memory, peak_rss_bytes
from weekahead.cli import configure_logging
from weekahead.files import Row, append_jsonl, load_env
from weekahead.manifest import new_manifest
from weekahead.models.chat_format import render_row_ids
from weekahead.models.embedded import DEFAULT_OUT
from weekahead.models.loading import Base, base_from_recipe, load_tokenizer
from weekahead.models.precision import Precision, choose_precision

log = logging.getLogger(__name__)

RESULTS = Path("benchmarks/results/train.jsonl")


class StepClock(TrainerCallback):
    """Seconds of each optimizer step but the first, which warms up caches and allocators."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: float | None = None

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now


def made_up_rows(tokenizer: Any, length: int, count: int) -> list[Row]:
    """`count` equal rows of exactly `length` tokens, template included, a fifth of them the completion.

    Raises ValueError for a length that the template alone exceeds.
    """

    def row(prompt_words: int, completion_words: int) -> Row:
        texts = [("user", " a" * prompt_words), ("assistant", " a" * completion_words)]
        prompt, completion = ([{"role": role, "content": text.strip()}] for role, text in texts)
        return {"prompt": prompt, "completion": completion}

    def sizes(made: Row) -> list[int]:
        return [len(part) for part in render_row_ids(tokenizer, made["prompt"], made["completion"])]

    wanted = [length - round(COMPLETION_SHARE * length), round(COMPLETION_SHARE * length)]
    # One " a" is one token, so what the template adds to ten of them it adds to any number.
    words = [want - (size - 10) for want, size in zip(wanted, sizes(row(10, 10)), strict=True)]
    made = row(*words) if min(words) > 0 else None
    if made is None or sizes(made) != wanted:
        raise ValueError(
            f"no row of {length} tokens can be made with this turn format; try a --length of 400"
        )
    return [made] * count


def limit_memory(gib: float | None) -> None:
    """Let torch take no more than `gib` GiB of the card. Raises ValueError where there is no such card."""
    import torch

    if gib is None:
        return
    if not torch.cuda.is_available():
        raise ValueError(
            f"--memory_gib is {gib:g}, but there is no CUDA card; leave it out on a CPU"
        )
    share = gib * 2**30 / torch.cuda.get_device_properties(0).total_memory
    if not 0 < share <= 1:
        raise ValueError(
            f"--memory_gib is {gib:g}; expected more than 0 and no more than the card has"
        )
    torch.cuda.set_per_process_memory_fraction(share)


def measure(args: argparse.Namespace, precision: Precision, scratch: Path) -> Row:
    """Train `steps` steps and one before them to warm up; what was measured, unknown values null."""
    from sft.training.trainer import build_trainer

    flags = {"output_dir": scratch / "run", "max_length": args.length, "max_steps": args.steps + 1,
             "report_to": "none", "eval_strategy": "no", "save_strategy": "no"}  # fmt: skip
    flat = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    script, training, model_args = parse(["--config", str(args.config), *flat], precision)
    recipe = {**vars(model_args), "model_revision": None, "turn_format": script.turn_format}
    base = base_from_recipe(recipe, precision)
    if args.shapes:
        base = replace(base, name=str(DEFAULT_OUT), turn_format="smollm2")
    tokenizer = load_tokenizer(base)
    if args.shapes:
        base = replace(
            base, name=str(write_checkpoint(SHAPES[args.shapes], scratch / "model", base.dtype))
        )
    rows_a_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    rows = made_up_rows(tokenizer, args.length, rows_a_step * training.max_steps)
    data = TrainData(train=rows, source="made up", sha256="")
    clock = StepClock()
    trainer = build_trainer(base, tokenizer, data, training, model_args, [clock])
    trainer.train()
    trained = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    return {
        **_speeds(args, base, precision, rows_a_step, clock.seconds, trained),
        "optim": str(training.optim.value),
    }


def _speeds(
    args: argparse.Namespace,
    base: Base,
    precision: Precision,
    rows_a_step: int,
    seconds: list[float],
    trained: int,
) -> Row:
    step = sum(seconds) / len(seconds)
    facts = machine()
    config = AutoConfig.from_pretrained(base.name, revision=base.revision)
    flops = rows_a_step * flops_per_row(config, trained, args.length)
    peak = args.peak_tflops or peak_of(facts["card"], precision.mode)
    return {
        "recipe": args.config.stem,
        "shapes": args.shapes,
        "length": args.length,
        "rows_a_step": rows_a_step,
        "step_seconds": seconds,
        "tokens_per_second": rows_a_step * args.length / step,
        "model_tflops_per_second": flops / step / 1e12,
        "peak_tflops": peak,
        "mfu": flops / step / 1e12 / peak if peak else None,
        "trained_parameters": trained,
        "precision": precision.mode,
        "memory_gib": args.memory_gib,
        **peak_gpu_memory(),
        "peak_rss_bytes": peak_rss_bytes(),
        "machine": facts,
    }


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 measured, 2 for something the message says how to mend."""
    configure_logging()
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="recipe")
    parser.add_argument(
        "--shapes", choices=SHAPES, help="random weights of this shape, not the recipe's model"
    )
    parser.add_argument("--length", type=int, default=3200, help="tokens of every row")
    parser.add_argument(
        "--steps", type=int, default=5, help="optimizer steps to measure, after one more"
    )
    parser.add_argument(
        "--memory_gib", type=float, help="let torch take no more of the card than this"
    )
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="JSONL file that the figures are added to"
    )
    parser.add_argument(
        "--peak_tflops", type=float, help="of the card, where the table does not know it"
    )
    args = parser.parse_args(argv)
    try:
        if args.steps < 1:
            raise ValueError(f"--steps is {args.steps}; expected at least 1")
        load_env()
        limit_memory(args.memory_gib)
        with tempfile.TemporaryDirectory() as scratch:
            found = measure(args, choose_precision(), Path(scratch))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"benchmarks.train: {error}", file=sys.stderr)
        return 2
    append_jsonl(args.results, [new_manifest(kind="benchmark", **found)])
    print(json.dumps(found))
    memory = found["peak_gpu_memory_bytes"] or found["peak_rss_bytes"]
    mfu = "unknown" if found["mfu"] is None else f"{found['mfu']:.1%}"
    print(f"{found['tokens_per_second']:.1f} tokens/s, MFU {mfu}, peak {memory / 2**30:.2f} GiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
