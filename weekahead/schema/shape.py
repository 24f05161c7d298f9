"""Whether a JSON value has the shape that a TypedDict or a dataclass states, so that no later code
stumbles."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from functools import cache
from numbers import Real
from pathlib import Path
from typing import Any, TypeGuard

from weekahead.files import read_jsonl

_SHOWN = 60
"""Characters of a value that an error repeats."""
_WORDS: dict[object, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def check_shape(
    value: object, hint: Any, origin: str, remedy: str, *, complete: bool = True
) -> None:
    """Check that `value` is what the type `hint` says, in every depth.

    `hint` is a TypedDict, a dataclass or built of such, lists (a tuple is one in JSON), dicts,
    unions and plain types; of a Literal only
    that it is a text. The outermost object must have every required key if it is to be `complete`;
    one inside may lack some, as older versions wrote it. A key that the hint does not know is left
    alone.
    Raises ValueError naming `origin`, the key, its value and `remedy`.
    """
    fault = _fault(value, hint, "")
    if fault is None and complete and isinstance(value, Mapping) and typing.is_typeddict(hint):
        missing = sorted(hint.__required_keys__ - typing.cast("Mapping[str, object]", value).keys())
        fault = f"it has no {', '.join(missing)}" if missing else None
    if fault:
        raise ValueError(f"{origin}: {fault}; {remedy}")


def read_rows(path: Path, hint: Any, remedy: str, *, complete: bool = True) -> list[Any]:
    """The rows of a JSONL file, each of the shape `hint` as `check_shape` has it.

    Raises ValueError naming file, row, key and `remedy`, OSError for a file that is not there.
    """
    rows = read_jsonl(path)
    for number, row in enumerate(rows, start=1):
        check_shape(row, hint, f"{path}, row {number}", remedy, complete=complete)
    return rows


def has_shape(value: object, hint: Any) -> bool:
    """Whether what `value` holds is as `hint` says it, in every depth; keys may be missing."""
    return _fault(value, hint, "") is None


def is_finite(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a number to reckon with: not NaN, infinite or beyond a float."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number of hundreds of digits
        return False


def shortened(value: object) -> str:
    """A value as an error shows it; numbers of thousands of digits have no text in Python."""
    try:
        text = repr(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 3]}..."


def _fault(value: object, hint: Any, where: str) -> str | None:
    """What is wrong first, such as "base.name is 3, expected a text"; None for nothing."""
    if hint is Any or hint is object:
        return None
    has_keys, origin, arguments = _parts(hint)
    if has_keys:
        return _fault_of_keys(value, hint, where)
    if origin in (typing.Union, types.UnionType):
        return _fault_of_union(value, arguments, where)
    if origin in (list, tuple, dict):
        kind, inner = (dict, arguments[1]) if origin is dict else (list, arguments[0])
        return _fault_of_items(value, kind, inner, where)
    plain = str if origin is typing.Literal else hint
    is_right = _is_plain(value, plain)
    return None if is_right else _described(value, where, _WORDS.get(plain, str(plain)))


def _fault_of_union(value: object, members: tuple[Any, ...], where: str) -> str | None:
    """The fault by the first member; None as soon as one of them has none."""
    first = None
    for member in members:
        fault = _fault(value, member, where)
        if fault is None:
            return None
        first = first or fault
    return first


def _fault_of_keys(value: object, hint: Any, where: str) -> str | None:
    if not isinstance(value, Mapping):
        return _described(value, where, "an object")
    stored = typing.cast("Mapping[str, object]", value)
    for name, inner in _hints(hint).items():
        fault = _fault(stored[name], inner, _path(where, name)) if name in stored else None
        if fault:
            return fault
    return None


def _fault_of_items(value: object, kind: type, hint: Any, where: str) -> str | None:
    accepted = (list, tuple) if kind is list else kind
    if not isinstance(value, accepted):
        return _described(value, where, "a list" if kind is list else "an object")
    if kind is list:
        pairs = enumerate(typing.cast("list[object]", value), start=1)
    else:
        pairs = typing.cast("dict[str, object]", value).items()
    for name, inner in pairs:
        fault = _fault(inner, hint, _path(where, str(name)))
        if fault:
            return fault
    return None


def _is_plain(value: object, hint: Any) -> bool:
    if hint is float:
        return is_finite(value)
    if hint is int:
        is_whole = isinstance(value, float) and value.is_integer()
        return is_whole or (isinstance(value, int) and not isinstance(value, bool))
    if hint in (str, bool, type(None)):
        return isinstance(value, hint)
    return True


def _described(value: object, where: str, expected: str) -> str:
    return f"{where or 'it'} is {shortened(value)}, expected {expected}"


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


class _Parts(typing.NamedTuple):
    """What a hint is made of."""

    has_keys: bool
    """Whether it is a TypedDict or a dataclass."""
    origin: Any
    arguments: tuple[Any, ...]


@cache
def _parts(hint: Any) -> _Parts:
    """Looked up for every value of every row, so kept."""
    has_keys = typing.is_typeddict(hint) or dataclasses.is_dataclass(hint)
    return _Parts(has_keys, typing.get_origin(hint), typing.get_args(hint))


@cache
def _hints(hint: Any) -> dict[str, Any]:
    return typing.get_type_hints(hint)
