"""The file `.env`: `NAME=value` lines with quotes and comments, put into the environment."""

import logging
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from weekahead.files import read_text
from weekahead.told_flags import misspelt_variable

log = logging.getLogger(__name__)

_NAME = re.compile(r"(?:export[ \t]+)?([A-Za-z_][A-Za-z0-9_]*)[ \t]*=[ \t]*")
_COMMENT = re.compile(r"[ \t]+#.*")
_REST = re.compile(r"[ \t]*(?:#.*)?")
_ESCAPES = {r"\n": "\n", r"\r": "\r", r"\t": "\t", r"\"": '"', r"\\": "\\", r"\$": "$"}
_EXPECTED = "expected NAME=value"
_TYPOGRAPHIC = ("\u2018", "\u2019", "\u201c", "\u201d", "\u201e", "\u00ab")


class _Entry(NamedTuple):
    """One assignment: its first line, counted from 1, its name and its value."""

    line: int
    name: str
    value: str


def load_env(path: Path | str = ".env") -> list[str]:
    """Put the assignments of a `.env` file into the environment; return the names it set.

    A variable that is already set wins, and an empty value sets nothing (W&B takes a variable that
    is set but empty for an address). The form is that of python-dotenv without substitution: a
    leading `export`, spaces around `=`, quotes of both kinds (between which a value may hold `#`
    and line ends; `\\n`, `\\"` and so on only between double ones), and comments, at the end of a
    line after a space.
    Raises ValueError naming file and line, never the value, for a line of another form, quotes
    that do not end, a name with two different values, and a `.env` that is no file. A name that is
    nearly one that is read is told in a warning.
    """
    if not os.path.lexists(path):
        return []
    if not Path(path).exists() or Path(path).is_dir():
        what = (
            "a folder"
            if Path(path).is_dir()
            else f"a link to {Path(path).readlink()}, which is not there"
        )
        raise ValueError(f"{path} is {what}; expected a file with lines {_EXPECTED[9:]}")
    values: dict[str, _Entry] = {}
    for entry in _entries(path, read_text(path)):
        before = values.get(entry.name)
        if before and entry.value and before.value not in ("", entry.value):
            raise ValueError(
                f"{path}, line {entry.line}: {entry.name} has another value in line "
                f"{before.line}; keep one of them"
            )
        if not before or entry.value:
            values[entry.name] = entry
    for entry in values.values():
        hint = misspelt_variable(entry.name)
        if hint:
            log.warning("%s, line %d: %s", path, entry.line, hint)
    names = [name for name, entry in values.items() if entry.value and name not in os.environ]
    os.environ.update({name: values[name].value for name in names})
    return names


def _entries(path: Path | str, text: str) -> Iterator[_Entry]:
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    number = 0
    while number < len(lines):
        first, line = number + 1, lines[number].strip(" \t\f\v")
        number += 1
        if not line or line.startswith("#"):
            continue
        match = _NAME.match(line)
        if not match:
            raise ValueError(f"{path}, line {first}: {_EXPECTED}")
        value = line[match.end() :]
        quote = value[:1]
        if quote in ("'", '"'):
            while (end := _closing(value, quote)) is None and number < len(lines):
                value += "\n" + lines[number]
                number += 1
            value = _unquoted(value, end, f"{path}, line {first}")
        else:
            value = _COMMENT.sub("", f" {value}", count=1).strip()
        if value[:1] in _TYPOGRAPHIC:
            raise ValueError(f"{path}, line {first}: typographic quotes; write ' or \"")
        if "\0" in value:
            raise ValueError(f"{path}, line {first}: the value holds a NUL byte; {_EXPECTED}")
        yield _Entry(first, match[1], value)


def _closing(value: str, quote: str) -> int | None:
    """Where the text that begins with `quote` ends; None if it does not."""
    index = 1
    while index < len(value):
        if quote == '"' and value[index] == "\\":
            index += 1
        elif value[index] == quote:
            return index
        index += 1
    return None


def _unquoted(value: str, end: int | None, place: str) -> str:
    if end is None:
        raise ValueError(f"{place}: the quotes do not end; {_EXPECTED}, or quotes on both sides")
    if not _REST.fullmatch(value[end + 1 :]):
        raise ValueError(f"{place}: there is text behind the closing quote; {_EXPECTED}")
    inner = value[1:end]
    if value[0] == "'":
        return inner
    return re.sub(r"\\.", lambda match: _ESCAPES.get(match[0], match[0]), inner)
