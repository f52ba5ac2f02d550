"""What the pool expects of one function, why it is loaded now, and what foreseeing has come to: for people.

The rule that must not break: reading it changes nothing, and what is not known is None or empty, never a guess.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from stoker.options import ADAPTIVE, Scaling
from stoker_pool.forecast.account import ColdStart, WarmthAccount
from stoker_pool.replica import ReplicaState
from stoker_pool.revision_pool import RevisionPool
from stoker_pool.warmth import Reason, Warmth

HOURS: Final = 12
_HOUR_S: Final = 3600.0
_SAMPLES: Final = 6
_MOST_WINDOWS: Final = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastReport:
    """Times are Unix seconds."""

    is_adaptive: bool
    status: str
    """What the forecast goes by, in words."""
    is_off: bool
    """It loses against a plain keep-alive for this function, so it is that keep-alive."""
    price_s: float | None
    """Idle seconds that one cold start is worth now."""
    price_from: str
    """Whose price it is, in words; empty where it is the function's own."""
    load_s: float
    """How long a start takes, as learned: a prewarm begins so much before its window."""
    expected_calls: tuple[float, ...]
    """In each of the next hours, if none came before."""
    windows: tuple[Reason, ...]
    """When it will be loaded, and on whose word."""
    why_warm: tuple[str, ...]
    """What keeps a replica there now; empty where none is."""
    prewarm_budget_left_s: float | None
    cold_starts: tuple[ColdStart, ...]
    """The last ones, oldest first."""
    prewarms_used: int
    prewarms_wasted: int
    prewarm_wait_s: float
    """Device seconds from the start of prewarms to their first call or their end."""
    prewarm_wasted_s: float
    since_s: float
    """Since when all that follows is counted."""
    loaded_s: float
    """Device seconds of its replicas, from start to end."""
    saved_against_always_on_s: float
    """What one replica that never leaves would have taken more."""
    saved_against_timer_s: float
    """What a plain keep-alive of ten minutes would have taken more; < 0: less."""


def report(warmth: Warmth, revisions: Sequence[RevisionPool], function: str, scaling: Scaling) -> ForecastReport:
    """Of one function at this moment."""
    now_s = warmth.now_s()
    kept = warmth.of(function)
    account = kept.account
    loaded = loaded_s(account, revisions)
    is_adaptive = scaling.keep_alive_s == ADAPTIVE
    left_s = warmth.budget_left_s(function, scaling, now_s)
    return ForecastReport(
        is_adaptive=is_adaptive,
        status=warmth.forecast.status(function) if is_adaptive else "",
        is_off=is_adaptive and warmth.forecast.is_off(function),
        price_s=warmth.forecast.price_s(function) if is_adaptive else None,
        price_from=warmth.forecast.price_from(function) if is_adaptive else "",
        load_s=max((revision.load_s for revision in revisions), default=0.0),
        expected_calls=tuple(_expected(warmth, function, now_s + hour * _HOUR_S) for hour in range(HOURS)),
        windows=_windows(warmth, function, scaling, now_s),
        why_warm=tuple(_why_warm(warmth, revisions, scaling, now_s)),
        prewarm_budget_left_s=None if left_s == float("inf") else left_s,
        cold_starts=tuple(account.cold_starts),
        prewarms_used=account.used,
        prewarms_wasted=account.wasted,
        prewarm_wait_s=account.waited_s,
        prewarm_wasted_s=account.wasted_s,
        since_s=account.since_s,
        loaded_s=loaded,
        saved_against_always_on_s=max(now_s - account.since_s, 0.0) - loaded,
        saved_against_timer_s=account.timer_s(now_s) - loaded,
    )


def loaded_s(account: WarmthAccount, revisions: Iterable[RevisionPool]) -> float:
    """Device seconds of a function's replicas, those that live included."""
    return account.loaded_s + sum(_live_s(revision) for revision in revisions)


def _live_s(revision: RevisionPool) -> float:
    now_s = revision.now_s
    return sum(
        max(now_s - replica.began_s, 0.0) * len(replica.placement.devices)
        for replica in revision.replicas.members.values()
    )


def _expected(warmth: Warmth, function: str, from_s: float) -> float:
    step_s = _HOUR_S / _SAMPLES
    instants = (from_s + (index + 0.5) * step_s for index in range(_SAMPLES))
    return sum(warmth.forecast.hazard(function, at_s) for at_s in instants) * step_s


# Asked after the hazards of the next hours, for which a forecast works out all of its windows.
def _windows(warmth: Warmth, function: str, scaling: Scaling, now_s: float) -> tuple[Reason, ...]:
    forecast = warmth.forecast_windows(function, scaling, now_s)
    reasons = [Reason("forecast", window) for window in forecast]
    reasons += warmth.certain(function, scaling, now_s)
    return tuple(sorted(reasons, key=lambda reason: reason.window.start_s)[:_MOST_WINDOWS])


def _why_warm(warmth: Warmth, revisions: Sequence[RevisionPool], scaling: Scaling, now_s: float) -> Iterable[str]:
    there = [revision for revision in revisions if revision.live_count]
    if not there:
        return
    function = there[0].warmth.function
    if any(revision.has_calls for revision in there):
        yield "calls are queued or in flight"
    if any(revision.min_replicas for revision in there):
        yield f"min_replicas is {scaling.min_replicas}"
    for reason in warmth.certain(function, scaling, now_s):
        if reason.window.contains(now_s):
            yield reason.source
    yield from _by_time(warmth, there, scaling, now_s)


def _by_time(warmth: Warmth, there: list[RevisionPool], scaling: Scaling, now_s: float) -> Iterable[str]:
    function = there[0].warmth.function
    if scaling.keep_alive_s != ADAPTIVE:
        idle_s = min(revision.idle_s for revision in there)
        left_s = float(scaling.keep_alive_s) - idle_s
        if left_s > 0:
            yield f"keep_alive_s has {left_s:.0f} s to go"
        return
    for revision in there:
        members = [item for item in revision.replicas.members.values() if item.state is ReplicaState.READY]
        if revision.warmth.stays_for_nothing(scaling, members):
            yield "it is on a GPU whose room nobody else wants"
            return
    for window in warmth.forecast_windows(function, scaling, now_s):
        if window.contains(now_s):
            yield f"the forecast, for {window.end_s - now_s:.0f} s more"
        elif window.start_s > now_s and any(item.prewarm_s is not None for item in there[0].replicas.members.values()):
            yield f"the forecast, from {window.start_s - now_s:.0f} s on"
        return
