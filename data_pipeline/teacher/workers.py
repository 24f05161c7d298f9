"""The asking itself: workers that take records in order, within a budget, until all are done.

An answer is in the log before anything else happens in this process, and on the disk a moment
later.
"""

import asyncio
import enum
import logging
from collections import Counter
from collections.abc import Callable, Iterator

from data_pipeline.teacher.answer_log import OpenLog
from data_pipeline.teacher.costs import Budget, Price, cost_bound
from data_pipeline.teacher.judgement import count_of_kind, judge, kind_of
from data_pipeline.teacher.progress import RequestSettings, TeacherQuestion, next_question
from data_pipeline.teacher.prompts import TEACHING_VERSION, fingerprint
from weekahead.interrupts import handled_by_loop
from weekahead.openai_client import (
    Answered,
    Failed,
    OpenAIClient,
    Refused,
    Stopped,
    Unacceptable,
)
from weekahead.openai_reply import ServerReply, Usage, is_other_model
from weekahead.schema.rows import TeacherAnswerRow
from weekahead.task.record import Record

log = logging.getLogger(__name__)

REJECTIONS_IN_A_ROW = 30
"""So many rejections of one kind, with no accepted answer since, end a run: more cost the same."""
FAILURES_IN_A_ROW = 20
"""So many requests in a row that came to nothing end a run: the teacher is away."""
SYNC_SECONDS = 0.05
"""How often the log is forced to the disk: all that a power cut can lose."""


class End(enum.Enum):
    """Why a run ended before all records were answered."""

    INTERRUPT = enum.auto()
    BUDGET = enum.auto()
    REJECTIONS = enum.auto()
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
        self.signal = 0
        """The number of the signal that interrupted it."""
        self.refusal: Refused | None = None
        self.rejected_in_a_row: Counter[str] = Counter()
        """Reason of a rejection -> answers since the last one that was accepted."""
        self.other_models: Counter[str] = Counter()
        """Models that the server says answered and that were not asked for -> answers."""
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
            with handled_by_loop(self._interrupt):
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

    def _interrupt(self, number: int) -> None:
        """The first signal ends the run, the second drops what is on its way as well."""
        if self.ended is End.INTERRUPT:
            for task in self._tasks:
                task.cancel()
        else:
            log.warning(
                "waiting for the answers that are on their way; a second signal does not wait"
            )
        self.signal = self.signal or number
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
        reservation = _Reservation(self.budget, self._bound(question), self.price)
        await self._reserve(reservation)
        try:
            answered = await self._ask(question, reservation)
            row = answer_row(question, self.settings, answered, reservation)
            self.log.append(row)  # no await since the answer came, so nothing can come between
            reservation.count(answered.reply.usage)
            self._failed_in_a_row = 0
            self._count_judgement(row)
        except Failed as error:
            if error.may_be_paid:
                reservation.count(error.usage)
            raise
        finally:
            await reservation.settle()

    def _bound(self, question: TeacherQuestion) -> float:
        if self.price is None:
            return 0.0
        return cost_bound(self.price, question.request["messages"], self.settings.max_tokens)

    async def _reserve(self, reservation: "_Reservation") -> None:
        if not await reservation.make():
            self._end(End.BUDGET)
            raise Stopped

    async def _ask(self, question: TeacherQuestion, reservation: "_Reservation") -> Answered:
        """The reply to a question; an empty one if the teacher does not take this one request."""

        async def on_lost(usage: Usage) -> None:
            reservation.count(usage)
            await reservation.settle()
            await self._reserve(reservation)

        try:
            return await self.client.ask(question.request, on_lost)
        except Unacceptable as error:
            status, message = error.args
            if self.log.empty:  # if no request was ever taken, all may be at fault
                raise Refused(
                    f"the teacher does not take such requests: {status}: {message}"
                ) from None
            log.warning("%s: %s, %s", question.record.id, status, message)
            return Answered(ServerReply("", status, Usage(0, 0)), 0.0)

    def _count_judgement(self, row: TeacherAnswerRow) -> None:
        """Count a judgement; end the run if all answers are rejected for one kind of reason."""
        if name := row.get("served_model"):
            self.other_models[name] += 1
        if row["accepted"]:
            self.rejected_in_a_row.clear()
            return
        reason = row["reason"] or "not accepted"
        self.rejected_in_a_row[reason] += 1
        if count_of_kind(self.rejected_in_a_row, kind_of(reason)) >= REJECTIONS_IN_A_ROW:
            self._end(End.REJECTIONS)


class _Reservation:
    """What is set aside for one request, and what it turned out to cost."""

    def __init__(self, budget: Budget, bound: float, price: Price | None) -> None:
        self.bound = bound
        """US dollars; 0 without a price."""
        self.has_price = price is not None
        self._budget, self._price = budget, price
        self._cost, self._estimated, self._made = 0.0, False, False

    async def make(self) -> bool:
        """Set the bound aside; False if the budget cannot bear it."""
        self._cost, self._estimated = 0.0, False
        self._made = await self._budget.reserve(self.bound)
        return self._made

    def cost(self, usage: Usage) -> tuple[float, bool]:
        """US dollars for so many tokens, and whether that is the bound, since they are unknown."""
        tokens, new_tokens = usage
        if self._price is None or tokens is None or new_tokens is None:
            return self.bound, self._price is not None
        return self._price.cost(tokens, new_tokens), False

    def count(self, usage: Usage) -> None:
        """Note what the request cost."""
        self._cost, self._estimated = self.cost(usage)

    async def settle(self) -> None:
        """Give back what is set aside and not spent."""
        if self._made:
            self._made = False
            await self._budget.settle(self.bound, cost=self._cost, estimated=self._estimated)


def answer_row(
    question: TeacherQuestion,
    settings: RequestSettings,
    answered: Answered,
    reservation: _Reservation,
) -> TeacherAnswerRow:
    """A line of the log. It holds no time, so the logs of two runs have the same lines."""
    reply = answered.reply
    label = question.record.label if settings.kind == "hindsight" else None
    reason = judge(reply.text, finish_reason=reply.finish_reason, label=label)
    cost, is_estimate = reservation.cost(reply.usage)
    row: TeacherAnswerRow = {
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
        "cost": round(cost, 8) if reservation.has_price else None,
        "teaching_version": TEACHING_VERSION,
        "max_tokens": settings.max_tokens,
        "question_sha256": question.question_sha256,
    }
    if is_estimate:
        row["cost_estimated"] = True
    if reply.model is not None and is_other_model(settings.model, reply.model):
        row["served_model"] = reply.model
    if answered.left_out:
        row["left_out"] = list(answered.left_out)
    return row
