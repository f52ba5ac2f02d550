"""Puts the rooms of jobs together, and takes them apart in order.

The rule that must not break: the runner leaves before what it runs on does, and jobs that no replica has by then are
back in the queue.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from stoker_api.internal_calls import InternalCalls
from stoker_api.jobs.event_hub import EventHub
from stoker_api.jobs.functions import RegisteredFunctions
from stoker_api.jobs.janitor import JobJanitor
from stoker_api.jobs.payloads import Payloads
from stoker_api.jobs.rooms import RunnerRooms, WarmthOracle
from stoker_api.jobs.run_lines import Fence, RunLines
from stoker_api.jobs.runner import JobRunner
from stoker_api.jobs.service import Jobs, OnTerminal
from stoker_api.jobs.settings import JobSettings
from stoker_api.jobs.tallies import JobTallies
from stoker_api.registry import Registry
from stoker_api.stores.sqlite.database import Database
from stoker_api.stores.sqlite.job_store import SqliteJobStore
from stoker_runtime.clock import Clock


@asynccontextmanager
async def open_jobs(
    database: Database,
    payload_folder: Path,
    calls: InternalCalls,
    registry: Registry,
    fence: Fence,
    oracle: WarmthOracle,
    clock: Clock,
    settings: JobSettings,
    on_terminal: Sequence[OnTerminal] = (),
) -> AsyncIterator[Jobs]:
    """Jobs, on a data directory that this process alone holds."""
    store = SqliteJobStore(database)
    store.on_terminal.extend(on_terminal)  # before anything can end
    payloads = Payloads(payload_folder)
    functions = RegisteredFunctions(registry)
    hub = EventHub()
    lines = RunLines(clock, fence)
    rooms = RunnerRooms(
        runs=store,
        jobs=store,
        calls=calls,
        functions=functions,
        payloads=payloads,
        hub=hub,
        lines=lines,
        tallies=JobTallies(),
        oracle=oracle,
        clock=clock,
        settings=settings,
    )
    runner = JobRunner(rooms, is_alone=True)
    lines.on_due = runner.flush_lines
    janitor = JobJanitor(store, payloads, clock, settings)
    async with janitor, runner:
        yield Jobs(rooms, runner, janitor, store.on_terminal)
