"""The replicas of one revision, from the moment their room is taken until nothing of them is left.

The rule that must not break: each replica has one task, and that task gives its room back however it ends.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from typing import Final

from stoker.errors import PlatformError, StartFailed
from stoker_pool.backend import BackendReplica, ReplicaOrder
from stoker_pool.crash_loop import CLOSED, Breaker, after_failure
from stoker_pool.devices import DeviceKind
from stoker_pool.eviction import Candidate
from stoker_pool.parking import SLEEP, WAKE, move
from stoker_pool.placement import Need, NoRoom, Placement
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool_parts import PoolParts
from stoker_pool.replica import Replica, ReplicaInfo, ReplicaState
from stoker_runtime.dispatcher import Dispatcher

log = logging.getLogger(__name__)

_REASON_S: Final = 0.5
_OUT_OF_MEMORY: Final = "out of memory"
_HINT: Final = "Raise memory_mib, or make the function need less."


class ReplicaSet:
    """Starts, watches and ends replicas, and counts failed starts in a row."""

    def __init__(
        self,
        plan: RevisionPlan,
        parts: PoolParts,
        dispatcher: Dispatcher,
        *,
        on_ready: Callable[[Replica], None],
        on_ended: Callable[[Replica], None],
        on_failed: Callable[[PlatformError], None],
        on_changed: Callable[[], None],
    ) -> None:
        self.plan = plan
        self.breaker = CLOSED
        self.members: dict[str, Replica] = {}
        self.wake_ns = 0
        """How long the last parked one took to come back; 0 where none did."""
        self._parts = parts
        self._dispatcher = dispatcher
        self._on_ready = on_ready
        self._on_ended = on_ended
        self._on_failed = on_failed
        self._on_changed = on_changed

    def ready(self) -> list[Replica]:
        """Those that take calls."""
        return [replica for replica in self.members.values() if replica.state is ReplicaState.READY]

    def count(self, state: ReplicaState) -> int:
        return sum(replica.state is state for replica in self.members.values())

    def parked(self) -> list[Replica]:
        """Those in host memory."""
        return [replica for replica in self.members.values() if replica.state is ReplicaState.PARKED]

    @property
    def starting(self) -> int:
        """About to be ready."""
        return self.count(ReplicaState.STARTING) + self.count(ReplicaState.WAKING)

    @property
    def live_count(self) -> int:
        """Ready, or about to be."""
        return self.starting + self.count(ReplicaState.READY)

    def infos(self) -> list[ReplicaInfo]:
        """All of them, for people."""
        now_s = self._parts.clock.monotonic_s()
        return [replica.info(self.plan, now_s) for replica in self.members.values()]

    def candidates(self, kept: int, calls_per_s: float, load_s: float, next_use_per_s: float = 0.0) -> list[Candidate]:
        """Ready replicas as eviction sees them; ``kept`` of them, the last used, stay."""
        now_s = self._parts.clock.monotonic_s()
        has_waiting = self._dispatcher.queue_depth > 0  # what waits will be bound to them at once
        found: list[Candidate] = []
        ready = sorted(self.ready(), key=lambda item: -item.idle_s(now_s))
        for position, replica in enumerate(ready):
            device_ids, bytes_each = self._parts.ledger.taken(replica.id)
            found.append(
                Candidate(
                    replica_id=replica.id,
                    device_ids=device_ids,
                    bytes_each=bytes_each,
                    is_busy=has_waiting or replica.in_flight > 0,
                    is_kept=position >= len(ready) - kept,
                    idle_s=replica.idle_s(now_s),
                    calls_per_s=calls_per_s,
                    load_s=load_s,
                    next_use_per_s=next_use_per_s,
                )
            )
        for replica in self.parked():
            device_ids, bytes_each = self._parts.ledger.taken(replica.host_id)
            found.append(
                Candidate(
                    replica_id=replica.id,
                    device_ids=device_ids,
                    bytes_each=bytes_each,
                    is_busy=False,
                    is_kept=False,
                    idle_s=replica.idle_s(now_s),
                    calls_per_s=calls_per_s,
                    load_s=load_s,
                    next_use_per_s=next_use_per_s,
                )
            )
        return found

    # --- moves --------------------------------------------------------------------------------------------------------

    def start(self, replica_id: str, placement: Placement, *, is_prewarm: bool = False) -> None:
        """Start a replica in room that was taken for it."""
        now_s = self._parts.clock.monotonic_s()
        replica = self.members[replica_id] = Replica(replica_id, placement, now_s, is_prewarm=is_prewarm)
        self._parts.tasks.start(self._live(replica), f"replica {replica_id}")

    def drain(self, replica: Replica) -> None:
        """Let it finish what it holds, then leave."""
        replica.move(ReplicaState.DRAINING)
        live = replica.live
        assert live is not None
        log.info(
            "replica drains",
            extra={"replica": replica.id, "idle_s": replica.idle_s(self._parts.clock.monotonic_s())},
        )
        self._parts.stats.drains += 1
        self._dispatcher.detach(live.link)
        self._parts.tasks.start(self._leave(live), f"drain {replica.id}")

    def park(self, replica: Replica) -> bool:
        """Let it finish what it holds, then move it to host memory; False: there is no room for it."""
        live = replica.live
        assert live is not None
        size_bytes = max(replica.memory_bytes, sum(self._parts.ledger.taken(replica.id)[1:]))
        host = self._parts.ledger.acquire(replica.host_id, Need(memory_bytes=size_bytes))
        if isinstance(host, NoRoom):
            return False
        replica.move(ReplicaState.PARKING)
        self._dispatcher.detach(live.link)
        self._parts.tasks.start(self._park(replica, live), f"park {replica.id}")
        return True

    def wake_up(self, replica: Replica, *, is_prewarm: bool) -> None:
        """Bring a parked one back to its device, whose room was taken for it."""
        live = replica.live
        assert live is not None
        replica.move(ReplicaState.WAKING)
        replica.began_s = self._parts.clock.monotonic_s()
        replica.prewarm_s = replica.began_s if is_prewarm else None
        self._parts.tasks.start(self._wake(replica, live), f"wake {replica.id}")

    def kill(self, replica: Replica, reason: str, hint: str | None = None) -> None:
        """End it at once and tell its callers why."""
        replica.end_reason = reason
        if replica.live is not None:
            replica.live.link.lose(reason, hint)
            replica.live.kill()

    async def ended(self, limit_s: float) -> None:
        """Returns when nothing of those that had become ready is left, or after ``limit_s``."""
        leaving = [replica.ended for replica in self.members.values() if replica.live is not None]
        if leaving:
            await asyncio.wait(leaving, timeout=limit_s)

    # --- the life of one replica --------------------------------------------------------------------------------------

    async def _live(self, replica: Replica) -> None:
        order = ReplicaOrder(plan=self.plan, replica_id=replica.id, devices=replica.placement.devices)
        try:
            live = await self._started(order)
            if live is None:
                return
            self._ready_now(replica, live)
            try:
                reason = await live.wait_exit()
            except asyncio.CancelledError:
                live.kill()
                await live.wait_exit()
                raise
            self._exited(replica, live, reason)
        finally:
            replica.move(ReplicaState.STOPPED)
            del self.members[replica.id]
            self._on_ended(replica)
            replica.ended.set_result(None)
            self._parts.ledger.release(replica.host_id)
            self._parts.room.release(replica.id)
            self._on_changed()

    async def _started(self, order: ReplicaOrder) -> BackendReplica | None:
        try:
            return await self._parts.backend.start(order, self._dispatcher.start_phase)
        except PlatformError as error:
            self._start_failed(error)
        except Exception as error:
            log.exception("a start failed in the platform", extra={"replica": order.replica_id})
            self._start_failed(StartFailed(f"the platform failed to start it: {error!r}", start_phase="place"))
        return None

    def _ready_now(self, replica: Replica, live: BackendReplica) -> None:
        parts = self._parts
        replica.live = live
        replica.move(ReplicaState.READY)
        replica.since_s = parts.clock.monotonic_s()
        replica.memory_bytes = live.memory_bytes
        replica.failures_before, self.breaker = self.breaker.failures, CLOSED
        note_start(parts, self.plan, replica.placement, live)
        if not replica.is_on_gpu and live.memory_bytes and self.plan.options.memory_mib is None:
            parts.ledger.resize(replica.id, parts.learned.memory_bytes(self.plan.key) or live.memory_bytes)
        parts.stats.note_start(live.phases_ns)
        live.link.on_closed = lambda link: self._link_closed(replica, live)
        live.link.on_lost = lambda link, reason: self._link_lost(replica)
        live.link.on_timeout = lambda link: self._timed_out(replica)
        self._dispatcher.note_cold_start(live.phases_ns, self._dispatcher.now_ns())
        self._dispatcher.attach(live.link)
        log.info("replica ready", extra={"replica": replica.id, "phases_ns": live.phases_ns})
        self._on_ready(replica)
        parts.room.nudge()
        parts.on_start()

    def _start_failed(self, error: PlatformError) -> None:
        self._parts.stats.failed_starts += 1
        is_proved = any(replica.was_used for replica in self.ready())
        self.breaker = after_failure(CLOSED if is_proved else self.breaker, error)
        log.warning(
            "start failed", extra={"revision": self.plan.key, "reason": str(error), "failures": self.breaker.failures}
        )
        self._on_failed(error)

    def _exited(self, replica: Replica, live: BackendReplica, reason: str) -> None:
        live.link.lose(replica.end_reason or reason, _HINT if reason.startswith(_OUT_OF_MEMORY) else None)
        live.link.close()
        self._dispatcher.detach(live.link)
        if (replica.end_reason or reason).startswith(_OUT_OF_MEMORY):
            self._parts.stats.out_of_memory += 1
        if replica.state is not ReplicaState.READY:
            return
        self._parts.stats.lost += 1
        log.warning("replica lost", extra={"replica": replica.id, "reason": replica.end_reason or reason})
        if not replica.was_used and not replica.end_reason:
            error = StartFailed(f"the worker ended before its first call: {reason}", start_phase="ready")
            self.breaker = after_failure(Breaker(failures=replica.failures_before), error)

    async def _leave(self, live: BackendReplica) -> None:
        await self._dispatcher.drained(live.link)
        await live.stop(self._parts.settings.stop_grace_s)

    async def _park(self, replica: Replica, live: BackendReplica) -> None:
        await self._dispatcher.drained(live.link)
        limit_s = self._parts.settings.park_limit_s
        try:
            await move(live.link, SLEEP, now_ns=self._dispatcher.now_ns(), limit_s=limit_s)
        except PlatformError as error:
            self.kill(replica, f"it could not be parked: {error}")
            return
        if replica.state is ReplicaState.PARKING:
            replica.move(ReplicaState.PARKED)
            self._on_ended(replica)
            replica.began_s = math.inf
            log.info("replica parked", extra={"replica": replica.id})
            self._parts.room.release(replica.id)
            self._on_changed()

    async def _wake(self, replica: Replica, live: BackendReplica) -> None:
        self._dispatcher.start_phase("wake")
        began_ns = self._dispatcher.now_ns()
        try:
            await move(live.link, WAKE, now_ns=began_ns, limit_s=self.plan.options.startup_timeout_s)
        except PlatformError as error:
            self.kill(replica, f"it could not be woken: {error}")
            return
        if replica.state is not ReplicaState.WAKING:
            return
        now_ns = self._dispatcher.now_ns()
        replica.wake_ns = self.wake_ns = now_ns - began_ns
        self._parts.ledger.release(replica.host_id)
        replica.move(ReplicaState.READY)
        replica.since_s = self._parts.clock.monotonic_s()
        live.link.is_accepting = True
        self._dispatcher.note_cold_start({"wake": replica.wake_ns}, now_ns)
        self._dispatcher.attach(live.link)
        log.info("replica woke", extra={"replica": replica.id, "took_s": replica.wake_ns / 1e9})
        self._on_ready(replica)
        self._parts.room.nudge()

    def _link_closed(self, replica: Replica, live: BackendReplica) -> None:
        # its calls are told when it has ended, since only then the reason is known; but not much later
        self._dispatcher.detach(live.link)
        self._parts.timers.call_later(_REASON_S, partial(live.link.lose, "the worker closed its socket"))
        self._link_lost(replica)

    def _link_lost(self, replica: Replica) -> None:
        # one that drains closes its socket by itself, and may still be in its exit hooks
        if replica.live is not None and replica.state not in (ReplicaState.DRAINING, ReplicaState.STOPPED):
            replica.live.kill()

    def _timed_out(self, replica: Replica) -> None:
        replica.end_reason = "a call ran past timeout_s"
        if replica.live is not None:
            replica.live.kill()
            replica.live.link.close()


def note_start(parts: PoolParts, plan: RevisionPlan, placement: Placement, live: BackendReplica) -> None:
    """Learn from a start. What a GPU replica holds after loading says little: it takes memory when it is used."""
    is_cpu = all(device.kind is DeviceKind.CPU for device in placement.devices)
    load_ns = sum(took_ns for phase, took_ns in live.phases_ns.items() if phase not in ("place", "zygote"))
    parts.learned.note_start(plan.key, live.memory_bytes if is_cpu else 0, load_ns / 1e9)
