"""Arguments of a training: ours, TRL's SFTConfig and ModelConfig; flags override the recipe."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from weekahead.models.chat_format import chat_format
from weekahead.models.precision import Precision
from weekahead.recipe import read_cutoff

PUBLIC_DATASET = "FinGPT/fingpt-forecaster-dow30-202305-202405"

_SAVE_WHERE_EVALUATED = (
    "Save where you evaluate: --eval_strategy steps --eval_steps 0.1 "
    "--save_strategy steps --save_steps 0.1"
)


@dataclass
class ScriptArguments:
    """The arguments that TRL does not have.

    Raises ValueError naming the flag for a value that cannot work.
    """

    turn_format: str | None = field(
        default=None,
        metadata={"help": "the model's chat format; see weekahead/models/families.py"},
    )
    dataset: str = field(default=PUBLIC_DATASET, metadata={"help": "folder, .jsonl file or Hub id"})
    max_rows: int | None = field(
        default=None, metadata={"help": "train on the first N rows only (by date)"}
    )
    knowledge_cutoff: str | None = field(
        default=None,
        metadata={
            "help": "last day of the base's training data as its model card states it, "
            "such as 2023-12-31"
        },
    )
    gen_rows: int | None = field(
        default=None,
        metadata={
            "help": "validation rows to answer at each evaluation; 0 is none "
            "(default: 8 on a GPU, else 0)"
        },
    )
    gen_max_new_tokens: int = field(
        default=384, metadata={"help": "longest answer of --gen_rows, in tokens"}
    )
    gen_time_share: float = field(
        default=0.1,
        metadata={"help": "most time --gen_rows may take, as a share of the rest of the training"},
    )
    early_stopping_patience: int | None = field(
        default=None,
        metadata={
            "help": "stop after N evaluations without a lower eval_loss; needs "
            "--load_best_model_at_end true"
        },
    )

    def __post_init__(self) -> None:
        minimum = {
            "max_rows": 1,
            "gen_rows": 0,
            "gen_max_new_tokens": 1,
            "early_stopping_patience": 1,
        }
        for name, smallest in minimum.items():
            value = getattr(self, name)
            if value is not None and value < smallest:
                raise ValueError(f"--{name} is {value}; expected at least {smallest}")
        if self.gen_time_share <= 0:
            raise ValueError(
                f"--gen_time_share is {self.gen_time_share}; expected more than 0, such as 0.1"
            )
        if self.turn_format is not None:
            chat_format(self.turn_format)
        cutoff = read_cutoff(vars(self))
        self.knowledge_cutoff = cutoff.isoformat() if cutoff else None


class Arguments(NamedTuple):
    """What a training is asked to do, in three objects."""

    script: ScriptArguments
    training: Any
    """TRL's SFTConfig."""
    model: Any
    """TRL's ModelConfig."""


def argument_classes() -> tuple[type, type, type]:
    """The classes of the three objects in `Arguments`, in their order.

    A function and no constant: this module is imported without TRL, which takes seconds to load.
    """
    from trl import ModelConfig, SFTConfig

    return ScriptArguments, SFTConfig, ModelConfig


def parse(argv: Sequence[str] | None, precision: Precision) -> Arguments:
    """Read a recipe and the flags over it; an unknown key is an error.

    The precision goes in as defaults before parsing, since SFTConfig checks it while it is built.
    Raises ValueError naming the field if a training with these arguments cannot work.
    """
    from trl import TrlParser

    # TrlParser's own type hint does not allow a tuple of classes
    parser = TrlParser(argument_classes())  # pyright: ignore[reportArgumentType]
    parser.set_defaults(**precision.trainer_flags())
    try:
        script, training, model = parser.parse_args_and_config(argv)
    except ValueError as error:
        if "load_best_model_at_end" not in str(error):
            raise
        raise ValueError(f"{' '.join(str(error).split())}. {_SAVE_WHERE_EVALUATED}") from None
    _check(script, training, model)
    # Counted for tokens per second; padding is no work that a reader wants to know about.
    training.include_num_input_tokens_seen = "non_padding"
    # It would leave NaN out of the logged means, and make 0.0 of a loss that is NaN throughout.
    training.logging_nan_inf_filter = False
    # Without it a resumed run would forget how many evaluations brought no improvement.
    training.restore_callback_states_from_checkpoint = script.early_stopping_patience is not None
    return Arguments(script, training, model)


def _check(script: ScriptArguments, training: Any, model: Any) -> None:
    if training.trust_remote_code:
        raise ValueError(
            "trust_remote_code is true; this suite never runs code from a model repository"
        )
    required = {
        "model_name_or_path": model.model_name_or_path,
        "turn_format": script.turn_format,
    }
    for name, value in required.items():
        if not value:
            raise ValueError(f"no {name}; give --config recipes/<MODEL>.yaml, or --{name} itself")
    if training.max_length is None:
        raise ValueError(
            "max_length is not set; rows are measured against it before anything is loaded"
        )
