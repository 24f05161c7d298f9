"""What a command says on the terminal: our own lines, and no warning that every healthy run would give."""

import logging
import warnings


def talk() -> None:
    """Print the lines of INFO and above bare, and leave out what libraries say of themselves in every run."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    # A CPU kernel from the Hub is looked for wherever there are bf16 products; the one built in does the work.
    logging.getLogger("bitsandbytes.backends.cpu.ops").setLevel(logging.ERROR)
    # TRL reads an attribute that transformers has renamed.
    warnings.filterwarnings("ignore", message=".*is_gradient_checkpointing.*", category=FutureWarning)
