"""Whether a JSON value has the shape that a TypedDict states, so that no later code stumbles."""

import types
import typing
from collections.abc import Mapping
from functools import cache
from typing import Any

_WORDS: dict[object, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def check_shape(value: object, hint: Any, origin: str, remedy: str) -> None:
    """Check that `value` is what the type `hint` says, in every depth.

    `hint` is a TypedDict or built of such, lists, dicts, unions and plain types; of a Literal only
    that it is a text. The outermost object must have every required key; one inside may lack some,
    as older versions wrote it. A key that the hint does not know is left alone.
    Raises ValueError naming `origin`, the key, its value and `remedy`.
    """
    fault = _fault(value, hint, "")
    if fault:
        raise ValueError(f"{origin}: {fault}; {remedy}")


def _fault(value: object, hint: Any, where: str) -> str | None:
    """What is wrong first, such as "base.name is 3, expected a text"; None for nothing."""
    if hint is Any or hint is object:
        return None
    if typing.is_typeddict(hint):
        return _fault_of_keys(value, hint, where)
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        faults = [_fault(value, member, where) for member in arguments]
        # The last member that is not None says most: `X | None` is read as X.
        return None if None in faults else faults[0]
    if origin is typing.Literal:
        return _fault(value, str, where)
    if origin in (list, dict):
        return _fault_of_items(value, origin, arguments, where)
    return None if _is_plain(value, hint) else _described(value, where, _WORDS.get(hint, str(hint)))


def _fault_of_keys(value: object, hint: Any, where: str) -> str | None:
    if not isinstance(value, Mapping):
        return _described(value, where, "an object")
    stored = typing.cast("Mapping[str, object]", value)
    missing = [] if where else sorted(hint.__required_keys__ - stored.keys())
    if missing:
        return f"it has no {', '.join(missing)}"
    for name, inner in _hints(hint).items():
        fault = _fault(stored[name], inner, _path(where, name)) if name in stored else None
        if fault:
            return fault
    return None


def _fault_of_items(value: object, kind: type, arguments: Any, where: str) -> str | None:
    if not isinstance(value, kind):
        return _described(value, where, "a list" if kind is list else "an object")
    if kind is list:
        pairs = enumerate(typing.cast("list[object]", value), start=1)
    else:
        pairs = typing.cast("dict[str, object]", value).items()
    for name, inner in pairs:
        fault = _fault(inner, arguments[-1], _path(where, str(name)))
        if fault:
            return fault
    return None


def _is_plain(value: object, hint: Any) -> bool:
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint is int:
        is_whole = isinstance(value, float) and value.is_integer()
        return is_whole or (isinstance(value, int) and not isinstance(value, bool))
    if hint in (str, bool, type(None)):
        return isinstance(value, hint)
    return True


def _described(value: object, where: str, expected: str) -> str:
    text = repr(value)
    short = text if len(text) <= 60 else f"{text[:57]}..."
    return f"{where or 'it'} is {short}, expected {expected}"


def _path(where: str, name: str) -> str:
    return f"{where}.{name}" if where else name


@cache
def _hints(hint: Any) -> dict[str, Any]:
    return typing.get_type_hints(hint)
