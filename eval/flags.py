"""The flags that commands with a model share, those of eval.generate, and the recipe one of them names."""

import argparse
from pathlib import Path

import yaml

from eval.generation.backends import BACKENDS, PROMPTS
from weekahead.files import Row
from weekahead.models.decoding import Decoding


def model_arguments(description: str | None, out: str | None) -> argparse.ArgumentParser:
    """A parser with the flags that name a model and rows to ask it about, and `--out` where `out` says what for."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--config", type=Path, required=True, help="recipe that names the base")
    parser.add_argument(
        "--adapter", required=True, help="folder, user/name[@revision], or none for the base"
    )
    parser.add_argument("--dataset", required=True, help="folder, .jsonl file or Hub id")
    if out:
        parser.add_argument("--out", type=Path, required=True, help=out)
    return parser


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The flags of eval.generate."""
    parser = model_arguments(description, out="folder for the answers, results/<run>")
    parser.add_argument(
        "--split", help="split to answer (default: test, or every row of a single file)"
    )
    parser.add_argument("--limit", type=int, help="only the first N rows")
    parser.add_argument("--max_new_tokens", type=int, default=Decoding.max_new_tokens)
    parser.add_argument(
        "--batch_size", type=int, default=Decoding.batch_size, help="rows, or requests, at once"
    )
    parser.add_argument(
        "--temperature", type=float, default=Decoding.temperature, help="0 is greedy"
    )
    parser.add_argument("--seed", type=int, default=Decoding.seed, help="for a temperature above 0")
    parser.add_argument(
        "--backend",
        choices=BACKENDS,
        default="batched",
        help="continuous is for cards, greedy only",
    )
    parser.add_argument(
        "--model", help="the name that the endpoint knows the model (or its adapter) by"
    )
    parser.add_argument(
        "--endpoint_prompt",
        choices=PROMPTS,
        default="chat",
        help="form the endpoint gets a prompt in",
    )
    return parser


def read_recipe(path: Path) -> Row:
    """A recipe's fields. Raises ValueError naming the file where it is no YAML mapping."""
    try:
        recipe = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not YAML: {error}") from None
    if not isinstance(recipe, dict):
        raise ValueError(f"{path} holds no fields; expected a recipe such as recipes/smollm2.yaml")
    return recipe
