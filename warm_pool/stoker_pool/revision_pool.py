"""One revision: observes its demand, asks the scaler, and brings its replicas toward what should be.

The rule that must not break: everything here happens on the loop's thread in single steps; a step is due as soon as
something changed, and otherwise at the instant that the scaler named. ``max_replicas`` counts every replica of which
anything is left.
"""

from __future__ import annotations

import asyncio
import math
import secrets
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from stoker.errors import NoCapacity, NotReady, PlatformError, ShuttingDown
from stoker.options import ADAPTIVE, Scaling
from stoker_pool.crash_loop import CLOSED, crash_looping, is_worth_another_try
from stoker_pool.eviction import Candidate
from stoker_pool.forecast.policy import Windows
from stoker_pool.needs import need_of
from stoker_pool.placement import Need, NoRoom, Placement, place
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool_parts import PoolParts
from stoker_pool.replica import Replica, ReplicaState
from stoker_pool.replica_set import ReplicaSet
from stoker_pool.revision_warmth import RevisionWarmth
from stoker_pool.scaler import Limits, Peaks, ScalerView, decide, limits_of
from stoker_pool.warm_ups import WarmUps
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.wake_timer import TimerHandle

_STARTS_TRIED: Final = 3
_KILL_S: Final = 2.0
_LIVE: Final = (ReplicaState.STARTING, ReplicaState.WAKING, ReplicaState.READY)
_NO_WINDOWS: Final[tuple[Windows, float]] = ((), 0.0)
_NAMED_S: Final = 60.0
"""Keep-alive of a retired revision that is called by its number, where a forecast says it for the others."""
NEXT_S, SOON_S, _LATER_S = 0.05, 1.0, 10.0
"""A forecast hears of a call's arrival and of its end after so long; where it decides nothing, after the last."""
_PREWARM_PAUSE_S: Final = 60.0
"""Nothing starts ahead of calls for so long after a start failed (callers need the tries that are left), nor after an
eviction (who took the room would lose it again)."""


class RevisionPool:
    """One revision's dispatcher and replicas."""

    def __init__(self, plan: RevisionPlan, parts: PoolParts, scaling: Scaling | None) -> None:
        self._plan = plan
        self._parts = parts
        self._scaling = scaling or plan.options.scaling
        self.dispatcher = Dispatcher(
            plan.options,
            plan.number,
            clock=parts.clock,
            on_demand=self.wake,
            cold_hold_s=parts.settings.cold_hold_s,
            loop=parts.timers,
        )
        self.dispatcher.on_idle = self._on_idle
        self.dispatcher.arrivals.on_slot = self._on_arrival
        self.replicas = ReplicaSet(
            plan,
            parts,
            self.dispatcher,
            on_ready=self._on_ready,
            on_ended=lambda replica: self.warmth.ended(replica, self._scaling),
            on_failed=self._on_failed,
            on_changed=self.wake,
        )
        self.is_retired = False
        self._is_named = False
        """Retired, and called by its number since: it keeps alive as long as any other."""
        self._peaks = Peaks()
        self._touched_s = parts.clock.monotonic_s()
        self.warmth = RevisionWarmth(plan, parts)
        self._warm_ups = WarmUps()
        self._timer: TimerHandle | None = None
        self._timer_due_s = math.inf
        self._is_due = False
        self._is_drained_at_once = False
        self._finished: asyncio.Future[None] | None = None

    # --- what the pool asks -------------------------------------------------------------------------------------------

    @property
    def plan(self) -> RevisionPlan:
        return self._plan

    @property
    def now_s(self) -> float:
        """This instant, on the monotonic clock."""
        return self._parts.clock.monotonic_s()

    @property
    def idle_s(self) -> float:
        """Seconds since anything was to do; 0 while there is."""
        idle_since_s = self.dispatcher.demand().idle_since_s
        return 0.0 if idle_since_s is None else max(self.now_s - max(idle_since_s, self._touched_s), 0.0)

    @property
    def is_over(self) -> bool:
        """It has no replica and no call."""
        return not self.replicas.members and self.dispatcher.demand().idle_since_s is not None

    def set_scaling(self, scaling: Scaling | None) -> None:
        """Override the options' scaling until None is set."""
        self._scaling = scaling or self._plan.options.scaling
        if not self.is_retired:
            self.warmth.join(self._scaling)
        self.wake()

    def set_retired(self, is_retired: bool) -> None:
        """No alias points here any more: serve what comes, keep nothing warm."""
        self.is_retired = is_retired
        self._is_named = False
        if is_retired:
            self._peaks = Peaks()
            self.warmth.leave()
        else:
            self.warmth.join(self._scaling)
        self.wake()

    def retry(self) -> None:
        """Close the breaker."""
        self.replicas.breaker = CLOSED
        self.wake()

    async def warm_up(self, replicas: int) -> dict[str, int]:
        """Returns when so many (at most ``max_replicas``) are ready; raises the start's error.

        What it returns is the phases of the longest start that it waited for, in nanoseconds.
        """
        wanted = min(replicas, self._scaling.max_replicas)
        self._touched_s = self._parts.clock.monotonic_s()
        if self.ready_count >= wanted:
            self.warmth.note_warm_up(self._scaling)
            return {}
        before = set(map(id, self.replicas.ready()))
        if self._parts.is_closing:
            raise _closing()
        if self.replicas.breaker.is_open:
            raise crash_looping(self._plan.key, self.replicas.breaker)
        limit_s = _STARTS_TRIED * self._plan.options.startup_timeout_s
        waiter = self._warm_ups.join(wanted)
        self.wake()
        try:
            await asyncio.wait_for(waiter, limit_s)
        except asyncio.TimeoutError:
            raise NotReady(f"{wanted} replicas of {self._plan.key} were not ready within {limit_s:g} s") from None
        finally:
            self._warm_ups.leave(waiter)
            self.wake()  # what was kept for this wait alone may go now
        self.warmth.note_warm_up(self._scaling)
        new = [replica.live for replica in self.replicas.ready() if id(replica) not in before]
        starts = [live.phases_ns for live in new if live is not None]
        longest: Mapping[str, int] = max(starts, key=lambda phases: sum(phases.values()), default={})
        return dict(longest)

    async def shut_down(self, timeout_s: float) -> None:
        """Let what is accepted finish within ``timeout_s``, then end every replica. The pool is closing."""
        self.wake()
        if timeout_s > 0 and self.dispatcher.demand().idle_since_s is None:
            self._finished = asyncio.get_running_loop().create_future()
            await asyncio.wait({self._finished}, timeout=timeout_s)
        self._fail_all(_closing())
        for replica in [*self.replicas.ready(), *self.replicas.parked()]:
            if replica.in_flight:
                self.replicas.kill(replica, "the platform stops")
            else:
                self.replicas.drain(replica)
        await self.replicas.ended(self._parts.settings.stop_grace_s + _KILL_S)
        if self._timer is not None:
            self._timer.cancel()

    # --- what others who want room ask --------------------------------------------------------------------------------

    @property
    def live_count(self) -> int:
        return self.replicas.live_count

    @property
    def ready_count(self) -> int:
        return self.replicas.count(ReplicaState.READY)

    @property
    def min_replicas(self) -> int:
        return 0 if self.is_retired else self._scaling.min_replicas

    @property
    def is_pressed(self) -> bool:
        return self.dispatcher.queue_depth > 0

    @property
    def waited_s(self) -> float:
        return self.dispatcher.oldest_wait_s

    @property
    def has_calls(self) -> bool:
        return self.dispatcher.demand().idle_since_s is None

    def candidates(self, *, for_calls: bool = True) -> list[Candidate]:
        if not self.replicas.members:
            return []
        kept = self.min_replicas
        if not for_calls:
            kept = max(kept, self._warm_ups.wanted, int(self.warmth.is_certain(self._scaling)))
        rate_per_s = self.dispatcher.demand().arrival_rate_per_s
        return self.replicas.candidates(kept, rate_per_s, self.load_s, self.warmth.next_use_per_s(self._scaling))

    @property
    def load_s(self) -> float:
        return self._parts.learned.load_s(self._plan.key)

    @property
    def prewarm_per_s(self) -> float | None:
        if self.has_calls or self._warm_ups.wanted or self.live_count < self.min_replicas:
            return None
        return self.warmth.next_use_per_s(self._scaling)

    def promised(self) -> list[Need]:
        missing = self.min_replicas - self.live_count if self.min_replicas else 0
        return [need_of(self._plan, self._parts.learned)] * max(missing, 0)

    def leaving_ids(self) -> list[str]:
        members = self.replicas.members.values()
        leaving = [replica for replica in members if replica.state is ReplicaState.DRAINING]
        parking = [replica.id for replica in members if replica.state is ReplicaState.PARKING]
        return [*parking, *(key for replica in leaving for key in (replica.id, replica.host_id))]

    def evict_replica(self, replica_id: str) -> None:
        self._parts.stats.evictions += 1
        self._peaks = replace(self._peaks, rest_until_s=self._parts.clock.monotonic_s() + _PREWARM_PAUSE_S)
        self._let_go(self.replicas.members[replica_id])

    def drain_replica(self, replica_id: str) -> None:
        self.replicas.drain(self.replicas.members[replica_id])

    # --- reconcile ----------------------------------------------------------------------------------------------------

    def wake(self) -> None:
        """Something changed: reconcile in this turn of the loop."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self._reconcile)

    def _reconcile(self) -> None:
        self._is_due = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._timer_due_s = None, math.inf
        if self._parts.is_closing:
            if not self.live_count:
                self._fail_all(_closing())
            return
        is_open = self.replicas.breaker.is_open
        if is_open and not self.live_count:
            self._fail_all(crash_looping(self._plan.key, self.replicas.breaker))
        now_s = self._parts.clock.monotonic_s()
        window_s = self._parts.settings.scale_down_window_s
        view = self._view(now_s)
        decision = decide(view, self._limits(), self._peaks, window_s, now_s)
        self._peaks = decision.peaks
        missing = decision.desired - self.live_count
        if missing > 0 and not is_open:
            self._start(missing, is_prewarm=view.idle_s is not None and not self._warm_ups.wanted)
        else:
            self._parts.room.leave_line(self)
            self._shrink(-missing, now_s)
        for replica in self.replicas.parked():
            if self.is_retired or not self.warmth.is_worth_parking(self._scaling, replica):
                self.replicas.drain(replica)
        if decision.look_again_s is not None:
            self._look_in(decision.look_again_s)

    def _view(self, now_s: float) -> ScalerView:
        demand = self.dispatcher.demand()
        idle_s = None if demand.idle_since_s is None else max(now_s - max(demand.idle_since_s, self._touched_s), 0.0)
        self.warmth.note_arrivals(self.dispatcher.arrivals.take(), idle_s, demand.mean_duration_s)
        members = [replica for replica in self.replicas.members.values() if replica.state in _LIVE]
        windows, now_unix_s = _NO_WINDOWS
        if idle_s is not None:
            windows, now_unix_s = self.warmth.windows(self._scaling, members, is_retired=self.is_retired)
        ready_since_s = min((replica.since_s for replica in self.replicas.ready()), default=now_s)
        return ScalerView(
            demand=demand,
            ready_for_s=max(now_s - ready_since_s, 0.0),
            ready=self.ready_count,
            starting=self.replicas.starting,
            load_s=self.replicas.wake_ns / 1e9 if self.replicas.wake_ns and self.replicas.parked() else self.load_s,
            idle_s=idle_s,
            warm_up=self._warm_ups.wanted,
            windows=windows,
            now_unix_s=now_unix_s,
            least_away_s=self._parts.settings.least_away_s,
        )

    def _limits(self) -> Limits:
        scaling = self._scaling
        is_leaving = self.is_retired and not self._is_named
        if isinstance(scaling.keep_alive_s, str):
            keep_alive_s = _NAMED_S if self.is_retired else 0.0
            self._is_drained_at_once = is_leaving
        else:
            keep_alive_s = float(scaling.keep_alive_s)
            self._is_drained_at_once = keep_alive_s <= 0 or is_leaving
        limits = limits_of(
            self._plan.options,
            scaling,
            keep_alive_s,
            is_retired=self.is_retired,
            is_forecast=scaling.keep_alive_s == ADAPTIVE,
        )
        return limits if is_leaving else replace(limits, keep_alive_s=keep_alive_s)

    def _start(self, count: int, *, is_prewarm: bool) -> None:
        self._is_named = self.is_retired and self.is_pressed
        is_prewarm = is_prewarm and self.min_replicas == 0
        count -= self._wake_parked(count, is_prewarm=is_prewarm)
        for _ in range(min(count, self._scaling.max_replicas - len(self.replicas.members))):
            replica_id = f"{self._plan.name}-{self._plan.number}-{secrets.token_hex(4)}"
            found = self._parts.room.acquire(self, replica_id, need_of(self._plan, self._parts.learned))
            if isinstance(found, NoRoom):
                if found.reason is not None and not self.live_count:
                    self._fail_all(NoCapacity(f"{self._plan.key} cannot start: {found.reason}", hint=found.hint))
                return
            self.replicas.start(replica_id, found, is_prewarm=is_prewarm)

    def _wake_parked(self, count: int, *, is_prewarm: bool) -> int:
        """Bring back up to ``count`` parked ones, and answer how many; one whose device is taken makes way."""
        need, woken = need_of(self._plan, self._parts.learned), 0
        for replica in self.replicas.parked()[:count]:
            if self._parts.room.take_back(self, replica.id, replica.placement, need):
                self.replicas.wake_up(replica, is_prewarm=is_prewarm)
                woken += 1
            elif isinstance(place(need, self._parts.ledger.loads()), Placement):
                self.replicas.drain(replica)
        return woken

    def _shrink(self, count: int, now_s: float) -> None:
        """Drain ``count`` ready replicas, the longest idle first."""
        by_use = sorted(self.replicas.ready(), key=lambda item: (item.in_flight, -item.idle_s(now_s)))
        for replica in by_use[: max(count, 0)]:
            self._let_go(replica)

    def _let_go(self, replica: Replica) -> None:
        """To host memory where that pays and there is room, else away."""
        is_ready = replica.state is ReplicaState.READY and not self.is_retired
        if not (is_ready and self.warmth.is_worth_parking(self._scaling, replica) and self.replicas.park(replica)):
            self.replicas.drain(replica)

    # --- what happened ------------------------------------------------------------------------------------------------

    def _on_idle(self) -> None:
        if self._finished is not None and not self._finished.done():
            self._finished.set_result(None)
        if self._is_drained_at_once:
            self.wake()
        elif self._scaling.keep_alive_s == ADAPTIVE:
            self._look_in(SOON_S)
        if self._parts.room.is_wanted:
            self._parts.room.nudge()

    def _on_arrival(self) -> None:
        """The first calls for a second: the forecast hears of them, but not before they are on their way."""
        self._look_in(NEXT_S if self._scaling.keep_alive_s == ADAPTIVE else _LATER_S)

    def _look_in(self, seconds: float) -> None:
        """Reconcile in so many seconds at the latest."""
        due_s = self._parts.clock.monotonic_s() + seconds
        if due_s < self._timer_due_s:
            if self._timer is not None:
                self._timer.cancel()
            self._timer, self._timer_due_s = self._parts.timers.call_later(seconds, self.wake), due_s

    def _on_ready(self, replica: Replica) -> None:
        self._touched_s = self._parts.clock.monotonic_s()
        self.warmth.watch(replica, self._scaling)
        self._warm_ups.note_ready(self.ready_count)
        self.wake()

    def _on_failed(self, error: PlatformError) -> None:
        self._warm_ups.fail(error)
        self._peaks = replace(self._peaks, rest_until_s=self._parts.clock.monotonic_s() + _PREWARM_PAUSE_S)
        if self.ready_count:
            return
        if self.replicas.breaker.is_open:
            self._fail_all(crash_looping(self._plan.key, self.replicas.breaker))
        elif not is_worth_another_try(error):
            self._fail_all(error)

    def _fail_all(self, error: PlatformError) -> None:
        self._warm_ups.fail(error)
        self.dispatcher.fail_waiting(error)


def _closing() -> ShuttingDown:
    return ShuttingDown("the platform drains and starts nothing new")
