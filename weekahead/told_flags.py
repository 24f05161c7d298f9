"""The flags of ARGS and the fields of a recipe against what a command knows, without loading it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import cast

from weekahead.recipe import read_recipe
from weekahead.schema.flags import CHOICES, LISTS, NEGATED, TRAINING_FLAGS, FlagKind
from weekahead.told_files import close_match

_VARIABLES = (
    "HF_TOKEN", "HF_HOME", "HF_ENDPOINT", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "HF_DATASETS_CACHE",
    "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE", "WANDB_API_KEY", "WANDB_MODE", "WANDB_PROJECT",
    "WANDB_ENTITY", "WANDB_BASE_URL", "WANDB_DIR", "OPENAI_API_KEY", "OPENAI_BASE_URL",
    "OPENAI_MODEL", "FINNHUB_API_KEY", "CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS",
    "WEEKAHEAD_DATA",
)  # fmt: skip
"""The variables of the environment that decide something here."""
_CONFUSED = {
    "HF_API_KEY": "HF_TOKEN",
    "HF_KEY": "HF_TOKEN",
    "HF_OFFLINE": "HF_HUB_OFFLINE",
    "OPENAI_KEY": "OPENAI_API_KEY",
    "OPENAI_TOKEN": "OPENAI_API_KEY",
    "OPENAI_API_BASE": "OPENAI_BASE_URL",
    "OPENAI_URL": "OPENAI_BASE_URL",
    "WANDB_KEY": "WANDB_API_KEY",
    "WANDB_TOKEN": "WANDB_API_KEY",
    "FINNHUB_KEY": "FINNHUB_API_KEY",
}
_NEAR = 0.88
"""Of two names: one letter is another. Names of libraries that differ in a word are further off."""
_SWITCH_WORDS = ("yes", "true", "t", "y", "1", "no", "false", "f", "n", "0")
_NUMBER_OF: dict[FlagKind, Callable[[str], object]] = {"whole number": int, "number": float}

Flags = dict[str, str | None]
"""Flag without dashes -> its first value; None for a switch."""


def read_flags(words: Sequence[str], known: Mapping[str, FlagKind], command: str) -> Flags:
    """The flags among `words` with their first values; `known` are those of `command`.

    Raises ValueError for a flag that it has not or that is given twice, and for a value that cannot
    be read.
    """
    flags: Flags = {}
    name = None
    for word in words:
        if word.startswith("--"):
            text, equals, value = word[2:].partition("=")
            name = _known_flag(text, known, command)
            if name in flags:
                raise ValueError(f"--{name} is given twice; give it once")
            flags[name] = value if equals else None
        elif name is None and not word.startswith("-"):
            raise ValueError(f"ARGS begins with {word!r}; expected --flag value")
        elif name is not None and flags[name] is None:
            flags[name] = word
        elif name is not None and name not in LISTS:
            raise ValueError(f"{word!r} stands after --{name} {flags[name]}; expected --flag value")
    for name, value in flags.items():
        if value is not None and name in known:
            _check_value(f"--{name}", value, known[name], CHOICES.get(name, ()))
        elif value is None and known.get(name, "true or false") != "true or false":
            raise ValueError(f"--{name} has no value; expected --{name} value")
    return flags


def _known_flag(text: str, known: Mapping[str, FlagKind], command: str) -> str:
    name = text.replace("-", "_")
    if name in known or name in ("help", "config") or name.removeprefix("no_") in NEGATED:
        return name
    raise ValueError(f"{command} has no flag --{text}{_nearest(name, known)}")


def _nearest(name: str, known: Iterable[str]) -> str:
    return close_match(f"--{name}", [f"--{other}" for other in known])


def _check_value(name: str, value: str, kind: FlagKind, choices: Sequence[str] = ()) -> None:
    if choices and value not in choices:
        raise ValueError(
            f"{name} is {value!r}{close_match(value, choices)}; expected {', '.join(choices)}"
        )
    if kind == "true or false" and value.lower() not in _SWITCH_WORDS:
        raise ValueError(f"{name} is {value!r}; expected {kind}")
    try:
        _NUMBER_OF.get(kind, str)(value)
    except ValueError:
        raise ValueError(f"{name} is {value!r}; expected a {kind}") from None


def check_fields(path: Path) -> None:
    """Check the names in a recipe, and its values that are one text, number, or true or false."""
    for name, value in read_recipe(path).items():
        if name not in TRAINING_FLAGS and name != "env":
            raise ValueError(f"{path}: no field {name}{close_match(name, TRAINING_FLAGS)}")
        if name != "env":
            check_field(path, name, value)


def check_field(path: Path, name: str, value: object) -> None:
    """Check that a value of a recipe is of its field's type.

    Raises ValueError naming recipe, field and what was expected.
    """
    kind, choices = TRAINING_FLAGS[name], CHOICES.get(name, ())
    parts: Sequence[object] = cast("list[object]", value) if isinstance(value, list) else [value]
    if len(parts) == 1 and value is False and "no" in choices:
        return  # YAML reads the word no, without quotes, as false
    for part in parts:
        if isinstance(part, bool) and kind != "true or false":
            expected = "a text in quotes, or no such line" if kind == "other" else f"a {kind}"
            raise ValueError(f"{path}: {name} is {str(part).lower()}; expected {expected}")
        if parts is value and not isinstance(part, str):
            raise ValueError(f"{path}: {name} holds {part!r}; expected a list of texts")
    if isinstance(value, str | int | float):
        _check_value(f"{path}: {name}", str(value), kind, choices)


def misspelt_variable(name: str) -> str | None:
    """What to say of a variable of the environment if another one must be meant, or None."""
    if name in _VARIABLES:
        return None
    near = get_close_matches(name.upper(), _VARIABLES, n=1, cutoff=_NEAR)
    meant = _CONFUSED.get(name.upper()) or next(iter(near), None)
    return f"nothing reads {name}: did you mean {meant}?" if meant else None
