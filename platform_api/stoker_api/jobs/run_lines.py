"""What running jobs say (progress and printed lines) on its way to their events.

It comes over the pipes on which workers print, so it may come later than the result that was answered after it. The
rule that must not break: what a job said before it answered is among its events before its end is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stoker_api.jobs.ports import NewEvent
from stoker_api.jobs.records import EventKind
from stoker_runtime.clock import Clock
from stoker_runtime.rotating_log import LogLine
from stoker_runtime.stdio import PROGRESS_STREAM

FLUSH_AFTER_S: Final = 0.25
_MOST_WAITING: Final = 2_000
Fence = Callable[[Callable[[], None]], None]
"""Calls back, from any thread, when all that was printed before has been handed on."""


class RunLines:
    """Gathers the events of running jobs."""

    def __init__(self, clock: Clock, fence: Fence) -> None:
        self.on_due: Callable[[], None] = lambda: None
        """Called when some have waited long enough to be written."""
        self._clock = clock
        self._fence = fence
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[str, list[NewEvent]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._fenced: asyncio.Future[None] | None = None
        self._next_fenced: asyncio.Future[None] | None = None

    def begin(self, job_id: str) -> None:
        """A job runs from here on."""
        self._waiting[job_id] = []

    def end(self, job_id: str) -> None:
        """It runs no more; what it still says is in the log alone."""
        self._waiting.pop(job_id, None)

    def on_lines(self, lines: list[LogLine]) -> None:
        """Workers printed; on the log collector's thread."""
        mine = [line for line in lines if line.invocation in self._waiting]
        if mine:
            try:
                self._loop.call_soon_threadsafe(self._take, mine)
            except RuntimeError:
                pass  # the loop has ended: so have the jobs

    def take(self, job_id: str) -> list[NewEvent]:
        """What has come of one job and is not written yet."""
        events = self._waiting.get(job_id)
        if not events:
            return []
        self._waiting[job_id] = []
        return events

    def due(self) -> dict[str, list[NewEvent]]:
        """What has come of all jobs."""
        return {job_id: self.take(job_id) for job_id in [job_id for job_id, events in self._waiting.items() if events]}

    async def settled(self) -> None:
        """Return when everything that was printed before has come here."""
        if self._fenced is None:
            self._begin_fence()
            assert self._fenced is not None
            await asyncio.shield(self._fenced)
            return
        if self._next_fenced is None:  # the fence under way may have passed the line that matters
            self._next_fenced = self._loop.create_future()
        await asyncio.shield(self._next_fenced)

    def _begin_fence(self) -> None:
        self._fenced = self._next_fenced or self._loop.create_future()
        self._next_fenced = None
        self._fence(self._on_fence)

    def _on_fence(self) -> None:
        try:
            self._loop.call_soon_threadsafe(self._pass_fence)
        except RuntimeError:
            pass

    def _pass_fence(self) -> None:
        fenced, self._fenced = self._fenced, None
        if fenced is not None and not fenced.done():
            fenced.set_result(None)
        if self._next_fenced is not None:
            self._begin_fence()

    def _take(self, lines: list[LogLine]) -> None:
        for line in lines:
            events = self._waiting.get(line.invocation)
            if events is not None and len(events) < _MOST_WAITING:
                _append(events, line, self._clock.now().timestamp())
        if self._timer is None:
            self._timer = self._loop.call_later(FLUSH_AFTER_S, self._flush)

    def _flush(self) -> None:
        self._timer = None
        self.on_due()


def _append(events: list[NewEvent], line: LogLine, at_s: float) -> None:
    if line.stream != PROGRESS_STREAM:
        data: dict[str, object] = {"stream": line.stream, "line": line.line, "replica": line.replica}
        events.append(NewEvent(kind=EventKind.LOG, at_s=at_s, data=data))
        return
    fraction, _, message = line.line.partition(" ")
    try:
        value = float(fraction)
    except ValueError:
        return  # printed by somebody else
    event = NewEvent(kind=EventKind.PROGRESS, at_s=at_s, data={"fraction": value, "message": message})
    if events and events[-1].kind is EventKind.PROGRESS:
        events[-1] = event  # nobody has seen the one before
    else:
        events.append(event)
