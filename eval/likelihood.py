"""Score every row by the probability of the twelve bins after "Prediction:", beside or instead of answers.

    python -m eval.likelihood --config recipes/llama.yaml --adapter outputs/llama --dataset data/datasets/mine \\
        --out results/llama

Needs no parser, is deterministic, and ranks a base model that keeps no layout by the same measure as a
tuned one. Writes likelihoods.jsonl and its manifest; `eval.score` reads them where they lie beside
generations.jsonl. A run that was interrupted goes on where it stopped.

What stands before "Prediction:" is `--prefix`:

    own     the model's own answer from generations.jsonl, up to its prediction: the probabilities of the very
            choice that generation made. A row whose answer cannot be read gets the direct prefix. Each row is
            scored with the direct prefix beside it (`direct` in the row), so that all runs have that in common.
    direct  nothing but "[Prediction & Analysis]:": no answer is needed first, so it is cheap, and the same
            text for every model. A tuned model writes two sections before, so this is a question it was not
            trained on.

The default is own where generations.jsonl is there, else direct. Each row says which it got.
"""

import argparse
import json
import logging
import math
import sys
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from data_pipeline.dataset.load import EvalData, eval_rows, train_rows
from eval.generation.results_folder import GENERATIONS, MANIFEST
from eval.likelihoods.continuations import (
    DIRECT_PREFIX,
    Choices,
    choices,
    log_probabilities,
    own_prefix,
)
from eval.likelihoods.run import (
    LIKELIHOODS,
    LIKELIHOODS_MANIFEST,
    PREFIXES,
    Scoring,
    answered_by_a_server,
    begun,
    check_same_run,
    describe,
    scoring,
)
from weekahead.cli import configure_logging, describe_error, model_arguments
from weekahead.files import (
    Row,
    append_jsonl,
    load_env,
    read_jsonl,
    read_log,
    write_json,
    write_jsonl,
)
from weekahead.models.chat_format import render_prompt_ids
from weekahead.models.decoding import plan_batches
from weekahead.models.loading import load_for_generation, load_tokenizer, resolve_base_and_adapter
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import read_recipe
from weekahead.task.labels import BINS, direction_of
from weekahead.tracking.gpu import check_torch_sees_gpu

log = logging.getLogger(__name__)


def score_rows(
    recipe: Row, adapter_name: str, data: EvalData, how: Scoring, out: Path, precision: Precision
) -> Row:
    """Score every row of `data` into `out`; return the manifest.

    Raises ValueError or OSError, before the model is loaded, for an adapter that does not fit, rows that
    do not render, or a folder that holds another run's answers or likelihoods.
    """
    base, adapter = resolve_base_and_adapter(recipe, adapter_name, precision)
    facts = describe(adapter, base, precision, data, how)
    check_same_run(out, facts)
    done = begun(out, facts)
    if {row["id"] for row in data.rows} <= set(done):
        log.info("%s is finished: nothing to score", out / LIKELIHOODS)
    else:
        tokenizer = load_tokenizer(base)
        texts = prefixes(data.rows, how, out)
        asked = [
            [_choices(tokenizer, row, text) for row, text in zip(data.rows, texts, strict=True)]
        ]
        if how.prefix == "own":
            asked.append([_choices(tokenizer, row, None) for row in data.rows])
        share = train_up_share(data)
        model, form = load_for_generation(base, adapter, precision)
        log.info("model: %s (%s)", base.name, form)
        write_json(out / LIKELIHOODS_MANIFEST, {**facts, "form": form, "complete": False})
        modes = ["direct" if text is None else "own" for text in texts]
        common = [{"prefix": mode, "train_up_share": share} for mode in modes]
        _score_missing(
            model, tokenizer.pad_token_id, data.rows, asked, common, how, out / LIKELIHOODS
        )
    return _finish(out, data)


def _finish(out: Path, data: EvalData) -> Row:
    """Put the rows in the order of the dataset and complete the manifest; a finished folder stays as it is."""
    facts = json.loads((out / LIKELIHOODS_MANIFEST).read_text(encoding="utf-8"))
    if facts["complete"]:
        return facts
    done = {row["id"]: row for row in read_log(out / LIKELIHOODS)}
    rows = [done[row["id"]] for row in data.rows]
    write_jsonl(out / LIKELIHOODS, rows)
    facts |= {
        "n": len(rows),
        "prefixes": dict(Counter(row["prefix"] for row in rows)),
        "seconds_total": math.fsum(row["seconds"] for row in rows),
        "complete": True,
    }
    write_json(out / LIKELIHOODS_MANIFEST, facts)
    return facts


def _score_missing(
    model: Any,
    pad: int,
    rows: Sequence[Row],
    asked: Sequence[Sequence[Choices]],
    common: Sequence[Row],
    how: Scoring,
    path: Path,
) -> None:
    """Score batch by batch, appending each to the log; batches that stand there whole are passed over.

    `asked` holds what each row is asked, and where there is a second list, what it is asked directly.
    """
    from tqdm import tqdm

    done = {row["id"] for row in read_log(path)}
    with tqdm(total=len(rows), initial=len(done), unit="row", desc=path.parent.name) as bar:
        for batch in plan_batches([len(one.shared) for one in asked[0]], how.batch_size):
            missing = {i for i in batch if rows[i]["id"] not in done}
            if not missing:
                continue
            start = time.perf_counter()
            # The whole batch, as in an uninterrupted run: its numbers are the same to the last digit.
            logs = [log_probabilities(model, [one[i] for i in batch], pad) for one in asked]
            seconds = round((time.perf_counter() - start) / len(batch), 4)
            fresh = [
                {**_row(rows[i], *both), **common[i], "seconds": seconds}
                for i, both in zip(batch, zip(*logs, strict=True), strict=True)
                if i in missing
            ]
            append_jsonl(path, fresh)
            bar.update(len(fresh))


def _row(row: Row, logs: Sequence[float], direct: Sequence[float] | None = None) -> Row:
    """One row of likelihoods.jsonl, from what was asked and, beside it, what was asked directly."""
    return {
        "id": row["id"],
        "symbol": row["symbol"],
        "period": f"{row['week_start']} to {row['week_end']}",
        "week_end": row["week_end"],
        "label": row["label"],
        **_probabilities(row, logs),
        **({"direct": _probabilities(row, direct)} if direct is not None else {}),
    }


def _probabilities(row: Row, logs: Sequence[float]) -> Row:
    """What a row is given to the twelve bins. `mass` is the probability of all their texts before it is made 1."""
    if not all(map(math.isfinite, logs)):
        raise ValueError(
            f"row {row['id']}: the model gives no finite probability ({logs[0]} for {BINS[0]!r}); "
            "an overflow of fp16, or a damaged adapter: score on a machine with bf16 or fp32"
        )
    largest = max(logs)
    weights = [math.exp(value - largest) for value in logs]
    probs = {
        label: weight / math.fsum(weights) for label, weight in zip(BINS, weights, strict=True)
    }
    return {
        "logprobs": dict(zip(BINS, logs, strict=True)),
        "probs": probs,
        "up": min(1.0, math.fsum(p for label, p in probs.items() if direction_of(label) > 0)),
        "mass": math.fsum(map(math.exp, logs)),
    }


def prefixes(rows: Sequence[Row], how: Scoring, out: Path) -> list[str | None]:
    """The own prefix of each row, None where it gets the direct one."""
    if how.prefix == "direct":
        return [None] * len(rows)
    texts = {row.get("id"): row.get("generation") for row in read_jsonl(out / GENERATIONS)}
    return [own_prefix(texts.get(row["id"])) for row in rows]


def _choices(tokenizer: Any, row: Row, prefix: str | None) -> Choices:
    try:
        return choices(
            tokenizer, render_prompt_ids(tokenizer, row["prompt"]), prefix or DIRECT_PREFIX
        )
    except ValueError as error:
        raise ValueError(f"row {row['id']}: {error}") from None


def train_up_share(data: EvalData) -> float | None:
    """The share of up labels among the dataset's training rows, None where it has none."""
    if data.train_majority is None:
        return None
    source = f"{data.source}@{data.revision}" if data.revision else data.source
    labels = [row["label"] for row in train_rows(source).train]
    return sum(direction_of(label) > 0 for label in labels) / len(labels)


def rows_to_score(args: argparse.Namespace) -> EvalData:
    """The rows asked for; without `--split` and `--limit` those that were answered in `args.out`, if any were."""
    if args.limit is not None and args.limit < 1:
        raise ValueError(f"--limit is {args.limit}; expected at least 1")
    path = args.out / MANIFEST
    answered = json.loads(path.read_text(encoding="utf-8"))["dataset"] if path.is_file() else {}
    data = eval_rows(args.dataset, args.split or answered.get("split"))
    most = args.limit or (None if args.split else answered.get("rows"))
    del data.rows[len(data.rows) if most is None else most :]
    return data


def arguments() -> argparse.ArgumentParser:
    """The command's flags."""
    parser = model_arguments(__doc__, out="folder for the likelihoods, results/<run>")
    parser.add_argument("--split", help="split to score (default: what was answered, else test)")
    parser.add_argument(
        "--limit", type=int, help="only the first N rows (default: as many as were answered)"
    )
    parser.add_argument(
        "--batch_size",
        type=int,
        help="rows at once (default: 8, or as few as were answered at once)",
    )
    parser.add_argument(
        "--prefix", choices=PREFIXES, help="what stands before the prediction (see above)"
    )
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 scored, 2 for something the message says how to mend, 130 interrupted."""
    configure_logging()
    args = arguments().parse_args(argv)
    try:
        load_env()
        if answered_by_a_server(args.out):
            print(
                f"eval.likelihood: the answers in {args.out} came from a server; their model cannot be asked here"
            )
            return 0
        check_torch_sees_gpu()
        how = scoring(args.out, args.prefix, args.batch_size)
        recipe = read_recipe(args.config)
        data = rows_to_score(args)
        facts = score_rows(recipe, args.adapter, data, how, args.out, choose_precision())
    except (ValueError, OSError, RuntimeError) as error:
        print(
            f"eval.likelihood: {describe_error(error, 'run eval.likelihood by itself with a smaller --batch_size')}",
            file=sys.stderr,
        )
        return 2
    except KeyboardInterrupt:
        print(
            "eval.likelihood: interrupted; the same command goes on where it stopped",
            file=sys.stderr,
        )
        return 130
    speed = facts["seconds_total"] / facts["n"]
    counts = ", ".join(f"{count} {name}" for name, count in facts["prefixes"].items())
    print(
        f"likelihoods: {args.out / LIKELIHOODS} ({facts['n']} rows, {speed:.2f} s a row; prefix: {counts})"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
