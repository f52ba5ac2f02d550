"""The forecast: when each function's next call is due, and so when it pays to be loaded.

With a price T (idle seconds that one cold start is worth) and the hazard h of the next call, a second of being loaded
costs one and saves h · T: be loaded exactly where h >= 1 / T. Keep-alive, letting go and prewarming all follow from it.
The hazard is learned per function (``history``), shrunk to what the platform's functions have in common (``pooled``),
and put together from several estimates (``features``) by a small network (``hazard_net``).
Sources: Shahrad et al., "Serverless in the Wild", ATC '20 (histograms of gaps, prewarm windows); Fuerst and Sharma,
"FaasCache", ASPLOS '21 (value per byte); Hawkes 1971 (bursts that excite themselves); Wolpert 1992 (stacking).

The rule that must not break: pure. No clock is read, and whatever is noted, the next answer is finite.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Generator, Mapping
from typing import Final

from stoker.options import Scaling
from stoker_pool.forecast.chains import Chains
from stoker_pool.forecast.contest import TIMER_S, Contest
from stoker_pool.forecast.curve import Curve
from stoker_pool.forecast.features import ages, features
from stoker_pool.forecast.hazard_net import HazardNet
from stoker_pool.forecast.history import BURST_HALF_S, BURST_S, FunctionHistory
from stoker_pool.forecast.policy import Window, Windows
from stoker_pool.forecast.pool_price import PoolGoal, PoolPrice, is_of_pool
from stoker_pool.forecast.pooled import PooledHazard
from stoker_pool.forecast.prices import WARMTH_PRICES_S, PriceSearch, bounded, price_of
from stoker_pool.forecast.snapshot import Learned, packed_in_steps, unpacked
from stoker_pool.forecast.windows import merged

MOST_FUNCTIONS: Final = 20_000
FARTHEST_S: Final = 1e11
"""A time beyond it (some 3,000 years) is none."""
_CURVES: Final = 512
_EXPECTED: Final = math.log(1.0 / 300.0)
_KEPT_GAPS: Final = 8
_OLD_GAPS: Final = 3
_NEXT_USE_S: Final = 900.0
_SWEPT_AT_ONCE: Final = 2
_SWEEP_STEP_S: Final = 60.0


class AdaptivePolicy:
    """Implements ``Forecast``. One per platform: functions share what they have in common."""

    def __init__(
        self,
        prices: Callable[[str], float] | None = None,
        *,
        net: HazardNet | None = None,
        goal: PoolGoal | None = None,
    ) -> None:
        """``prices``: idle seconds that a cold start of a function is worth; None: as its scaling says.

        ``goal``: what the functions whose scaling says nothing of that should come to, all together.
        """
        self._prices = prices
        self._net = net or HazardNet.shipped()
        self._pooled = PooledHazard()
        self._functions: dict[str, FunctionHistory] = {}
        self._swept: deque[str] = deque()
        self._curves: dict[str, Curve] = {}
        self._contests: dict[str, Contest] = {}
        self._chains = Chains()
        self._moved: set[str] = set()
        self._scalings: dict[str, Scaling] = {}
        self._own_prices: dict[str, float | None] = {}
        self._searches: dict[str, PriceSearch] = {}
        self._pool_price = PoolPrice(goal) if goal else None
        self._of_pool: set[str] = set()
        self._loads_s: dict[str, float] = {}
        self._idle_s: dict[str, float] = {}

    # --- what the pool tells ------------------------------------------------------------------------------------------

    def set_scaling(self, function: str, scaling: Scaling) -> None:
        """What a cold start is worth to the function, in its own words."""
        self._scalings[function] = scaling
        self._own_prices[function] = price_of(scaling)
        if self._pool_price is not None:
            if is_of_pool(scaling):
                self._of_pool.add(function)
            else:
                self._of_pool.discard(function)
                self._pool_price.forget(function)

    def note_load(self, function: str, load_s: float, memory_bytes: int) -> None:
        """A start was measured."""
        if math.isfinite(load_s) and load_s >= 0:
            self._loads_s[function] = load_s

    @property
    def load_s(self) -> Mapping[str, float]:
        """How long a start of each function takes, as the pool has learned it."""
        return self._loads_s

    def note_calls(self, function: str, at_s: float, count: int = 1) -> None:
        """``count`` calls arrived at ``at_s``. Late, repeated and backward times are taken, not refused."""
        if not -FARTHEST_S < at_s < FARTHEST_S or count < 1:
            return
        history = self._functions.get(function)
        if history is None:
            self._begin(function, at_s, count)
        elif at_s - history.last_s < BURST_S:
            if self._is_searched(function):
                self._note_near(function, history, at_s, count)
            history.note(at_s, count)
        else:
            self._end_gap(function, history, at_s, count)

    def note_idle(self, function: str, at_s: float) -> None:
        """The last call in flight has ended."""
        if function in self._functions and -FARTHEST_S < at_s < FARTHEST_S:
            self._idle_s[function] = at_s

    def forget(self, function: str) -> None:
        """The function was deleted."""
        kept: tuple[dict[str, object], ...] = (
            self._functions, self._curves, self._contests, self._scalings, self._own_prices, self._searches,
            self._loads_s, self._idle_s,
        )  # type: ignore[assignment]  # fmt: skip
        for each in kept:
            each.pop(function, None)
        self._chains.forget(function)
        self._moved.discard(function)
        self._of_pool.discard(function)
        if self._pool_price is not None:
            self._pool_price.forget(function)

    # --- what it says -------------------------------------------------------------------------------------------------

    def windows(self, function: str, now_s: float) -> Windows:
        """When to be loaded from ``now_s`` on, for as long as no other call comes; the first part of it just after one.

        Most gaps end within that part, and then nothing more was to be estimated.
        """
        history = self._functions.get(function)
        if history is None or not -FARTHEST_S < now_s < FARTHEST_S:
            return ()
        price_s = self.price_s(function)
        led = self._chains.window(function, price_s, now_s)
        if self.is_off(function):
            idle_s = max(self._idle_s.get(function, history.last_s), history.last_s)
            windows: Windows = (Window(now_s, idle_s + TIMER_S),) if now_s < idle_s + TIMER_S else ()
        else:
            windows = self._near_window(function, history, price_s, now_s)
            windows = windows or self._curve(function, history).windows(price_s, now_s)
        return windows if led is None else merged((*windows, led))

    def take_moved(self) -> frozenset[str]:
        """Functions whose windows have changed since this was last asked, because others were called."""
        moved = frozenset(self._moved)
        self._moved.clear()
        return moved

    def hazard(self, function: str, at_s: float) -> float:
        """Calls per second expected at ``at_s``, given none until then; 0 for a function never called."""
        history = self._functions.get(function)
        if history is None or not -FARTHEST_S < at_s < FARTHEST_S:
            return 0.0
        return math.exp(self._curve(function, history).log_hazard_at(max(at_s - history.last_s, 0.0)))

    def next_use_rate(self, function: str, now_s: float) -> float:
        """Calls per second to expect, for eviction: what is forecast, and what the calls of late say beside it.

        Alone, the forecast evicts what pauses, and frequency what has only begun to be used.
        """
        history = self._functions.get(function)
        if history is None or not -FARTHEST_S < now_s < FARTHEST_S:
            return 0.0
        age_s = max(now_s - history.last_s, 0.0)
        forecast = self._curve(function, history).expected_calls(age_s, age_s + _NEXT_USE_S) / _NEXT_USE_S
        return forecast + self._pooled.recurrence.calls_per_s(history, age_s)

    def price_s(self, function: str) -> float:
        """Idle seconds that one cold start of the function is worth now."""
        if self._prices is not None:
            return bounded(self._prices(function))
        scaling = self._scalings.get(function)
        if scaling is None:
            return WARMTH_PRICES_S["balanced"]
        if self._pool_price is not None and function in self._of_pool:
            return self._pool_price.price_s
        price_s = self._own_prices[function]
        if price_s is None:
            assert scaling.cold_start_target is not None
            search = self._search(function)
            assert search is not None
            return search.price_s(scaling.cold_start_target)
        return price_s

    def status(self, function: str) -> str:
        """In words: what it goes by, or why it is turned off; empty where it knows nothing."""
        history = self._functions.get(function)
        if history is None:
            return ""
        if not self.is_off(function):
            return f"learned from {history.bursts} gaps between calls"
        contest = self._contests[function]
        return (
            f"turned off: over the last gaps it would have cost {contest.forecast_s:.0f} idle seconds (cold starts at "
            f"their price), a plain keep-alive of {TIMER_S:.0f} s {contest.timer_s:.0f}; that keep-alive is in force"
        )

    def price_from(self, function: str) -> str:
        """In words: whose price it is, where it is not the function's own; else empty."""
        return f"one price for all, {self._pool_price.goal}" if function in self._of_pool and self._pool_price else ""

    def is_off(self, function: str) -> bool:
        """It loses against a plain keep-alive here, and its windows are that keep-alive's."""
        contest = self._contests.get(function)
        return contest is not None and contest.is_lost

    # --- state --------------------------------------------------------------------------------------------------------

    def state_in_steps(self) -> Generator[None, None, Callable[[], bytes]]:
        """All that was learned, but who follows whom: that is learned again within minutes. See ``Forecast``."""
        return packed_in_steps(Learned(self._pooled, self._functions, self._contests, self._searches, self._pool_price))

    def state(self) -> bytes:
        """The same at once."""
        steps = self.state_in_steps()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                pack: Callable[[], bytes] = end.value
                return pack()

    def restore(self, state: bytes) -> None:
        """Go on from ``state``; raises ``ValueError`` where it is damaged or of another version, changing nothing."""
        learned = unpacked(state)
        self._pooled, self._functions = learned.pooled, learned.functions
        self._contests, self._searches = learned.contests, learned.searches
        if self._pool_price is not None and learned.pool_price is not None:
            learned.pool_price.resume(self._pool_price.goal)
            self._pool_price = learned.pool_price
        self._swept = deque(learned.functions)
        self._curves.clear()
        self._idle_s.clear()
        self._chains, self._moved = Chains(), set()

    # --- within -------------------------------------------------------------------------------------------------------

    def _begin(self, function: str, at_s: float, count: int) -> None:
        if len(self._functions) >= MOST_FUNCTIONS:
            self.forget(min(self._functions, key=lambda name: self._functions[name].last_s))
        history = self._functions[function] = FunctionHistory(at_s)
        history.calls = count
        self._swept.append(function)
        self._pooled.note_load(at_s)
        self._moved.update(self._chains.note_burst(function, at_s, self._is_away))

    def _end_gap(self, function: str, history: FunctionHistory, at_s: float, count: int) -> None:
        """A call after a gap: what was forecast for it is judged, then learned from."""
        gap_s = at_s - history.last_s
        curve = self._curve(function, history, to_age_s=gap_s)
        log_hazard, price_s = curve.log_hazard_at(gap_s), self.price_s(function)
        busy_s = min(max(self._idle_s.get(function, history.last_s) - history.last_s, 0.0), gap_s)
        self._contests.setdefault(function, Contest()).note(
            idle_s=gap_s - busy_s,
            loaded_s=curve.loaded_s(price_s, busy_s, gap_s),
            is_cold=log_hazard < -math.log(price_s) and busy_s < gap_s,
            price_s=price_s,
        )
        search = self._search(function)
        if search is not None:
            search.note(math.exp(-log_hazard), count)
        if self._pool_price is not None and function in self._of_pool:
            self._pool_price.note_ended(function, curve, busy_s, gap_s)
            self._pool_price.note(at_s, math.exp(-log_hazard), count)
        if log_hazard > _EXPECTED and curve.kept < _KEPT_GAPS and history.is_regular(gap_s):
            curve.kept += 1  # nothing was learned that would change it
        elif not self._is_searched(function) and curve.kept < _OLD_GAPS and gap_s < curve.sure_s(price_s):
            curve.kept += 1
            curve.is_old = True
        else:
            del self._curves[function]
        self._pooled.note_gap(history.bursts, history.swept_s, gap_s)
        self._pooled.recurrence.note(history, history.swept_s, gap_s, is_return=True)
        self._pooled.note_load(at_s)
        history.note(at_s, count)
        history.swept_s = 0.0
        self._sweep(at_s)
        self._moved.update(self._chains.note_burst(function, at_s, self._is_away))

    def _note_near(self, function: str, history: FunctionHistory, at_s: float, count: int) -> None:
        """One more call of a burst: it too is cold where the price was below one over the hazard, and nothing ran."""
        curve = self._curves.get(function)
        idle_s = at_s - max(self._idle_s.get(function, history.last_s), history.last_s)
        critical_s = None
        if curve is not None and idle_s > 0.0:
            critical_s = math.exp(-curve.log_hazard_at(at_s - history.last_s))
        search = self._search(function)
        if search is not None:
            search.note(critical_s, count)
        elif self._pool_price is not None:
            self._pool_price.note_near(curve, idle_s)
            self._pool_price.note(at_s, critical_s, count)

    def _note_open(self, function: str, history: FunctionHistory, age_s: float) -> None:
        """The pool's price hears of a gap that has not ended, unless a call is in flight."""
        price = self._pool_price
        if price is None or function not in self._of_pool or not price.is_due(function, age_s):
            return
        idle_s = self._idle_s.get(function, -math.inf)
        if idle_s >= history.last_s:
            price.note_open(function, self._curve(function, history), idle_s - history.last_s, age_s)

    def _is_searched(self, function: str) -> bool:
        """Its price is being found: what is counted for that must not depend on the price in force."""
        return function in self._of_pool or self._search(function) is not None

    def _search(self, function: str) -> PriceSearch | None:
        scaling = self._scalings.get(function)
        if scaling is None or scaling.cold_start_target is None:
            return None
        return self._searches.setdefault(function, PriceSearch())

    def _near_window(self, function: str, history: FunctionHistory, price_s: float, now_s: float) -> Windows:
        """As far as the curve of an earlier gap is sure of; empty where that is over, or the curve is of this gap."""
        curve = self._curves.get(function)
        if curve is None or not curve.is_old:
            return ()
        end_s = history.last_s + curve.sure_s(price_s)
        return (Window(now_s, end_s),) if now_s < end_s else ()

    def _curve(self, function: str, history: FunctionHistory, to_age_s: float = math.inf) -> Curve:
        """The forecast since the last call; kept for those asked for last. An old one where it is sure so far."""
        curve = self._curves.get(function)
        if curve is None or (curve.is_old and to_age_s >= curve.sure_s(self.price_s(function))):
            curve = self._curves[function] = self._estimated(history)
            if len(self._curves) > _CURVES:
                del self._curves[next(iter(self._curves))]
        elif curve.from_s != history.last_s:  # later calls of the same burst: the same forecast, from the last on
            curve = self._curves[function] = curve.after(history.last_s)
        return curve

    def _estimated(self, history: FunctionHistory) -> Curve:
        edges = ages(history)
        log_hazard = self._net.log_hazard(features(history, self._pooled, edges))
        near, then = history.burst_hazards()  # the network knows gaps between bursts alone
        first, later = edges.searchsorted((BURST_HALF_S, BURST_S))
        log_hazard[:first] = math.log(near)
        log_hazard[first:later] = math.log(then)
        return Curve.condensed(history.last_s, edges, log_hazard)

    def _is_away(self, function: str, at_s: float) -> bool:
        """Its own past does not have it loaded. One without a forecast at hand was not asked for in a long time."""
        curve = self._curves.get(function)
        return curve is None or not curve.is_worth(self.price_s(function), at_s - curve.from_s)

    def _sweep(self, at_s: float) -> None:
        """Counts what has passed of open gaps, a few functions at a time."""
        for _ in range(min(_SWEPT_AT_ONCE, len(self._swept))):
            name = self._swept.popleft()
            history = self._functions.get(name)
            if history is None:
                continue
            self._swept.append(name)
            age_s = at_s - history.last_s
            self._note_open(name, history, age_s)
            if age_s > history.swept_s + _SWEEP_STEP_S:
                self._pooled.note_waiting(history.bursts, history.swept_s, age_s)
                self._pooled.recurrence.note(history, history.swept_s, age_s, is_return=False)
                history.swept_s = age_s
