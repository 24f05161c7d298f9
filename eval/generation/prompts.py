"""The prompt of a dataset's row, in the form that a backend takes."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from weekahead.models.chat_format import chat_format_of, render_prompt_ids
from weekahead.schema.rows import DatasetRow

PROMPT_FORMS = ("chat", "text", "ids")
"""Messages, rendered text, token ids."""


@contextmanager
def naming_row(row: DatasetRow) -> Iterator[None]:
    """Put the id of `row` in front of a ValueError that is raised inside."""
    try:
        yield
    except ValueError as error:
        raise ValueError(f"row {row['id']}: {error}") from None


def prompt_ids(tokenizer: Any, row: DatasetRow) -> list[int]:
    """The token ids of a row's prompt. Raises ValueError that names a row that does not render."""
    with naming_row(row):
        return render_prompt_ids(tokenizer, row["prompt"])


def rendered_prompt(tokenizer: Any, row: DatasetRow) -> str:
    """A row's prompt as text, without the token that a server's tokenizer puts in front itself.

    Raises ValueError that names a row that does not render, or whose text is read as other tokens.
    """
    ids = prompt_ids(tokenizer, row)
    text = tokenizer.apply_chat_template(
        [dict(message) for message in row["prompt"]], tokenize=False, add_generation_prompt=True
    )
    text = text.removeprefix(chat_format_of(tokenizer).bos_token or "")
    if tokenizer(text)["input_ids"] != ids:
        raise ValueError(
            f"row {row['id']}: the tokenizer reads the rendered text as other tokens; "
            "use --endpoint_prompt ids"
        )
    return text
