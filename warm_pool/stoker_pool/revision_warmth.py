"""One revision's side of prewarming: tells the forecast what happens, asks for windows, accounts for each prewarm.

The rule that must not break: a retired revision is never started ahead of a call, nor is one of which another revision
of the function gets the calls; and each prewarm is accounted for once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import partial

from stoker.options import ADAPTIVE, Scaling
from stoker_pool.forecast.account import ColdStart
from stoker_pool.forecast.levels import parking_threshold
from stoker_pool.forecast.policy import Window, Windows
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool_parts import PoolParts
from stoker_pool.replica import Replica

WARM_UP_S = 300.0
"""How long what a warm-up made ready waits for its call where no fixed keep-alive says so."""


class RevisionWarmth:
    """Lives beside its ``RevisionPool``."""

    def __init__(self, plan: RevisionPlan, parts: PoolParts) -> None:
        self.function = f"{plan.namespace}/{plan.name}"
        self._number = plan.number
        self._parts = parts
        self._is_idle_noted = True

    def note_arrivals(self, arrivals: Sequence[tuple[float, int]], idle_s: float | None, duration_s: float) -> None:
        """Calls came since the last look, which run for about so long; None: some of them have not ended yet."""
        warmth = self._parts.warmth
        if arrivals:
            warmth.note_arrivals(self.function, self._number, arrivals, duration_s)
            self._parts.on_learned()
            self._parts.on_moved(warmth.forecast.take_moved())
            self._is_idle_noted = False
        if idle_s is not None and not self._is_idle_noted:
            warmth.forecast.note_idle(self.function, warmth.now_s() - idle_s)
            self._is_idle_noted = True

    def join(self, scaling: Scaling) -> None:
        """An alias points to the revision: it may be started ahead of calls, with a cold start worth what it says."""
        self._parts.warmth.forecast.set_scaling(self.function, scaling)
        kept = self._parts.warmth.of(self.function)
        kept.leader = kept.leader or self._number

    def windows(self, scaling: Scaling, members: Iterable[Replica], *, is_retired: bool) -> tuple[Windows, float]:
        """When to be loaded, and the instant at which that was asked; asked while idle."""
        parts = self._parts
        now_s = parts.warmth.now_s()
        there = list(members)
        leader = parts.warmth.of(self.function).leader
        if is_retired or (not there and leader not in (None, self._number)):
            return (), now_s
        if self.stays_for_nothing(scaling, there):
            return (Window(now_s, math.inf),), now_s
        waited_s = self._waited_s(there)
        devices = len(there[0].placement.devices) if there else 1
        return parts.warmth.windows(self.function, scaling, now_s, waited_s=waited_s, devices=devices), now_s

    def stays_for_nothing(self, scaling: Scaling, members: list[Replica]) -> bool:
        """It is on a GPU that nobody else wants, and idle seconds of it are not paid for."""
        parts = self._parts
        return (
            parts.settings.keep_on_idle_gpus
            and scaling.keep_alive_s == ADAPTIVE
            and scaling.gpu_second_cost is None
            and not parts.room.is_wanted
            and any(replica.is_on_gpu and replica.prewarm_s is None for replica in members)
        )

    def is_certain(self, scaling: Scaling) -> bool:
        """Something other than statistics asks for it now."""
        now_s = self._parts.warmth.now_s()
        certain = self._parts.warmth.certain(self.function, scaling, now_s)
        return any(reason.window.contains(now_s) for reason in certain)

    def next_use_per_s(self, scaling: Scaling) -> float:
        """Expected calls per second in the time to come; 0 where nothing is known."""
        return self._parts.warmth.next_use_per_s(self.function, scaling, self._parts.warmth.now_s())

    def is_worth_parking(self, scaling: Scaling, replica: Replica) -> bool:
        """Host memory is cheaper than a device's, so a smaller chance of a call pays for it."""
        live = replica.live
        if scaling.keep_alive_s != ADAPTIVE or live is None or not live.parks or not replica.is_on_gpu:
            return False
        price_s = self._parts.warmth.forecast.price_s(self.function)
        return self.next_use_per_s(scaling) >= parking_threshold(price_s)

    def note_warm_up(self, scaling: Scaling) -> None:
        """Somebody made replicas ready by hand: they wait for what comes."""
        if scaling.keep_alive_s == ADAPTIVE:
            now_s = self._parts.warmth.now_s()
            self._parts.warmth.of(self.function).expectations.put("warm-up", now_s, now_s + WARM_UP_S)

    def leave(self) -> None:
        """The revision retires: if it got the calls, any other may be started ahead of the next."""
        kept = self._parts.warmth.of(self.function)
        if kept.leader == self._number:
            kept.leader = None

    # --- replicas -----------------------------------------------------------------------------------------------------

    def watch(self, replica: Replica, scaling: Scaling) -> None:
        """A replica is ready."""
        live = replica.live
        assert live is not None
        warmth, load_s = self._parts.warmth, self._parts.learned.load_s(f"{self.function}@{self._number}")
        warmth.forecast.note_load(self.function, load_s, live.memory_bytes)
        if replica.prewarm_s is not None:
            live.link.on_first_use = partial(self._close, replica, scaling, is_used=True)
        else:
            took_s = (replica.wake_ns or sum(live.phases_ns.values())) / 1e9
            warmth.of(self.function).account.cold_starts.append(ColdStart(warmth.now_s(), took_s))

    def ended(self, replica: Replica, scaling: Scaling) -> None:
        """Nothing of a replica is left."""
        self._close(replica, scaling, is_used=False)
        now_s = self._parts.clock.monotonic_s()
        account = self._parts.warmth.of(self.function).account
        account.loaded_s += max(now_s - replica.began_s, 0.0) * len(replica.placement.devices)

    def _close(self, replica: Replica, scaling: Scaling, *, is_used: bool) -> None:
        if replica.prewarm_s is not None:
            waited_s = (self._parts.clock.monotonic_s() - replica.prewarm_s) * len(replica.placement.devices)
            replica.prewarm_s = None
            self._parts.warmth.note_prewarm(self.function, scaling, waited_s, is_used=is_used)

    def _waited_s(self, members: list[Replica]) -> float | None:
        """Device seconds that the present prewarm has waited; 0 where nothing is there; None: calls brought it."""
        if any(replica.prewarm_s is None for replica in members):
            return None
        now_s = self._parts.clock.monotonic_s()
        waits = [
            (now_s - replica.prewarm_s) * len(replica.placement.devices) for replica in members if replica.prewarm_s
        ]
        return sum(waits)
