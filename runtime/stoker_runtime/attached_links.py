"""The replicas of one dispatcher, and who waits for one of them to run dry.

The rule that must not break: whoever waits for a drain is told when the replica holds nothing, or is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stoker_runtime.replica_link import ReplicaLink


class AttachedLinks:
    """By replica id; ``on_change`` is called when one comes, goes, or stops taking calls."""

    def __init__(self, on_change: Callable[[], None]) -> None:
        self.by_id: dict[str, ReplicaLink] = {}
        self._on_change = on_change
        self._waiters: dict[str, list[asyncio.Future[None]]] = {}

    @property
    def accepting(self) -> int:
        """How many take new calls."""
        return sum(link.is_accepting for link in self.by_id.values())

    @property
    def in_flight(self) -> int:
        """Calls that they hold."""
        return sum(len(link.in_flight) for link in self.by_id.values())

    def add(self, link: ReplicaLink) -> None:
        self.by_id[link.replica_id] = link
        self._on_change()

    def detach(self, link: ReplicaLink) -> None:
        """It takes nothing new, and is forgotten once it holds nothing."""
        link.is_accepting = False
        self._on_change()
        self.settle(link)

    def settle(self, link: ReplicaLink) -> None:
        """Forget a detached replica that holds nothing any more."""
        if not link.is_accepting and not link.in_flight:
            self.forget(link)

    def forget(self, link: ReplicaLink) -> None:
        """It drained, or is lost."""
        if self.by_id.get(link.replica_id) is not link:
            return
        del self.by_id[link.replica_id]
        for waiter in self._waiters.pop(link.replica_id, ()):
            if not waiter.done():
                waiter.set_result(None)
        self._on_change()

    async def drained(self, link: ReplicaLink) -> None:
        """Returns when it holds nothing any more, or is lost."""
        if self.by_id.get(link.replica_id) is not link or not link.in_flight:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.setdefault(link.replica_id, []).append(waiter)
        await waiter
