"""Seconds per step beside TRL's own command (`trl sft`), the same rows and settings, in one run.

    python -m benchmarks.trl_cli --config recipes/smollm2.yaml --length 2000 --steps 2

Both train on 8 made-up rows per step. TRL's command states only the time of a whole training, so it
runs twice, and the difference is the time of the further steps; ours leaves its first step out as
well.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from benchmarks.flops import machine
from benchmarks.train import made_up_rows
from weekahead.cli import new_parser, option, run_with_options
from weekahead.files import append_jsonl, read_jsonl, write_jsonl
from weekahead.locks import check_appendable
from weekahead.manifest import new_manifest
from weekahead.models.loading import base_from_recipe, load_tokenizer
from weekahead.models.precision import choose_precision
from weekahead.recipe import read_recipe

_SHARED = (
    "model_name_or_path",
    "load_in_4bit",
    "bnb_4bit_quant_type",
    "use_bnb_nested_quant",
    "use_peft",
    "lora_r",
    "lora_alpha",
    "lora_dropout",
    "lora_target_modules",
    "learning_rate",
    "lr_scheduler_type",
    "max_length",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "activation_checkpointing",
    "seed",
)
"""Fields of a recipe that `trl sft` has under the same name."""
_THREADS = {"OMP_NUM_THREADS": str(os.cpu_count())}
"""For both: TRL's launcher would take one on a CPU."""
_RUNTIME = re.compile(r"'train_runtime': '?([0-9.]+)")


@dataclass(frozen=True)
class TrlOptions:
    """The flags of benchmarks.trl_cli."""

    config: Path = option(help="recipe")
    length: int = option(2000, help="tokens of every row")
    steps: int = option(2, help="optimizer steps to measure, after one more")
    results: Path = option(
        Path("benchmarks/results/trl_cli.jsonl"), help="JSONL file that the figures are added to"
    )


def trl_seconds(options: TrlOptions, folder: Path, steps: int) -> float:
    """Seconds of a training by `trl sft` with so many steps, as it states them.

    Raises RuntimeError with the end of its output if it fails.
    """
    recipe: dict[str, Any] = {**read_recipe(options.config)}
    precision = choose_precision()
    words = [str(Path(sys.executable).with_name("trl")), "sft", "--dataset_name", str(folder)]
    for name in _SHARED:
        value = recipe[name]
        given = cast("list[object]", value) if isinstance(value, list) else [value]
        words += [f"--{name}", *map(str, given)]
    words += ["--max_steps", str(steps), "--output_dir", str(folder / f"out{steps}")]
    words += ["--dtype", precision.dtype, "--bf16", str(precision.mode == "bf16")]
    words += ["--fp16", str(precision.mode == "fp16"), "--use_cpu", str(precision.device == "cpu")]
    words += ["--report_to", "none", "--eval_strategy", "no", "--save_strategy", "no"]
    env = {**os.environ, **_THREADS}
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    found = _RUNTIME.findall(done.stdout + done.stderr)
    if done.returncode or not found:
        raise RuntimeError(f"trl sft ended with {done.returncode}: {done.stderr[-2000:]}")
    return float(found[-1])


def our_seconds(options: TrlOptions, folder: Path) -> float:
    """Mean seconds per step of the trainer that `make train` uses."""
    results = folder / "ours.jsonl"
    words = [sys.executable, "-m", "benchmarks.train", "--config", str(options.config)]
    words += ["--length", str(options.length), "--steps", str(options.steps)]
    env = {**os.environ, **_THREADS}
    subprocess.run([*words, "--results", str(results)], env=env, capture_output=True, check=True)
    seconds: list[float] = read_jsonl(results)[0]["step_seconds"]
    return sum(seconds) / len(seconds)


def run(options: TrlOptions) -> int:
    """Measure both, print the figures and add them to the file of results."""
    if options.steps < 1:
        raise ValueError(f"--steps is {options.steps}; expected at least 1")
    check_appendable(options.results)
    recipe = read_recipe(options.config)
    tokenizer = load_tokenizer(base_from_recipe(recipe, choose_precision()))
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        rows = made_up_rows(tokenizer, [options.length] * 8 * (options.steps + 1))
        texts = ({"prompt": row["prompt"], "completion": row["completion"]} for row in rows)
        write_jsonl(folder / "train.jsonl", texts)
        whole = trl_seconds(options, folder, options.steps + 1)
        trl = (whole - trl_seconds(options, folder, 1)) / options.steps
        ours = our_seconds(options, folder)
    figures = {
        "recipe": options.config.stem,
        "length": options.length,
        "steps": options.steps,
        "trl_seconds_per_step": trl,
        "our_seconds_per_step": ours,
        "ratio": trl / ours,
        "machine": machine(),
    }
    append_jsonl(options.results, [new_manifest(kind="benchmark", **figures)])
    print(json.dumps(figures))
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 measured, 2 an error, 130 interrupted."""
    parser = new_parser(__doc__, "benchmarks.trl_cli")
    return run_with_options("benchmarks.trl_cli", parser, TrlOptions, run, argv)


if __name__ == "__main__":
    sys.exit(main())
