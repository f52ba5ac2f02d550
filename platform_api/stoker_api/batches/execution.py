"""One run at work: rows in, calls made, results kept, parts committed.

The rules that must not break: a row's result is in a journal before the row counts as done; a part is noted in the
store after it is on disk; whatever ends the run, what is done is kept and nothing else is claimed. Memory is bounded
by the window and a few slabs, whatever the input.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar, cast

import msgspec

from stoker.errors import PlatformError
from stoker_api.batches.capacity import Capacity, Wish
from stoker_api.batches.failures import is_hopeless
from stoker_api.batches.items import Item, Items
from stoker_api.batches.one_call import RowCall, RunStopped
from stoker_api.batches.open_parts import Ended, OpenParts
from stoker_api.batches.output_lines import error_line, result_line
from stoker_api.batches.part_files import FAILURE, RESULT
from stoker_api.batches.planner import PlanView, WindowPlan, plan_window
from stoker_api.batches.ports import BatchStore
from stoker_api.batches.progress import RunProgress
from stoker_api.batches.records import NewBatch
from stoker_api.batches.rows import RowProblem
from stoker_api.internal_calls import CallResult
from stoker_api.uninterrupted import uninterrupted
from stoker_runtime.clock import Clock
from stoker_runtime.invocation import Priority

log = logging.getLogger(__name__)
T = TypeVar("T")
_PLAN_EVERY_S: Final = 0.1
_TELL_EVERY_S: Final = 0.5
_MOST_OPEN_PARTS: Final = 4
_MOST_UNKEPT: Final = 4096
_GENTLE_S: Final = 30.0


class TooManyFailures(PlatformError):
    """More rows fail than the run allows."""

    code = "too_many_failures"
    status = 422
    phase = "execute"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """What a run is made of."""

    spec: NewBatch
    call: RowCall
    capacity: Capacity
    store: BatchStore
    items: Items
    open_parts: OpenParts
    start: int
    """The first row that is not committed."""
    clock: Clock
    on_change: Callable[[], None]


class BatchExecution:
    """Made anew each time that a run is taken up."""

    def __init__(self, parts: Parts, progress: RunProgress) -> None:
        self._parts = parts
        self.progress = progress
        self._stopping = parts.call.stopping
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch-read")
        self._writer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="batch-write")
        self._loop = asyncio.get_running_loop()
        self._fatal: asyncio.Future[None] = self._loop.create_future()
        self._calls: set[asyncio.Task[None]] = set()
        self._had: set[int] = set()
        self._ended: list[Ended] = []
        self._news, self._room = asyncio.Event(), asyncio.Event()
        self._plan = WindowPlan(1, 1)
        self._planned_s = self._told_s = -math.inf
        self._raise_debt = 0.0
        self._said: list[str | None] = [None]
        self.is_gentle = False
        """What is in flight may end before the run does."""

    async def run(self) -> bool:
        """True when every row is committed; False when it was stopped before. Raises what stopped it by itself."""
        tasks: set[asyncio.Task[None]] = set()
        stopper = asyncio.ensure_future(self._stopping.wait())
        try:
            await self._take_up()
            tasks = {asyncio.ensure_future(self._feed()), asyncio.ensure_future(self._keep())}
            while tasks:
                waited: set[asyncio.Future[None]] = {*tasks, self._fatal}
                await asyncio.wait(
                    {*waited, cast("asyncio.Future[None]", stopper)}, return_when=asyncio.FIRST_COMPLETED
                )
                if stopper.done():
                    return False
                for each in waited:
                    if each.done():
                        each.result()
                tasks = {task for task in tasks if not task.done()}
        finally:
            await self._wind_down([*tasks, cast("asyncio.Future[None]", stopper)])
        self._check_hopeless(is_complete=True)
        if self._fatal.done():
            self._fatal.result()
        return True

    # ---- reading and calling

    async def _take_up(self) -> None:
        done, failed, errors, self._had = await self._in_writer(self._parts.open_parts.open)
        progress = self.progress
        progress.done += done
        progress.failed += failed
        progress.errors.extend(errors)
        progress.had, progress.had_failed = progress.done, progress.failed
        self._news.set()  # whole parts may be among them, and reading waits until those are committed
        self._replan()

    async def _feed(self) -> None:
        parts = self._parts
        number = parts.start
        coming = self._loop.run_in_executor(self._reader, parts.items.next_slab)
        try:
            while slab := await coming:
                coming = self._loop.run_in_executor(self._reader, parts.items.next_slab)  # read ahead
                number = slab[-1].number + 1
                self.progress.read = number
                self.progress.fraction_read = parts.items.fraction()
                self._planned_s = -math.inf  # more is known of what is left
                for item in slab:
                    await self._feed_one(item)
        finally:
            parts.items.is_stopped = True
            await asyncio.wait({coming})
        self.progress.total = number
        await self._in_writer(lambda: parts.open_parts.end_at(number))
        self._news.set()

    async def _feed_one(self, item: Item) -> None:
        if item.number in self._had:
            self._had.discard(item.number)
            return
        furthest = item.number // self._parts.spec.rows_per_part - _MOST_OPEN_PARTS
        while (
            len(self._calls) >= self._plan.window
            or len(self._ended) >= _MOST_UNKEPT
            or furthest >= self._parts.open_parts.next_part
        ):
            self._room.clear()
            await self._room.wait()
        if item.problem is not None:
            self._end(item, FAILURE, error_line(item.key, item.number, item.where, item.problem))
            self._note_problem(item, item.problem)
            return
        task = self._loop.create_task(self._one(item))
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        self.progress.in_flight = len(self._calls)
        self._replan()

    async def _one(self, item: Item) -> None:
        request_id = f"{self._parts.spec.id}.{item.number}"
        try:
            found = await self._parts.call.run(item.body, request_id, self._priority(), self._said)
        except RunStopped:
            return
        except PlatformError as error:
            self._fail(error)
            return
        except Exception as error:
            log.exception("a row's call broke", extra={"batch": self._parts.spec.id, "row": item.number})
            self._fail(error)
            return
        if isinstance(found, CallResult):
            self._note_result(item, found)
        else:
            self._end(item, FAILURE, error_line(item.key, item.number, item.where, found))
            self._note_problem(item, found)
        self.progress.waiting_for = self._said[0]
        self._replan()

    def _note_result(self, item: Item, result: CallResult) -> None:
        self.progress.calls += 1
        size = (result.receipt or {}).get("batch_size")
        self.progress.executions += 1.0 / size if isinstance(size, int) and size > 0 else 1.0
        self._end(item, RESULT, result_line(item.key or b"null", result.body, result.content_type))

    def _note_problem(self, item: Item, problem: RowProblem) -> None:
        self.progress.failed += 1
        self.progress.note_error(msgspec.json.decode(error_line(item.key, item.number, item.where, problem), type=dict))
        self._check_hopeless()

    def _end(self, item: Item, kind: int, line: bytes) -> None:
        self._ended.append(Ended(item.number, kind, line))
        self.progress.done += 1
        self._news.set()
        self._room.set()

    # ---- keeping

    async def _keep(self) -> None:
        parts = self._parts
        while not parts.open_parts.is_complete:
            await self._news.wait()
            self._news.clear()
            ended, self._ended = self._ended, []
            # what is taken from here must get to the disk, and what is on disk to the store, whoever stops the run
            await self._keep_now(ended)
            self._room.set()

    @uninterrupted
    async def _keep_now(self, ended: list[Ended]) -> None:
        parts = self._parts
        chunk = await self._in_writer(partial(parts.open_parts.add_and_write, ended))
        while chunk is not None:
            await parts.store.add_chunk(chunk)
            await self._in_writer(parts.open_parts.committed)
            self.progress.committed += chunk.rows
            self._tell()
            chunk = None if self._stopping.is_set() else await self._in_writer(parts.open_parts.write_next)

    async def _wind_down(self, tasks: Sequence[asyncio.Future[None]]) -> None:
        await _canceled(tasks)
        if self._calls and self.is_gentle:
            await asyncio.wait(self._calls, timeout=_GENTLE_S)
        await _canceled(list(self._calls))
        await self._parts.capacity.close()
        ended, self._ended = self._ended, []
        try:
            await self._in_writer(lambda: self._parts.open_parts.add(ended))
        finally:
            await self._in_writer(self._parts.open_parts.close)
            await self._loop.run_in_executor(self._reader, self._parts.items.close)
            self._reader.shutdown(wait=False)
            self._writer.shutdown(wait=False)
            self.progress.in_flight = 0
            if self._fatal.done():
                self._fatal.exception()  # looked at, if only here

    # ---- deciding

    def _replan(self) -> None:
        now_s = self._parts.clock.monotonic_s()
        self._room.set()
        if now_s - self._planned_s < _PLAN_EVERY_S:
            return
        self._planned_s = now_s
        progress, spec = self.progress, self._parts.spec
        progress.rate.note(progress.done, now_s)
        deadline_in_s = None if spec.deadline_s is None else spec.deadline_s - self._parts.clock.now().timestamp()
        wish = Wish(
            max_concurrency=spec.max_concurrency,
            left=progress.left,
            deadline_in_s=deadline_in_s,
            rate_per_s=progress.rate.per_s,
        )
        view: PlanView = self._parts.capacity.view(wish)
        self._plan = plan_window(view)
        progress.window, progress.raised = self._plan.window, self._plan.raised
        progress.in_flight = len(self._calls)
        self._parts.capacity.want(self._plan.replicas, view.ready, now_s)
        if now_s - self._told_s >= _TELL_EVERY_S:
            self._told_s = now_s
            self._tell()

    def _priority(self) -> Priority:
        self._raise_debt += self._plan.raised
        if self._raise_debt < 1.0:
            return Priority.BATCH
        self._raise_debt -= 1.0
        return Priority.INTERACTIVE

    def _check_hopeless(self, *, is_complete: bool = False) -> None:
        progress, limit = self.progress, self._parts.spec.max_failed_fraction
        if is_hopeless(progress.done, progress.failed, limit, is_complete=is_complete):
            first = "; ".join(f"{error.get('where')}: {error.get('message')}" for error in progress.errors[:3])
            self._fail(
                TooManyFailures(
                    f"{progress.failed} of {progress.done} rows failed, and {limit:g} of them may: {first}",
                    hint="What is done is kept. Set the cause right, or resume with a higher max_failed_fraction.",
                )
            )

    def _fail(self, error: BaseException) -> None:
        if not self._fatal.done():
            self._fatal.set_exception(error)

    def _tell(self) -> None:
        self._parts.on_change()

    async def _in_writer(self, work: Callable[[], T]) -> T:
        return await self._loop.run_in_executor(self._writer, work)


async def _canceled(tasks: Sequence[asyncio.Future[None]]) -> None:
    for task in tasks:
        task.cancel()
    if tasks:
        await asyncio.wait(tasks)
