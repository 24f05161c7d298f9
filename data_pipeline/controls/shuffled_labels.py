"""Labels dealt out again among the training rows, with the call of each answer rewritten to match.

Labels are drawn across a whole split and not within each week. Within a week they would keep the market's own
direction, which the rows of a week share: a model could still learn it from their prompts, and be right about
the test weeks for that. Drawn across, nothing ties a prompt to a label; what is left to learn is which direction
is commoner, so "chance" on the test rows is the accuracy of `train_majority`, not one half.

Train and validation are dealt out each within itself, so that nothing chosen on validation sees a true call
either. Test splits keep their true labels. Of an answer only its call is rewritten; its items and analysis stand
as the teacher wrote them for the true label, and no longer argue for the call.
"""

import random
from collections.abc import Mapping, Sequence

from weekahead.files import Row
from weekahead.task.answer import Answer, parse_answer
from weekahead.task.labels import direction_of, magnitude_of
from weekahead.task.prompt import completion

UNREADABLE = "its call cannot be rewritten"


def shuffle_labels(
    splits: Mapping[str, Sequence[Row]], seed: int
) -> tuple[dict[str, list[Row]], list[Row]]:
    """(splits, dropped): every split but `test*` with its labels and returns permuted, the same for a seed.

    Rows whose answer has no readable call are dropped with `split` and `reason`: they would keep a true one.
    """
    made, dropped = dict[str, list[Row]](), list[Row]()
    for name, rows in splits.items():
        if name.startswith("test"):
            made[name] = list(rows)
            continue
        kept = [row for row in rows if rewrite_prediction(_text(row), row["label"]) is not None]
        names = {row["id"] for row in kept}
        dropped += [
            {**row, "split": name, "reason": UNREADABLE} for row in rows if row["id"] not in names
        ]
        # One generator a split: the order of splits in a source decides nothing.
        donors = random.Random(f"{seed}/{name}").sample(kept, len(kept))
        made[name] = [_with_label(row, donor) for row, donor in zip(kept, donors, strict=True)]
    return made, dropped


def _with_label(row: Row, donor: Row) -> Row:
    """`row` with the donor's label and return; a row that drew its own label again stays as it is."""
    if row["label"] == donor["label"]:
        return row
    text = rewrite_prediction(_text(row), donor["label"])
    if text is None:
        raise ValueError(f"row {row['id']}: {UNREADABLE} to {donor['label']!r}; take the row out")
    return {
        **row,
        "label": donor["label"],
        "weekly_return": donor.get("weekly_return"),
        "completion": completion(text),
    }


def _text(row: Row) -> str:
    return row["completion"][0]["content"]


def rewrite_prediction(text: str, label: str) -> str | None:
    """An answer with `label` as its call and not another letter changed; None where that cannot be done.

    The prediction is found by reading the answer, and the new answer is read again to see that it says `label`.
    """
    answer = parse_answer(text)
    at = text.rfind(answer.prediction) if answer.valid and answer.prediction else -1
    while at >= 0:
        new = text[:at] + label.capitalize() + text[at + len(answer.prediction) :]
        if _says(parse_answer(new), label):
            return new
        at = text.rfind(answer.prediction, 0, at)
    return None


def _says(answer: Answer, label: str) -> bool:
    said = (answer.direction, answer.magnitude)
    return answer.valid and said == (direction_of(label), magnitude_of(label))
