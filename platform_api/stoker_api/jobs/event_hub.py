"""Wakes those who watch a job.

The rule that must not break: what happened is read from the store, never from here, so that a watcher that comes late,
reads slowly or comes back misses nothing; the hub only says that there is something to read.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class EventHub:
    """Lives on the loop's thread."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Event]] = {}
        self._is_closed = False

    @property
    def is_closed(self) -> bool:
        """The platform ends: nobody should wait any more."""
        return self._is_closed

    @contextmanager
    def watching(self, job_id: str) -> Iterator[asyncio.Event]:
        """An event that is set whenever something happens to the job; clear it before reading the store."""
        changed = asyncio.Event()
        if self._is_closed:
            changed.set()
        self._watchers.setdefault(job_id, set()).add(changed)
        try:
            yield changed
        finally:
            watchers = self._watchers[job_id]
            watchers.discard(changed)
            if not watchers:
                del self._watchers[job_id]

    def tell(self, job_ids: Iterable[str]) -> None:
        """Something has happened to these jobs, and is on disk."""
        for job_id in job_ids:
            for changed in self._watchers.get(job_id, ()):
                changed.set()

    def close(self) -> None:
        """Wake everybody for the last time."""
        self._is_closed = True
        self.tell(list(self._watchers))
