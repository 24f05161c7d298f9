"""The asking itself: workers that take records in order, within a budget, until all are done.

An answer is in the log before anything else happens in this process, and on the disk a moment
later.
"""

import asyncio
import enum
import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from data_pipeline.teacher.answer_log import OpenLog
from data_pipeline.teacher.costs import Budget, Price, cost_bound
from data_pipeline.teacher.progress import RequestSettings, TeacherQuestion, next_question
from data_pipeline.teacher.prompts import TEACHING_VERSION, fingerprint, judge
from weekahead.openai_client import Failed, OpenAIClient, Refused, Stopped, Unacceptable
from weekahead.openai_reply import ServerReply, Usage
from weekahead.schema.rows import TeacherAnswerRow
from weekahead.task.record import Record

log = logging.getLogger(__name__)

FAILURES_IN_A_ROW = 20
"""So many requests in a row that came to nothing end a run: the teacher is away."""
SYNC_SECONDS = 0.05
"""How often the log is forced to the disk: all that a power cut can lose."""


class End(enum.Enum):
    """Why a run ended before all records were answered."""

    INTERRUPT = enum.auto()
    BUDGET = enum.auto()
    REFUSAL = enum.auto()


class TeacherRun:
    """One run of the teacher: what its workers share, and how it went."""

    def __init__(
        self,
        settings: RequestSettings,
        answer_log: OpenLog,
        *,
        price: Price | None,
        budget: Budget,
        client: OpenAIClient,
    ) -> None:
        self.settings = settings
        self.log = answer_log
        self.price = price
        self.budget = budget
        self.client = client
        self.failed = 0
        """Records whose request came to nothing."""
        self.last_failure = ""
        self.ended: End | None = None
        self.refusal: Refused | None = None
        self._failed_in_a_row = 0
        self._tasks: list[asyncio.Task[None]] = []

    async def answer_all(
        self,
        records: Iterator[Record],
        *,
        workers: int,
        on_finished: Callable[[], None] = lambda: None,
    ) -> None:
        """Ask about all `records` that are not answered; `on_finished` is called after each record.

        Raises OSError if an answer could not be written.
        """
        self._tasks = [
            asyncio.create_task(self._work(records, on_finished)) for _ in range(workers)
        ]
        tasks = [*self._tasks, asyncio.create_task(self._sync_log())]
        try:
            with _handle_signals(self._interrupt):
                await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        finally:
            for task in self._tasks:
                task.cancel()
            results = await asyncio.gather(*tasks, return_exceptions=True)
            await self.client.close()
        for result in results:
            if isinstance(result, Exception):
                raise result

    def _end(self, reason: End) -> None:
        """Send nothing more; the answers on their way are still awaited."""
        self.ended = self.ended or reason
        self.client.stop(self._tasks)

    def _interrupt(self) -> None:
        """The first signal ends the run, the second drops what is on its way as well."""
        if self.ended is End.INTERRUPT:
            for task in self._tasks:
                task.cancel()
        else:
            log.warning(
                "waiting for the answers that are on their way; a second signal does not wait"
            )
        self.ended = End.INTERRUPT
        self._end(End.INTERRUPT)

    async def _sync_log(self) -> None:
        while not all(task.done() for task in self._tasks):
            await asyncio.sleep(SYNC_SECONDS)
            await asyncio.to_thread(self.log.sync)

    async def _work(self, records: Iterator[Record], on_finished: Callable[[], None]) -> None:
        """One worker. `records` is shared: each record comes to one worker."""
        for record in records:
            try:
                while question := next_question(record, self.settings, self.log).question:
                    await self._answer(question)
            except Stopped:
                return
            except Failed as error:
                self._count_failure(f"{error} (asked about {record.id})")
            except Refused as error:
                self._refuse(f"{error} (asked about {record.id})")
            if self.ended:
                return
            on_finished()

    def _count_failure(self, message: str) -> None:
        self.failed += 1
        self._failed_in_a_row += 1
        self.last_failure = message
        if self._failed_in_a_row >= FAILURES_IN_A_ROW:
            self._refuse(
                f"{self._failed_in_a_row} requests in a row came to nothing, the last with "
                f"{message}; check OPENAI_BASE_URL and the state of the provider, then run the "
                "same command again"
            )

    def _refuse(self, message: str) -> None:
        self.refusal = self.refusal or Refused(message)
        self._end(End.REFUSAL)

    async def _answer(self, question: TeacherQuestion) -> None:
        """Ask one question and log the answer. Raises Stopped and what the client raises."""
        if self.ended:
            raise Stopped
        bound = 0.0
        if self.price:
            messages = question.request["messages"]
            bound = cost_bound(self.price, messages, self.settings.max_tokens)
        if not await self.budget.reserve(bound):
            self._end(End.BUDGET)
            raise Stopped
        cost = 0.0
        try:
            reply = await self._ask(question)
            row = answer_row(question, self.settings, reply, self.price)
            self.log.append(row)  # no await since the answer came, so nothing can come between
            logged_cost = row.get("cost")
            # Without counts of tokens the answer is taken for the dearest.
            cost = bound if logged_cost is None else logged_cost
            self._failed_in_a_row = 0
        finally:
            await self.budget.settle(bound, cost=cost)

    async def _ask(self, question: TeacherQuestion) -> ServerReply:
        """The reply to a question; an empty one if the teacher does not take this one request."""
        try:
            return (await self.client.ask(question.request)).reply
        except Unacceptable as error:
            status, message = error.args
            if self.log.empty:  # if no request was ever taken, all may be at fault
                raise Refused(
                    f"the teacher does not take such requests: {status}: {message}"
                ) from None
            log.warning("%s: %s, %s", question.record.id, status, message)
            return ServerReply("", status, Usage(0, 0))


def answer_row(
    question: TeacherQuestion, settings: RequestSettings, reply: ServerReply, price: Price | None
) -> TeacherAnswerRow:
    """A line of the log. It holds no time, so the logs of two runs have the same lines."""
    label = question.record.label if settings.kind == "hindsight" else None
    reason = judge(reply.text, finish_reason=reply.finish_reason, label=label)
    cost = None
    tokens, new_tokens = reply.usage
    if price and tokens is not None and new_tokens is not None:
        cost = round(price.cost(tokens, new_tokens), 8)
    return {
        "key": question.key,
        "id": question.record.id,
        "kind": settings.kind,
        "prompt_sha256": fingerprint(question.record, settings.kind),
        "attempt": question.attempt,
        "model": settings.model,
        "answer": reply.text,
        "accepted": reason is None,
        "reason": reason,
        "finish_reason": reply.finish_reason,
        "prompt_tokens": reply.usage.prompt_tokens,
        "completion_tokens": reply.usage.completion_tokens,
        "cost": cost,
        "teaching_version": TEACHING_VERSION,
    }


@contextmanager
def _handle_signals(handler: Callable[[], None]) -> Iterator[None]:
    """SIGINT and SIGTERM go to `handler` while this is open."""
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, handler)
    try:
        yield
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.remove_signal_handler(number)
