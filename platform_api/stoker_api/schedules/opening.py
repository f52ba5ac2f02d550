"""Puts the rooms of schedules together.

The rule that must not break: an end of a job or batch run reaches its schedule inside the transaction that writes it.
"""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from stoker_api.batches.records import BatchRecord
from stoker_api.batches.states import BatchState
from stoker_api.jobs.records import JobRecord
from stoker_api.schedules.records import Ended
from stoker_api.schedules.scheduler import Oracle, Scheduler, Started
from stoker_api.schedules.service import Schedules
from stoker_api.stores.sqlite.database import Database
from stoker_api.stores.sqlite.schedule_steps import Steps
from stoker_runtime.clock import Clock


@dataclass(slots=True)
class WorkEnds:
    """The hooks that jobs and batch runs call inside the transaction that ends one, on the database's thread."""

    steps: Steps
    loop: asyncio.AbstractEventLoop
    touch: Callable[[Ended], None] = lambda _: None
    """The scheduler's, once it is there. What is committed after it is seen all the same: its look is a write too."""

    def job_ended(self, connection: sqlite3.Connection, record: JobRecord) -> None:
        """Of a job that a schedule started, perhaps."""
        if record.source.startswith("sched_"):
            problem = None if record.problem_json is None else json.loads(record.problem_json)
            self._ended(connection, record.id, record.state.value, record.finished_s or record.created_s, problem)

    def batch_ended(self, connection: sqlite3.Connection, record: BatchRecord) -> None:
        """Of a batch run that a schedule started, perhaps."""
        if record.spec.source.startswith("schedule:"):
            ended_s = record.ended_at_s or record.updated_at_s
            if record.state is BatchState.PAUSED:
                self.steps.tell_stuck(connection, record.id, ended_s, record.problem)
                return
            self._ended(connection, record.id, record.state.value, ended_s, record.problem)

    def _ended(
        self, connection: sqlite3.Connection, work_id: str, state: str, now_s: float, problem: dict[str, Any] | None
    ) -> None:
        ended = self.steps.end_work(connection, work_id, state, now_s, problem)
        if ended is not None:
            self.loop.call_soon_threadsafe(self.touch, ended)


@asynccontextmanager
async def open_schedules(
    database: Database,
    ends: WorkEnds,
    oracle: Oracle,
    started: Started,
    clock: Clock,
    has_function: Callable[[str, str], bool],
) -> AsyncIterator[Schedules]:
    """Schedules that tick inside the block."""
    scheduler = Scheduler(database, ends.steps, oracle, started, clock)
    ends.touch = scheduler.ended
    async with scheduler:
        yield Schedules(database, ends.steps, scheduler, clock, has_function)
