"""Texts of others made safe to show: no character steers a terminal or turns a line around."""

import unicodedata

_UNPRINTABLE = ("Cc", "Cs", "Cf")
"""Control characters, lone surrogates, and direction marks, which would reverse the line."""


def visible(text: str) -> str:
    """`text` with U+FFFD for each unprintable character. Line ends and tabs stay."""
    text = text.replace("\r\n", "\n")
    if text.isprintable():
        return text
    return "".join(character if _is_printable(character) else "\ufffd" for character in text)


def one_line(text: str) -> str:
    """`visible` text without line breaks, so that it cannot pass for a line of its own."""
    return visible(" ".join(text.splitlines()))


def shown(value: object) -> object:
    """A value that a template prints, `visible` if it is a text and no markup."""
    return visible(value) if type(value) is str else value


def _is_printable(character: str) -> bool:
    return character in "\n\t" or unicodedata.category(character) not in _UNPRINTABLE
