"""Prompts without their news; prices, figures and the question stay as they were.

What no longer follows is not repaired: a public prompt still announces "News during this period are
listed below", and a reference answer still speaks of what was taken out. So this is a control for
evaluation: an adapter that was trained with news is asked without, and only its prediction counts.
"""

from weekahead.schema.rows import DatasetRow, Message
from weekahead.task.prompt_reader import remove_news


def without_news(row: DatasetRow) -> DatasetRow:
    """`row` with all news taken out of its user message, in our layout and in the public one."""
    return {**row, "prompt": [_without_news(message) for message in row["prompt"]]}


def _without_news(message: Message) -> Message:
    if message["role"] != "user":
        return message
    return {**message, "content": remove_news(message["content"])}
