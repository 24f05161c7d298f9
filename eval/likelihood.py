"""Score every row by the probability of the twelve bins after "Prediction:".

    python -m eval.likelihood --config recipes/llama.yaml --adapter outputs/llama \\
        --dataset data/datasets/mine --out results/llama

Needs no parser, is deterministic, and ranks a base model that keeps no layout by the same measure
as a tuned one. Writes likelihoods.jsonl and its manifest; `eval.score` reads them if they lie
beside generations.jsonl. A run that was interrupted goes on where it stopped.

`--prefix` says what stands before "Prediction:":

    own     the model's own answer from generations.jsonl, up to its prediction: the probabilities
            of the very choice that generation made. A row whose answer cannot be read gets the
            direct prefix. Each row is scored with the direct prefix as well (`direct` in the row),
            so that all runs have that in common.
    direct  nothing but "[Prediction & Analysis]:": no answer is needed first, so it is cheap, and
            the same text for every model. A tuned model writes two sections before, so this is a
            question it was not trained on.

The default is own if generations.jsonl is there, else direct. Each row says which it got.
"""

import argparse
import logging
import sys
import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_pipeline.dataset.load import EvalData, load_dataset
from eval.generation.prompts import naming_row
from eval.generation.results_folder import ResultsFolder, row_identity
from eval.likelihoods.continuations import (
    DIRECT_PREFIX,
    Choices,
    bin_probabilities,
    check_as_in_a_row,
    choices,
    log_probabilities,
    own_prefix,
)
from eval.likelihoods.run import (
    LIKELIHOOD_RESULTS,
    PREFIXES,
    Scoring,
    check_same_run,
    choose_scoring,
    describe_likelihoods,
    likelihood_totals,
    manifest_of_answers,
)
from weekahead.cli import (
    MODEL_ERRORS,
    add_options,
    configure_logging,
    model_arguments,
    option,
    read_options,
    run_command,
)
from weekahead.files import read_jsonl
from weekahead.locks import sole_writer
from weekahead.models.chat_format import render_prompt_ids
from weekahead.models.decoding import plan_batches
from weekahead.models.loading import load_for_generation, load_tokenizer, resolve_base_and_adapter
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import Recipe, read_recipe
from weekahead.schema.file_names import GENERATIONS, LIKELIHOODS
from weekahead.schema.manifests import LikelihoodManifest
from weekahead.schema.rows import DatasetRow, LikelihoodRow
from weekahead.tracking.gpu import check_torch_sees_gpu

log = logging.getLogger(__name__)

_OUT_OF_MEMORY = "run eval.likelihood by itself with a smaller --batch_size"


@dataclass(frozen=True)
class LikelihoodOptions:
    """The flags of eval.likelihood."""

    config: Path
    adapter: str
    dataset: str
    out: Path
    split: str | None = option(None, help="split to score (default: what was answered, else test)")
    limit: int | None = option(
        None, help="only the first N rows (default: as many as were answered)"
    )
    batch_size: int | None = option(
        None, help="rows at once (default: 8, or as few as were answered at once)"
    )
    prefix: str | None = option(
        None, choices=PREFIXES, help="what stands before the prediction (see above)"
    )


@dataclass(frozen=True)
class Question:
    """What the model is asked about one row."""

    row: DatasetRow
    own: Choices | None
    """After the model's own answer; None if there is none that can be read."""
    direct: Choices
    """At once."""

    @property
    def asked(self) -> Choices:
        """What the row's own probabilities come from."""
        return self.own or self.direct

    @property
    def prefix(self) -> str:
        """The name of what is asked: own or direct."""
        return "own" if self.own else "direct"


def score_rows(
    recipe: Recipe,
    adapter_name: str,
    data: EvalData,
    *,
    scoring: Scoring,
    out: Path,
    precision: Precision,
) -> LikelihoodManifest:
    """Score every row of `data` into `out`; return the manifest.

    Raises ValueError or OSError, before the model is loaded, for an adapter that does not fit, rows
    that do not render, or a folder that holds another run's answers or likelihoods.
    """
    base, adapter = resolve_base_and_adapter(recipe, adapter_name, precision)
    manifest = describe_likelihoods(data, base, adapter, precision=precision, scoring=scoring)
    check_same_run(out, manifest)
    folder: ResultsFolder[LikelihoodManifest] = ResultsFolder(out, LIKELIHOOD_RESULTS)
    scored = folder.resume(manifest)
    missing = {row["id"] for row in data.rows} - scored
    if not missing:
        log.info("%s is finished: nothing to score", out / LIKELIHOODS)
        if folder.stored and folder.stored.get("complete"):
            return folder.stored
    else:
        tokenizer = load_tokenizer(base)
        questions = new_questions(tokenizer, data.rows, own_prefixes(data.rows, scoring, out))
        tokens = cached_tokens(questions, scoring)
        model, weights_form = load_for_generation(base, adapter, precision, tokens)
        log.info("model: %s (%s)", base.name, weights_form)
        folder.begin(weights_form)
        scorer = Scorer(model, tokenizer.pad_token_id, scoring, data.train_up_share)
        _score_missing(scorer, questions, missing, folder)
    return folder.finish([row["id"] for row in data.rows], likelihood_totals)


def own_prefixes(rows: Sequence[DatasetRow], scoring: Scoring, out: Path) -> list[str | None]:
    """The own prefix of each row, None if the row is asked directly."""
    if scoring.prefix == "direct":
        return [None] * len(rows)
    answers = {row.get("id"): row.get("generation") for row in read_jsonl(out / GENERATIONS)}
    return [own_prefix(answers.get(row["id"])) for row in rows]


def new_questions(
    tokenizer: Any, rows: Sequence[DatasetRow], prefixes: Sequence[str | None]
) -> list[Question]:
    """The questions about `rows`, after each row's own prefix and directly.

    Raises ValueError that names a row that does not render, or a bin that the tokenizer joins to
    what is beside it.
    """
    if rows:
        with naming_row(rows[0]):
            check_as_in_a_row(tokenizer, rows[0]["prompt"])
    questions: list[Question] = []
    for row, prefix in zip(rows, prefixes, strict=True):
        with naming_row(row):
            prompt = render_prompt_ids(tokenizer, row["prompt"])
            own = choices(tokenizer, prompt, prefix) if prefix else None
            questions.append(Question(row, own, choices(tokenizer, prompt, DIRECT_PREFIX)))
    return questions


def cached_tokens(questions: Sequence[Question], scoring: Scoring) -> int:
    """As many tokens as a batch takes the room of keys and values of.

    Twice its own: the batch is read as one, and what it needs in between is about as much again.
    """
    longest = max((len(question.asked.shared) for question in questions), default=0)
    return 2 * min(scoring.batch_size, len(questions)) * longest


@dataclass(frozen=True)
class Scorer:
    """A loaded model, and what every row of a run is scored with."""

    model: Any
    pad: int
    """The token id of padding."""
    scoring: Scoring
    train_up_share: float | None

    def score(self, batch: Sequence[Question]) -> list[LikelihoodRow]:
        """The lines of likelihoods.jsonl for one batch; its seconds are shared out evenly."""
        start = time.perf_counter()
        asked_logs = log_probabilities(self.model, [one.asked for one in batch], self.pad)
        direct_logs: Sequence[list[float] | None] = [None] * len(batch)
        if self.scoring.prefix == "own":
            direct_logs = log_probabilities(self.model, [one.direct for one in batch], self.pad)
        seconds = round((time.perf_counter() - start) / len(batch), 4)
        return [
            self._line(question, asked, direct, seconds)
            for question, asked, direct in zip(batch, asked_logs, direct_logs, strict=True)
        ]

    def _line(
        self,
        question: Question,
        asked: Sequence[float],
        direct: Sequence[float] | None,
        seconds: float,
    ) -> LikelihoodRow:
        line: LikelihoodRow = {
            **row_identity(question.row),
            **bin_probabilities(question.row["id"], asked),
        }
        if direct is not None:
            line["direct"] = bin_probabilities(question.row["id"], direct)
        line["prefix"] = question.prefix
        line["train_up_share"] = self.train_up_share
        line["seconds"] = seconds
        return line


def _score_missing(
    scorer: Scorer,
    questions: Sequence[Question],
    missing: Collection[str],
    folder: ResultsFolder[LikelihoodManifest],
) -> None:
    """Score batch by batch, appending each; batches of which no row is missing are passed over.

    A batch of which one row is missing is scored whole, as in an uninterrupted run: its numbers are
    then the same to the last digit.
    """
    from tqdm import tqdm

    plan = plan_batches(
        [len(question.asked.shared) for question in questions], scorer.scoring.batch_size
    )
    initial = len(questions) - len(missing)
    with tqdm(total=len(questions), initial=initial, unit="row", desc=folder.path.name) as progress:
        for indices in plan:
            batch = [questions[index] for index in indices]
            if not any(question.row["id"] in missing for question in batch):
                continue
            rows = [row for row in scorer.score(batch) if row["id"] in missing]
            folder.append(rows)
            progress.update(len(rows))


def rows_to_score(options: LikelihoodOptions) -> EvalData:
    """The rows asked for; without `split` and `limit` those that were answered, if any were."""
    if options.limit is not None and options.limit < 1:
        raise ValueError(f"--limit is {options.limit}; expected at least 1")
    answers = manifest_of_answers(options.out)
    answered = answers["dataset"] if answers else {}
    data = load_dataset(options.dataset).split(options.split or answered.get("split"))
    answered_rows = None if options.split else answered.get("rows")
    limit = options.limit or answered_rows
    if limit is not None:
        del data.rows[limit:]
    return data


def run(options: LikelihoodOptions) -> int:
    """Read what the flags name, score the rows and print where the likelihoods are."""
    answers = manifest_of_answers(options.out)
    if answers and not answers["backend"]["runs_locally"]:
        print(
            f"eval.likelihood: the answers in {options.out} came from the backend "
            f"{answers['backend']['name']}; their model cannot be asked here"
        )
        return 0
    check_torch_sees_gpu()
    scoring = choose_scoring(options.out, options.prefix, options.batch_size)
    recipe = read_recipe(options.config)
    data = rows_to_score(options)
    with sole_writer(options.out):
        manifest = score_rows(
            recipe,
            options.adapter,
            data,
            scoring=scoring,
            out=options.out,
            precision=choose_precision(),
        )
    rows = manifest.get("n", 0)
    speed = manifest.get("seconds_total", 0.0) / rows
    counts = [f"{count} {prefix}" for prefix, count in manifest.get("prefixes", {}).items()]
    print(
        f"likelihoods: {options.out / LIKELIHOODS} "
        f"({rows} rows, {speed:.2f} s per row; prefix: {', '.join(counts)})"
    )
    return 0


def new_arguments() -> argparse.ArgumentParser:
    """The parser of the command."""
    parser = model_arguments(
        __doc__, "eval.likelihood", out="folder for the likelihoods, results/<run>"
    )
    add_options(parser, LikelihoodOptions)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 scored, 2 for an error whose message has the remedy, 130 or 143
    interrupted."""
    options = read_options(new_arguments().parse_args(argv), LikelihoodOptions)
    configure_logging()
    return run_command(
        "eval.likelihood",
        lambda: run(options),
        errors=MODEL_ERRORS,
        resumable=True,
        out_of_memory_hint=_OUT_OF_MEMORY,
    )


if __name__ == "__main__":
    sys.exit(main())
