"""Arguments of a training: our few, TRL's SFTConfig and ModelConfig; the recipe first, flags over it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Any

from eval.precision import Precision
from eval.turns import turn_format

PUBLIC_DATASET = "FinGPT/fingpt-forecaster-dow30-202305-202405"


@dataclass
class ScriptArguments:
    """What TRL does not know."""

    turn_format: str | None = field(default=None, metadata={"help": "how messages become tokens; see eval/turns.py"})
    dataset: str = field(default=PUBLIC_DATASET, metadata={"help": "folder, .jsonl file or Hub id"})
    max_rows: int | None = field(default=None, metadata={"help": "train on the first N rows only (by date)"})
    knowledge_cutoff: str | None = field(
        default=None,
        metadata={"help": "last day of the base's training data as its model card states it, such as 2023-12-31"},
    )

    def __post_init__(self) -> None:
        if self.max_rows is not None and self.max_rows < 1:
            raise ValueError(f"--max_rows is {self.max_rows}; expected at least 1")
        if self.turn_format is not None:
            turn_format(self.turn_format)
        if self.knowledge_cutoff is not None:
            self.knowledge_cutoff = _day(str(self.knowledge_cutoff))  # YAML makes a date of one without quotes


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise ValueError(f"knowledge_cutoff is {text!r}; expected a date such as 2023-12-31") from None


def parse(argv: Sequence[str] | None, precision: Precision) -> tuple[ScriptArguments, Any, Any]:
    """(ScriptArguments, SFTConfig, ModelConfig) from a recipe and flags; an unknown key is an error.

    The precision goes in as defaults before parsing, since SFTConfig checks it while it is built.
    Raises ValueError naming the field for what cannot work.
    """
    from trl import ModelConfig, SFTConfig, TrlParser

    # TrlParser's own hint knows no tuple of classes
    parser = TrlParser((ScriptArguments, SFTConfig, ModelConfig))  # pyright: ignore[reportArgumentType]
    parser.set_defaults(**precision.trainer_flags())
    script, training, model = parser.parse_args_and_config(argv)
    if training.trust_remote_code:
        raise ValueError("trust_remote_code is true; this suite never runs code from a model repository")
    for name, value in (("model_name_or_path", model.model_name_or_path), ("turn_format", script.turn_format)):
        if not value:
            raise ValueError(f"no {name}; give --config recipes/<MODEL>.yaml, or --{name} itself")
    if training.max_length is None:
        raise ValueError("max_length is not set; rows are measured against it before anything is loaded")
    # Counted for tokens/s; padding is not work that anyone wants to read about.
    training.include_num_input_tokens_seen = "non_padding"
    return script, training, model
