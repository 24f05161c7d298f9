"""Prompts and answers that do not name their company: "the company" for its name, "TICKER" for its symbol.

The name is the one in the prompt's own introduction. Masked are the whole name, the name without its legal form
("Apple Inc", "Apple"), each of its words that names nothing else ("Disney" of "Walt Disney Co"), initials around
an ampersand ("P&G"), and the ticker. A word that many firms share ("American", "Home") is masked only within the
whole name, so that other firms in the news stay.

What else tells who it is stays: sector, day of listing, capitalization, products, people, nicknames. A name that
is a word of its own hides that word too: "Dow Jones" in a row of Dow Inc, an "A" at the start of a sentence in
one of the ticker A.
"""

import re
from functools import cache

from weekahead.files import Row
from weekahead.schema.rows import user_text
from weekahead.task.prompt_reader import read_prompt

NAME, TICKER = "the company", "TICKER"
_LEGAL = ("Incorporated", "Inc", "Corporation", "Corp", "Company", "Companies", "Cos", "Co", "Limited", "Ltd", "PLC",
          "plc", "LLC", "LP", "NV", "SA", "AG", "SE", "Group", "Holdings", "Holding", "Trust")  # fmt: skip
_LEGAL_ENDING = re.compile(rf"(?:,? (?:&|and|{'|'.join(_LEGAL)})\b\.?| &)+$")
_COMMON_WORDS = (
    "advanced air alliance american bank boots brands business capital communications depot energy entertainment "
    "express financial first foods general global health home industries insurance international johnson machines "
    "materials media motors national northern pacific parcel partners petroleum pharmaceuticals platforms products "
    "resources royal sachs scientific service services solutions southern southwest standard stores systems "
    "technologies technology therapeutics tools travelers union united water western world"
)
_SHARED = frozenset(_COMMON_WORDS.split())
_SHORTEST = 4  # letters of a word of a name that is masked alone


def mask_row(row: Row) -> Row:
    """`row` with its company masked in every message of prompt and completion; only the ticker without a name."""
    patterns = _patterns(read_prompt(user_text(row["prompt"])).company, row["symbol"])
    return {
        **row,
        **{
            part: [{**turn, "content": _masked(turn["content"], patterns)} for turn in row[part]]
            for part in ("prompt", "completion")
        },
    }


def name_variants(name: str) -> list[str]:
    """All that is masked of a company's name, the longest first."""
    core = _LEGAL_ENDING.sub("", name)
    words = [
        word
        for word in re.split(r"[\s,]+", core)
        if len(word) >= _SHORTEST and word.lower() not in _SHARED
    ]
    initials = [f"{a[0]}&{b[0]}" for a, b in re.findall(r"(\w+) (?:&|and) (\w+)", core)]
    forms = {name, core, *words, *initials}
    return sorted(forms | {form.upper() for form in forms}, key=lambda form: (-len(form), form))


@cache
def _patterns(name: str | None, symbol: str) -> tuple[tuple[re.Pattern[str], str], ...]:
    ticker = re.compile(rf"(?<!\w){re.escape(symbol)}(?!\w)")
    if name is None or name == symbol:
        return ((ticker, TICKER),)
    # News writes an apostrophe in either form. The legal form may follow any of the names: "Apple, Inc."
    names = "|".join(
        re.escape(form).replace("'", "['’]") for form in name_variants(name) if form != symbol
    )
    # Its full stop goes with it only where the sentence goes on: "Apple Inc. said", "Apple Inc.'s".
    legal = rf"(?:[.,]? (?:& |and )?(?:{'|'.join(_LEGAL)})\b)*(?:\.(?= ?[a-z(,'’]))?"
    return ((re.compile(rf"(?<!\w)(?:[Tt]he )?(?:{names})(?!\w){legal}"), NAME), (ticker, TICKER))


def _masked(text: str, patterns: tuple[tuple[re.Pattern[str], str], ...]) -> str:
    for pattern, neutral in patterns:
        text = pattern.sub(neutral, text)
    return text
