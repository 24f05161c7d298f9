"""Check on a few prompts that a server answers as this process does, and that the adapter matters.

    python -m eval.parity --config recipes/llama.yaml --adapter outputs/llama \\
        --dataset data/datasets/mine --prompts 8 --against endpoint --model llama

What agreement is stands in eval.generation.parity. The longest prompt of the split is always among
the prompts: some servers cut long ones without a word. `eval.generate --backend endpoint` does the
same with three prompts before its first answer.

`--against gguf --model exports/llama/gguf/model.gguf` starts llama.cpp's llama-server for an
exported file, and compares that.
"""

import argparse
import math
import sys
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.dataset.load import load_dataset
from eval.generation.llama_server import check_can_serve, serving_gguf
from eval.generation.parity import chosen_rows, compare, parity_table, parity_verdict
from eval.generation.parting import TOLERANCE, ServedModel
from eval.generation.prompts import PROMPT_FORMS, prompt_ids
from weekahead.cli import (
    MODEL_ERRORS,
    add_options,
    configure_logging,
    model_arguments,
    option,
    read_options,
    run_command,
)
from weekahead.models.loading import Base, load_tokenizer, resolve_base_and_adapter
from weekahead.models.precision import choose_precision
from weekahead.recipe import read_recipe
from weekahead.schema.rows import DatasetRow
from weekahead.tracking.gpu import check_torch_sees_gpu


@dataclass(frozen=True)
class ParityOptions:
    """The flags of eval.parity."""

    config: Path
    adapter: str
    dataset: str
    against: str = option(
        choices=("endpoint", "gguf"),
        help="what is compared with this process: a server at OPENAI_BASE_URL, or an exported file",
    )
    split: str | None = option(None, help="split to take the prompts from (default: test)")
    prompts: int = option(8, help="how many")
    model: str | None = option(
        None, help="the name that the endpoint knows the model (or its adapter) by, or the file"
    )
    endpoint_prompt: str = option("chat", choices=PROMPT_FORMS)
    max_new_tokens: int = 64
    tolerance: float | None = option(
        None, help="nats (default: 0.001 in fp32, 0.25 in bf16 and for gguf, 0.05 in fp16)"
    )


def run(options: ParityOptions) -> int:
    """Compare what the flags name and print the table and the verdict."""
    check_torch_sees_gpu()
    for name in ("prompts", "max_new_tokens"):
        if getattr(options, name) < 1:
            raise ValueError(f"--{name} is {getattr(options, name)}; expected at least 1")
    if not options.model:
        raise ValueError(
            "--model is missing; --against endpoint needs the name a server knows the model by, "
            "--against gguf the file"
        )
    is_file = options.against == "gguf"
    if is_file:
        check_can_serve(Path(options.model))
    precision = choose_precision()
    # A file's number format is that of the training, whatever this machine computes in.
    usual = TOLERANCE["bf16" if is_file else precision.mode]
    tolerance = usual if options.tolerance is None else options.tolerance
    if not 0 <= tolerance < math.inf:
        raise ValueError(f"--tolerance is {tolerance}; expected nats, 0 or more")
    recipe = read_recipe(options.config)
    base, adapter = resolve_base_and_adapter(recipe, options.adapter, precision)
    rows = chosen_rows(load_dataset(options.dataset).split(options.split).rows, options.prompts)
    served = ServedModel(options.model, options.endpoint_prompt, options.max_new_tokens, tolerance)
    window = _window(rows, base, options.max_new_tokens)
    server = serving_gguf(Path(options.model), window) if is_file else nullcontext()
    with server:
        compared = compare(rows, base, adapter, precision, served)
    code, sentence = parity_verdict(compared, tolerance)
    print(f"{parity_table(compared, tolerance)}\n{sentence}")
    return code


def _window(rows: Sequence[DatasetRow], base: Base, max_new_tokens: int) -> int:
    """Tokens of the longest prompt and its answer."""
    tokenizer = load_tokenizer(base)
    return max(len(prompt_ids(tokenizer, row)) for row in rows) + max_new_tokens


def new_arguments() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = model_arguments(__doc__, "eval.parity", out=None)
    add_options(parser, ParityOptions)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 agree, 1 differ, 2 cannot be checked, 130 interrupted."""
    options = read_options(new_arguments().parse_args(argv), ParityOptions)
    configure_logging()
    return run_command("eval.parity: cannot be checked", lambda: run(options), errors=MODEL_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
