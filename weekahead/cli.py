"""What a command says on the terminal: our own lines, and no warning that every healthy run would give."""

import logging
import os
import warnings


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
