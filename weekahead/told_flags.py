"""The flags of ARGS and the fields of a recipe against what a command knows, without loading it."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from weekahead.recipe import read_recipe
from weekahead.schema.flags import CHOICES, LISTS, NEGATED, TRAINING_FLAGS, FlagKind
from weekahead.told_files import close_match

_SWITCH_WORDS = ("yes", "true", "t", "y", "1", "no", "false", "f", "n", "0")
_NUMBER_OF: dict[FlagKind, Callable[[str], object]] = {"whole number": int, "number": float}

Flags = dict[str, str | None]
"""Flag without dashes -> its first value; None for a switch."""


def read_flags(words: Sequence[str], known: Mapping[str, FlagKind], command: str) -> Flags:
    """The flags among `words` with their first values; `known` are those of `command`.

    Raises ValueError for a flag that it has not, and for a value that cannot be read.
    """
    flags: Flags = {}
    name = None
    for word in words:
        if word.startswith("--"):
            text, equals, value = word[2:].partition("=")
            name = _known_flag(text, known, command)
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
    """Check the names in a recipe, and its values that are texts."""
    for name, value in read_recipe(path).items():
        if name not in TRAINING_FLAGS and name != "env":
            raise ValueError(f"{path}: no field {name}{close_match(name, TRAINING_FLAGS)}")
        if isinstance(value, str) and name != "env":
            _check_value(f"{path}: {name}", value, TRAINING_FLAGS[name], CHOICES.get(name, ()))
