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
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.dataset.load import EvalData, TrainData, load_dataset
from eval.generation.results_folder import check_kind, dataset_facts, row_identity
from eval.generation.word_model import (
    WORDS,
    Fitted,
    bin_probabilities,
    bin_shares,
    fit,
    stated_bins,
)
from weekahead.cli import EXPECTED_ERRORS, new_parser, option, run_with_options
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
)
from weekahead.task.answer import render_answer


@dataclass(frozen=True)
class TfidfOptions:
    """The flags of eval.tfidf."""

    dataset: str = option(help="folder or Hub id with train rows and the split to predict")
    out: Path = option(help="folder for the answers, results/<run>")
    split: str | None = option(None, help="split to predict (default: test)")


def predict(
    fitted: Fitted, train: TrainData, data: EvalData
) -> tuple[list[TfidfRow], list[LikelihoodRow]]:
    """The rows of generations.jsonl and of likelihoods.jsonl for `data`, in its order."""
    labels = [row["label"] for row in train.train]
    bins, shares = stated_bins(labels), bin_shares(labels)
    answers: list[TfidfRow] = []
    likelihoods: list[LikelihoodRow] = []
    for row, up in zip(data.rows, fitted.up(data.rows), strict=True):
        probs = bin_probabilities(up, shares)
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
    parser = new_parser(__doc__, "eval.tfidf")
    return run_with_options("eval.tfidf", parser, TfidfOptions, run, argv, EXPECTED_ERRORS)


if __name__ == "__main__":
    sys.exit(main())
