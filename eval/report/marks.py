"""A text as pieces, each marked where its words do not stand, in this order, in the text it is held against."""

import re
from difflib import SequenceMatcher

Piece = tuple[str, bool]
"""A stretch of the text, and whether its words are its own."""

_WORD = re.compile(r"\s*\S+")
_MOST_WORDS = 1500
"""Of either text; a base model may repeat itself, and the comparison's time grows with the square."""


def mark_differences(text: str, against: str) -> list[Piece]:
    """The pieces of `text` in their order; joined they are `text` again.

    Words are compared without case and outer punctuation. Nothing is marked where `against` is empty, or where
    one of the two is longer than 1,500 words.
    """
    words, others = _WORD.findall(text), _WORD.findall(against)
    if not others or max(len(words), len(others)) > _MOST_WORDS:
        return [(text, False)] if text else []
    matcher = SequenceMatcher(None, [*map(_bare, words)], [*map(_bare, others)], autojunk=False)
    pieces = [
        ("".join(words[first:last]), kind != "equal")
        for kind, first, last, _, _ in matcher.get_opcodes()
    ]
    end = text[sum(map(len, words)) :]
    return [*(piece for piece in pieces if piece[0]), *([(end, False)] if end else [])]


def _bare(word: str) -> str:
    return word.strip().strip(".,;:!?()[]\"'*").lower()
