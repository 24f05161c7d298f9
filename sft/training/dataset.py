"""From dataset rows to what the trainer eats, with every row's length known before a model is loaded."""

from collections.abc import Sequence
from typing import Any

from weekahead.files import Row
from weekahead.models.chat_format import render_row_ids


def row_lengths(tokenizer: Any, rows: Sequence[Row]) -> list[int]:
    """Tokens of each row, prompt and completion, as the trainer will see them.

    Raises ValueError naming the row's id where the turn format breaks on it.
    """
    lengths = []
    for row in rows:
        try:
            prompt_ids, completion_ids = render_row_ids(tokenizer, row["prompt"], row["completion"])
        except ValueError as error:
            raise ValueError(f"row {row['id']}: {error}") from None
        lengths.append(len(prompt_ids) + len(completion_ids))
    return lengths


def check_lengths(lengths: Sequence[int], max_length: int) -> None:
    """Stop where any row would be cut or dropped: TRL cuts from the right, which is the answer.

    Raises ValueError with the number of such rows, the max_length needed and the remedy.
    """
    too_long = sum(length > max_length for length in lengths)
    if too_long:
        raise ValueError(
            f"{too_long} of {len(lengths)} rows are longer than max_length {max_length}; the answer stands last and "
            f"would be cut. Pass --max_length {max(lengths)} (more memory), or leave the long rows out of the dataset."
        )


def to_dataset(rows: Sequence[Row]) -> Any:
    """Rows as a `datasets.Dataset` of prompt and completion messages alone: nothing else may reach the loss."""
    from datasets import Dataset

    return Dataset.from_list(
        [{"prompt": row["prompt"], "completion": row["completion"]} for row in rows]
    )
