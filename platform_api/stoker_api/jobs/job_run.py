"""One run of one job: from the call of its function to the record of how it ended.

The rule that must not break: a run that is not idempotent is on disk as running before its function is called, and
whatever happens, its end is recorded, or it stays in the hands of its runner for others to find.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Final, TypeVar

from stoker.errors import PayloadTooLarge, PlatformError, WorkerLost
from stoker_api.gateway.problems import encode_problem
from stoker_api.ids import new_id
from stoker_api.internal_calls import CallEvent, CallResult, CallTarget
from stoker_api.jobs.ports import NewEvent
from stoker_api.jobs.records import ClaimedJob, JobEnd, JobRecord
from stoker_api.jobs.rooms import RunnerRooms, lost, problem_json
from stoker_api.jobs.states import JobState
from stoker_api.jobs.verdicts import RunOutcome, Verdict, verdict
from stoker_api.jobs.waiting import within
from stoker_api.stores.failures import StorageFailed
from stoker_runtime.invocation import Priority

log = logging.getLogger(__name__)
T = TypeVar("T")
_STORE_AGAIN_S: Final = 2.0
DoBeside = Callable[[Coroutine[object, object, object]], None]
"""Has somebody else own a task."""


class JobRun:
    """A job in the hands of a runner."""

    def __init__(
        self, rooms: RunnerRooms, runner: str, job: ClaimedJob, stopping: asyncio.Event, do_beside: DoBeside
    ) -> None:
        self.record: JobRecord = job.record
        self.was_sent = False
        """A replica may have it."""
        self.is_ending = False
        """How it ended is being recorded."""
        self._job = job
        self._rooms = rooms
        self._runner = runner
        self._stopping = stopping
        self._do_beside = do_beside

    async def go(self) -> None:
        """Run it to its end."""
        record = self.record
        self._rooms.lines.begin(record.id)
        try:
            await self._call()
        except Exception:
            log.exception("a job's run failed inside the platform", extra={"job": record.id})
            with contextlib.suppress(StorageFailed):
                await self._judge(lost("the platform failed while the job ran"))
        finally:
            self._rooms.lines.end(record.id)

    async def _call(self) -> None:
        record, rooms = self.record, self._rooms
        try:
            body = self._job.body if self._job.body_blob is None else await rooms.payloads.read(self._job.body_blob)
        except PlatformError as error:
            await self._judge(error)
            return
        try:
            if not rooms.allowance(record).is_repeatable:
                if not await rooms.runs.note_running(self._runner, record.id, record.run, rooms.now_s()):
                    return
                rooms.hub.tell([record.id])
                self.was_sent = True
            result = await rooms.calls.call(
                CallTarget(namespace=record.namespace, name=record.function, ref=record.ref, method=record.method),
                body,
                content_type=record.content_type,
                accept=record.accept,
                priority=Priority(int(record.priority)),
                request_id=record.id,
                deadline_s=record.timeout_s,
                on_event=self._on_event,
            )
        except asyncio.CancelledError:  # its owner canceled it, and has recorded that; or the platform stops
            if self._stopping.is_set():
                await self._judge(lost("the platform stopped while the job ran"))
            return
        await self._conclude(result)

    def _on_event(self, event: CallEvent) -> None:
        if event is CallEvent.SENT and not self.was_sent:
            self.was_sent = True
            self._do_beside(self._note_running())

    async def _note_running(self) -> None:
        with contextlib.suppress(StorageFailed):
            await self._rooms.runs.note_running(self._runner, self.record.id, self.record.run, self._rooms.now_s())
            self._rooms.hub.tell([self.record.id])

    # ---- ending

    async def _conclude(self, result: CallResult) -> None:
        problem = result.problem
        outcome = RunOutcome(
            code=None if problem is None else str(problem.get("code")),
            is_retryable=result.retryable,
            ran=result.ran,
            retry_after_s=result.retry_after_s,
        )
        self.is_ending = True
        await self._rooms.lines.settled()
        reason = None if problem is None else encode_problem(problem).decode()
        await self._record(self._verdict(outcome), reason, result)

    async def _judge(self, error: PlatformError) -> None:
        """It ended without an answer."""
        self.is_ending = True
        outcome = RunOutcome(code=error.code, is_retryable=isinstance(error, WorkerLost), ran=self.was_sent)
        await self._record(self._verdict(outcome), problem_json(error, self.record), None)

    def _verdict(self, outcome: RunOutcome) -> Verdict:
        record = self.record
        return verdict(
            outcome,
            self._rooms.allowance(record),
            attempts=record.attempts,
            delays=record.delays,
            settings=self._rooms.settings,
            jitter=random.random(),
        )

    async def _record(self, decided: Verdict, reason: str | None, result: CallResult | None) -> None:
        if decided.ends is None:
            not_before_s = self._rooms.now_s() + decided.delay_s
            await self._stored(lambda: self._put_back(not_before_s, decided.counts, reason or "{}"))
        else:
            receipt_json = None if result is None or result.receipt is None else json.dumps(result.receipt)
            if result is not None and decided.ends is JobState.SUCCEEDED:
                answer = result
                end = await self._stored(lambda: self._kept(answer, receipt_json))
            else:
                end = JobEnd(state=decided.ends, problem_json=reason, receipt_json=receipt_json)
            await self._stored(lambda: self._end(end))
        self._rooms.hub.tell([self.record.id])

    async def _end(self, end: JobEnd) -> None:
        record, rooms = self.record, self._rooms
        events = rooms.lines.take(record.id)
        ending = rooms.runs.end(self._runner, record.id, record.run, end, rooms.now_s())
        if events:  # in order, and in one commit
            _, ended = await asyncio.gather(self._write_events(events), ending)
        else:
            ended = await ending
        if ended is not None:
            rooms.tallies.note_end(ended)
        else:
            log.info("a run that counts no more has ended", extra={"job": record.id, "run": record.run})
            if end.result_blob is not None:
                await rooms.payloads.remove([end.result_blob])

    async def _put_back(self, not_before_s: float, counts: bool, reason: str) -> None:
        self._rooms.tallies.note_put_back(self.record)
        await self._rooms.runs.put_back(
            self._runner,
            self.record.id,
            self.record.run,
            not_before_s=not_before_s,
            now_s=self._rooms.now_s(),
            counts=counts,
            reason_json=reason,
        )

    async def _kept(self, result: CallResult, receipt_json: str | None) -> JobEnd:
        """Put the result where its size belongs."""
        settings, size = self._rooms.settings, len(result.body)
        if size > settings.max_result_bytes:
            error = PayloadTooLarge(
                f"the result has {size} bytes, and a job may keep {settings.max_result_bytes}",
                hint="Write it to a store of your own and return where it is, or raise STOKER_JOBS_MAX_RESULT_BYTES.",
                phase="encode",
            )
            reason = problem_json(error, self.record)
            return JobEnd(state=JobState.FAILED, problem_json=reason, receipt_json=receipt_json)
        blob = None
        if size > settings.inline_bytes:
            blob = new_id("result", self._rooms.now_s())
            await self._rooms.payloads.put(blob, result.body)
        return JobEnd(
            state=JobState.SUCCEEDED,
            result=result.body if blob is None else None,
            result_blob=blob,
            result_bytes=size,
            result_type=result.content_type,
            result_status=result.status,
            receipt_json=receipt_json,
        )

    async def _write_events(self, events: Sequence[NewEvent]) -> None:
        with contextlib.suppress(StorageFailed):  # lines are in the log too
            await self._rooms.jobs.add_events(self.record.id, events, self._rooms.settings.max_events)

    async def _stored(self, change: Callable[[], Awaitable[T]]) -> T:
        """Make a change that must not be lost, as soon as the disk takes it."""
        while True:
            try:
                return await change()
            except StorageFailed as error:
                if self._stopping.is_set():
                    raise
                log.error("a job's end cannot be recorded yet", extra={"job": self.record.id, "reason": error.detail})
                await within(_STORE_AGAIN_S, self._stopping)
