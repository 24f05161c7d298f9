"""What a command says on the terminal: our own lines, and no warning that every healthy run would give."""

import argparse
import logging
import os
import warnings
from pathlib import Path


def in_words(error: BaseException, if_memory: str) -> str:
    """What an error says; where a card's memory was too small, in one sentence and with the remedy `if_memory`."""
    if type(error).__name__ != "OutOfMemoryError":  # torch's, which is not imported for this
        return str(error)
    return f"{str(error).partition('. ')[0]}: {if_memory}"


def talk() -> None:
    """Print the lines of INFO and above bare, and leave out what libraries say of themselves in every run.

    Of several processes the first alone talks; the others print errors.
    """
    first = os.environ.get("RANK", "0") == "0"
    logging.basicConfig(level=logging.INFO if first else logging.ERROR, format="%(message)s")
    # A CPU kernel from the Hub is looked for wherever there are bf16 products; the one built in does the work.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # TRL uses two names that transformers has changed.
    warnings.filterwarnings(
        "ignore", message=".*gradient_checkpointing.* is deprecated", category=FutureWarning
    )


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
