"""Labels dealt out again among the rows, with the prediction of each answer rewritten to match.

Labels are drawn across a whole split and not within each week. Within a week they would keep the
market's own direction, which the rows of a week share: a model could still learn it from their
prompts, and be right about the test weeks for that. Drawn across, nothing ties a prompt to a label;
what is left to learn is which direction is more frequent, so "chance" on the test rows is the
accuracy of `train_majority`, not one half.

Train and validation are dealt out each within itself, so that nothing chosen on validation sees a
true prediction either. Test splits keep their true labels. Of an answer only its prediction is
rewritten; its items and analysis stay as the teacher wrote them for the true label, and no longer
argue for the prediction.
"""

import random
from collections.abc import Mapping, Sequence

from weekahead.schema.rows import DatasetRow, DroppedRow, reference_text
from weekahead.task.answer import Answer, parse_answer
from weekahead.task.labels import direction_of, magnitude_of
from weekahead.task.prompt import completion

UNREADABLE = "its call cannot be rewritten"
"""The reason of a dropped row."""


def shuffle_labels(
    splits: Mapping[str, Sequence[DatasetRow]], seed: int
) -> tuple[dict[str, list[DatasetRow]], list[DroppedRow]]:
    """The splits with labels and returns permuted in all but `test*`, and the dropped rows.

    The same seed gives the same labels. Rows whose answer has no readable prediction are dropped
    with `split` and `reason`: they would keep a true one.
    """
    shuffled: dict[str, list[DatasetRow]] = {}
    dropped: list[DroppedRow] = []
    for name, rows in splits.items():
        if name.startswith("test"):
            shuffled[name] = list(rows)
            continue
        takers: list[DatasetRow] = []
        for row in rows:
            if rewrite_prediction(reference_text(row), row["label"]) is None:
                dropped.append({**row, "split": name, "reason": UNREADABLE})
            else:
                takers.append(row)
        # One generator per split: the order of splits in a source decides nothing.
        donors = random.Random(f"{seed}/{name}").sample(takers, len(takers))
        shuffled[name] = [_with_label_of(*pair) for pair in zip(takers, donors, strict=True)]
    return shuffled, dropped


def rewrite_prediction(text: str, label: str) -> str | None:
    """An answer with `label` as its prediction and no other letter changed.

    The prediction is found by reading the answer, and the new answer is read again to see that it
    names `label`. None if that cannot be done.
    """
    answer = parse_answer(text)
    prediction = answer.prediction
    if not answer.valid or not prediction:
        return None
    start = text.rfind(prediction)
    while start >= 0:
        rewritten = text[:start] + label.capitalize() + text[start + len(prediction) :]
        if _names(parse_answer(rewritten), label):
            return rewritten
        start = text.rfind(prediction, 0, start)
    return None


def _with_label_of(row: DatasetRow, donor: DatasetRow) -> DatasetRow:
    """`row` with the donor's label and return; a row that drew its own label stays as it is."""
    if row["label"] == donor["label"]:
        return row
    text = rewrite_prediction(reference_text(row), donor["label"])
    if text is None:
        raise ValueError(f"row {row['id']}: {UNREADABLE} to {donor['label']!r}; take the row out")
    return {
        **row,
        "label": donor["label"],
        "weekly_return": donor.get("weekly_return"),
        "completion": completion(text),
    }


def _names(answer: Answer, label: str) -> bool:
    named = (answer.direction, answer.magnitude)
    return answer.valid and named == (direction_of(label), magnitude_of(label))
