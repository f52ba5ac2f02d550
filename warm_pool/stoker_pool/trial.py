"""A start for a look: registration runs a real worker once before it takes a revision.

The rule that must not break: it takes room like any start, and nothing of it is left however it ends.
"""

from __future__ import annotations

import asyncio
import secrets

from stoker.errors import NoCapacity
from stoker_pool.backend import ReplicaOrder
from stoker_pool.needs import need_of
from stoker_pool.placement import Placement
from stoker_pool.plan import DryRun, RevisionPlan
from stoker_pool.pool_parts import PoolParts
from stoker_pool.replica_set import note_start


class Trial:
    """Asks for room, starts one replica, and ends it."""

    live_count = 0
    is_pressed = True
    prewarm_per_s = None
    load_s = 0.0

    def __init__(self, plan: RevisionPlan, bundle: bytes, parts: PoolParts) -> None:
        self.plan = plan
        self._bundle = bundle
        self._parts = parts
        self._woken = asyncio.Event()
        self._began_s = parts.clock.monotonic_s()

    @property
    def waited_s(self) -> float:
        return self._parts.clock.monotonic_s() - self._began_s

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> DryRun:
        """What the replica told; raises the start's error, or ``NoCapacity``."""
        replica_id = f"{self.plan.name}-trial-{secrets.token_hex(4)}"
        try:
            placement = await asyncio.wait_for(self._place(replica_id), self.plan.options.startup_timeout_s)
        except asyncio.TimeoutError:
            raise NoCapacity(f"no room for {self.plan.key}: other functions are busy on every device") from None
        finally:
            self._parts.room.leave_line(self)
        try:
            return await self._start(replica_id, placement)
        finally:
            self._parts.room.release(replica_id)

    async def _place(self, replica_id: str) -> Placement:
        while True:
            self._woken.clear()
            found = self._parts.room.acquire(self, replica_id, need_of(self.plan, self._parts.learned))
            if isinstance(found, Placement):
                return found
            if found.reason is not None:
                raise NoCapacity(f"{self.plan.key} cannot start: {found.reason}", hint=found.hint)
            await self._woken.wait()

    async def _start(self, replica_id: str, placement: Placement) -> DryRun:
        order = ReplicaOrder(plan=self.plan, replica_id=replica_id, devices=placement.devices, bundle=self._bundle)
        live = await self._parts.backend.start(order, lambda phase: None)
        try:
            note_start(self._parts, self.plan, placement, live)
            return DryRun(
                schema_json=live.schema_json,
                phases_ns=dict(live.phases_ns),
                memory_bytes=live.memory_bytes,
                streams=live.streams,
            )
        finally:
            stopping = asyncio.ensure_future(live.stop(self._parts.settings.stop_grace_s))
            try:
                await asyncio.shield(stopping)
            except asyncio.CancelledError:
                live.kill()
                await stopping
                raise
            finally:
                live.link.close()
