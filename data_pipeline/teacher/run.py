"""Ask a teacher model for an answer to every record, once:

python -m data_pipeline.teacher data/records/nasdaq100.jsonl --model gpt-4.1 --kind hindsight

Any OpenAI-compatible endpoint: OPENAI_API_KEY and OPENAI_BASE_URL from the environment or `.env`.
Answers go to data/teacher/<model>/<kind>.jsonl as they come, and a request whose answer is there is
never sent again: after an interrupt, a failure or a spent budget the same command goes on. With a
larger --max_tokens it asks again what was cut off, and nothing else. Thirty rejections of one kind
with no accepted answer between them end it. Ctrl-C or SIGTERM waits for the answers on their way, a
second one does not; what is on its way then, or at a SIGKILL, may be paid again, and nothing else.
"""

import asyncio
import dataclasses
import math
import os
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from data_pipeline.records.checks import checked_records
from data_pipeline.teacher.answer_log import TeacherLog, writing
from data_pipeline.teacher.costs import MEAN_OUTPUT_TOKENS, PRICES, Budget, Price, read_price
from data_pipeline.teacher.judgement import count_of_kind, is_cut_off, kind_of, most_common, remedy
from data_pipeline.teacher.progress import Progress, RequestSettings, can_be_asked, count_progress
from data_pipeline.teacher.prompts import KINDS, AnswerKind
from data_pipeline.teacher.workers import End, TeacherRun
from weekahead.cli import add_options, new_parser, option, read_options, run_command
from weekahead.files import iter_jsonl
from weekahead.names import check_name
from weekahead.openai_client import OpenAIClient
from weekahead.task.record import Record

_LEAST = {"concurrency": 1, "per_minute": 1, "max_tokens": 1, "temperature": 0, "max_cost": 0}
"""Option -> its smallest value."""


@dataclass(frozen=True)
class TeacherOptions:
    """The flags of this stage: which teacher is asked, how, and for how much money."""

    model: str | None = option(
        None, help="the teacher's name at its provider (default: OPENAI_MODEL)"
    )
    concurrency: int = option(32, help="requests on their way at once")
    per_minute: int | None = option(
        None, help="at most so many requests per minute (default: no limit)"
    )
    temperature: float = RequestSettings.temperature
    max_tokens: int = option(RequestSettings.max_tokens, help="limit of one answer")
    seed: int | None = option(None, help="sent along if it is set")
    max_cost: float | None = option(
        None, metavar="USD", help="what this run may spend; earlier runs do not count"
    )
    dry_run: bool = option(False, help="only say what would be asked and what it would cost")

    def check(self) -> None:
        """Raise ValueError for options or an environment that cannot work."""
        self.request_settings("hindsight")
        self.price()
        if not self.dry_run:
            OpenAIClient.key()

    def model_name(self) -> str:
        """The teacher's name. Raises ValueError without one."""
        model = self.model or os.environ.get("OPENAI_MODEL")
        if not model:
            raise ValueError(
                "no model: give --model, or set OPENAI_MODEL in the environment or .env"
            )
        return model

    def request_settings(self, kind: AnswerKind) -> RequestSettings:
        """How records are asked. Raises ValueError for a number that is too small."""
        for name, least in _LEAST.items():
            value = getattr(self, name)
            if value is not None and not least <= value < math.inf:
                raise ValueError(f"--{name} is {value}; expected {least} or more")
        return RequestSettings(
            self.model_name(), kind, self.temperature, self.max_tokens, self.seed
        )

    def price(self) -> Price | None:
        """The teacher's price, or None. Raises ValueError if a budget needs one that is missing."""
        model = self.model_name()
        price = read_price(model)
        if price is None and self.max_cost is not None:
            raise ValueError(f"--max_cost needs a price for {model!r}: add a line to {PRICES}")
        return price

    def after_spending(self, dollars: float) -> "TeacherOptions":
        """The same options with what is left of the budget."""
        if self.max_cost is None:
            return self
        return dataclasses.replace(self, max_cost=max(0.0, self.max_cost - dollars))


@dataclass(frozen=True, kw_only=True)
class TeacherJob:
    """Which records are asked about, what kind of question, and where the answers go."""

    records: Path
    kind: AnswerKind
    out: Path
    only: Collection[str] | None = None
    """Ids of the records that are asked about; None: all of them."""
    weeks: Collection[str] | None = None
    """First days (ISO dates) of the forecast weeks that are asked about; None: all of them."""

    def selected(self) -> Iterator[Record]:
        """The records that are asked about, read one after another.

        Raises ValueError for one that no dataset could hold: its answer would be paid for nothing.
        """
        for record in checked_records(self.records):
            wanted = self.only is None or record.id in self.only
            if wanted and (self.weeks is None or record.week_start in self.weeks):
                yield record

    def answers(self, model: str) -> Path:
        """Where the answers go: `<out>/<model, fit for a file name>/<kind>.jsonl`."""
        folder = re.sub(r"[^A-Za-z0-9._-]+", "-", model).strip(".-")
        return self.out / check_name("--model", folder) / f"{self.kind}.jsonl"


@dataclass(frozen=True)
class TeacherResult:
    """How a run ended."""

    status: int
    """0: all are answered; 1: requests failed, the budget or rejections ended it, or no answer was
    accepted; 130 or 143: interrupted."""
    spent: float
    """US dollars; 0 if the price is not known."""
    answers: Path
    """The log of the answers."""


def run(options: TeacherOptions, job: TeacherJob) -> TeacherResult:
    """Ask for the answers that are not in the log yet, and print where the records stand.

    Raises ValueError and OSError for errors whose message names the remedy; answers that came
    before are in the log.
    """
    settings, price = options.request_settings(job.kind), options.price()
    path = job.answers(settings.model)
    if options.dry_run:
        progress = count_progress(job.selected(), settings, TeacherLog(path))
        print(estimate(progress, settings.model, price))
        return TeacherResult(0, 0.0, path)
    with writing(path) as log:
        before = count_progress(job.selected(), settings, log)
        print(estimate(before, settings.model, price), flush=True)
        if not before.left:
            print(f"nothing to ask: {path}")
            return TeacherResult(_finished(before, path, settings.max_tokens), 0.0, path)
        client, budget = OpenAIClient(options.per_minute), Budget(options.max_cost)
        teacher_run = TeacherRun(settings, log, price=price, budget=budget, client=client)
        workers = min(options.concurrency, before.left)
        asyncio.run(
            _answer_all(teacher_run, job, total=before.records - before.skipped, workers=workers)
        )
        after = count_progress(job.selected(), settings, log)
    print(summary(after, teacher_run))
    for line in server_lines(teacher_run):
        print(f"warning: {line}", file=sys.stderr)
    if teacher_run.refusal:
        raise teacher_run.refusal
    status = _print_end(teacher_run, after, path)
    return TeacherResult(status, budget.spent, path)


async def _answer_all(
    teacher_run: TeacherRun, job: TeacherJob, *, total: int, workers: int
) -> None:
    """Ask about all records of a job, with a progress bar."""
    from tqdm import tqdm

    settings = teacher_run.settings
    records = (record for record in job.selected() if can_be_asked(record, job.kind))
    with tqdm(total=total, unit="record", desc=f"{settings.model} {settings.kind}") as bar:

        def advance() -> None:
            if teacher_run.price:
                bar.set_postfix_str(f"${teacher_run.budget.spent:.2f}", refresh=False)
            bar.update(1)

        await teacher_run.answer_all(records, workers=workers, on_finished=advance)


def estimate(progress: Progress, model: str, price: Price | None) -> str:
    """One line: what there is, what is to be asked, about how many tokens and dollars that is."""
    output = progress.left * MEAN_OUTPUT_TOKENS
    dollars = f"cost unknown: {model} is not in {PRICES.name}"
    if price:
        dollars = (
            f"about ${price.cost(progress.input_tokens, output):.2f} (prices of {price.as_of})"
        )
    return (
        f"{progress.records} records: {progress.answered} answered already, "
        f"{progress.skipped} skipped (no return), {progress.left} to ask; "
        f"about {progress.input_tokens} tokens in and {output} out at {MEAN_OUTPUT_TOKENS} per "
        f"answer; {dollars}"
    )


def summary(progress: Progress, teacher_run: TeacherRun) -> str:
    """One line: where the records stand now, and what this run did and cost."""
    counts = [f"{reason}: {count}" for reason, count in sorted(progress.rejected.items())]
    reasons = f" ({', '.join(counts)})" if counts else ""
    cost = "cost unknown"
    if teacher_run.price:
        cost = f"${teacher_run.budget.spent:.2f}"
        if teacher_run.budget.estimated:
            cost += f" (${teacher_run.budget.estimated:.2f} of it estimated: tokens not stated)"
    return (
        f"{progress.accepted} accepted, {progress.asked_again} asked again, "
        f"{progress.rejected.total()} rejected{reasons}, {teacher_run.failed} failed, "
        f"{progress.left} left; this run: {teacher_run.client.answered} answers, {cost}"
    )


def server_lines(teacher_run: TeacherRun) -> Iterator[str]:
    """What a user has to know of the server: what it refused, and other models that answered."""
    for name, said in teacher_run.client.form.left_out.items():
        yield f"the teacher refuses {name}, so it was asked without: {said}"
    for name, count in teacher_run.other_models.items():
        yield (
            f"{count} answers came from {name}, as the server says, and not from "
            f"{teacher_run.settings.model}; is that the teacher that you mean?"
        )


def _print_end(teacher_run: TeacherRun, progress: Progress, path: Path) -> int:
    """Print how the run ended; its exit status."""
    if teacher_run.ended is End.INTERRUPT:
        print(
            f"interrupted: {progress.accepted} answers are in {path}; the same command goes on",
            file=sys.stderr,
        )
        return 128 + teacher_run.signal
    if teacher_run.ended is End.REJECTIONS:
        print(_rejections(teacher_run, path), file=sys.stderr)
        return 1
    if teacher_run.ended is End.BUDGET:
        print(
            f"stopped before --max_cost {teacher_run.budget.limit:g} could be passed: "
            f"{progress.left} records are left"
        )
        return 1
    if teacher_run.failed:
        print(
            f"{teacher_run.failed} records failed and stay unanswered, the last with "
            f"{teacher_run.last_failure}; run the same command again",
            file=sys.stderr,
        )
        return 1
    return _finished(progress, path, teacher_run.settings.max_tokens)


def _rejections(teacher_run: TeacherRun, path: Path) -> str:
    """Why a run that only brings rejections was stopped, and the remedy."""
    reasons = teacher_run.rejected_in_a_row
    reason = most_common(reasons)
    count = count_of_kind(reasons, kind_of(reason))
    stays = "" if is_cut_off(reason) else f". They are not asked again unless you move {path} away"
    return (
        f"stopped: {count} answers were rejected in a row ({reason}) and none was accepted, so "
        f"more would only cost; {remedy(reason, teacher_run.settings.max_tokens)}{stays}"
    )


def _finished(progress: Progress, path: Path, max_tokens: int) -> int:
    """Print where the answers are; 1 if no record has one that is accepted."""
    if progress.accepted:
        print(path)
        return 0
    if not progress.rejected:
        why = "no record is selected or has a return; check the file of records and --only"
    else:
        reason = most_common(progress.rejected)
        why = f"most were rejected for: {reason}; {remedy(reason, max_tokens)}"
    print(f"0 accepted: {path} holds no answer that can be used; {why}", file=sys.stderr)
    return 1


def read_ids(path: Path) -> frozenset[str]:
    """The ids of the rows in a JSONL file, such as a dataset's test.jsonl."""
    return frozenset(row["id"] for row in iter_jsonl(path))


def main(argv: Sequence[str] | None = None) -> int:
    """The command.

    Exit 0 asked, 1 some left, 2 for an error whose message names the remedy, 130 or 143
    interrupted.
    """
    parser = new_parser(__doc__, "data_pipeline.teacher")
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
    add_options(parser, TeacherOptions)
    arguments = parser.parse_args(argv)
    options = read_options(arguments, TeacherOptions)

    def work() -> int:
        only = read_ids(arguments.only) if arguments.only else None
        job = TeacherJob(
            records=arguments.records, kind=arguments.kind, out=arguments.out, only=only
        )
        return run(options, job).status

    return run_command("data_pipeline.teacher", work, resumable=True)


if __name__ == "__main__":
    sys.exit(main())
