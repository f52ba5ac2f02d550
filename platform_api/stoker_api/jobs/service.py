"""Jobs as the rest of the platform uses them: submit, watch, cancel, run again.

The rule that must not break: what is answered here is on disk before it is answered.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import sqlite3
from collections.abc import AsyncGenerator, Callable
from typing import Final

from stoker.errors import NotFound
from stoker_api.ids import new_id
from stoker_api.jobs.janitor import JobJanitor
from stoker_api.jobs.records import JobEvent, JobFilter, JobRecord, JobResult, NewJob
from stoker_api.jobs.rooms import RunnerRooms
from stoker_api.jobs.runner import JobRunner
from stoker_api.jobs.waiting import within

_EVENTS_AT_ONCE: Final = 500
_LOOK_AGAIN_S: Final = 15.0
"""A watcher looks into the store at least so often: another process may have written there."""
OnTerminal = Callable[[sqlite3.Connection, JobRecord], None]


class Jobs:
    """One per platform, on the loop's thread."""

    def __init__(
        self, rooms: RunnerRooms, runner: JobRunner, janitor: JobJanitor, on_terminal: list[OnTerminal]
    ) -> None:
        self._store = rooms.jobs
        self._payloads = rooms.payloads
        self._functions = rooms.functions
        self._clock = rooms.clock
        self._settings = rooms.settings
        self._runner = runner
        self.janitor = janitor
        self.lines = rooms.lines
        self.tallies = rooms.tallies
        self.events = rooms.hub
        """Says that something happened to a job; what it was is read by ``follow``."""
        self.on_terminal = on_terminal
        """Called with the connection and the job inside the transaction that ends it."""

    def stop(self) -> None:
        """Run nothing new, and let nobody wait any more."""
        self._runner.stop()
        self.events.close()

    def now_s(self) -> float:
        """Unix time."""
        return self._clock.now().timestamp()

    def new_id(self) -> str:
        """An id for a job to be."""
        return new_id("job", self.now_s())

    def wake(self) -> None:
        """Somebody has inserted jobs in a transaction of its own."""
        self._runner.wake()

    @property
    def running(self) -> int:
        """Jobs that functions have now."""
        return self._runner.running

    # ---- submit

    async def submit(self, job: NewJob) -> tuple[JobRecord, bool]:
        """The job that stands for this request, on disk, and whether it is new; raises ``NotFound``, ``JobExists``."""
        if self._functions.find(job.namespace, job.function, job.ref) is None:
            at = f"@{job.ref}" if job.ref else ""
            raise NotFound(f"no function {job.namespace}/{job.function}{at}", hint="`stoker list` shows what there is.")
        stored = await self._placed(job)
        try:
            record, is_new = await self._store.submit(stored, self.now_s())
        except BaseException:
            await self._unplace(stored)
            raise
        if is_new:
            self.tallies.note_submit(record)
            self._runner.wake_for(record.namespace, record.function)
        else:
            await self._unplace(stored)
        return record, is_new

    async def retry(self, job_id: str, edit: NewJob | None = None) -> JobRecord:
        """Queue an ended job again, with another body if ``edit`` has one."""
        _, old_blob = await self._store.body(job_id)
        stored = None if edit is None else await self._placed(edit)
        try:
            record = await self._store.revive(job_id, self.now_s(), stored)
        except BaseException:
            if stored is not None:
                await self._unplace(stored)
            raise
        if stored is not None and old_blob is not None:
            await self._payloads.remove([old_blob])
        self._told(record)
        self._runner.wake()
        return record

    async def cancel(self, job_id: str) -> JobRecord:
        """End it wherever it is; raises ``Conflict`` where it has ended."""
        record = await self._store.cancel(job_id, self.now_s())
        self._runner.drop(job_id)
        self._runner.wake()  # nobody need be ready for it any more
        self.tallies.note_end(record)
        self._told(record)
        return record

    # ---- look

    async def count_open(self) -> None:
        """Have the metrics say how many jobs there are now."""
        self.tallies.open = await self._store.open_jobs()

    async def get(self, job_id: str) -> JobRecord:
        """The job; raises ``NotFound``."""
        record = await self._store.find(job_id)
        if record is None:
            raise NotFound(
                f"no job {job_id!r}",
                hint="GET /v1/jobs lists them; what has ended is forgotten after a while.",
                phase="job",
            )
        return record

    async def find_all(self, wanted: JobFilter, before_seq: int | None, limit: int) -> list[JobRecord]:
        """Newest first."""
        return await self._store.find_all(wanted, before_seq, limit)

    async def body(self, job_id: str) -> bytes:
        """What it was submitted with."""
        body, blob = await self._store.body(job_id)
        return body if blob is None else await self._payloads.read(blob)

    async def result(self, job_id: str) -> JobResult | None:
        """What it answered, whole; None while it has not succeeded."""
        result = await self._store.result(job_id)
        if result is None or result.blob is None:
            return result
        return dataclasses.replace(result, body=await self._payloads.read(result.blob))

    async def wait(self, job_id: str, limit_s: float) -> JobRecord:
        """The job when it has ended, or as it is after ``limit_s``."""
        loop = asyncio.get_running_loop()
        until_s = loop.time() + limit_s
        with self.events.watching(job_id) as changed:
            while True:
                changed.clear()
                record = await self.get(job_id)
                left_s = until_s - loop.time()
                if record.has_ended or left_s <= 0 or self.events.is_closed:
                    return record
                await within(min(left_s, _LOOK_AGAIN_S), changed)

    async def follow(self, job_id: str, after: int, *, waits: bool = True) -> AsyncGenerator[JobEvent | None, None]:
        """Events from ``after`` on, until the job has ended; None now and then while nothing happens.

        Without ``waits``: those that there are.
        """
        with self.events.watching(job_id) as changed:
            while True:
                changed.clear()
                record = await self.get(job_id)
                events = await self._store.events(job_id, after, _EVENTS_AT_ONCE)
                for event in events:
                    after = event.number
                    yield event
                if len(events) == _EVENTS_AT_ONCE:
                    continue
                if after >= record.last_event and (record.has_ended or not waits or self.events.is_closed):
                    return
                if after >= record.last_event and not await within(_LOOK_AGAIN_S, changed):
                    yield None

    # ---- bodies

    async def _placed(self, job: NewJob) -> NewJob:
        """The job with a large body in a file."""
        if len(job.body) <= self._settings.inline_bytes:
            return job
        blob = new_id("body", self.now_s())
        digest = await asyncio.to_thread(lambda: hashlib.sha256(job.body).hexdigest())
        await self._payloads.put(blob, job.body)
        return dataclasses.replace(job, body=b"", body_blob=blob, body_sha256=digest)

    async def _unplace(self, job: NewJob) -> None:
        if job.body_blob is not None:
            await self._payloads.remove([job.body_blob])

    def _told(self, record: JobRecord) -> None:
        self.events.tell([record.id])
