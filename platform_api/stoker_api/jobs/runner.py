"""Takes jobs from the store and hands them to their functions, within the limits.

The rule that must not break: a job is run only while it is this runner's, and a runner that was silent for longer than
its lease finds out before it does more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Coroutine, Sequence
from types import TracebackType
from typing import Final

from stoker_api.ids import new_id
from stoker_api.jobs.adoption import take_over
from stoker_api.jobs.job_run import JobRun
from stoker_api.jobs.ports import NewEvent
from stoker_api.jobs.records import ClaimedJob
from stoker_api.jobs.rooms import EXPIRED_JSON, RunnerRooms
from stoker_api.jobs.shares import Function, LaneDemand, shares
from stoker_api.jobs.waiting import within
from stoker_api.stores.failures import StorageFailed

log = logging.getLogger(__name__)
_MOST_PER_LOOK: Final = 1000
_STORE_AGAIN_S: Final = 2.0
_LONGEST_SLEEP_S: Final = 60.0
_SOURCE: Final = "jobs"
"""Who tells the pool of calls to come."""


class JobRunner:
    """Async context manager; ``is_alone``: no other runner can be alive, so every job in other hands is an orphan."""

    def __init__(self, rooms: RunnerRooms, *, is_alone: bool) -> None:
        self._rooms = rooms
        self._is_alone = is_alone
        self.id = new_id("runner", rooms.now_s())
        self._woken = asyncio.Event()
        self._stopping = asyncio.Event()
        self._runs: dict[str, tuple[JobRun, asyncio.Task[None]]] = {}
        self._running: dict[Function, int] = {}
        self._announced: dict[Function, float] = {}
        self._beside: set[asyncio.Task[object]] = set()
        self._loops: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> JobRunner:
        with contextlib.suppress(StorageFailed):  # a full disk must not keep the platform from starting
            await self._renew()
            if self._is_alone:
                await take_over(self._rooms, self.id, float("inf"))
        self._loops = [asyncio.ensure_future(self._serve()), asyncio.ensure_future(self._live())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        tasks = [task for run, task in self._runs.values()]
        for run, task in self._runs.values():
            if not run.is_ending:
                task.cancel()
        await asyncio.gather(*tasks, *self._loops, return_exceptions=True)
        await asyncio.gather(*self._beside, return_exceptions=True)
        with contextlib.suppress(StorageFailed):
            await self._rooms.runs.leave(self.id)

    @property
    def running(self) -> int:
        """Jobs in its hands."""
        return len(self._runs)

    def wake(self) -> None:
        """There may be something to run."""
        self._woken.set()

    def wake_for(self, namespace: str, function: str) -> None:
        """There is a job of this function; while all its places are taken, the next that is free wakes by itself."""
        if self._running.get((namespace, function), 0) < self._places(namespace, function):
            self._woken.set()

    def stop(self) -> None:
        """Take nothing new, and put back what no replica has yet."""
        self._stopping.set()
        self._woken.set()
        for run, task in list(self._runs.values()):
            if not run.was_sent and not run.is_ending:
                task.cancel()

    def drop(self, job_id: str) -> None:
        """The job is not to be run any more: it was canceled."""
        run, task = self._runs.get(job_id, (None, None))
        if run is not None and task is not None and not run.is_ending:
            task.cancel()

    def flush_lines(self) -> None:
        """Write what running jobs have said."""
        for job_id, events in self._rooms.lines.due().items():
            self._do_beside(self._write_events(job_id, events))

    # ---- taking

    async def _serve(self) -> None:
        while not self._stopping.is_set():
            self._woken.clear()
            try:
                await self._take()
                due_s = self._announce(await self._rooms.runs.upcoming(self._rooms.now_s()))
            except StorageFailed as error:
                log.error("jobs cannot be taken", extra={"reason": error.detail})
                due_s = self._rooms.now_s() + _STORE_AGAIN_S
            wait_s = _LONGEST_SLEEP_S if due_s is None else due_s - self._rooms.now_s()
            await within(min(max(wait_s, 0.001), _LONGEST_SLEEP_S), self._woken)

    async def _take(self) -> None:
        """Hand out what may run now, up to the limits."""
        while not self._stopping.is_set():
            now_s = self._rooms.now_s()
            lanes = [
                LaneDemand(
                    lane=lane.lane,
                    namespace=lane.namespace,
                    function=lane.function,
                    priority=lane.priority,
                    limit=self._places(lane.namespace, lane.function),
                )
                for lane in await self._rooms.runs.due_lanes(now_s)
            ]
            wanted = shares(lanes, self._running, self._rooms.settings.max_running)
            if not wanted or self._stopping.is_set():
                return
            claimed = await self._rooms.runs.claim(self.id, wanted, now_s)
            for job in claimed:
                self._begin(job)
            if not claimed or len(claimed) == sum(wanted.values()):
                return  # what is left waits for a place

    def _announce(self, upcoming: dict[Function, float]) -> float | None:
        """Have replicas ready for jobs whose time is known; when the first of them is due."""
        oracle, before = self._rooms.oracle, self._announced
        for function, at_s in upcoming.items():
            if before.get(function) != at_s:
                oracle.expect(*function, at_s, source=_SOURCE)
        for function in before.keys() - upcoming.keys():
            if before[function] > self._rooms.now_s():  # what has come is used up by itself
                oracle.unexpect(*function, _SOURCE)
        self._announced = upcoming
        return min(upcoming.values(), default=None)

    def _places(self, namespace: str, function: str) -> int:
        found = self._rooms.functions.find(namespace, function, None)
        return 1 if found is None else found.places

    def _begin(self, job: ClaimedJob) -> None:
        record = job.record
        function = (record.namespace, record.function)
        self._running[function] = self._running.get(function, 0) + 1
        run = JobRun(self._rooms, self.id, job, self._stopping, self._do_beside)
        task = asyncio.ensure_future(run.go())
        self._runs[record.id] = run, task
        task.add_done_callback(lambda _: self._free(run))
        self._rooms.hub.tell([record.id])

    def _free(self, run: JobRun) -> None:
        record = run.record
        if self._runs.get(record.id, (None,))[0] is run:
            del self._runs[record.id]
        self._woken.set()
        function = (record.namespace, record.function)
        self._running[function] -= 1
        if not self._running[function]:
            del self._running[function]

    # ---- living

    async def _live(self) -> None:
        """Renew the lease, and look after what others left."""
        while not await within(self._rooms.settings.lease_s / 3, self._stopping):
            try:
                await self.look_after()
            except StorageFailed as error:
                log.error("the lease on jobs cannot be renewed", extra={"reason": error.detail})

    async def look_after(self) -> None:
        """One round of that."""
        now_s = await self._renew()
        await self._drop_lost()
        if await take_over(self._rooms, self.id, now_s):
            self._woken.set()
        while not self._stopping.is_set():
            expired = await self._rooms.runs.expire(now_s, EXPIRED_JSON, _MOST_PER_LOOK)
            for record in expired:
                self._rooms.tallies.note_end(record)
            self._rooms.hub.tell([record.id for record in expired])
            if len(expired) < _MOST_PER_LOOK:
                break

    async def _renew(self) -> float:
        now_s = self._rooms.now_s()
        await self._rooms.runs.renew(self.id, now_s + self._rooms.settings.lease_s)
        return now_s

    async def _drop_lost(self) -> None:
        """Stop running what is no longer ours: it was canceled elsewhere, or we were silent for too long."""
        mine = list(self._runs.items())
        held = await self._rooms.runs.held(self.id)
        for job_id, (run, task) in mine:
            if held.get(job_id) != run.record.run and not run.is_ending:
                task.cancel()

    async def _write_events(self, job_id: str, events: Sequence[NewEvent]) -> None:
        with contextlib.suppress(StorageFailed):  # lines are in the log too
            await self._rooms.jobs.add_events(job_id, events, self._rooms.settings.max_events)
            self._rooms.hub.tell([job_id])

    def _do_beside(self, work: Coroutine[object, object, object]) -> None:
        task: asyncio.Task[object] = asyncio.ensure_future(work)
        self._beside.add(task)
        task.add_done_callback(self._beside.discard)
