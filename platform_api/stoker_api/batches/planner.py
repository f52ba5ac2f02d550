"""How many items of a batch run are in the platform at once, how many replicas they are worth, and how many of them
stand beside interactive calls.

The rules that must not break: the window fills the replicas there are, and takes never more than half of the
function's queue, nor more than ``max_concurrency``; without a deadline, or ahead of it, no item is raised above batch
priority; behind it, only the share that is missing. Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

_AHEAD: Final = 2
"""Batches per replica: one runs, one waits."""
_MARGIN: Final = 0.9
"""Share of the time left that is planned with."""
_QUICK: Final = 64
_PAYS: Final = 4.0
"""A replica pays if it has so many times its own start to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanView:
    """What the planner knows at one instant."""

    calls_each: int
    """Calls that one replica runs at once: ``max_batch_size`` or ``concurrency``."""
    ready: int
    """Replicas that take calls now."""
    max_replicas: int
    max_queue_depth: int
    max_concurrency: int | None = None
    left: float | None = None
    """Rows still to be done, as far as known."""
    deadline_in_s: float | None = None
    """Until the finish-by time; None without one. May be negative."""
    rate_per_s: float = 0.0
    """Rows per second that the run has had lately; 0 = not known."""
    each_per_s: float = 0.0
    """Rows per second that one replica can do, as learned; 0 = not known."""
    load_s: float = 1.0
    """How long a replica takes to start, as learned."""
    is_quick: bool = False
    """A call is so short that more must wait in line to keep a replica busy."""


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """How to go on from here."""

    window: int
    """Items in the platform at once."""
    replicas: int
    """Replicas that the run is worth."""
    raised: float = 0.0
    """Share of the items, from 0 to 1, that is sent beside interactive calls instead of after them."""


def plan_window(view: PlanView) -> WindowPlan:
    """The next window, and the share that is raised."""
    needed_per_s = needed_rate(view)
    each = max(view.calls_each, _QUICK if view.is_quick else 1)
    window = min(_AHEAD * each * max(1, view.ready), max(1, view.max_queue_depth // 2))
    if view.max_concurrency is not None:
        window = min(window, view.max_concurrency)
    return WindowPlan(max(window, 1), _replicas(view, needed_per_s), _raised(view, needed_per_s))


def needed_rate(view: PlanView) -> float | None:
    """Rows per second that meet the deadline; None without one, or where nobody knows how much is left."""
    if view.deadline_in_s is None or view.left is None:
        return None
    if view.left <= 0:
        return 0.0
    if view.deadline_in_s <= 0:
        return math.inf
    return view.left / (_MARGIN * view.deadline_in_s)


def _replicas(view: PlanView, needed_per_s: float | None) -> int:
    most = max(1, view.max_replicas)
    if view.max_concurrency is not None:
        most = min(most, math.ceil(view.max_concurrency / view.calls_each))
    if view.each_per_s <= 0:
        return 1  # one shows how fast they are
    if needed_per_s is not None:
        wanted = math.ceil(min(needed_per_s / view.each_per_s, most))
    elif view.left is None:
        wanted = most
    else:
        wanted = int(min(view.left / view.each_per_s / (_PAYS * max(view.load_s, 0.01)), most))
    return min(max(wanted, 1), most)


def _raised(view: PlanView, needed_per_s: float | None) -> float:
    if needed_per_s is None or needed_per_s <= 0:
        return 0.0
    if math.isinf(needed_per_s):
        return 1.0
    if view.rate_per_s <= 0 or view.rate_per_s >= needed_per_s:
        return 0.0  # nothing was seen yet, or it is on time
    return 1.0 - view.rate_per_s / needed_per_s
