"""Rows of generated answers, as eval.score reads them."""

import random

from weekahead.task.labels import BINS

UNREADABLE = "I cannot say anything about this company."


def answer(
    prediction,
    positives="Sales grew fast.",
    concerns="Debt is high.",
    analysis="The week looks calm.",
):
    """An answer in the layout; `prediction` is its prediction line."""
    return (
        f"[Positive Developments]:\n1. {positives}\n\n[Potential Concerns]:\n1. {concerns}\n\n"
        f"[Prediction & Analysis]:\nPrediction: {prediction}\nAnalysis: {analysis}"
    )


def answer_with(label):
    """An answer that predicts a bin."""
    return answer(label.capitalize())


def scorable_row(prediction, label, **fields):
    """A row whose generation predicts `prediction`, and whose reference and label are `label`."""
    generation = answer(prediction)
    return {"generation": generation, "answer": answer_with(label), "label": label, **fields}


def market(n=100, weeks=10, seed=1):
    """Rows with random labels and a model that is right on about half of them."""
    rng = random.Random(seed)
    rows = []
    for number in range(n):
        label, predicted = rng.choice(BINS), rng.choice(BINS)
        rows.append(
            scorable_row(
                predicted.capitalize(),
                label,
                id=f"S{number}-2024-01-01",
                period=f"week {number % weeks}",
                train_majority=1,
                last_week_return=rng.uniform(-0.07, 0.07),
                seconds=rng.uniform(1, 3),
                new_tokens=rng.randrange(50, 400),
                finish_reason="stop",
            )
        )
    return rows
