"""Write one answer for every row of a dataset split.

    python -m eval.generate --config recipes/llama.yaml --adapter outputs/llama --dataset data/datasets/mine \\
        --out results/llama

The adapter is a folder, a Hub id with an optional @revision, or `none` for the base alone. A run that was
interrupted goes on where it stopped; a finished one is left as it is. Under `accelerate launch` each process
answers its share of the batches. `--backend endpoint` asks the server at OPENAI_BASE_URL.
"""

import argparse
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from data_pipeline.dataset.load import EvalData, eval_rows
from eval.generation.backends import BACKENDS, PROMPTS, Answer, Backend, prepare
from eval.generation.results_folder import (
    GENERATIONS,
    MANIFEST,
    answer_row,
    begun,
    describe,
    gather,
    own_part,
    totals,
)
from weekahead.cli import configure_logging, describe_error, model_arguments
from weekahead.distributed import Process, process_group, select_gpu
from weekahead.files import Row, append_jsonl, load_env, read_jsonl, write_json, write_jsonl
from weekahead.models.decoding import Completion, SamplingParams
from weekahead.models.loading import Adapter, Base, resolve_base_and_adapter
from weekahead.models.precision import Precision, choose_precision
from weekahead.recipe import read_recipe
from weekahead.tracking.gpu import check_torch_sees_gpu

log = logging.getLogger(__name__)

_FEWER = "give a smaller --batch_size (make eval takes it in ARGS)"


def generate(
    recipe: Row,
    adapter_name: str,
    data: EvalData,
    how: SamplingParams,
    out: Path,
    precision: Precision,
    backend: Backend | None = None,
) -> Row:
    """Generate every row of `data` into `out`; return the manifest that lies beside the answers.

    Raises ValueError or OSError, with nothing written, for an adapter that does not fit, rows that do not
    render, or a folder begun with other settings.
    """
    backend = backend or Backend()
    base, adapter = _model(recipe, adapter_name, precision, backend)
    facts = describe(adapter, base, precision, data, how, backend)
    if count := facts["rows_in_training_weeks"]:
        log.warning(
            "%d of %d rows lie in weeks that this adapter's training reached", count, len(data.rows)
        )
    before = begun(out, facts)
    with process_group() as share:
        if share.first:
            gather(out)
        share.barrier()
        done = (
            {row["id"] for row in read_jsonl(out / GENERATIONS)}
            if (out / GENERATIONS).exists()
            else set()
        )
        missing = {i for i, row in enumerate(data.rows) if row["id"] not in done}
        if before and before.get("complete") and not missing:
            log.info("%s is finished: nothing to generate", out)
            return before
        facts["form"] = before.get("form") if before else None
        if missing:
            facts["form"], answer = prepare(backend, base, adapter, precision, data, how)
            if share.first:
                _check_form(out, before, facts["form"])
                log.info("model: %s (%s)", base.name, facts["form"])
                log.info("precision: {mode} on {device} ({reason})".format(**facts["precision"]))
                write_json(out / MANIFEST, {**facts, "complete": False})
            share.barrier()  # no answer before the manifest that says whose it is
            _answer_missing(answer, data, missing, out, facts, share)
        share.barrier()
        return _finish(out, data, facts, share) if share.first else facts


def _model(
    recipe: Row, adapter_name: str, precision: Precision, backend: Backend
) -> tuple[Base, Adapter | None]:
    """Base and adapter; what an endpoint serves without an adapter of ours is known by its name there alone."""
    base, adapter = resolve_base_and_adapter(
        recipe, adapter_name, precision, pin=backend.name != "endpoint"
    )
    if backend.name == "endpoint" and not adapter and backend.prompt == "chat":
        base = replace(
            base, name=str(backend.model), revision=None, quantization=None, dtype="unknown"
        )
    return base, adapter


def _answer_missing(
    answer: Answer, data: EvalData, missing: set[int], out: Path, facts: Row, share: Process
) -> None:
    from tqdm import tqdm

    with tqdm(
        total=len(data.rows),
        initial=len(data.rows) - len(missing),
        unit="row",
        desc=out.name,
        disable=not share.first,
    ) as bar:

        def keep(answers: list[tuple[int, Completion]]) -> None:
            append_jsonl(
                own_part(out, share),
                [answer_row(data.rows[i], one, data, facts) for i, one in answers],
            )
            bar.update(
                min(len(answers) * share.world_size, len(data.rows) - bar.n)
            )  # the others are about as far

        answer(missing, keep, share)


def _check_form(out: Path, before: Row | None, form: str) -> None:
    """Raise ValueError where the answers that are there come from the same weights in other arithmetic."""
    if before and before.get("form") not in (None, form):
        raise ValueError(
            f"{out} was begun on {before['form']}, and the card's free memory now makes it {form}: give it the "
            "room it had then, or choose another RUN"
        )


def _finish(out: Path, data: EvalData, facts: Row, share: Process) -> Row:
    """Put the answers into the order of the split and complete the manifest."""
    done = gather(out)
    rows = [done[row["id"]] for row in data.rows]
    write_jsonl(out / GENERATIONS, rows)
    facts = {**facts, **totals(rows, share.world_size), "complete": True}
    write_json(out / MANIFEST, facts)
    return facts


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 generated, 2 for something the message says how to mend, 130 interrupted."""
    args = arguments(__doc__).parse_args(argv)
    select_gpu()
    configure_logging()
    try:
        load_env()
        backend = Backend(args.backend, args.model, args.endpoint_prompt)
        if backend.name != "endpoint":
            check_torch_sees_gpu()
        how = SamplingParams(args.max_new_tokens, args.batch_size, args.temperature, args.seed)
        recipe = read_recipe(args.config)
        data = eval_rows(args.dataset, args.split)
        if args.limit is not None:
            if args.limit < 1:
                raise ValueError(f"--limit is {args.limit}; expected at least 1")
            del data.rows[args.limit :]
        facts = generate(recipe, args.adapter, data, how, args.out, choose_precision(), backend)
    except (ValueError, OSError, RuntimeError) as error:
        print(f"eval.generate: {describe_error(error, _FEWER)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(
            "eval.generate: interrupted; the same command goes on where it stopped", file=sys.stderr
        )
        return 130
    if facts.get("complete"):
        speed = (
            f"{facts['tokens_per_second']:.1f} tokens/s"
            if facts.get("tokens_per_second")
            else "speed unknown"
        )
        print(f"answers: {args.out / GENERATIONS} ({facts['n']} rows, {speed})")
    return 0


def arguments(description: str | None) -> argparse.ArgumentParser:
    """The flags of eval.generate."""
    parser = model_arguments(description, out="folder for the answers, results/<run>")
    parser.add_argument(
        "--split", help="split to answer (default: test, or every row of a single file)"
    )
    parser.add_argument("--limit", type=int, help="only the first N rows")
    parser.add_argument("--max_new_tokens", type=int, default=SamplingParams.max_new_tokens)
    parser.add_argument(
        "--batch_size",
        type=int,
        default=SamplingParams.batch_size,
        help="rows, or requests, at once",
    )
    parser.add_argument(
        "--temperature", type=float, default=SamplingParams.temperature, help="0 is greedy"
    )
    parser.add_argument(
        "--seed", type=int, default=SamplingParams.seed, help="for a temperature above 0"
    )
    parser.add_argument(
        "--backend", choices=BACKENDS, default="batched", help="endpoint asks a server"
    )
    parser.add_argument(
        "--model", help="the name that the endpoint knows the model (or its adapter) by"
    )
    parser.add_argument(
        "--endpoint_prompt",
        choices=PROMPTS,
        default="chat",
        help="form the endpoint gets a prompt in",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
