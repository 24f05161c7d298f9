"""The asking itself: workers that take records in their order, within a budget, until all are answered or told to end.

An answer is in the log before anything else happens in this process, and on the disk a moment later.
"""

import asyncio
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from data_pipeline.teacher.answer_log import OpenLog
from data_pipeline.teacher.costs import Budget, Price, most_cost
from data_pipeline.teacher.progress import Question, RequestSettings, next_question
from data_pipeline.teacher.prompts import TEACHING_VERSION, fingerprint, judge
from weekahead.files import Row
from weekahead.openai_client import ChatReply, Failed, OpenAIClient, Refused, Stopped, Unacceptable
from weekahead.task.record import Record

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 20
"""So many requests that came to nothing, with no answer between them, end a run: the teacher is away."""
SYNC_SECONDS = 0.05
"""How often the log is forced to the disk: all that a power cut can lose."""


@dataclass
class TeacherRun:
    """What the workers of one run share, and how it went."""

    asking: RequestSettings
    log: OpenLog
    price: Price | None
    budget: Budget
    calls: OpenAIClient
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    failed: int = 0
    in_a_row: int = 0
    last_failure: str = ""
    ended: str | None = None
    """Why the run ended early: "interrupt", "budget" or "refused"."""
    refusal: Refused | None = None

    def end(self, why: str) -> None:
        """Send nothing more; the answers on their way are still awaited."""
        self.ended = self.ended or why
        self.calls.stop(self.tasks)

    def interrupt(self) -> None:
        """The first signal ends the run, the second drops what is on its way as well."""
        if self.ended == "interrupt":
            for task in self.tasks:
                task.cancel()
        else:
            log.warning(
                "waiting for the answers that are on their way; a second signal does not wait"
            )
        self.ended = "interrupt"
        self.end("interrupt")


async def work_through(
    work: TeacherRun,
    records: Iterator[Record],
    workers: int,
    tick: Callable[[int], None] = lambda finished: None,
) -> None:
    """Ask for all `records` that are not answered; `tick` hears of every record that is finished.

    Raises OSError where an answer could not be written.
    """
    work.tasks += [asyncio.create_task(_worker(work, records, tick)) for _ in range(workers)]
    tasks = [*work.tasks, asyncio.create_task(_sync(work.log, work.tasks))]
    try:
        with _signals(work.interrupt):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
    finally:
        for task in work.tasks:
            task.cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        await work.calls.close()
    for end in ends:
        if isinstance(end, Exception):
            raise end


async def _sync(opened: OpenLog, until: list[asyncio.Task[None]]) -> None:
    while not all(task.done() for task in until):
        await asyncio.sleep(SYNC_SECONDS)
        await asyncio.to_thread(opened.sync)


async def _worker(work: TeacherRun, records: Iterator[Record], tick: Callable[[int], None]) -> None:
    for record in records:  # shared: each record comes to one worker
        try:
            while question := next_question(record, work.asking, work.log)[1]:
                await _answer(work, question)
        except Stopped:
            return
        except Failed as error:
            _count_failure(work, f"{error} (asked about {record.id})")
        except Refused as error:
            _refuse(work, f"{error} (asked about {record.id})")
        if work.ended:
            return
        tick(1)


def _count_failure(work: TeacherRun, what: str) -> None:
    work.failed += 1
    work.in_a_row += 1
    work.last_failure = what
    if work.in_a_row >= FAILURES_IN_A_ROW:
        _refuse(
            work,
            f"{work.in_a_row} requests in a row came to nothing, the last with {what}; check OPENAI_BASE_URL "
            "and the state of the provider, then run the same command again",
        )


def _refuse(work: TeacherRun, why: str) -> None:
    work.refusal = work.refusal or Refused(why)
    work.end("refused")


async def _answer(work: TeacherRun, question: Question) -> None:
    """Ask one question and log the answer."""
    if work.ended:
        raise Stopped
    asking, price = work.asking, work.price
    most = most_cost(price, question.body["messages"], asking.max_tokens) if price else 0.0
    if not await work.budget.reserve(most):
        work.end("budget")
        raise Stopped
    cost = 0.0
    try:
        try:
            reply = await work.calls.ask(question.body)
        except Unacceptable as error:
            how, words = error.args
            if work.log.empty:  # of requests that were never taken, all may be at fault
                raise Refused(f"the teacher does not take such requests: {how}: {words}") from None
            log.warning("%s: %s, %s", question.record.id, how, words)
            reply = ChatReply("", how, 0, 0)
        row = answer_row(question, asking, reply, price)
        work.log.append(row)  # no await since the answer came, so nothing can come between
        cost = most if row["cost"] is None else row["cost"]
        work.in_a_row = 0
    finally:
        await work.budget.settle(most, cost)


def answer_row(
    question: Question, asking: RequestSettings, reply: ChatReply, price: Price | None
) -> Row:
    """A line of the log. No time stands in it, so the logs of two runs hold the same lines."""
    told = question.record.label if asking.kind == "hindsight" else None
    reason = judge(reply.text, reply.finish_reason, told)
    cost = None
    if price and reply.prompt_tokens is not None and reply.completion_tokens is not None:
        cost = round(price.cost(reply.prompt_tokens, reply.completion_tokens), 8)
    return {
        "key": question.key,
        "id": question.record.id,
        "kind": asking.kind,
        "prompt_sha256": fingerprint(question.record, asking.kind),
        "attempt": question.attempt,
        "model": asking.model,
        "answer": reply.text,
        "accepted": reason is None,
        "reason": reason,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": reply.completion_tokens,
        "cost": cost,
        "teaching_version": TEACHING_VERSION,
    }


@contextmanager
def _signals(handler: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM go to `handler` while this is open."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
