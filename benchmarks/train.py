"""Speed, use of the GPU and peak memory of one recipe's training, on made-up rows.

    python -m benchmarks.train --config recipes/smollm2.yaml --length 400 --steps 2
    python -m benchmarks.train --config recipes/llama.yaml --shapes llama8b \\
        --vary per_device_train_batch_size=4,max_length=1024 activation_checkpointing=false

The recipe's own batch, accumulation, LoRA, quantization, checkpointing and optimizer run through
the trainer that `make train` uses. `--shapes` takes random weights of a known shape instead of the
recipe's model, with the embedded tokenizer, so that no gated model is needed; `llama8b` writes
16 GB to a temporary folder first. `--vary` measures the recipe again with other fields, each set on
the base that is loaded already; `max_length` sets the length of the rows. `--lengths public` takes
the lengths that the public rows have instead of one. `--like t4` leaves a larger GPU what a T4 has:
fp16, torch's memory-efficient attention and no other fused one, 14.5 GiB.
"""

import json
import random
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

from transformers import AutoConfig, TrainerCallback

from benchmarks.flops import COMPLETION_SHARE, Machine, flops_per_row, machine, peak_of
from benchmarks.shapes import SHAPES, write_checkpoint
from data_pipeline.dataset.load import TrainData
from sft.training.arguments import Arguments, parse
from sft.training.callbacks import peak_gpu_memory, peak_rss_bytes
from weekahead.cli import new_parser, option, run_with_options
from weekahead.files import append_jsonl
from weekahead.hardware.lengths import public_lengths
from weekahead.locks import check_appendable
from weekahead.manifest import new_manifest
from weekahead.models.attention import EXPANDED
from weekahead.models.chat_format import render_row_ids
from weekahead.models.embedded import DEFAULT_OUT
from weekahead.models.loading import (
    Base,
    base_from_recipe,
    load_base,
    load_tokenizer,
    resolve_revision,
)
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import PUBLIC_DATASET, Recipe
from weekahead.schema.rows import DatasetRow

RESULTS = Path("benchmarks/results/train.jsonl")
LENGTHS = ("one", "public")
_T4_GIB = 14.5
"""What of a T4's 15.6 GB is left beside CUDA's own."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """The flags of benchmarks.train."""

    config: Path = option(help="recipe")
    shapes: str | None = option(
        None, choices=tuple(SHAPES), help="random weights of this shape, not the recipe's model"
    )
    length: int = option(3200, help="tokens of every row")
    steps: int = option(5, help="optimizer steps to measure, after one more")
    lengths: str = option("one", choices=LENGTHS, help="of the rows: all --length, or the public")
    like: str | None = option(None, choices=("t4",), help="with what this smaller GPU has")
    memory_gib: float | None = option(None, help="let torch take no more of the GPU than this")
    results: Path = option(RESULTS, help="JSONL file that the figures are added to")
    peak_tflops: float | None = option(None, help="of the GPU, if the table does not have it")
    vary: tuple[str, ...] = option(
        (), help="field=value[,field=value...] of the recipe: measure these settings as well"
    )


class Figures(TypedDict):
    """What was measured; unknown values are null."""

    recipe: str
    vary: str
    """What differs from the recipe, as given to --vary; empty for the recipe as it stands."""
    shapes: str | None
    like: str | None
    lengths: str
    length: int
    """Tokens of the rows, on average."""
    rows_a_step: int
    step_seconds: list[float]
    tokens_per_second: float
    model_tflops_per_second: float
    peak_tflops: float | None
    mfu: float | None
    """Model FLOPs utilization: the share of the peak that the model's own arithmetic reaches."""
    trained_parameters: int
    precision: str
    memory_gib: float | None
    peak_gpu_memory_bytes: int | None
    peak_gpu_memory_reason: str | None
    peak_rss_bytes: int
    machine: Machine
    optim: str
    attention: str


class StepClock(TrainerCallback):
    """Seconds of each optimizer step but the first, which warms up caches and allocators."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._last: float | None = None
        self._seen: list[int] = []

    @property
    def tokens(self) -> int:
        """Tokens of the timed steps, padding left out."""
        return self._seen[-1] - self._seen[0]

    def on_step_end(self, args: Any, state: Any, *_: Any, **__: Any) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        if self._last is not None:
            self.seconds.append(now - self._last)
        self._last = now
        self._seen.append(int(state.num_input_tokens_seen))


def made_up_rows(tokenizer: Any, lengths: Sequence[int]) -> list[DatasetRow]:
    """Rows of exactly these lengths in tokens, a fifth of each the completion.

    The chat template counts. Raises ValueError for a length that the template alone exceeds.
    """
    # One " a" is one token, so what the template adds to ten of them it adds to any number.
    added = [size - 10 for size in _sizes(tokenizer, _made_up_row(10, 10))]
    made = {length: _row_of(tokenizer, length, added) for length in set(lengths)}
    return [made[length] for length in lengths]


def _row_of(tokenizer: Any, length: int, added: Sequence[int]) -> DatasetRow:
    """One row; `added` are the tokens that the template adds to prompt and completion."""
    completion = round(COMPLETION_SHARE * length)
    wanted = [length - completion, completion]
    words = [want - size for want, size in zip(wanted, added, strict=True)]
    row = _made_up_row(*words) if min(words) > 0 else None
    if row is None or _sizes(tokenizer, row) != wanted:
        raise ValueError(
            f"no row of {length} tokens can be made with this chat format; try a --length of 400"
        )
    return row


def row_lengths(options: BenchmarkOptions, length: int, count: int) -> list[int]:
    """The lengths of `count` rows: all `length`, or as the public rows have them, drawn by seed.

    Each step of the public ones has another mean, so compare settings with the same --steps.
    """
    if options.lengths == "one":
        return [length] * count
    public = public_lengths(PUBLIC_DATASET)
    if public is None:
        raise RuntimeError("the lengths of the public rows are not known")
    return random.Random(0).choices(public.train, k=count)


def _made_up_row(prompt_words: int, completion_words: int) -> DatasetRow:
    return {
        "id": "A",
        "symbol": "A",
        "week_start": "2024-01-07",
        "week_end": "2024-01-14",
        "prompt": [{"role": "user", "content": (" a" * prompt_words).strip()}],
        "completion": [{"role": "assistant", "content": (" a" * completion_words).strip()}],
        "label": "up by 0-1%",
    }


def _sizes(tokenizer: Any, row: DatasetRow) -> list[int]:
    return [len(part) for part in render_row_ids(tokenizer, row["prompt"], row["completion"])]


def limit_memory(gib: float | None) -> None:
    """Let torch take at most `gib` GiB of the GPU. Raises ValueError if there is no such GPU."""
    import torch

    if gib is None:
        return
    if not torch.cuda.is_available():
        raise ValueError(
            f"--memory_gib is {gib:g}, but there is no CUDA GPU; leave it out on a CPU"
        )
    share = gib * 2**30 / torch.cuda.get_device_properties(0).total_memory
    if not 0 < share <= 1:
        raise ValueError(
            f"--memory_gib is {gib:g}; expected more than 0 and no more than the GPU has"
        )
    torch.cuda.set_per_process_memory_fraction(share)


def as_on_a_t4(precision: Precision) -> Precision:
    """fp16, and of torch's fused attention kernels only the one that a T4 has.

    Raises ValueError if there is no GPU.
    """
    import torch

    if precision.device != "cuda":
        raise ValueError("--like t4 needs a CUDA GPU, of which a part is used; leave it out")
    torch.backends.cuda.enable_flash_sdp(enabled=False)
    torch.backends.cuda.enable_cudnn_sdp(enabled=False)
    return Precision("fp16", "cuda", "as on a T4")


class Loaded(NamedTuple):
    """A base in memory, what it is, and its tokenizer."""

    base: Base
    model: Any
    tokenizer: Any
    attention: str
    """What is used if a setting names none."""


def attention_of(model: Any) -> str:
    """The name of the attention that `model` computes with."""
    return str(model.config._attn_implementation)


def arguments(options: BenchmarkOptions, vary: str, precision: Precision, out: Path) -> Arguments:
    """The recipe's arguments with the fields of `vary` in place of its own.

    Raises ValueError for what is no field=value, and for what a training would refuse.
    """
    flags: dict[str, object] = {
        "config": options.config,
        "output_dir": out,
        "max_length": options.length,
        "max_steps": options.steps + 1,
        "report_to": "none",
        "eval_strategy": "no",
        "save_strategy": "no",
    }
    for setting in filter(None, vary.split(",")):
        name, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--vary has {setting!r}; expected field=value")
        flags[name] = value
    words = [word for name, value in flags.items() for word in (f"--{name}", str(value))]
    return parse(words, precision)


def load(options: BenchmarkOptions, args: Arguments, precision: Precision, scratch: Path) -> Loaded:
    """The base that the arguments name, or one with random weights of the asked shape."""
    from sft.training.trainer import own_gpu

    base = resolve_revision(_base(options, args, precision))
    tokenizer = load_tokenizer(base)
    if options.shapes:
        shape = SHAPES[options.shapes]
        base = replace(base, name=str(write_checkpoint(shape, scratch / "model", base.dtype)))
    model = load_base(base, own_gpu(args.training))
    return Loaded(base, model, tokenizer, EXPANDED if options.like == "t4" else attention_of(model))


def _base(options: BenchmarkOptions, args: Arguments, precision: Precision) -> Base:
    recipe: Recipe = {
        "model_name_or_path": str(args.model.model_name_or_path),
        "turn_format": args.script.turn_format or "",
        "load_in_4bit": args.model.load_in_4bit,
        "bnb_4bit_quant_type": args.model.bnb_4bit_quant_type,
        "use_bnb_nested_quant": args.model.use_bnb_nested_quant,
    }
    base = base_from_recipe(recipe, precision)
    if options.shapes:
        return replace(base, name=str(DEFAULT_OUT), turn_format="smollm2")
    return base


def measure(
    options: BenchmarkOptions, vary: str, args: Arguments, loaded: Loaded, precision: Precision
) -> Figures:
    """Train `steps` steps and one before them to warm up; return what was measured.

    The base is as before afterwards.
    """
    import torch

    from sft.training.trainer import trainer_on

    training = args.training
    step_rows = training.per_device_train_batch_size * training.gradient_accumulation_steps
    lengths = row_lengths(options, training.max_length, step_rows * training.max_steps)
    rows = made_up_rows(loaded.tokenizer, lengths)
    data = TrainData(train=rows, source="made up", sha256="")
    clock = StepClock()
    loaded.model.set_attn_implementation(args.model.attn_implementation or loaded.attention)
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
    trainer = trainer_on(loaded.model, loaded.tokenizer, data, training, args.model, [clock])
    try:
        trainer.train()
        weights = trainer.model.parameters()
        trained = sum(weight.numel() for weight in weights if weight.requires_grad)
        memory = peak_gpu_memory()
    finally:
        loaded.model.gradient_checkpointing_disable()
        trainer.model.unload()
    tokens_per_second = clock.tokens / sum(clock.seconds)
    length = round(clock.tokens / (step_rows * len(clock.seconds)))
    speed = _model_tflops(loaded.base, trained, length) * tokens_per_second / length
    host = machine()
    peak = options.peak_tflops or peak_of(host["card"], precision.mode)
    return {
        "recipe": options.config.stem,
        "vary": vary,
        "shapes": options.shapes,
        "like": options.like,
        "lengths": options.lengths,
        "length": length,
        "rows_a_step": step_rows,
        "step_seconds": clock.seconds,
        "tokens_per_second": tokens_per_second,
        "model_tflops_per_second": speed,
        "peak_tflops": peak,
        "mfu": speed / peak if peak else None,
        "trained_parameters": trained,
        "precision": precision.mode,
        "memory_gib": options.memory_gib,
        **memory,
        "peak_rss_bytes": peak_rss_bytes(),
        "machine": host,
        "optim": str(training.optim.value),
        "attention": attention_of(loaded.model),
    }


def _model_tflops(base: Base, trained: int, length: int) -> float:
    """TFLOPs of one row, forward and backward."""
    config = AutoConfig.from_pretrained(base.name, revision=base.revision, trust_remote_code=False)
    return flops_per_row(config, trained, length) / 1e12


def run(options: BenchmarkOptions) -> int:
    """Measure what the flags name, print the figures and add them to the file of results.

    Returns 1 if a setting did not fit in the GPU's memory.
    """
    import torch

    if options.steps < 1:
        raise ValueError(f"--steps is {options.steps}; expected at least 1")
    check_appendable(options.results)
    precision = choose_precision()
    if options.like == "t4":
        precision = as_on_a_t4(precision)
    limit_memory(options.memory_gib or (_T4_GIB if options.like == "t4" else None))
    status = 0
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        settings = {
            vary: arguments(options, vary, precision, scratch / "run")
            for vary in ("", *options.vary)
        }
        _check_one_base([_base(options, args, precision) for args in settings.values()])
        loaded = load(options, settings[""], precision, scratch)
        for vary, args in settings.items():
            try:
                figures = measure(options, vary, args, loaded, precision)
            except torch.OutOfMemoryError:
                print(f"{vary or 'the recipe'}: the GPU's memory has no room for it", flush=True)
                status = 1
                continue
            append_jsonl(options.results, [new_manifest(kind="benchmark", **figures)])
            _print(figures)
    return status


def _check_one_base(bases: Sequence[Base]) -> None:
    if any(base != bases[0] for base in bases):
        raise ValueError("--vary has another base or quantization; it is loaded once: run again")


def _print(figures: Figures) -> None:
    print(json.dumps(figures))
    memory = figures["peak_gpu_memory_bytes"] or figures["peak_rss_bytes"]
    mfu = "unknown" if figures["mfu"] is None else f"{figures['mfu']:.1%}"
    speed = f"{figures['tokens_per_second']:.1f} tokens/s"
    what = f"{figures['vary']}: " if figures["vary"] else ""
    print(f"{what}{speed}, MFU {mfu}, peak {memory / 2**30:.2f} GiB", flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 measured, 1 out of GPU memory, 2 an error, 130 interrupted."""
    parser = new_parser(__doc__, "benchmarks.train")
    return run_with_options("benchmarks.train", parser, BenchmarkOptions, run, argv)


if __name__ == "__main__":
    sys.exit(main())
