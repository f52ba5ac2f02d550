"""Finds results that wait in a worker's journal behind a call that turned out long.

A worker sends results of short calls together, and cannot know before a call that it will be long. The rule that must
not break: only entries that have not changed between two looks are taken while the worker lives, so nothing half
written is read; and a worker that makes no progress is not looked at again until it is sent something.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final

from stoker_runtime.frames import ResultHeader
from stoker_runtime.journal import Journal, Snapshot

_LOOK_AFTER_S: Final = 0.002

Held = list[tuple[ResultHeader, bytes]]


class HeldResults:
    """One timer for one journal; runs only while calls are on their way."""

    __slots__ = ("_deliver", "_journal", "_seen", "_timer")

    def __init__(self, journal: Journal, deliver: Callable[[Held], None]) -> None:
        self._journal = journal
        self._deliver = deliver
        self._seen: Snapshot | None = None
        self._timer: asyncio.TimerHandle | None = None

    def watch(self) -> None:
        """Several calls are on their way: one may keep the results of others waiting."""
        if self._timer is None:
            self._seen = None
            self._timer = asyncio.get_running_loop().call_later(_LOOK_AFTER_S, self._look)

    def close(self) -> None:
        """The link is gone, and the journal with it."""
        if self._timer is not None:
            self._timer.cancel()
        self._journal.close()

    def _look(self) -> None:
        self._timer = None
        before, now = self._seen, self._journal.look()
        if now != before:
            self.watch()
            self._seen = now
        elif now.length:
            self._deliver(self._journal.results(now))
