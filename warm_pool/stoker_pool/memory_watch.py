"""Measures replicas while they run: teaches the estimates, and ends a replica that took more than was declared.

The rule that must not break: measuring happens in a thread, and only of replicas that did something since the last
time; a replica over its declared memory is ended with the reason in words.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from stoker_pool.devices import MIB
from stoker_pool.pool_parts import PoolParts
from stoker_pool.replica import Replica
from stoker_pool.revision_pool import RevisionPool
from stoker_runtime.wake_timer import TimerHandle


class MemoryWatch:
    """One timer for the whole pool; it stands still while no replica is there."""

    def __init__(self, parts: PoolParts, revisions: Callable[[], Iterable[RevisionPool]]) -> None:
        self._parts = parts
        self._revisions = revisions
        self._timer: TimerHandle | None = None
        self._seen_ns: dict[str, int] = {}

    def keep_on(self) -> None:
        """Be sure that the next measurement will happen."""
        interval_s = self._parts.settings.memory_sample_s
        if interval_s is not None and self._timer is None and not self._parts.is_closing:
            self._timer = self._parts.timers.call_later(interval_s, self._go)

    def stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    async def measure(self) -> None:
        """Measure everyone who was active, once."""
        active = [
            (revision, replica)
            for revision in self._revisions()
            for replica in revision.replicas.members.values()
            if self._is_active(replica)
        ]
        used = await asyncio.to_thread(lambda: [_used_bytes(replica) for _, replica in active])
        for (revision, replica), used_bytes in zip(active, used, strict=True):
            if used_bytes and replica.id in revision.replicas.members:
                self._note(revision, replica, used_bytes)

    def _go(self) -> None:
        self._timer = None
        self._parts.tasks.start(self._measure_and_go_on(), "memory watch")

    async def _measure_and_go_on(self) -> None:
        await self.measure()
        there = {replica_id for revision in self._revisions() for replica_id in revision.replicas.members}
        self._seen_ns = {key: value for key, value in self._seen_ns.items() if key in there}
        if there:
            self.keep_on()

    def _is_active(self, replica: Replica) -> bool:
        if replica.live is None:
            return False
        link = replica.live.link
        stamp_ns = max(link.last_used_ns, link.last_result_ns) + 1
        if self._seen_ns.get(replica.id) == stamp_ns and not link.in_flight:
            return False
        self._seen_ns[replica.id] = stamp_ns
        return True

    def _note(self, revision: RevisionPool, replica: Replica, used_bytes: int) -> None:
        parts, plan = self._parts, revision.plan
        replica.memory_bytes = used_bytes
        parts.learned.note_memory(plan.key, used_bytes)
        declared_mib = plan.options.memory_mib
        if declared_mib is None:
            device_ids, booked_bytes = parts.ledger.taken(replica.id)
            # device memory is often taken late, so a GPU replica keeps what was booked for it
            needed = used_bytes // max(len(device_ids), 1)
            parts.ledger.resize(replica.id, max(needed, booked_bytes) if replica.is_on_gpu else needed)
        elif used_bytes > declared_mib * MIB:
            reason = f"out of memory: used {used_bytes // MIB} of {declared_mib} MiB"
            revision.replicas.kill(replica, reason, "Raise memory_mib, or make the function need less.")


def _used_bytes(replica: Replica) -> int:
    return replica.live.memory_now_bytes() if replica.live is not None else 0
