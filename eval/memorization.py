"""Does a model know the prices of the test weeks by heart? A multiple choice without any context.

    python -m eval.memorization --config recipes/llama.yaml --adapter none --dataset mine.jsonl \\
        --out results/recall

Each question is one sentence, "On 2024-02-16, the closing price of AXP was $211.90.", with the true
price or with that of one of four other weeks of the same symbol. The model picks the sentence it
finds likeliest. A model that does not look at the date, whatever prices it likes best, is right in
one of five: decoys come from the same side of the base's knowledge cut-off (`knowledge_cutoff` in
the recipe), so the truth is drawn like the decoys.

What it cannot say: it reads prices out of the prompts' own price lines, so it asks about no other
week. A public prompt's price is adjusted for dividends and not what a newspaper printed, and the
day is the last weekday of the week, a holiday or not: memory of such prices is understated. With an
adapter, the prices in its training prompts were seen in training; ask the base (`--adapter none`)
what it brought along. Weeks count as independent, although the questions of a symbol share decoys.
A share that is not shown to differ from chance is no proof of ignorance.
"""

import math
import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any, TypedDict

from data_pipeline.dataset.load import load_dataset
from eval.generation.results_folder import adapter_fields
from eval.likelihoods.continuations import Choices, log_probabilities
from eval.metrics.baselines import versus_entry
from eval.metrics.statistics import clustered_share
from weekahead.cli import model_arguments, option, run_with_options
from weekahead.files import write_json, write_jsonl
from weekahead.locks import check_writable
from weekahead.manifest import provenance
from weekahead.models.loading import load_for_generation, load_tokenizer, resolve_base_and_adapter
from weekahead.models.precision import choose_precision
from weekahead.recipe import read_cutoff, read_recipe
from weekahead.schema.manifests import BaseFacts, Provenance
from weekahead.schema.metrics import Comparison
from weekahead.schema.rows import DatasetRow, user_text
from weekahead.task.prompt_reader import read_prompt
from weekahead.tracking.gpu import check_torch_sees_gpu

OPTIONS = 5
"""Prices to choose from."""
BATCH_SIZE = 16


@dataclass(frozen=True)
class MemorizationOptions:
    """The flags of eval.memorization."""

    config: Path
    adapter: str
    dataset: str
    out: Path
    split: str | None = option(
        None, help="only the prices in the prompts of this split (default: of every split)"
    )


class RecallShare(TypedDict):
    """The share of questions that were answered right."""

    share: float | None
    ci95: list[float] | None
    """Clustered by week; null with too few weeks."""
    n: int
    weeks: int
    chance: float
    versus_chance: Comparison


class RecallSummary(TypedDict):
    """The share over all questions and on each side of the cut-off; null for a side without any."""

    all: RecallShare | None
    before_cutoff: RecallShare | None
    after_cutoff: RecallShare | None


class PriceSource(TypedDict):
    """Where the prices were read."""

    source: str
    sha256: dict[str, str]
    """By split."""
    rows: int


class RecallManifest(Provenance, RecallSummary):
    """The content of recall.json."""

    kind: str
    adapter: str | None
    adapter_sha256: str | None
    base: BaseFacts
    form: str
    """How the weights were held."""
    precision: dict[str, str]
    dataset: PriceSource
    knowledge_cutoff: str | None
    options: int
    prices: int
    not_asked: int


@dataclass(frozen=True)
class PriceQuestion:
    """One symbol and week with the prices to choose from, the true one first."""

    symbol: str
    week_end: str
    before_cutoff: bool | None
    """None if the recipe states no cut-off."""
    options: tuple[str, ...]
    """Prices as they are written in the sentence."""

    @property
    def sentences(self) -> list[str]:
        """One per option."""
        start = f"On {last_weekday_before(self.week_end)}, the closing price of {self.symbol}"
        return [f"{start} was ${price}." for price in self.options]


def last_weekday_before(day: str) -> str:
    """The last Monday to Friday before an ISO date, such as the Sunday on which a week ends."""
    before = date.fromisoformat(day) - timedelta(days=1)
    return (before - timedelta(days=max(0, before.weekday() - 4))).isoformat()


def prices_of(rows: Sequence[DatasetRow]) -> dict[tuple[str, str], str]:
    """(symbol, end of the week) -> closing price with two decimals, from the prompts' price lines.

    If prompts differ about a week the earliest one counts: a later one may be in the shares of
    after a split.
    """
    prices: dict[tuple[str, str], str] = {}
    for row in sorted(rows, key=lambda row: (row["week_start"], row["id"])):
        for move in read_prompt(user_text(row["prompt"])).price_moves:
            prices.setdefault((row["symbol"], move.end), f"{move.after:.2f}")
    return prices


def price_questions(
    prices: Mapping[tuple[str, str], str], cutoff: date | None, seed: int = 0
) -> list[PriceQuestion]:
    """A question per price that has enough other prices of its symbol on its side of `cutoff`.

    A week that ends on the cut-off is before it.
    """
    groups: dict[tuple[str, bool | None], dict[str, str]] = {}
    for (symbol, end), price in prices.items():
        before_cutoff = None if cutoff is None else date.fromisoformat(end) <= cutoff
        groups.setdefault((symbol, before_cutoff), {})[end] = price
    questions: list[PriceQuestion] = []
    for (symbol, before_cutoff), group in groups.items():
        for end, price in group.items():
            others = sorted(set(group.values()) - {price})
            if len(others) >= OPTIONS - 1:
                decoys = random.Random(f"{seed}/{symbol}/{end}").sample(others, OPTIONS - 1)
                questions.append(PriceQuestion(symbol, end, before_cutoff, (price, *decoys)))
    return sorted(questions, key=lambda question: (question.week_end, question.symbol))


def ask(model: Any, tokenizer: Any, questions: Sequence[PriceQuestion]) -> list[list[float]]:
    """The log-probability (natural log) of each option of each question.

    It is that of the sentence from where the options differ, given what they share before. Raises
    ValueError naming the question if one is not finite.
    """
    choices = [
        Choices.from_texts(tokenizer(question.sentences)["input_ids"]) for question in questions
    ]
    logs: list[list[float]] = []
    for start in range(0, len(choices), BATCH_SIZE):
        batch = choices[start : start + BATCH_SIZE]
        logs += log_probabilities(model, batch, tokenizer.pad_token_id)
    for question, values in zip(questions, logs, strict=True):
        if not all(map(math.isfinite, values)):
            raise ValueError(
                f"{question.symbol}, week ending {question.week_end}: the model gives no finite "
                "probability; an overflow of fp16, or a damaged adapter: ask on a machine with "
                "bf16 or fp32"
            )
    return logs


def is_recalled(logs: Sequence[float]) -> bool:
    """Whether the first option, the true one, is likelier than every other; a tie is no recall."""
    return logs[0] > max(logs[1:])


def summarize(questions: Sequence[PriceQuestion], recalled: Sequence[bool]) -> RecallSummary:
    """The share picked right over all questions and on each side of the cut-off."""
    answered = list(zip(questions, recalled, strict=True))
    before = [pair for pair in answered if pair[0].before_cutoff is True]
    after = [pair for pair in answered if pair[0].before_cutoff is False]
    return {
        "all": _share(answered),
        "before_cutoff": _share(before),
        "after_cutoff": _share(after),
    }


def _share(answered: Sequence[tuple[PriceQuestion, bool]]) -> RecallShare | None:
    if not answered:
        return None
    weeks = [question.week_end for question, _ in answered]
    hits = [float(hit) for _, hit in answered]
    share = clustered_share(hits, weeks)
    return {
        "share": share.mean,
        "ci95": list(share.ci95) if share.ci95 else None,
        "n": len(hits),
        "weeks": len(set(weeks)),
        "chance": 1 / OPTIONS,
        "versus_chance": versus_entry(hits, [1 / OPTIONS] * len(hits), weeks),
    }


@dataclass(frozen=True)
class PriceRows:
    """The rows whose prompts state the prices."""

    rows: list[DatasetRow]
    sha256: dict[str, str]
    """By split."""


def read_rows(source: str, split: str | None) -> PriceRows:
    """The rows of one split, or of all that there are. Raises the errors of `load_dataset`."""
    dataset = load_dataset(source)
    names: Sequence[str | None] = dataset.split_names or [None]
    if split and dataset.split_names:
        names = [split]
    splits = [dataset.split(name) for name in names]
    rows = [row for data in splits for row in data.rows]
    return PriceRows(rows, {data.split: data.sha256 for data in splits})


def ask_prices(options: MemorizationOptions) -> RecallManifest:
    """Ask all questions, write recall.jsonl (one row per question) and recall.json.

    Returns the content of recall.json.
    Raises ValueError or OSError, before the model is loaded, if there is nothing to ask.
    """
    check_writable(options.out)
    recipe, precision = read_recipe(options.config), choose_precision()
    read = read_rows(options.dataset, options.split)
    cutoff, prices = read_cutoff(recipe), prices_of(read.rows)
    questions = price_questions(prices, cutoff)
    if not questions:
        raise ValueError(
            f"{options.dataset}: {len(prices)} prices in the prompts of {len(read.rows)} rows, no "
            f"symbol has {OPTIONS} different ones on one side of the cut-off; expected price lines "
            "as in our prompts or the public ones"
        )
    base, adapter = resolve_base_and_adapter(recipe, options.adapter, precision)
    model, weights_form = load_for_generation(base, adapter, precision)
    logs = ask(model, load_tokenizer(base), questions)
    recalled = [is_recalled(question_logs) for question_logs in logs]
    write_jsonl(
        options.out / "recall.jsonl",
        (
            {**asdict(question), "logprobs": question_logs, "recalled": hit}
            for question, question_logs, hit in zip(questions, logs, recalled, strict=True)
        ),
    )
    named = adapter_fields(adapter)
    manifest: RecallManifest = {
        **provenance(),
        "kind": "recall",
        "adapter": named["adapter"],
        "adapter_sha256": named["adapter_sha256"],
        "base": base.manifest_fields(),
        "form": weights_form,
        "precision": asdict(precision),
        "dataset": {"source": options.dataset, "sha256": read.sha256, "rows": len(read.rows)},
        "knowledge_cutoff": cutoff.isoformat() if cutoff else None,
        "options": OPTIONS,
        "prices": len(prices),
        "not_asked": len(prices) - len(questions),
        **summarize(questions, recalled),
    }
    write_json(options.out / "recall.json", manifest)
    return manifest


def _line(side: RecallShare | None) -> str:
    if side is None:
        return "no questions"
    interval = "[{:.3f}, {:.3f}]".format(*side["ci95"]) if side["ci95"] else "[too few weeks]"
    words = {"better": "above chance", "worse": "below chance", "not shown": "not shown"}
    return (
        f"{side['share']:.3f} {interval} of {side['n']} right, "
        f"chance {side['chance']:.3f}: {words[side['versus_chance']['verdict']]}"
    )


def run(options: MemorizationOptions) -> int:
    """Ask what the flags name and print the shares."""
    check_torch_sees_gpu()
    manifest = ask_prices(options)
    for name in ("all", "before_cutoff", "after_cutoff"):
        print(f"{name:14}{_line(manifest[name])}")
    print(options.out / "recall.json")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, 2 for an error whose message has the remedy, 130 interrupted."""
    parser = model_arguments(
        __doc__, "eval.memorization", out="folder for recall.json and recall.jsonl"
    )
    return run_with_options("eval.memorization", parser, MemorizationOptions, run, argv)


if __name__ == "__main__":
    sys.exit(main())
