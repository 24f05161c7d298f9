"""Speed of generation by batch size, on the same rows in one run.

    python -m benchmarks.generate --config recipes/smollm2.yaml --adapter outputs/smollm2 \\
        --dataset data/datasets/mine --rows 32 --max_new_tokens 128 --batch_sizes 1 8 32
    python -m benchmarks.generate --config recipes/llama.yaml --shapes llama8b --rows 300 \\
        --max_new_tokens 384

The first line, "upstream's way", is that of the public runs: adapter unmerged on the quantized
base, one prompt at a time. Answers end where they end; --full makes each one as long as allowed, so
that all lines do equal work. `--padded` adds a line per batch size in which the library reads the
prompts of a batch as one, padded, and says how many times as fast it is to read each alone into one
cache (weekahead.models.prefill).

`--shapes` takes random weights of a known shape and made-up prompts, and is always --full;
`llama8b` writes 16 GB to a temporary folder first. The first rows are answered once before the
clock starts. A model is loaded once for each form. `--upstream_rows` lets upstream's way, which
takes most of the time, answer the first rows alone; seconds per row are what is compared.
"""

import argparse
import gc
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, TypedDict
from unittest.mock import patch

from benchmarks.bandwidth import bandwidth_of, most_tokens_per_second
from benchmarks.flops import machine
from benchmarks.shapes import SHAPES, write_checkpoint
from data_pipeline.dataset.load import load_dataset
from eval.generation.batched import BatchDecoder
from weekahead.cli import (
    MODEL_ERRORS,
    add_options,
    configure_logging,
    new_parser,
    option,
    read_options,
    run_command,
)
from weekahead.files import append_jsonl
from weekahead.locks import check_appendable
from weekahead.manifest import new_manifest
from weekahead.models import prefill
from weekahead.models.chat_format import render_prompt_ids, stop_token_ids
from weekahead.models.decoding import Completion, SamplingParams
from weekahead.models.embedded import DEFAULT_OUT
from weekahead.models.loading import (
    Adapter,
    Base,
    base_from_recipe,
    find_adapter,
    load_base,
    load_for_generation,
    load_tokenizer,
    resolve_base_and_adapter,
    with_adapter,
)
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import Recipe, read_recipe

RESULTS = Path("benchmarks/results/generate.jsonl")
UPSTREAM = "upstream's way"
PUBLISHED = {"tokens_per_second": 1228.0, "batch_size": 32}
"""bitsandbytes' benchmark of Llama-3.1-8B in 16 bits on an H100, transformers' generate."""


@dataclass(frozen=True)
class BenchmarkOptions:
    """The flags of benchmarks.generate."""

    config: Path = option(help="recipe")
    adapter: str | None = option(None, help="folder, user/name[@revision], or none for the base")
    dataset: str | None = option(None, help="folder, .jsonl file or Hub id")
    split: str | None = option(None, help="split to answer (default: test)")
    shapes: str | None = option(
        None, choices=tuple(SHAPES), help="random weights of this shape, not the recipe's model"
    )
    length: int = option(700, help="tokens of a made-up prompt, about")
    rows: int = 32
    upstream_rows: int | None = option(
        None, help="let upstream's way answer only the first N rows (default: all)"
    )
    max_new_tokens: int = 128
    batch_sizes: Sequence[int] = (1, 8, 32)
    full: bool = option(default=False, help="every answer as long as allowed")
    padded: bool = option(
        default=False, help="also let the library read each batch's prompts padded"
    )
    memory_gib: float | None = option(None, help="leave the models no more of the GPU than this")
    no_upstream: bool = option(default=False, help="leave out upstream's way")
    results: Path = option(RESULTS, help="JSONL file that the figures are added to")


class Figures(TypedDict):
    """One way to answer all prompts, measured."""

    way: str
    backend: str
    batch_size: int
    rows: int
    seconds: float
    new_tokens: int
    tokens_per_second: float
    seconds_per_row: float
    bandwidth_tokens_per_second: float | None
    """What reading the weights and the cache alone allows; null for an unknown GPU."""


class Inputs(NamedTuple):
    """What is measured: a model and the prompts it answers."""

    base: Base
    adapter: Adapter | None
    tokenizer: Any
    prompts: list[list[int]]


class Way(NamedTuple):
    """One loaded form of the model and the batch sizes to measure on it."""

    name: str
    model: Any
    batch_sizes: Sequence[int]
    rows: int | None
    """How many of the prompts it answers; None for all."""
    padded: bool
    """Whether to measure padded reading as well."""


def upstream_model(base: Base, adapter: Adapter | None, precision: Precision) -> tuple[Any, str]:
    """The base as quantized with the adapter unmerged on it, and a word for that."""
    from transformers import GenerationConfig

    model: Any = load_base(base, device_map={"": 0} if precision.device == "cuda" else None)
    weights_form = "NF4" if base.quantization else "plain"
    if adapter:
        model = with_adapter(model, adapter, base)
        weights_form = f"{weights_form}, adapter unmerged"
    model.config.use_cache = True
    model.generation_config = GenerationConfig()
    return model.eval(), weights_form


def random_adapter(base: Base, recipe: Recipe, folder: Path) -> Adapter:
    """A LoRA adapter with random weights, of the recipe's rank on the recipe's projections."""
    from peft import LoraConfig, get_peft_model

    fields: dict[str, Any] = {**recipe}
    lora = LoraConfig(
        r=fields["lora_r"],
        lora_alpha=fields["lora_alpha"],
        target_modules=fields["lora_target_modules"],
        init_lora_weights=False,
    )
    model = get_peft_model(load_base(replace(base, quantization=None)), lora)
    model.save_pretrained(str(folder))
    return find_adapter(str(folder))


def occupy_all_but(gib: float | None) -> Any:
    """Memory of the GPU that nothing else can take, so that `gib` GiB are left; None for all.

    Raises ValueError if there is no GPU, or one with less free.
    """
    import torch

    if gib is None:
        return None
    if not torch.cuda.is_available():
        raise ValueError(f"--memory_gib is {gib:g}, but there is no CUDA GPU; leave it out")
    free = torch.cuda.mem_get_info()[0]
    surplus = free - int(gib * 2**30)
    if surplus < 0:
        raise ValueError(
            f"--memory_gib is {gib:g}; expected no more than the {free / 2**30:.1f} that are free"
        )
    return torch.empty(surplus, dtype=torch.uint8, device="cuda")


@contextmanager
def padded_reading() -> Iterator[None]:
    """Let the library read the prompts of a batch as one, padded, inside the block."""
    with patch.object(prefill, "prefill", return_value=None):
        yield


def ways(options: BenchmarkOptions, inputs: Inputs, precision: Precision) -> Iterator[Way]:
    """The forms of the model, one after another: only one is in memory."""
    if not options.no_upstream:
        model, weights_form = upstream_model(inputs.base, inputs.adapter, precision)
        yield Way(f"{UPSTREAM} ({weights_form})", model, [1], options.upstream_rows, padded=False)
        del model
        gc.collect()
    longest = max(map(len, inputs.prompts))
    tokens = max(options.batch_sizes) * (longest + options.max_new_tokens)
    model, weights_form = load_for_generation(inputs.base, inputs.adapter, precision, tokens)
    yield Way(f"here ({weights_form})", model, options.batch_sizes, None, options.padded)


def measure(options: BenchmarkOptions, inputs: Inputs) -> list[Figures]:
    """The figures of each way, in order, upstream's first."""
    endless = options.full or options.shapes is not None
    stop = [] if endless else stop_token_ids(inputs.tokenizer)
    figures: list[Figures] = []
    for way in ways(options, inputs, choose_precision()):
        figures += _measure_way(way, inputs, options.max_new_tokens, stop, *figures[:1])
        del way  # with its model, before the next one is loaded
    return figures


def _measure_way(
    way: Way,
    inputs: Inputs,
    max_new_tokens: int,
    stop: Sequence[int],
    upstream: Figures | None = None,
) -> list[Figures]:
    """The figures of one way; `upstream` is what they are compared with, if it was measured."""
    figures: list[Figures] = []
    prompts = inputs.prompts[: way.rows]
    for size in way.batch_sizes:
        sampling = SamplingParams(max_new_tokens, size)
        decoder = BatchDecoder(way.model, inputs.tokenizer, stop, sampling)
        alone = measure_one(way.name, decoder, prompts)
        _print_figures(alone, upstream or alone)
        figures.append(alone)
        if way.padded:
            with padded_reading():
                padded = measure_one(f"{way.name}, padded", decoder, prompts)
            _print_figures(padded, upstream or alone)
            gain = padded["seconds_per_row"] / alone["seconds_per_row"]
            print(f"batch {size}: prompts read alone are {gain:.2f} times as fast as padded")
            figures.append(padded)
    return figures


def measure_one(name: str, decoder: BatchDecoder, prompts: Sequence[list[int]]) -> Figures:
    """Measure one way to answer all prompts, after a first batch that does not count."""
    import torch

    sampling = decoder.sampling
    short = replace(sampling, max_new_tokens=min(8, sampling.max_new_tokens))
    answers: dict[int, Completion] = {}
    replace(decoder, sampling=short).answer(prompts[: sampling.batch_size], answers.update)
    answers.clear()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    start = time.perf_counter()
    decoder.answer(prompts, answers.update)
    seconds = time.perf_counter() - start
    tokens = sum(answer.new_tokens or 0 for answer in answers.values())
    prompt_tokens = sum(map(len, prompts))
    return {
        "way": name,
        "backend": "batched",
        "batch_size": sampling.batch_size,
        "rows": len(prompts),
        "seconds": seconds,
        "new_tokens": tokens,
        "tokens_per_second": tokens / seconds,
        "seconds_per_row": seconds / len(prompts),
        "bandwidth_tokens_per_second": _bandwidth_limit(
            decoder, context=(prompt_tokens + tokens / 2) / len(prompts)
        ),
    }


def _bandwidth_limit(decoder: BatchDecoder, *, context: float) -> float | None:
    """Tokens per second that reading alone allows; None for a GPU of unknown bandwidth."""
    rate = bandwidth_of(machine()["card"])
    if rate is None:
        return None
    parameters = decoder.model.parameters()
    weights = sum(weight.numel() * weight.element_size() for weight in parameters)
    size = decoder.sampling.batch_size
    return most_tokens_per_second(decoder.model.config, weights, context, size, rate)


def _print_figures(figures: Figures, upstream: Figures) -> None:
    times = upstream["seconds_per_row"] / figures["seconds_per_row"]
    limit = figures["bandwidth_tokens_per_second"]
    share = ""
    if limit:
        share = f"  {figures['tokens_per_second'] / limit:.0%} of {limit:.0f} by bandwidth"
    print(
        f"{figures['way']:<52} batch {figures['batch_size']:>3} "
        f"{figures['tokens_per_second']:>9.1f} tokens/s "
        f"{figures['seconds_per_row']:>8.3f} s per row  x{times:.2f}{share}",
        flush=True,
    )


def made_up_prompts(tokenizer: Any, rows: int, length: int) -> list[list[int]]:
    """Prompts of about `length` tokens, each another text, so that nothing is shared."""
    texts = [f"Firm {number}" + " a" * max(1, length - 40) for number in range(rows)]
    return [render_prompt_ids(tokenizer, [{"role": "user", "content": text}]) for text in texts]


def made_up_inputs(shapes: str, options: BenchmarkOptions, scratch: Path) -> Inputs:
    """Random weights of known shapes with an adapter, written to `scratch`, and made-up prompts."""
    recipe = read_recipe(options.config)
    base = base_from_recipe(recipe, choose_precision())
    embedded = replace(base, name=str(DEFAULT_OUT), revision=None, turn_format="smollm2")
    tokenizer = load_tokenizer(embedded)
    folder = write_checkpoint(SHAPES[shapes], scratch / "model", base.dtype)
    base = replace(embedded, name=str(folder))
    adapter = random_adapter(base, recipe, scratch / "adapter")
    prompts = made_up_prompts(tokenizer, options.rows, options.length)
    return Inputs(base, adapter, tokenizer, prompts)


def named_inputs(options: BenchmarkOptions) -> Inputs:
    """The model that the flags name, and the rows, or prompts of --length without a dataset.

    Raises ValueError if model and adapter do not fit.
    """
    if not options.adapter:
        raise ValueError("--adapter is needed, or --shapes for a made-up one")
    recipe = read_recipe(options.config)
    base, adapter = resolve_base_and_adapter(recipe, options.adapter, choose_precision())
    tokenizer = load_tokenizer(base)
    if not options.dataset:
        prompts = made_up_prompts(tokenizer, options.rows, options.length)
        return Inputs(base, adapter, tokenizer, prompts)
    rows = load_dataset(options.dataset).split(options.split).rows[: options.rows]
    prompts = [render_prompt_ids(tokenizer, row["prompt"]) for row in rows]
    return Inputs(base, adapter, tokenizer, prompts)


def run(options: BenchmarkOptions) -> int:
    """Measure what the flags name, print the figures and add them to the file of results."""
    counts = [options.rows, options.max_new_tokens, *options.batch_sizes]
    if min([*counts, options.rows if options.upstream_rows is None else options.upstream_rows]) < 1:
        raise ValueError(
            "--rows, --upstream_rows, --max_new_tokens and --batch_sizes must be at least 1"
        )
    check_appendable(options.results)
    ballast = occupy_all_but(options.memory_gib)
    with tempfile.TemporaryDirectory() as scratch:
        if options.shapes:
            inputs = made_up_inputs(options.shapes, options, Path(scratch))
        else:
            inputs = named_inputs(options)
        figures = measure(options, inputs)
    del ballast
    results = new_manifest(
        kind="benchmark",
        recipe=options.config.stem,
        shapes=options.shapes,
        adapter=options.adapter,
        dataset=options.dataset,
        rows=options.rows,
        max_new_tokens=options.max_new_tokens,
        memory_gib=options.memory_gib,
        full=options.full or options.shapes is not None,
        ways=figures,
        machine=machine(),
    )
    append_jsonl(options.results, [results])
    best = min(figures, key=lambda way: way["seconds_per_row"])
    times = figures[0]["seconds_per_row"] / best["seconds_per_row"]
    print(
        f"best: {best['way']}, batch {best['batch_size']}: {times:.2f} times as fast as {UPSTREAM}"
    )
    if options.shapes == "llama8b":
        published = "{tokens_per_second:.0f} tokens/s at batch {batch_size}".format(**PUBLISHED)
        print(f"published for Llama-3.1-8B: {published}")
    return 0


def new_arguments() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = new_parser(__doc__, "benchmarks.generate")
    sizes = BenchmarkOptions.batch_sizes
    parser.add_argument("--batch_sizes", type=int, nargs="+", default=sizes)
    add_options(parser, BenchmarkOptions)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 measured, 2 an error whose message has the remedy, 130 interrupted."""
    options = read_options(new_arguments().parse_args(argv), BenchmarkOptions)
    configure_logging()
    return run_command("benchmarks.generate", lambda: run(options), errors=MODEL_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
