"""Does a model know the prices of the test weeks by heart? A multiple choice, asked without any context.

    python -m eval.memorization --config recipes/llama.yaml --adapter none --dataset mine.jsonl --out results/recall

Each question is one sentence, "On 2024-02-16, the closing price of AXP was $211.90.", with the true price or with
that of one of four other weeks of the same symbol. The model picks the sentence it finds likeliest. A model that
does not look at the date, whatever prices it likes best, is right in one of five: decoys come from the same side
of the base's knowledge cut-off (`knowledge_cutoff` in the recipe), so the truth is drawn like the decoys.

What it cannot say: it reads prices out of the prompts' own price lines, so it asks about no other week. A public
prompt's price is adjusted for dividends and not what a newspaper printed, and the day is the last weekday of the
week, a holiday or not: memory of such figures is understated. With an adapter, the prices in its training prompts
were seen in training; ask the base (`--adapter none`) what it brought along. Weeks count as independent, although
the questions of a symbol share decoys. Not to be told from chance is no proof of ignorance.
"""

import random
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

from data_pipeline.dataset.load import eval_rows
from data_pipeline.dataset.reader import read_source
from eval.likelihoods.continuations import Choices, log_probabilities
from eval.metrics.baselines import versus_entry
from eval.metrics.statistics import clustered_share
from weekahead.cli import model_arguments
from weekahead.files import Row, load_env, sha256, write_json, write_jsonl
from weekahead.manifest import new_manifest
from weekahead.models.loading import load_for_generation, load_tokenizer, resolve_base_and_adapter
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import read_cutoff, read_recipe
from weekahead.schema.rows import user_text
from weekahead.task.prompt_reader import read_prompt
from weekahead.tracking.gpu import check_torch_sees_gpu

OPTIONS = 5


@dataclass(frozen=True)
class PriceQuestion:
    """One symbol and week with its prices to choose from, the true one first; written as in the sentence."""

    symbol: str
    week_end: str
    before_cutoff: bool | None
    """None where the recipe states no cut-off."""
    options: tuple[str, ...]

    @property
    def sentences(self) -> list[str]:
        """One for each option."""
        day = last_weekday_before(self.week_end)
        return [
            f"On {day}, the closing price of {self.symbol} was ${price}." for price in self.options
        ]


def last_weekday_before(day: str) -> str:
    """The last Monday to Friday before an ISO date: the Friday before the Sunday on which a week ends."""
    before = date.fromisoformat(day) - timedelta(days=1)
    return (before - timedelta(days=max(0, before.weekday() - 4))).isoformat()


def prices_of(rows: Sequence[Row]) -> dict[tuple[str, str], str]:
    """(symbol, end of the week) -> closing price with two decimals, from the price lines of the user messages.

    Where prompts differ about a week the earliest one counts: a later one may be in the shares of after a split.
    """
    prices: dict[tuple[str, str], str] = {}
    for row in sorted(rows, key=lambda row: (row["week_start"], row["id"])):
        for move in read_prompt(user_text(row["prompt"])).price_moves:
            prices.setdefault((row["symbol"], move.end), f"{move.after:.2f}")
    return prices


def questions(
    prices: Mapping[tuple[str, str], str], cutoff: date | None, seed: int = 0
) -> list[PriceQuestion]:
    """A question for every price that has OPTIONS - 1 other prices of its symbol on its side of `cutoff`.

    A week that ends on the cut-off is before it.
    """
    groups: dict[tuple[str, bool | None], dict[str, str]] = {}
    for (symbol, end), price in prices.items():
        side = None if cutoff is None else date.fromisoformat(end) <= cutoff
        groups.setdefault((symbol, side), {})[end] = price
    asked = []
    for (symbol, side), known in groups.items():
        for end, price in known.items():
            others = sorted(set(known.values()) - {price})
            if len(others) >= OPTIONS - 1:
                decoys = random.Random(f"{seed}/{symbol}/{end}").sample(others, OPTIONS - 1)
                asked.append(PriceQuestion(symbol, end, side, (price, *decoys)))
    return sorted(asked, key=lambda one: (one.week_end, one.symbol))


BATCH_SIZE = 16


def ask(model: Any, tokenizer: Any, asked: Sequence[PriceQuestion]) -> list[list[float]]:
    """The log-probability (natural log) of each option of each question, given what its sentences share."""
    choices = [_choices(tokenizer, one) for one in asked]
    starts = range(0, len(choices), BATCH_SIZE)
    pad = tokenizer.pad_token_id
    return [
        logs
        for at in starts
        for logs in log_probabilities(model, choices[at : at + BATCH_SIZE], pad)
    ]


def _choices(tokenizer: Any, question: PriceQuestion) -> Choices:
    encoded = tokenizer(question.sentences)["input_ids"]
    at = next(
        place for place, tokens in enumerate(zip(*encoded, strict=False)) if len(set(tokens)) > 1
    )
    return Choices(list(encoded[0][:at]), [list(ids[at:]) for ids in encoded])


def is_recalled(logs: Sequence[float]) -> bool:
    """Whether the first option, the true one, is likelier than every other; a tie is no recall."""
    return logs[0] > max(logs[1:])


def summarize(asked: Sequence[PriceQuestion], recalled: Sequence[bool]) -> Row:
    """The share picked right over all questions and on each side of the cut-off; None for a side without any."""
    sides = {"all": (True, False, None), "before_cutoff": (True,), "after_cutoff": (False,)}
    return {
        name: _share(
            [
                (one.week_end, hit)
                for one, hit in zip(asked, recalled, strict=True)
                if one.before_cutoff in of
            ]
        )
        for name, of in sides.items()
    }


def _share(answers: Sequence[tuple[str, bool]]) -> Row | None:
    if not answers:
        return None
    weeks, hits = [week for week, _ in answers], [hit for _, hit in answers]
    share = clustered_share(hits, weeks)
    against = versus_entry(list(map(float, hits)), [1 / OPTIONS] * len(hits), weeks)
    return {
        "share": share.mean,
        "ci95": list(share.ci95) if share.ci95 else None,
        "n": len(hits),
        "weeks": len(set(weeks)),
        "chance": 1 / OPTIONS,
        "versus_chance": against,
    }


def read_rows(source: str, split: str | None) -> tuple[list[Row], dict[str, str]]:
    """(rows, SHA-256 by split) of one split, or of all there are. Raises the errors of `eval_rows`."""
    found = read_source(source)
    names = [None] if found.single else [split] if split else list(found.splits)
    parts = [eval_rows(source, name) for name in names]
    return [row for part in parts for row in part.rows], {part.split: part.sha256 for part in parts}


def run(
    recipe: Row, adapter_name: str, source: str, split: str | None, out: Path, precision: Precision
) -> Row:
    """Ask all questions and write recall.jsonl (one row a question) and recall.json; return the latter.

    Raises ValueError or OSError, before the model is loaded, where there is nothing to ask.
    """
    rows, sums = read_rows(source, split)
    cutoff, prices = read_cutoff(recipe), prices_of(rows)
    asked = questions(prices, cutoff)
    if not asked:
        raise ValueError(
            f"{source}: {len(prices)} prices in the prompts of {len(rows)} rows, no symbol has {OPTIONS} different "
            "ones on one side of the cut-off; expected price lines as in our prompts or the public ones"
        )
    base, adapter = resolve_base_and_adapter(recipe, adapter_name, precision)
    model, form = load_for_generation(base, adapter, precision)
    logs = ask(model, load_tokenizer(base), asked)
    recalled = [is_recalled(one) for one in logs]
    write_jsonl(
        out / "recall.jsonl",
        (
            {**asdict(one), "logprobs": log, "recalled": hit}
            for one, log, hit in zip(asked, logs, recalled, strict=True)
        ),
    )
    facts = new_manifest(
        kind="recall",
        adapter=adapter.reference if adapter else None,
        adapter_sha256=sha256(adapter.folder / "adapter_model.safetensors") if adapter else None,
        base=base.manifest_fields(),
        form=form,
        precision=asdict(precision),
        dataset={"source": source, "sha256": sums, "rows": len(rows)},
        knowledge_cutoff=cutoff.isoformat() if cutoff else None,
        options=OPTIONS,
        prices=len(prices),
        not_asked=len(prices) - len(asked),
        **summarize(asked, recalled),
    )
    write_json(out / "recall.json", facts)
    return facts


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0, or 2 for something the message says how to mend."""
    parser = model_arguments(__doc__, out="folder for recall.json and recall.jsonl")
    parser.add_argument(
        "--split", help="only the prices in the prompts of this split (default: of every split)"
    )
    args = parser.parse_args(argv)
    try:
        load_env()
        check_torch_sees_gpu()
        facts = run(
            read_recipe(args.config),
            args.adapter,
            args.dataset,
            args.split,
            args.out,
            choose_precision(),
        )
    except (ValueError, OSError, RuntimeError) as error:
        print(f"eval.memorization: {error}", file=sys.stderr)
        return 2
    for name in ("all", "before_cutoff", "after_cutoff"):
        print(f"{name:14}{_line(facts[name])}")
    print(args.out / "recall.json")
    return 0


def _line(side: Row | None) -> str:
    if side is None:
        return "no questions"
    reach = "[{:.3f}, {:.3f}]".format(*side["ci95"]) if side["ci95"] else "[too few weeks]"
    told = {"better": "above chance", "worse": "below chance"}.get(
        side["versus_chance"]["verdict"], "not shown"
    )
    return f"{side['share']:.3f} {reach} of {side['n']} right, chance {side['chance']:.3f}: {told}"


if __name__ == "__main__":
    sys.exit(main())
