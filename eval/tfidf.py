"""The cheap model that every language model should beat: TF-IDF and logistic regression.

    python -m eval.tfidf --dataset data/datasets/mine --out results/tfidf

It reads the same prompts, and leaves what a run of eval.generate leaves, so that eval.score and
eval.report need no special case. Its answers state a bin and nothing else: their ROUGE means
nothing.

It is fitted on the training rows that a model would be trained on. The strength of regularization
is the one with the smallest log loss on the validation rows (cut by date from train if the dataset
brings none); the test rows are read only to be predicted. The same rows give the same file.
"""

import math
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean, median_low
from typing import Any

from data_pipeline.dataset.load import EvalData, TrainData, load_dataset
from eval.generation.results_folder import check_kind, dataset_facts, row_identity
from weekahead.cli import (
    add_options,
    configure_logging,
    new_parser,
    option,
    read_options,
    run_command,
)
from weekahead.files import write_json, write_jsonl
from weekahead.locks import sole_writer
from weekahead.manifest import provenance
from weekahead.schema.file_names import GENERATIONS, LIKELIHOODS, MANIFEST
from weekahead.schema.manifests import TfidfManifest
from weekahead.schema.rows import (
    DatasetRow,
    LikelihoodRow,
    TfidfRow,
    is_synthetic,
    reference_text,
    user_text,
)
from weekahead.task.answer import render_answer
from weekahead.task.labels import BINS, direction_of

STRENGTHS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""The values of C that are tried: the inverse of the strength of the L2 penalty."""
UNCHOSEN = 1.0
"""C if there is nothing to choose on: scikit-learn's own default."""
WORDS = {
    "ngram_range": (1, 2),
    "min_df": 2,
    "sublinear_tf": True,
    "token_pattern": r"(?u)\b[^\W\d_]{2,}\b",
}
"""Settings of the vectorizer: words and pairs of words that stand in two training prompts or more.

Numbers are not words: no date or price comes twice.
"""
_SMALLEST_PROBABILITY = 1e-9


@dataclass(frozen=True)
class TfidfOptions:
    """The flags of eval.tfidf."""

    dataset: str = option(help="folder or Hub id with train rows and the split to predict")
    out: Path = option(help="folder for the answers, results/<run>")
    split: str | None = option(None, help="split to predict (default: test)")


@dataclass(frozen=True)
class Fitted:
    """A fitted model and how its regularization was chosen."""

    vectorizer: Any
    model: Any
    """The logistic regression; its second class is up."""
    strength: float
    """C."""
    losses: dict[float, float]
    """C -> log loss per validation row, in nats; empty if there was nothing to choose on."""

    def up(self, rows: Sequence[DatasetRow]) -> list[float]:
        """The probability of a rise for each row, kept off 0 and 1 so that it has a logarithm."""
        features = self.vectorizer.transform(map(_prompt, rows))
        probabilities = self.model.predict_proba(features)[:, 1].tolist()
        return [
            min(max(probability, _SMALLEST_PROBABILITY), 1 - _SMALLEST_PROBABILITY)
            for probability in probabilities
        ]


def fit(data: TrainData) -> Fitted:
    """Fit on the train rows, with the C that does best on the validation rows.

    Of equal ones the strongest penalty is taken. Raises ValueError if the training labels are all
    up or all down: there is nothing to tell apart.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    directions = [direction_of(row["label"]) for row in data.train]
    if len(set(directions)) < 2:
        word = "up" if directions[0] > 0 else "down"
        raise ValueError(
            f"{data.source}: all {len(directions)} training rows are {word}; expected both "
            "directions"
        )
    vectorizer = TfidfVectorizer(**WORDS)
    features = vectorizer.fit_transform(map(_prompt, data.train))
    candidates: list[Fitted] = []
    for strength in STRENGTHS if data.validation else (UNCHOSEN,):
        model = LogisticRegression(C=strength, max_iter=1000).fit(features, directions)
        candidates.append(Fitted(vectorizer, model, strength, {}))
    if not data.validation:
        return candidates[0]
    losses = {fitted.strength: log_loss(fitted, data.validation) for fitted in candidates}
    best = min(candidates, key=lambda fitted: losses[fitted.strength])
    return replace(best, losses=losses)


def log_loss(fitted: Fitted, rows: Sequence[DatasetRow]) -> float:
    """The mean of -log of the probability of what came true, in nats; a coin has 0.693."""
    pairs = zip(fitted.up(rows), rows, strict=True)
    return -fmean(math.log(up if direction_of(row["label"]) > 0 else 1 - up) for up, row in pairs)


def _prompt(row: DatasetRow) -> str:
    return user_text(row["prompt"])


def bin_shares(labels: Sequence[str]) -> dict[str, float]:
    """The share of each bin among the labels of its direction, one added to every count (Laplace).

    Without that, a bin that training never saw would get a probability of 0.
    """
    counts = {label: 1 + labels.count(label) for label in BINS}
    totals = {-1: 0, 1: 0}
    for label, count in counts.items():
        totals[direction_of(label)] += count
    return {label: count / totals[direction_of(label)] for label, count in counts.items()}


def stated_bins(labels: Sequence[str]) -> dict[int, str]:
    """Direction -> the bin that an answer states for it.

    It is the median bin of the training labels of that direction, the lower of two.
    """
    bins: dict[int, str] = {}
    for direction in (-1, 1):
        indices = [BINS.index(label) for label in labels if direction_of(label) == direction]
        bins[direction] = BINS[median_low(indices)]
    return bins


def predict(
    fitted: Fitted, train: TrainData, data: EvalData
) -> tuple[list[TfidfRow], list[LikelihoodRow]]:
    """The rows of generations.jsonl and of likelihoods.jsonl for `data`, in its order.

    Probability of a bin: that of its direction times the bin's share among the training labels of
    that direction.
    """
    labels = [row["label"] for row in train.train]
    bins, shares = stated_bins(labels), bin_shares(labels)
    answers: list[TfidfRow] = []
    likelihoods: list[LikelihoodRow] = []
    for row, up in zip(data.rows, fitted.up(data.rows), strict=True):
        direction_probability = {1: up, -1: 1 - up}
        probs = {
            label: share * direction_probability[direction_of(label)]
            for label, share in shares.items()
        }
        likelihoods.append(
            {
                **row_identity(row),
                "logprobs": {label: math.log(probability) for label, probability in probs.items()},
                "probs": probs,
                "up": up,
                "prefix": "direct",  # like a question that is asked without an answer before it
                "train_up_share": train.train_up_share,
            }
        )
        answer = _answer(bins[1 if up >= 0.5 else -1], up)
        answers.append(_answer_row(row, answer, data.split, train.train_majority))
    return answers, likelihoods


def _answer(label: str, up: float) -> str:
    nothing = ["None given, for this model writes no text."]
    analysis = (
        "A logistic regression on the words of the prompt puts the probability of a rise at "
        f"{up:.3f}."
    )
    return render_answer(nothing, nothing, label, analysis)


def _answer_row(row: DatasetRow, answer: str, split: str, train_majority: int | None) -> TfidfRow:
    line: TfidfRow = {
        **row_identity(row),
        "answer": reference_text(row),
        "generation": answer,
        # No model wrote these words, so neither tokens nor seconds compare with one that does.
        "seconds": None,
        "new_tokens": None,
        "finish_reason": None,
        "last_week_return": row.get("last_week_return"),
        "weekly_return": row.get("weekly_return"),
        "split": split,
        "train_majority": train_majority,
    }
    if (told := row.get("teacher_told")) is not None:
        line["teacher_told"] = told
    if row.get("synthetic"):
        line["synthetic"] = True
    control = row.get("control")
    if control:
        line["control"] = control
    return line


def fit_and_predict(options: TfidfOptions) -> TfidfManifest:
    """Fit, predict and write the folder `out`; return its manifest.

    Raises ValueError or OSError for a dataset that cannot be read or has no training rows, and for
    an `out` that holds a language model's answers.
    """
    check_kind(options.out, "tfidf")
    dataset = load_dataset(options.dataset)
    data, train = dataset.split(options.split), dataset.train
    start = time.perf_counter()
    fitted = fit(train)
    answers, likelihoods = predict(fitted, train, data)
    manifest = describe_tfidf(fitted, train, data)
    manifest["seconds_total"] = round(time.perf_counter() - start, 3)
    # First what says whose rows these are: without it the same command would take them for others.
    write_json(options.out / MANIFEST, {**manifest, "complete": False})
    write_jsonl(options.out / GENERATIONS, map(dict, answers))
    write_jsonl(options.out / LIKELIHOODS, map(dict, likelihoods))
    write_json(options.out / MANIFEST, manifest)
    return manifest


def describe_tfidf(fitted: Fitted, train: TrainData, data: EvalData) -> TfidfManifest:
    """The manifest: the keys of a run of eval.generate, and `model` in the place of a base."""
    import sklearn

    chosen_on = "validation log loss" if fitted.losses else "nothing: there are no validation rows"
    return {
        **provenance(),
        "kind": "tfidf",
        "note": "answers state a bin and nothing else: their ROUGE means nothing",
        "adapter": None,
        "base": None,
        "model": {
            "name": "TF-IDF and logistic regression",
            "scikit-learn": sklearn.__version__,
            "words": WORDS,
            "vocabulary": len(fitted.vectorizer.vocabulary_),
            "C": fitted.strength,
            "C_chosen_on": chosen_on,
            "validation_log_loss": {f"{c:g}": loss for c, loss in fitted.losses.items()},
            "train_rows": len(train.train),
            "validation_rows": len(train.validation),
        },
        "dataset": {**dataset_facts(data), "synthetic": is_synthetic(data.rows)},
        "train_majority": train.train_majority,
        "train_labels": train.train_labels,
        "latency_measured": False,
        "n": len(data.rows),
        "complete": True,
    }


def run(options: TfidfOptions) -> int:
    """Fit, predict and print where the answers are."""
    with sole_writer(options.out):
        manifest = fit_and_predict(options)
    model = manifest["model"]
    print(
        f"answers: {options.out / GENERATIONS} ({manifest['n']} rows; "
        f"fitted on {model['train_rows']}, C {model['C']:g})"
    )
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, or 2 for a dataset or folder that cannot be used."""
    parser = new_parser(__doc__)
    add_options(parser, TfidfOptions)
    options = read_options(parser.parse_args(argv), TfidfOptions)
    configure_logging()
    return run_command("eval.tfidf", lambda: run(options))


if __name__ == "__main__":
    sys.exit(main())
