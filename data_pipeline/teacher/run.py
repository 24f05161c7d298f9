"""Ask a teacher model for an answer to every record, once:

python -m data_pipeline.teacher data/records/nasdaq100.jsonl --model gpt-4.1 --kind hindsight

Any OpenAI-compatible endpoint: OPENAI_API_KEY and OPENAI_BASE_URL from the environment or `.env`. Answers go to
data/teacher/<model>/<kind>.jsonl as they come, and a request whose answer stands there is never sent again: after
an interrupt, a failure or a spent budget the same command goes on. Ctrl-C or SIGTERM waits for the answers on
their way, a second one does not; what is on its way then, or at a SIGKILL, may be paid again, and nothing else.
"""

import argparse
import asyncio
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from data_pipeline.teacher.answer_log import TeacherLog, writing
from data_pipeline.teacher.costs import MEAN_OUTPUT_TOKENS, PRICES, Budget, Price, read_price
from data_pipeline.teacher.progress import Progress, RequestSettings, can_be_asked, count_progress
from data_pipeline.teacher.prompts import KINDS
from data_pipeline.teacher.workers import TeacherRun, work_through
from weekahead.files import iter_jsonl, load_env
from weekahead.openai_client import OpenAIClient
from weekahead.task.record import Record, read_records


def answers_path(args: argparse.Namespace) -> Path:
    """Where the answers go: `<out>/<model, fit for a file name>/<kind>.jsonl`. Raises ValueError without a model."""
    return (
        args.out / re.sub(r"[^A-Za-z0-9._-]+", "-", _model(args)).strip(".-") / f"{args.kind}.jsonl"
    )


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The flags of this stage."""
    parser.add_argument(
        "--model", help="the teacher's name at its provider (default: OPENAI_MODEL)"
    )
    parser.add_argument("--concurrency", type=int, default=32, help="requests on their way at once")
    parser.add_argument(
        "--per_minute", type=int, help="at most so many requests a minute (default: no limit)"
    )
    parser.add_argument("--temperature", type=float, default=RequestSettings.temperature)
    parser.add_argument(
        "--max_tokens", type=int, default=RequestSettings.max_tokens, help="limit of one answer"
    )
    parser.add_argument("--seed", type=int, help="sent along where given")
    parser.add_argument(
        "--max_cost",
        type=float,
        metavar="USD",
        help="what this run may spend; earlier runs do not count",
    )
    parser.add_argument(
        "--dry_run", action="store_true", help="only say what would be asked and what it would cost"
    )


def run(args: argparse.Namespace) -> int:
    """Ask for the answers to `args.records` that are not in the log yet, and print where they stand.

    0 where all are answered, 1 where requests failed or the budget ended it, 130 after an interrupt. Raises
    ValueError and OSError for what the message says how to mend, answers that came before being in the log.
    `args.only` and `args.weeks` (week_start) leave records out, where they are not None.
    """
    asking = _asking(args)
    path, price = answers_path(args), _price(asking.model, args.max_cost)
    if args.dry_run:
        print(
            estimate(count_progress(_records(args), asking, TeacherLog(path)), asking.model, price)
        )
        return 0
    with writing(path) as log:
        before = count_progress(_records(args), asking, log)
        print(estimate(before, asking.model, price), flush=True)
        if not before.left:
            print(f"nothing to ask: {path}")
            return 0
        calls = OpenAIClient(args.per_minute)
        work = asyncio.run(
            _work(args, TeacherRun(asking, log, price, Budget(args.max_cost), calls), before)
        )
        after = count_progress(_records(args), asking, log)
    args.spent = work.budget.spent
    print(summary(after, work, price))
    if work.refusal:
        raise work.refusal
    return _tell_end(work, after, args, path)


def check(args: argparse.Namespace) -> None:
    """Raise ValueError for arguments or an environment that cannot work, before anything is asked for."""
    _price(_asking(args).model, args.max_cost)
    if not args.dry_run:
        OpenAIClient.key()


def estimate(found: Progress, model: str, price: Price | None) -> str:
    """One line: what there is, what is to be asked, about how many tokens and dollars that is."""
    output = found.left * MEAN_OUTPUT_TOKENS
    dollars = f"cost unknown: {model} is not in {PRICES.name}"
    if price:
        dollars = f"about ${price.cost(found.input_tokens, output):.2f} (prices of {price.as_of})"
    return (
        f"{found.records} records: {found.accepted + found.rejected.total()} answered already, "
        f"{found.skipped} skipped (no return), {found.left} to ask; about {found.input_tokens} tokens in and "
        f"{output} out at {MEAN_OUTPUT_TOKENS} an answer; {dollars}"
    )


def summary(found: Progress, work: TeacherRun, price: Price | None) -> str:
    """One line: where the records stand now, and what this run did and cost."""
    reasons = ", ".join(f"{reason}: {count}" for reason, count in sorted(found.rejected.items()))
    return (
        f"{found.accepted} accepted, {found.asked_again} asked again, {found.rejected.total()} rejected"
        f"{f' ({reasons})' if reasons else ''}, {work.failed} failed, {found.left} left; this run: "
        f"{work.calls.answered} answers, {f'${work.budget.spent:.2f}' if price else 'cost unknown'}"
    )


async def _work(args: argparse.Namespace, work: TeacherRun, before: Progress) -> TeacherRun:
    from tqdm import tqdm

    records = (record for record in _records(args) if can_be_asked(record, args.kind))
    total = before.records - before.skipped
    with tqdm(total=total, unit="record", desc=f"{work.asking.model} {args.kind}") as bar:

        def tick(finished: int) -> None:
            if work.price:
                bar.set_postfix_str(f"${work.budget.spent:.2f}", refresh=False)
            bar.update(finished)

        await work_through(work, records, min(args.concurrency, before.left), tick)
    return work


def _records(args: argparse.Namespace) -> Iterator[Record]:
    only = {row["id"] for row in iter_jsonl(args.only)} if args.only else None
    records = (record for record in read_records(args.records) if only is None or record.id in only)
    return (record for record in records if args.weeks is None or record.week_start in args.weeks)


def _model(args: argparse.Namespace) -> str:
    model = args.model or os.environ.get("OPENAI_MODEL")
    if not model:
        raise ValueError("no model: give --model, or set OPENAI_MODEL in the environment or .env")
    return model


def _asking(args: argparse.Namespace) -> RequestSettings:
    for name, least in (
        ("concurrency", 1),
        ("per_minute", 1),
        ("max_tokens", 1),
        ("temperature", 0),
        ("max_cost", 0),
    ):
        value = getattr(args, name)
        if value is not None and not least <= value < math.inf:
            raise ValueError(f"--{name} is {value}; expected {least} or more")
    return RequestSettings(_model(args), args.kind, args.temperature, args.max_tokens, args.seed)


def _price(model: str, max_cost: float | None) -> Price | None:
    price = read_price(model)
    if price is None and max_cost is not None:
        raise ValueError(f"--max_cost needs a price for {model!r}: add a line to {PRICES}")
    return price


def _tell_end(work: TeacherRun, after: Progress, args: argparse.Namespace, path: Path) -> int:
    if work.ended == "interrupt":
        print(
            f"interrupted: {after.accepted} answers are in {path}; the same command goes on",
            file=sys.stderr,
        )
        return 130
    if work.ended == "budget":
        print(
            f"stopped before --max_cost {args.max_cost:g} could be passed: {after.left} records are left"
        )
        return 1
    if work.failed:
        told = (
            f"{work.failed} records failed and stay unanswered, the last with {work.last_failure}"
        )
        print(f"{told}; run the same command again", file=sys.stderr)
        return 1
    print(path)
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """The command. Exit 0 asked, 1 some left, 2 for something the message says how to mend, 130 interrupted."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("records", type=Path, help="data/records/<name>.jsonl")
    parser.add_argument(
        "--kind", choices=KINDS, required=True, help="told the bin (for training), or not"
    )
    parser.add_argument(
        "--out", type=Path, default=Path("data/teacher"), help="folder of the answers"
    )
    parser.add_argument(
        "--only",
        type=Path,
        help="ask about the ids in this file alone, such as a dataset's test.jsonl",
    )
    add_arguments(parser)
    args = parser.parse_args(argv, argparse.Namespace(weeks=None))
    try:
        load_env()
        return run(args)
    except (ValueError, OSError) as error:
        print(f"data_pipeline.teacher: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("data_pipeline.teacher: interrupted; the same command goes on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
