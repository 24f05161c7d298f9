"""Tokens a second and seconds a row of generation, by backend and batch size, on the same rows in one run.

    python -m benchmarks.generate --config recipes/smollm2.yaml --adapter outputs/smollm2 \\
        --dataset data/datasets/mine --rows 32 --max_new_tokens 128 --batch_sizes 1 8 32
    python -m benchmarks.generate --config recipes/llama.yaml --shapes llama8b --rows 300 --max_new_tokens 384

The first line, "upstream's way", is that of the public runs: adapter unmerged on the quantized base, one prompt
at a time. Answers end where they end; --full makes each one as long as allowed, so that all lines do equal work.
`--shapes` takes random weights of a known shape and made-up prompts, and is always --full; `llama8b` writes 16 GB
to a temporary folder first. The first rows are answered once before the clock starts. A model is loaded once for
each form. `--shapes llama8b` and every number for a card: written for a GPU, not run on one yet.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.bandwidth import bandwidth_of, most_tokens_per_second
from benchmarks.flops import machine
from benchmarks.shapes import SHAPES, write_checkpoint
from data_pipeline.dataset.load import eval_rows
from eval.generation.batched import batched
from weekahead.files import Row, append_jsonl, load_env
from weekahead.manifest import new_manifest
from weekahead.models.chat_format import render_prompt_ids, stop_token_ids
from weekahead.models.decoding import Completion, SamplingParams
from weekahead.models.embedded import DEFAULT_OUT
from weekahead.models.loading import (
    Adapter,
    Base,
    base_for_adapter,
    base_from_recipe,
    find_adapter,
    load_base,
    load_for_generation,
    load_tokenizer,
)
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import read_recipe

RESULTS = Path("benchmarks/results/generate.jsonl")
UPSTREAM = "upstream's way"
PUBLISHED = {"tokens_per_second": 1228.0, "batch_size": 32}
"""bitsandbytes' benchmark of Llama-3.1-8B in 16 bits on an H100, transformers' generate."""
BACKENDS = {"batched": batched}


def upstream_model(base: Base, adapter: Adapter | None, precision: Precision) -> tuple[Any, str]:
    """Base as quantized, adapter unmerged on it, and a word for that."""
    from peft import PeftModel
    from transformers import GenerationConfig

    model: Any = load_base(base, device_map={"": 0} if precision.device == "cuda" else None)
    form = "NF4" if base.quantization else "plain"
    if adapter:
        model, form = (
            PeftModel.from_pretrained(model, str(adapter.folder)),
            f"{form}, adapter unmerged",
        )
    model.config.use_cache = True
    model.generation_config = GenerationConfig()
    return model.eval(), form


def random_adapter(base: Base, recipe: Row, folder: Path) -> Adapter:
    """A LoRA adapter with random weights, of the recipe's rank on the recipe's projections."""
    from peft import LoraConfig, get_peft_model

    lora = LoraConfig(
        r=recipe["lora_r"],
        lora_alpha=recipe["lora_alpha"],
        target_modules=recipe["lora_target_modules"],
        init_lora_weights=False,
    )
    get_peft_model(load_base(replace(base, quantization=None)), lora).save_pretrained(str(folder))
    return find_adapter(str(folder))


def timed(
    model: Any,
    tokenizer: Any,
    prompts: list[list[int]],
    ends: list[int],
    how: SamplingParams,
    backend: str,
) -> Row:
    """Seconds and tokens of one way to answer all prompts, after a first batch that does not count."""
    import torch

    found: dict[int, Completion] = {}
    answer = BACKENDS[backend]
    some, few = prompts[: how.batch_size], replace(how, max_new_tokens=min(8, how.max_new_tokens))
    answer(model, tokenizer, some, range(len(some)), ends, few, lambda answers: None)
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    answer(model, tokenizer, prompts, range(len(prompts)), ends, how, found.update)
    seconds = time.perf_counter() - start
    tokens = sum(answer.new_tokens or 0 for answer in found.values())
    return {
        "backend": backend,
        "batch_size": how.batch_size,
        "seconds": seconds,
        "new_tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "seconds_per_row": seconds / len(prompts),
    }


def ways(
    args: argparse.Namespace, base: Base, adapter: Adapter | None, precision: Precision
) -> Iterator[tuple[str, Any, list[tuple[str, int]]]]:
    """Name, model, and the backends and batch sizes to time on it; the models one after another."""
    model, form = upstream_model(base, adapter, precision)
    yield f"{UPSTREAM} ({form})", model, [("batched", 1)]
    del model
    gc.collect()
    model, form = load_for_generation(base, adapter, precision)
    yield (
        f"here ({form})",
        model,
        [(name, size) for name in args.backends for size in args.batch_sizes],
    )


def measure(
    args: argparse.Namespace,
    base: Base,
    adapter: Adapter | None,
    tokenizer: Any,
    prompts: list[list[int]],
) -> list[Row]:
    """The figures of each way, in order, upstream's first."""
    ends = [] if args.full else stop_token_ids(tokenizer)
    facts = machine()
    rate = bandwidth_of(facts["card"])
    length = sum(map(len, prompts)) / len(prompts)
    found: list[Row] = []
    for name, model, settings in ways(args, base, adapter, choose_precision()):
        weights = sum(p.numel() * p.element_size() for p in model.parameters())
        for backend, size in settings:
            how = SamplingParams(args.max_new_tokens, size)
            row = {"way": name, **timed(model, tokenizer, prompts, ends, how, backend)}
            context = length + row["new_tokens"] / len(prompts) / 2
            most = (
                most_tokens_per_second(model.config, weights, context, size, rate) if rate else None
            )
            found.append({**row, "bandwidth_tokens_per_second": most})
            _print_row(found[-1], found[0])
        del model
    return found


def _print_row(row: Row, upstream: Row) -> None:
    times = upstream["seconds_per_row"] / row["seconds_per_row"]
    most = row["bandwidth_tokens_per_second"]
    limit = f"  {row['tokens_per_second'] / most:.0%} of {most:.0f} by bandwidth" if most else ""
    print(
        f"{row['way']:<44} {row['backend']:<10} batch {row['batch_size']:>3} "
        f"{row['tokens_per_second']:>9.1f} tokens/s {row['seconds_per_row']:>8.3f} s a row  x{times:.2f}{limit}",
        flush=True,
    )


def made_up_prompts(tokenizer: Any, rows: int, length: int) -> list[list[int]]:
    """Prompts of about `length` tokens, each another text, so that nothing is shared."""
    texts = [f"Firm {number}" + " a" * max(1, length - 40) for number in range(rows)]
    return [render_prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in texts]


def benchmark(args: argparse.Namespace, scratch: Path) -> list[Row]:
    """Load what the flags name and measure it. Raises ValueError or OSError for what does not fit."""
    precision, recipe = choose_precision(), read_recipe(args.config)
    base = base_from_recipe(recipe, precision)
    if args.shapes:
        base = replace(base, name=str(DEFAULT_OUT), revision=None, turn_format="smollm2")
        tokenizer = load_tokenizer(base)
        base = replace(
            base, name=str(write_checkpoint(SHAPES[args.shapes], scratch / "model", base.dtype))
        )
        adapter = random_adapter(base, recipe, scratch / "adapter")
        return measure(
            args, base, adapter, tokenizer, made_up_prompts(tokenizer, args.rows, args.length)
        )
    if not args.dataset or not args.adapter:
        raise ValueError("--dataset and --adapter are needed, or --shapes for made-up ones")
    adapter = None if args.adapter == "none" else find_adapter(args.adapter)
    base = base_for_adapter(adapter, base) if adapter else base
    tokenizer = load_tokenizer(base)
    rows = eval_rows(args.dataset, args.split).rows[: args.rows]
    return measure(
        args,
        base,
        adapter,
        tokenizer,
        [render_prompt_ids(tokenizer, row["prompt"]) for row in rows],
    )


def arguments() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="recipe")
    parser.add_argument("--adapter", help="folder, user/name[@revision], or none for the base")
    parser.add_argument("--dataset", help="folder, .jsonl file or Hub id")
    parser.add_argument("--split", help="split to answer (default: test)")
    parser.add_argument(
        "--shapes", choices=SHAPES, help="random weights of this shape, not the recipe's model"
    )
    parser.add_argument("--length", type=int, default=700, help="tokens of a made-up prompt, about")
    parser.add_argument("--rows", type=int, default=32)
    parser.add_argument("--max_new_tokens", type=int, default=128)
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=[1, 8, 32])
    parser.add_argument("--backends", choices=BACKENDS, nargs="+", default=["batched"])
    parser.add_argument("--full", action="store_true", help="every answer as long as allowed")
    parser.add_argument(
        "--results", type=Path, default=RESULTS, help="JSONL file that the figures are added to"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 measured, 2 for something the message says how to mend."""
    args = arguments().parse_args(argv)
    args.full = args.full or args.shapes is not None
    try:
        if min(args.rows, args.max_new_tokens, *args.batch_sizes) < 1:
            raise ValueError("--rows, --max_new_tokens and --batch_sizes must be at least 1")
        load_env()
        with tempfile.TemporaryDirectory() as scratch:
            found = benchmark(args, Path(scratch))
    except (ValueError, OSError, RuntimeError) as error:
        print(f"benchmarks.generate: {error}", file=sys.stderr)
        return 2
    facts = {"recipe": args.config.stem, "shapes": args.shapes, "adapter": args.adapter, "dataset": args.dataset,
             "rows": args.rows, "max_new_tokens": args.max_new_tokens, "full": args.full}  # fmt: skip
    append_jsonl(args.results, [new_manifest(kind="benchmark", **facts, ways=found, machine=machine())])
    best = min(found, key=lambda row: row["seconds_per_row"])
    ratio = found[0]["seconds_per_row"] / best["seconds_per_row"]
    print(
        f"best: {best['way']}, {best['backend']}, batch {best['batch_size']}: {ratio:.2f} times as fast as {UPSTREAM}"
    )
    if args.shapes == "llama8b":
        print(
            "published for Llama-3.1-8B: {tokens_per_second:.0f} tokens/s at batch {batch_size}".format(
                **PUBLISHED
            )
        )
    return 0


if __name__ == "__main__":
    sys.exit(main())
