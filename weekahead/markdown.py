"""Texts of others in Markdown, where they stay in their place."""

import re


def escape(text: str) -> str:
    """A text on one line whose characters have no meaning in Markdown or HTML."""
    return re.sub(
        r"([\\`*\[\]<>|#~&]|(?<![A-Za-z0-9])_|_(?![A-Za-z0-9]))", r"\\\1", " ".join(text.split())
    )


def fence(text: str) -> str:
    """A text as a code block whose fence is longer than any row of backticks in it."""
    longest = max((len(ticks) for ticks in re.findall(r"`+", text)), default=0)
    marks = "`" * max(3, longest + 1)
    return f"{marks}text\n{text}\n{marks}"
