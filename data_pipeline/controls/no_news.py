"""Prompts without their news; prices, figures and the question stand as they were.

Nothing is repaired that no longer follows: a public prompt still announces "News during this period are listed
below", and a reference answer still speaks of what was taken out. So it is a control for evaluation: an adapter
trained with news is asked without, and only its call is of interest.
"""

import re

from weekahead.files import Row

# Ours: the lines below a week's prices (`prompts.py`). Each item is one line, which `news.py` sees to.
_OURS = re.compile(r"(?P<week>^\[Week to [^\n]*)(?:\n- [^\n]*)+", re.MULTILINE)
# Public: a block ends where the next week, the figures or the question begin; a summary may hold blank lines.
_PUBLIC = re.compile(
    r"\n*^\[Headline\]:.*?(?=\n+(?:From \d{4}-\d\d-\d\d to |Some recent basic financials |\[Basic Financials\]"
    r"|No basic financial |Based on all the information )|\Z)",
    re.MULTILINE | re.DOTALL,
)


def without_news(row: Row) -> Row:
    """`row` with all news taken out of its user message, in our form and in the public one."""
    return {
        **row,
        "prompt": [
            {**turn, "content": strip_news(turn["content"])} if turn["role"] == "user" else turn
            for turn in row["prompt"]
        ],
    }


def strip_news(text: str) -> str:
    """A user message without its news."""
    return _PUBLIC.sub("", _OURS.sub(r"\g<week>", text))
