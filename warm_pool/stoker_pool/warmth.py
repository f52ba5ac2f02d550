"""When each function should be loaded: the forecast, what is certain, and what the budget allows, put together.

The rule that must not break: what is certain (expected calls, hours that a user named, a warm-up) beats statistics and
costs no budget; a forecast that fails costs its windows, never a call.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

from stoker.options import ADAPTIVE, Scaling
from stoker.warm_hours import WarmHours
from stoker_pool.call_log import CallLog, NoCallLog
from stoker_pool.forecast.account import WarmthAccount
from stoker_pool.forecast.budget import Budget
from stoker_pool.forecast.expectations import Expectations
from stoker_pool.forecast.policy import Window, Windows
from stoker_pool.forecast.ports import Forecast
from stoker_pool.forecast.windows import cut, merged
from stoker_runtime.clock import Clock

log = logging.getLogger(__name__)

_HORIZON_S: Final = 8 * 86_400.0
"""How far ahead named hours are laid out: the next week's are always among them."""
_CERTAIN_PER_S: Final = 1.0


@dataclass(slots=True)
class FunctionWarmth:
    """What is kept of one function beside the forecast's own."""

    account: WarmthAccount
    expectations: Expectations = field(default_factory=Expectations)
    budget: Budget = field(default_factory=Budget)
    leader: int | None = None
    """The revision that got the last calls: the one to start ahead of the next."""


@dataclass(frozen=True, slots=True)
class Reason:
    """Why to be loaded: what says so, and when."""

    source: str
    window: Window


class Warmth:
    """One per platform; ``function`` is ``"namespace/name"``; times are Unix seconds."""

    def __init__(
        self, forecast: Forecast, clock: Clock, budget_s: float | None = None, calls: CallLog | None = None
    ) -> None:
        self.forecast = forecast
        self.calls = calls or NoCallLog()
        """Hears of every call, for the record."""
        self.is_changed = False
        """The forecast has learned something since this was last set to False."""
        self._clock = clock
        self._budget_s = budget_s
        self._budget = Budget()
        self._functions: dict[str, FunctionWarmth] = {}
        self._hours: dict[tuple[str, ...], tuple[WarmHours, ...]] = {}

    def now_s(self) -> float:
        """The wall clock, in Unix seconds."""
        return self._clock.now().timestamp()

    def of(self, function: str) -> FunctionWarmth:
        """What is kept of a function; made on first use."""
        found = self._functions.get(function)
        if found is None:
            found = self._functions[function] = FunctionWarmth(WarmthAccount(self.now_s()))
        return found

    def accounts(self) -> list[tuple[str, WarmthAccount]]:
        """Of every function that was seen."""
        return [(function, kept.account) for function, kept in self._functions.items()]

    def forget(self, function: str) -> None:
        """The function was deleted."""
        self._functions.pop(function, None)
        self.forecast.forget(function)
        self.is_changed = True

    def note_arrivals(
        self, function: str, number: int, arrivals: Iterable[tuple[float, int]], duration_s: float
    ) -> None:
        """Calls came to a revision, at seconds of the monotonic clock, which run for about so long."""
        offset_s = self.now_s() - self._clock.monotonic_s()
        kept = self.of(function)
        for at_s, count in arrivals:
            self.forecast.note_calls(function, at_s + offset_s, count)
            self.calls.note(function, at_s + offset_s, count, duration_s)
            kept.account.note_call(at_s + offset_s)
            kept.leader = number
            self.is_changed = True

    # --- windows ------------------------------------------------------------------------------------------------------

    def windows(
        self, function: str, scaling: Scaling, now_s: float, *, waited_s: float | None, devices: int = 1
    ) -> Windows:
        """When to be loaded from ``now_s`` on.

        ``waited_s``: device seconds that an unused prewarm has waited already; None: a call brought what is there.
        """
        certain = [reason.window for reason in self.certain(function, scaling, now_s)]
        return merged((*certain, *self.forecast_windows(function, scaling, now_s, waited_s, devices)))

    def certain(self, function: str, scaling: Scaling, now_s: float) -> list[Reason]:
        """What needs no forecast."""
        reasons = [
            Reason(f"warm hours {text}", Window(start_s, end_s))
            for text, hours in zip(scaling.warm, self._parsed(scaling.warm), strict=True)
            for start_s, end_s in hours.spans(now_s, now_s + _HORIZON_S)
        ]
        kept = self._functions.get(function)
        if kept is not None:
            reasons += [Reason(source, window) for source, window in kept.expectations.at(now_s)]
        return reasons

    def forecast_windows(
        self, function: str, scaling: Scaling, now_s: float, waited_s: float | None = None, devices: int = 1
    ) -> Windows:
        """What the forecast says, as far as the budget goes."""
        if scaling.keep_alive_s != ADAPTIVE:
            return ()
        try:
            windows = self.forecast.windows(function, now_s)
        except Exception:
            log.exception("the forecast failed", extra={"function": function})
            return ()
        if waited_s is None:
            return windows
        left_s = self.budget_left_s(function, scaling, now_s) - waited_s
        return cut(windows, now_s, left_s / devices) if left_s < math.inf else windows

    def budget_left_s(self, function: str, scaling: Scaling, now_s: float) -> float:
        """Device seconds that prewarms may still wait for calls, of the function's and the platform's budgets."""
        own_s = self.of(function).budget.left_s(scaling.prewarm_budget_s, now_s)
        return min(own_s, self._budget.left_s(self._budget_s, now_s))

    def note_prewarm(self, function: str, scaling: Scaling, waited_s: float, *, is_used: bool) -> None:
        """A prewarm has ended, after so many device seconds."""
        kept, now_s = self.of(function), self.now_s()
        kept.account.note_prewarm(waited_s, is_used=is_used)
        kept.budget.spend(scaling.prewarm_budget_s, waited_s, now_s)
        self._budget.spend(self._budget_s, waited_s, now_s)

    def next_use_per_s(self, function: str, scaling: Scaling, now_s: float) -> float:
        """Expected calls per second in the time to come, for eviction; 0 where nothing is known."""
        rate_per_s = 0.0
        for reason in self.certain(function, scaling, now_s):
            rate_per_s = max(rate_per_s, _CERTAIN_PER_S / max(reason.window.start_s - now_s, 1.0))
        try:
            return max(rate_per_s, self.forecast.next_use_rate(function, now_s))
        except Exception:
            log.exception("the forecast failed", extra={"function": function})
            return rate_per_s

    def _parsed(self, texts: tuple[str, ...]) -> tuple[WarmHours, ...]:
        if texts not in self._hours:
            if len(self._hours) > 10_000:
                self._hours.clear()
            self._hours[texts] = tuple(WarmHours.parse(text) for text in texts)
        return self._hours[texts]
