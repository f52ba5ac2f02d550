"""The loop that decides ticks when they are due, and tells the pool when the next one will be.

The rule that must not break: what is due is found by the steps in the store, from what is written there alone; this
loop only says when to look. It sleeps for half a minute at most, so a clock that was set is noticed by then.
"""

from __future__ import annotations

import asyncio
import logging
import math
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Protocol

from stoker.errors import Conflict, InvalidOption, NotFound, PlatformError
from stoker_api.batches.records import NewBatch
from stoker_api.schedules.records import Ended, ScheduleRecord, Ticked
from stoker_api.schedules.tallies import ScheduleTallies
from stoker_api.schedules.ticks import Ticks
from stoker_api.schedules.work import new_batch
from stoker_api.stores.sqlite.database import Database
from stoker_api.stores.sqlite.schedule_steps import Steps
from stoker_api.stores.sqlite.schedules import SqliteScheduleStore
from stoker_runtime.clock import Clock

log = logging.getLogger(__name__)
LONGEST_SLEEP_S: Final = 30.0
_AFTER_FAULT_S: Final = 5.0
_UNREADABLE_S: Final = 300.0


class Oracle(Protocol):
    """Of the pool: what it wants to know of coming runs."""

    def expect(self, namespace: str, name: str, at_s: float, *, source: str, until_s: float | None = None) -> None: ...

    def unexpect(self, namespace: str, name: str, source: str) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What to do once runs have been written down: each is called on the loop."""

    wake_work: Callable[[], None]
    """Jobs or batch runs were made."""
    cancel_work: Callable[[str], Awaitable[None]]
    read_ahead: Callable[[NewBatch], None] = lambda _: None
    """A batch run like this one begins within half a minute: its input may be read ahead."""


class Scheduler:
    """Async context manager; schedules tick for as long as its block runs."""

    def __init__(self, database: Database, steps: Steps, oracle: Oracle, started: Started, clock: Clock) -> None:
        self._database = database
        self._store = SqliteScheduleStore(database)
        self._steps = steps
        self._oracle = oracle
        self._started = started
        self._clock = clock
        self._known: dict[str, ScheduleRecord] = {}
        self.tallies = ScheduleTallies(lambda: self._known.values())
        self._wakes: dict[str, float | None] = {}
        self._expected: dict[str, tuple[str, str, float]] = {}
        self._read_ahead_s: dict[str, float] = {}
        """The last tick of a batch run whose input was read ahead."""
        self._touched: set[str] = set()
        self._reload_s = -math.inf
        """Unix time of the next look at all schedules; another process may have made or changed one."""
        self._awake = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Scheduler:
        self._task = asyncio.ensure_future(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})

    def touch(self, schedule_id: str) -> None:
        """It was made, changed or deleted: look at it now."""
        self._reload_s = -math.inf
        self._touched.add(schedule_id)
        self._awake.set()

    def ended(self, ended: Ended) -> None:
        """One of its runs has ended: another may begin."""
        self.tallies.note_end(ended)
        self._touched.add(ended.schedule_id)
        self._awake.set()

    async def step(self) -> float:
        """Decide everything that is due; how long until there is more to do."""
        now_s = self._clock.now().timestamp()
        touched, self._touched = self._touched, set()
        if not self._reload_s - LONGEST_SLEEP_S <= now_s < self._reload_s:  # also after a clock that was put back
            self._reload_s = now_s + LONGEST_SLEEP_S
            await self._reload()
        due = [
            schedule_id
            for schedule_id in self._known
            if schedule_id in touched
            or schedule_id not in self._wakes
            or ((wake_s := self._wakes[schedule_id]) is not None and wake_s <= now_s)
        ]
        if due:
            steps = [
                self._database.write(partial(self._tick, schedule_id=schedule_id, now_s=now_s)) for schedule_id in due
            ]
            for schedule_id, ticked in zip(due, await asyncio.gather(*steps, return_exceptions=True), strict=True):
                self._note(schedule_id, self._survived(schedule_id, ticked, now_s))
        if due or touched:
            self._started.wake_work()
            for work_id in await self._store.works_to_cancel():
                await self._cancel(work_id)
        self._read_ahead(now_s)
        coming = [wake_s for wake_s in self._wakes.values() if wake_s is not None]
        left_s = min(coming, default=now_s + LONGEST_SLEEP_S) - self._clock.now().timestamp()
        return min(max(left_s, 0.0), LONGEST_SLEEP_S)

    def next_s(self, schedule_id: str) -> float | None:
        """When its next run is expected."""
        found = self._expected.get(schedule_id)
        return None if found is None else found[2]

    async def _run(self) -> None:
        while True:
            self._awake.clear()
            touched = set(self._touched)
            try:
                sleep_s = await self.step()
            except PlatformError as error:  # the disk is full, say: what is due stays due
                log.error("schedules wait", extra={"reason": error.detail})
                self._touched |= touched
                sleep_s = _AFTER_FAULT_S
            except Exception:  # a fault of ours: ticks must not stop with it
                log.exception("schedules wait after a fault")
                self._touched |= touched
                sleep_s = _AFTER_FAULT_S
            timer = asyncio.get_running_loop().call_later(sleep_s, self._awake.set)
            try:
                await self._awake.wait()
            finally:
                timer.cancel()

    async def _reload(self) -> None:
        """Read what there is: another process may have made a schedule, or changed one."""
        found = {record.id: record for record in await self._store.all()}
        for schedule_id, before in list(self._known.items()):
            now = found.get(schedule_id)
            if now is None or now.updated_s != before.updated_s:
                self._forget(before)
        self._known = found

    def _forget(self, record: ScheduleRecord) -> None:
        self._wakes.pop(record.id, None)
        expected = self._expected.pop(record.id, None)
        if expected is not None:
            self._oracle.unexpect(expected[0], expected[1], _source(record.id))

    def _tick(self, connection: sqlite3.Connection, *, schedule_id: str, now_s: float) -> Ticked:
        return self._steps.tick(connection, schedule_id, now_s)

    def _survived(self, schedule_id: str, ticked: Ticked | BaseException, now_s: float) -> Ticked:
        """One schedule that cannot be read, on a machine without its zone, say, does not stop the others."""
        if isinstance(ticked, InvalidOption):
            log.error("schedule cannot tick", extra={"schedule": schedule_id, "reason": ticked.detail})
            return Ticked(wake_s=now_s + _UNREADABLE_S, expected_s=None)
        if isinstance(ticked, BaseException):
            self._wakes.pop(schedule_id, None)
            raise ticked
        return ticked

    def _note(self, schedule_id: str, ticked: Ticked) -> None:
        record = self._known[schedule_id]
        self._wakes[schedule_id] = ticked.wake_s
        if ticked.counted is not None:
            self.tallies.note(ticked.counted)
        if ticked.expected_s is None:
            if self._expected.pop(schedule_id, None) is not None:
                self._oracle.unexpect(record.namespace, record.function, _source(schedule_id))
            return
        expected = (record.namespace, record.function, ticked.expected_s)
        if self._expected.get(schedule_id) != expected:
            self._expected[schedule_id] = expected
            self._oracle.expect(record.namespace, record.function, ticked.expected_s, source=_source(schedule_id))

    def _read_ahead(self, now_s: float) -> None:
        """The last look before a tick comes within half a minute of it."""
        for schedule_id, (_, _, at_s) in self._expected.items():
            record = self._known[schedule_id]
            is_near = now_s < at_s <= now_s + LONGEST_SLEEP_S
            if is_near and record.target.batch is not None and self._read_ahead_s.get(schedule_id) != at_s:
                self._read_ahead_s[schedule_id] = at_s
                try:
                    self._started.read_ahead(new_batch(record, Ticks(record.schedule).zone, at_s, now_s))
                except PlatformError as error:  # the tick itself will tell whoever should know
                    log.info("nothing read ahead", extra={"schedule": schedule_id, "reason": error.detail})

    async def _cancel(self, work_id: str) -> None:
        try:
            await self._started.cancel_work(work_id)
        except (Conflict, NotFound):
            pass  # it has ended by itself meanwhile


def _source(schedule_id: str) -> str:
    return f"schedule:{schedule_id}"
