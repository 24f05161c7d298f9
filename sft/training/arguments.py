"""Arguments of a training: ours, TRL's SFTConfig and ModelConfig; flags override the recipe."""

import argparse
import difflib
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from sft.training.fields import DECIDED, check_decided, decided_by_hardware
from sft.training.launch import move_checkpointing
from sft.training.values import check_numbers, check_values
from weekahead.models.chat_format import chat_format
from weekahead.models.precision import Precision
from weekahead.recipe import PUBLIC_DATASET, read_cutoff, read_recipe
from weekahead.schema.flags import TRAINING_FLAGS
from weekahead.told_flags import check_field

_SAVE_WHERE_EVALUATED = (
    "Save where you evaluate: --eval_strategy steps --eval_steps 0.1 "
    "--save_strategy steps --save_steps 0.1"
)


_OLD_NAME = (
    "--gradient_checkpointing has no effect, TRL reads another field: "
    "give --activation_checkpointing, its new name"
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
    upload_artifacts: bool = field(
        default=True,
        metadata={
            "help": "W&B gets the files of dataset and adapter; false: their digests and where "
            "they lie"
        },
    )

    def __post_init__(self) -> None:
        check_numbers(vars(self))
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
    """Read a recipe and the flags over it; an unknown or misspelt field is an error.

    What the suite decides and what cannot work is refused before the three objects are built:
    building them changes their fields.
    Raises ValueError naming the field if a training with these arguments cannot work, OSError for a
    recipe that cannot be read.
    """
    parser = _parser(precision)
    flags = _read_recipe_into(parser, sys.argv[1:] if argv is None else list(argv))
    if move_checkpointing():
        flags += ["--activation_checkpointing", "true"]
    known, unknown = parser.parse_known_args(flags)
    if unknown and not unknown[0].startswith("-"):
        raise ValueError(f"{unknown[0]!r} stands where a flag was expected; expected --field value")
    if unknown:
        raise ValueError(_unknown(parser, unknown[0]))
    values = vars(known)
    if any(re.match("--gradient[_-]checkpointing(=|$)", flag) for flag in flags):
        raise ValueError(_OLD_NAME)
    check_decided(values, precision)
    check_values(values, precision)
    _check_required(values)
    try:
        script, training, model = parser.parse_args_into_dataclasses(
            args=flags, look_for_args_file=False
        )
    except TypeError as error:  # an unknown name in a field that is a mapping
        raise ValueError(" ".join(str(error).split())) from None
    except ValueError as error:
        if "load_best_model_at_end" not in str(error):
            raise
        raise ValueError(f"{' '.join(str(error).split())}. {_SAVE_WHERE_EVALUATED}") from None
    # Counted for tokens per second; padding is no work that a reader wants to know about. (The
    # parser takes this field for a bool.)
    training.include_num_input_tokens_seen = "non_padding"
    if training.world_size > 1 and training.ddp_find_unused_parameters is None:
        # The Trainer says true for every adapter: a search of the graph at each step for nothing.
        training.ddp_find_unused_parameters = False
    # Without it a resumed run would forget how many evaluations brought no improvement.
    training.restore_callback_states_from_checkpoint = script.early_stopping_patience is not None
    return Arguments(script, training, model)


def _parser(precision: Precision) -> Any:
    """TRL's parser of the three classes, with the defaults that the suite decides."""
    from trl import TrlParser

    # TrlParser's own type hint does not allow a tuple of classes
    parser: Any = TrlParser(argument_classes())  # pyright: ignore[reportArgumentType]
    parser.allow_abbrev = False
    parser.error = _refuse  # instead of 300 lines of usage
    # Of "str | list[str]" it makes a flag of one value.
    next(action for action in parser._actions if action.dest == "report_to").nargs = "+"
    parser.set_defaults(
        **decided_by_hardware(precision),
        # It leaves NaN out of the logged means, and makes 0.0 of a loss that is NaN throughout.
        logging_nan_inf_filter=False,
        # The Trainer's own default uploads weights that nobody can go on from.
        hub_strategy="checkpoint",
    )
    return parser


def _refuse(message: str) -> NoReturn:
    # "argument --max_steps/--max-steps: invalid" names the flag twice
    raise ValueError(re.sub(r"^argument (--\w+)\S*: ", r"\1: ", message))


def _read_recipe_into(parser: Any, argv: list[str]) -> list[str]:
    """Make the recipe that `--config` names the parser's defaults; return the other flags.

    Raises ValueError naming recipe and field for an unknown field or a value of another type.
    """
    finder = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    finder.add_argument("--config", action="append", type=Path)
    found, flags = finder.parse_known_args(argv)
    recipes: list[Path] = found.config or []
    if len(recipes) > 1:
        names = ", ".join(map(str, recipes))
        raise ValueError(f"--config is given {len(recipes)} times ({names}); expected one recipe")
    for path in recipes:
        for name, value in read_recipe(path).items():
            actions = [action for action in parser._actions if action.dest == name]
            if name == "env":
                raise ValueError(
                    f"{path}: env is not read; variables come from the environment or .env"
                )
            if name == "gradient_checkpointing":
                raise ValueError(f"{path}: {_OLD_NAME}")
            if not actions or name == "help":
                raise ValueError(f"{path}: {_unknown(parser, name)}")
            default = _default(path, actions[0], value)
            if name in TRAINING_FLAGS and name not in DECIDED:  # those are refused with a reason
                check_field(path, name, value)
            for action in actions:  # a field that is true by default has a second one, --no_field
                action.default = default
    return flags


def _default(path: Path, action: argparse.Action, value: Any) -> Any:
    """A value of a recipe as argparse's default: as a text, so that it is read as a flag is."""
    several = action.nargs in ("+", "*")
    takes_mapping = "dict" in str(action.type) or action.dest.endswith(("_kwargs", "_config"))
    if isinstance(value, dict) and not takes_mapping:
        raise ValueError(f"{path}: {action.dest} is a mapping; expected one value")
    if isinstance(value, list) and not several:
        raise ValueError(f"{path}: {action.dest} is a list; expected one value")
    if value is None and action.default is not None and action.dest != "model_revision":
        raise ValueError(f"{path}: {action.dest} has no value; give one, or remove the line")
    if value is None and action.dest == "model_revision":
        return action.default
    if value is None or isinstance(value, dict):
        return value
    if value is False and "no" in (action.choices or ()):
        return "no"  # YAML reads the word no, without quotes, as false
    return [str(item) for item in value] if isinstance(value, list) else str(value)


def _unknown(parser: Any, text: str) -> str:
    """What is wrong with a field or flag that no class has, and which one may be meant."""
    name = text.lstrip("-").partition("=")[0]
    names = [action.dest for action in parser._actions]
    near = difflib.get_close_matches(name.replace("-", "_"), names, n=1)
    hint = f"; did you mean --{near[0]}?" if near else "; --help lists all"
    return f"there is no field {name!r}{hint}"


def _check_required(values: Mapping[str, Any]) -> None:
    for name in ("model_name_or_path", "turn_format"):
        if not values[name]:
            raise ValueError(f"no {name}; give --config recipes/<MODEL>.yaml, or --{name} itself")
    if values["max_length"] is None:
        raise ValueError(
            "max_length is not set; rows are measured against it before anything is loaded"
        )
