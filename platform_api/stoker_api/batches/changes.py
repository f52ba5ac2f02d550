"""Tells those who watch a run that there is something new.

The rule that must not break: who watches slowly misses steps in between and never the last one, and costs no memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager


class Changes:
    """One flag per watcher."""

    def __init__(self) -> None:
        self._watchers: dict[str, set[asyncio.Event]] = {}

    def tell(self, batch_id: str) -> None:
        """Something about the run is new."""
        for event in self._watchers.get(batch_id, ()):
            event.set()

    def tell_all(self) -> None:
        """Wake everybody: the platform ends."""
        for batch_id in list(self._watchers):
            self.tell(batch_id)

    @contextmanager
    def watching(self, batch_id: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change."""
        event = asyncio.Event()
        self._watchers.setdefault(batch_id, set()).add(event)
        try:
            yield event
        finally:
            watchers = self._watchers[batch_id]
            watchers.discard(event)
            if not watchers:
                del self._watchers[batch_id]
