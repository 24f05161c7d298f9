"""From dataset rows to the trainer's dataset; every row is measured before a model is loaded."""

from array import array
from collections.abc import Sequence
from typing import Any

from weekahead.models.chat_format import render_row_ids, row_length
from weekahead.schema.rows import DatasetRow


def row_lengths(tokenizer: Any, rows: Sequence[DatasetRow]) -> list[int]:
    """Tokens of each row, prompt and completion, as the trainer will see them.

    Raises ValueError naming the row's id if its text would break the chat format.
    """
    lengths = []
    for row in rows:
        try:
            lengths.append(row_length(tokenizer, row["prompt"], row["completion"]))
        except ValueError as error:
            raise ValueError(f"row {row['id']}: {error}") from None
    return lengths


def check_lengths(lengths: Sequence[int], max_length: int) -> None:
    """Check that no row would be cut: TRL cuts from the right, which is the answer.

    Raises ValueError with the number of rows that are too long, and the max_length they need.
    """
    too_long = sum(length > max_length for length in lengths)
    if too_long:
        raise ValueError(
            f"{too_long} of {len(lengths)} rows are longer than max_length {max_length}; "
            "the answer comes last and would be cut. "
            f"Pass --max_length {max(lengths)} (more memory), or leave the long rows out of the "
            "dataset."
        )


def to_dataset(rows: Sequence[DatasetRow]) -> Any:
    """Rows as a `datasets.Dataset` of prompt and completion messages.

    No other column: it could reach the loss.
    """
    from datasets import Dataset

    messages = [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows]
    return Dataset.from_list(messages)


def ids_of_rows_in(
    sequences: Sequence[Sequence[int]], rows: Sequence[DatasetRow], tokenizer: Any
) -> list[str]:
    """The ids of those `rows` whose tokens stand in one of `sequences`, in the order of `rows`.

    A sequence holds the tokens of a row with padding on either side, or of several rows.
    """
    texts = [_bytes_of(sequence) for sequence in sequences]
    found: list[str] = []
    for row in rows:
        prompt, completion = render_row_ids(tokenizer, row["prompt"], row["completion"])
        tokens = _bytes_of([*prompt, *completion])
        if any(_stands_in(tokens, text) for text in texts):
            found.append(row["id"])
    return found


def _bytes_of(token_ids: Sequence[int]) -> bytes:
    return array("q", token_ids).tobytes()


def _stands_in(tokens: bytes, text: bytes) -> bool:
    start = text.find(tokens)
    while start >= 0 and start % array("q").itemsize:  # not at the beginning of a token
        start = text.find(tokens, start + 1)
    return start >= 0
