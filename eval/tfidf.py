"""The cheap model that every language model should beat: TF-IDF and logistic regression on the same prompts.

    python -m eval.tfidf --dataset data/datasets/mine --out results/tfidf

Leaves what a run of eval.generate leaves, so that eval.score and eval.report need no special case. Its
answers state a bin and nothing else: their ROUGE means nothing.

It is fitted on the training rows that a model would be trained on. The strength of regularization is the one
with the smallest log loss on the validation rows (cut by date from train where the dataset brings none); the
test rows are read only to be predicted. The same rows give the same file.
"""

import argparse
import json
import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

from data_pipeline.dataset.load import EvalData, TrainData, eval_rows, train_rows
from eval.generation.results_folder import GENERATIONS, MANIFEST
from eval.likelihoods.run import LIKELIHOODS
from weekahead.files import Row, load_env, write_json, write_jsonl
from weekahead.manifest import new_manifest
from weekahead.schema.rows import user_text
from weekahead.task.answer import render_answer
from weekahead.task.labels import BINS, direction_of

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Values of C that are tried, the inverse of the strength of the L2 penalty."""
UNCHOSEN = 1.0
"""C where nothing can be chosen on: scikit-learn's own default."""
_SURE = 1e-9
WORDS = {
    "ngram_range": (1, 2),
    "min_df": 2,
    "sublinear_tf": True,
    "token_pattern": r"(?u)\b[^\W\d_]{2,}\b",
}
"""Words and pairs of words of two training prompts or more. Figures are no words: no date or price comes twice."""


@dataclass(frozen=True)
class Fitted:
    """A fitted model and how its regularization was chosen."""

    words: Any
    """The vectorizer."""
    model: Any
    """The logistic regression; its second class is up."""
    strength: float
    losses: dict[float, float]
    """C -> log loss a validation row, in nats; empty where there was nothing to choose on."""

    def up(self, rows: Sequence[Row]) -> list[float]:
        """The probability that each row's week is up, kept off 0 and 1 so that its logarithm is a number."""
        chances = self.model.predict_proba(self.words.transform(map(_user, rows)))[:, 1].tolist()
        return [min(max(up, _SURE), 1 - _SURE) for up in chances]


def fit(data: TrainData) -> Fitted:
    """Fit on the train rows, with the C that does best on the validation rows (of equals the strongest penalty).

    Raises ValueError where the training labels are all up or all down: there is nothing to tell apart.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    truths = [direction_of(row["label"]) for row in data.train]
    if len(set(truths)) < 2:
        word = "up" if truths[0] > 0 else "down"
        raise ValueError(
            f"{data.source}: all {len(truths)} training rows are {word}; expected both directions"
        )
    words = TfidfVectorizer(**WORDS)
    counted = words.fit_transform(map(_user, data.train))
    tried = [
        Fitted(
            words, LogisticRegression(C=strength, max_iter=1000).fit(counted, truths), strength, {}
        )
        for strength in (STRENGTHS if data.validation else (UNCHOSEN,))
    ]
    losses = (
        {one.strength: log_loss(one, data.validation) for one in tried} if data.validation else {}
    )
    best = min(tried, key=lambda one: losses.get(one.strength, 0.0))
    return replace(best, losses=losses)


def log_loss(fitted: Fitted, rows: Sequence[Row]) -> float:
    """The mean of -log of the probability of what came true, in nats; a coin has 0.693."""
    pairs = zip(fitted.up(rows), rows, strict=True)
    return -fmean(math.log(up if direction_of(row["label"]) > 0 else 1 - up) for up, row in pairs)


def _user(row: Row) -> str:
    return user_text(row["prompt"])


def bin_shares(labels: Sequence[str]) -> dict[str, float]:
    """The share of each bin among the labels of its direction, one added to every count (Laplace).

    A bin that training never saw would else get a probability of 0, which no test row may contradict.
    """
    counts = {label: 1 + labels.count(label) for label in BINS}
    totals = {
        side: sum(count for b, count in counts.items() if direction_of(b) == side)
        for side in (-1, 1)
    }
    return {label: count / totals[direction_of(label)] for label, count in counts.items()}


def stated_bins(labels: Sequence[str]) -> dict[int, str]:
    """Direction -> the bin a call of it states: the median bin of its training labels, the lower of two."""
    return {
        side: BINS[
            median_low([BINS.index(label) for label in labels if direction_of(label) == side])
        ]
        for side in (-1, 1)
    }


def predict(fitted: Fitted, train: TrainData, data: EvalData) -> tuple[list[Row], list[Row]]:
    """The rows of generations.jsonl and of likelihoods.jsonl for `data`, in its order.

    Probability of a bin: that of its direction times the bin's share among the training labels of it.
    """
    labels = [row["label"] for row in train.train]
    stated, shares = stated_bins(labels), bin_shares(labels)
    share = sum(direction_of(label) > 0 for label in labels) / len(labels)
    answers, chances = [], []
    for row, up in zip(data.rows, fitted.up(data.rows), strict=True):
        common = {key: row[key] for key in ("id", "symbol", "week_end", "label")}
        common["period"] = f"{row['week_start']} to {row['week_end']}"
        probs = {
            label: part * (up if direction_of(label) > 0 else 1 - up)
            for label, part in shares.items()
        }
        logprobs = {label: math.log(chance) for label, chance in probs.items()}
        chances.append(
            {**common, "logprobs": logprobs, "probs": probs, "up": up, "train_up_share": share}
        )
        answers.append({**common, **_answer(row, stated[1 if up >= 0.5 else -1], up), "split": data.split,
                        "train_majority": train.train_majority})  # fmt: skip
    return answers, chances


def _answer(row: Row, label: str, up: float) -> Row:
    nothing = ["None given, for this model writes no text."]
    said = f"A logistic regression on the words of the prompt puts the probability of a rise at {up:.3f}."
    return {
        "answer": row["completion"][0]["content"],
        "generation": render_answer(nothing, nothing, label, said),
        # No model wrote these words, so neither tokens nor seconds compare with one that does.
        "seconds": None,
        "new_tokens": None,
        "finish_reason": None,
        "last_week_return": row.get("last_week_return"),
        **({"synthetic": True} if row.get("synthetic") else {}),
        **({"control": row["control"]} if row.get("control") else {}),
    }


def run(dataset: str, split: str | None, out: Path) -> Row:
    """Fit, predict and write the folder `out`; return its manifest.

    Raises ValueError or OSError for a dataset that cannot be read or has no training rows, and for an `out`
    that holds a language model's answers.
    """
    check_target(out)
    data, train = eval_rows(dataset, split), train_rows(dataset)
    start = time.perf_counter()
    fitted = fit(train)
    answers, chances = predict(fitted, train, data)
    facts = {
        **describe(fitted, train, data),
        "seconds_total": round(time.perf_counter() - start, 3),
    }
    write_jsonl(out / GENERATIONS, answers)
    write_jsonl(out / LIKELIHOODS, chances)
    write_json(out / MANIFEST, facts)
    return facts


def check_target(out: Path) -> None:
    """Raise FileExistsError where `out` holds answers of anything but this command."""
    path = out / MANIFEST
    kind = json.loads(path.read_text(encoding="utf-8")).get("kind") if path.is_file() else None
    if kind != "tfidf" and (path.exists() or (out / GENERATIONS).exists()):
        raise FileExistsError(f"{out} holds another run's answers; choose another --out")


def describe(fitted: Fitted, train: TrainData, data: EvalData) -> Row:
    """The manifest: the keys of a run of eval.generate, and `model` for what there is here instead of a base."""
    import sklearn

    return new_manifest(
        kind="tfidf",
        note="answers state a bin and nothing else: their ROUGE means nothing",
        adapter=None,
        base=None,
        model={
            "name": "TF-IDF and logistic regression",
            "scikit-learn": sklearn.__version__,
            "words": WORDS,
            "vocabulary": len(fitted.words.vocabulary_),
            "C": fitted.strength,
            "C_chosen_on": "validation log loss"
            if fitted.losses
            else "nothing: there are no validation rows",
            "validation_log_loss": {f"{c:g}": loss for c, loss in fitted.losses.items()},
            "train_rows": len(train.train),
            "validation_rows": len(train.validation),
        },
        dataset={
            "source": data.source,
            "revision": data.revision,
            "split": data.split,
            "sha256": data.sha256,
            "rows": len(data.rows),
            "synthetic": any(row.get("synthetic", False) for row in data.rows),
        },
        train_majority=train.train_majority,
        latency_measured=False,
        n=len(data.rows),
        complete=True,
    )


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, or 2 for a dataset or folder that cannot be used."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--dataset", required=True, help="folder or Hub id with train rows and the split to predict"
    )
    parser.add_argument(
        "--out", type=Path, required=True, help="folder for the answers, results/<run>"
    )
    parser.add_argument("--split", help="split to predict (default: test)")
    args = parser.parse_args(argv)
    try:
        load_env()
        facts = run(args.dataset, args.split, args.out)
    except (ValueError, OSError) as error:
        print(f"eval.tfidf: {error}", file=sys.stderr)
        return 2
    model = facts["model"]
    print(
        f"answers: {args.out / GENERATIONS} ({facts['n']} rows; fitted on {model['train_rows']}, C {model['C']:g})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
