"""Prompts without their news; prices, figures and the question stand as they were.

Nothing is repaired that no longer follows: a public prompt still announces "News during this period are listed
below", and a reference answer still speaks of what was taken out. So it is a control for evaluation: an adapter
trained with news is asked without, and only its call is of interest.
"""

from weekahead.files import Row
from weekahead.task.prompt_reader import remove_news


def without_news(row: Row) -> Row:
    """`row` with all news taken out of its user message, in our form and in the public one."""
    return {
        **row,
        "prompt": [
            {**turn, "content": remove_news(turn["content"])} if turn["role"] == "user" else turn
            for turn in row["prompt"]
        ],
    }
