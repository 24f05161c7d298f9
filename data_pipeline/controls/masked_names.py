"""Prompts and answers that do not name their company: "the company", and "TICKER" for its symbol.

The name is the one in the prompt's own introduction. Masked are the whole name, the name without
its legal form ("Apple Inc", "Apple"), each of its words that names nothing else ("Disney" of "Walt
Disney Co"), initials around an ampersand ("P&G"), and the ticker. A word that many firms share
("American", "Home") is masked only within the whole name, so that other firms in the news stay.

What else tells who it is stays: sector, day of listing, capitalization, products, people,
nicknames. A name that is a common word hides that word too: "Dow Jones" in a row of Dow Inc, an "A"
at the start of a sentence in a row of the ticker A.
"""

import re
from collections.abc import Sequence
from functools import cache

from weekahead.schema.rows import DatasetRow, Message, user_text
from weekahead.task.prompt_reader import read_prompt

NAME, TICKER = "the company", "TICKER"
_LEGAL_FORMS = (
    "Incorporated|Inc|Corporation|Corp|Company|Companies|Cos|Co|Limited|Ltd|PLC|plc|LLC|LP|NV|SA|AG"
    "|SE|Group|Holdings|Holding|Trust"
)
_LEGAL_ENDING = re.compile(rf"(?:,? (?:&|and|{_LEGAL_FORMS})\b\.?| &)+$")
_COMMON_WORDS = """
advanced air alliance american bank boots brands business capital communications depot energy
entertainment express financial first foods general global health home industries insurance
international johnson machines materials media motors national northern pacific parcel partners
petroleum pharmaceuticals platforms products resources royal sachs scientific service services
solutions southern southwest standard stores systems technologies technology therapeutics tools
travelers union united water western world
"""
_SHARED_WORDS = frozenset(_COMMON_WORDS.split())
_SHORTEST_WORD = 4
"""Letters of a word of a name that is masked alone."""

Replacements = tuple[tuple[re.Pattern[str], str], ...]
"""What is masked, and what is written instead."""


def mask_row(row: DatasetRow) -> DatasetRow:
    """`row` with its company masked in every message of prompt and completion.

    Only the ticker is masked if the introduction states no name.
    """
    replacements = _replacements(read_prompt(user_text(row["prompt"])).company, row["symbol"])
    return {
        **row,
        "prompt": _mask(row["prompt"], replacements),
        "completion": _mask(row["completion"], replacements),
    }


def name_variants(name: str) -> list[str]:
    """All that is masked of a company's name, the longest first."""
    core = _LEGAL_ENDING.sub("", name)
    variants = {name, core}
    for word in re.split(r"[\s,]+", core):
        if len(word) >= _SHORTEST_WORD and word.lower() not in _SHARED_WORDS:
            variants.add(word)
    for left, right in re.findall(r"(\w+) (?:&|and) (\w+)", core):
        variants.add(f"{left[0]}&{right[0]}")
    variants |= {variant.upper() for variant in variants}
    return sorted(variants, key=lambda variant: (-len(variant), variant))


@cache
def _replacements(name: str | None, symbol: str) -> Replacements:
    ticker = (re.compile(rf"(?<!\w){re.escape(symbol)}(?!\w)"), TICKER)
    if name is None or name == symbol:
        return (ticker,)
    variants = [re.escape(variant) for variant in name_variants(name) if variant != symbol]
    # News writes an apostrophe in either form.
    names = "|".join(variants).replace("'", "['’]")
    # The legal form may follow any of the names: "Apple, Inc." Its full stop goes with it only if
    # the sentence goes on: "Apple Inc. said", "Apple Inc.'s".
    legal_form = rf"(?:[.,]? (?:& |and )?(?:{_LEGAL_FORMS})\b)*(?:\.(?= ?[a-z(,'’]))?"
    return (re.compile(rf"(?<!\w)(?:[Tt]he )?(?:{names})(?!\w){legal_form}"), NAME), ticker


def _mask(messages: Sequence[Message], replacements: Replacements) -> list[Message]:
    return [
        {**message, "content": _masked(message["content"], replacements)} for message in messages
    ]


def _masked(text: str, replacements: Replacements) -> str:
    for pattern, substitute in replacements:
        text = pattern.sub(substitute, text)
    return text
