"""What becomes of the ticks that are due: start, wait, take the place of the run before, or be skipped.

The rule that must not break: pure, and every tick after the cursor is decided exactly once, in order. The cursor only
moves forward, so a clock that goes back repeats nothing, and one that jumps forward makes missed ticks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Final

from stoker.schedule import Schedule
from stoker_api.schedules.ticks import Ticks, jitter_of

MOST_AT_ONCE: Final = 1000
"""Ticks decided in one step; what is beyond is decided in the next one."""
MOST_WAITING: Final = 100
"""Runs of one schedule that wait for the one before; then its ticks are held where they are."""
OVERLAPPED: Final = "the run before was still running"
MISSED: Final = "missed: the time for it had passed"
STOOD_FOR: Final = "missed: a later run stands for it"


class Action(str, Enum):
    """What becomes of a tick."""

    START = "start"
    WAIT = "wait"
    REPLACE = "replace"
    SKIP = "skip"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One tick, or several in a row that are skipped for one reason."""

    tick_s: float
    action: Action
    reason: str = ""
    last_s: float = 0.0
    """The last of the ticks that it stands for."""
    count: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleView:
    """What the planner knows at one instant."""

    schedule_id: str
    schedule: Schedule
    cursor_s: float
    """The last tick that was decided, or the time from which on ticks count."""
    running: int = 0
    waiting: int = 0
    """Runs that wait for the ones before them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What to do now, and when to look again."""

    decisions: tuple[Decision, ...]
    cursor_s: float
    next_s: float | None
    """The next tick; None when there is none any more."""
    wake_s: float | None
    """When to plan again; None when a run must end first, or there is nothing to come."""


@dataclass(slots=True)
class _Load:
    """Runs as they will be once the decisions so far are carried out."""

    running: int
    waiting: int


def plan(view: ScheduleView, ticks: Ticks, now_s: float) -> Plan:
    """Decide every tick that is due at ``now_s``; pure."""
    schedule, load = view.schedule, _Load(view.running, view.waiting)
    coming = _due(view, ticks, now_s)
    decisions: list[Decision] = []
    cursor_s = view.cursor_s
    for place, tick_s in enumerate(coming[:MOST_AT_ONCE]):
        is_missed = now_s - _due_s(view, tick_s) > schedule.misfire_grace_s
        is_last = place == len(coming) - 1
        decision = _missed(schedule, tick_s, is_last) if is_missed else None
        if decision is None:
            is_owed = is_missed and schedule.misfire == "run_all"
            decision = _overlapping(schedule, tick_s, load, is_owed)
        if decision is None:  # it waits where it is, until one of those before it has ended
            return Plan(decisions=_joined(decisions), cursor_s=cursor_s, next_s=tick_s, wake_s=None)
        decisions.append(decision)
        cursor_s = tick_s
    next_s = coming[MOST_AT_ONCE] if len(coming) > MOST_AT_ONCE else ticks.next_after(cursor_s)
    wake_s = None if next_s is None else max(now_s, _due_s(view, next_s))
    return Plan(decisions=_joined(decisions), cursor_s=cursor_s, next_s=next_s, wake_s=wake_s)


def _due_s(view: ScheduleView, tick_s: float) -> float:
    return tick_s + jitter_of(view.schedule_id, tick_s, view.schedule.jitter_s)


def _due(view: ScheduleView, ticks: Ticks, now_s: float) -> list[float]:
    """The ticks whose time has come, oldest first; a tick that is put off holds back those behind it."""
    found: list[float] = []
    for tick_s in ticks.after(view.cursor_s):
        if _due_s(view, tick_s) > now_s or len(found) > MOST_AT_ONCE:
            break
        found.append(tick_s)
    return found


def _missed(schedule: Schedule, tick_s: float, is_last: bool) -> Decision | None:
    """What becomes of a missed tick; None when it runs like any other."""
    if schedule.misfire == "skip":
        return Decision(tick_s=tick_s, action=Action.SKIP, reason=MISSED)
    if schedule.misfire == "run_once":
        return None if is_last else Decision(tick_s=tick_s, action=Action.SKIP, reason=STOOD_FOR)
    return None  # run_all


def _overlapping(schedule: Schedule, tick_s: float, load: _Load, is_owed: bool) -> Decision | None:
    """What becomes of a tick that runs; None when too many wait already. ``is_owed``: it must not be dropped."""
    if schedule.overlap == "allow" or load.running + load.waiting == 0:
        load.running += 1
        return Decision(tick_s=tick_s, action=Action.START)
    if schedule.overlap == "queue" or is_owed:
        if load.waiting >= MOST_WAITING:
            return None
        load.waiting += 1
        return Decision(tick_s=tick_s, action=Action.WAIT)
    if schedule.overlap == "skip":
        return Decision(tick_s=tick_s, action=Action.SKIP, reason=OVERLAPPED)
    load.running, load.waiting = 1, 0  # cancel_running
    return Decision(tick_s=tick_s, action=Action.REPLACE)


def _joined(decisions: list[Decision]) -> tuple[Decision, ...]:
    """Ticks in a row that are skipped for one reason, as one decision."""
    joined: list[Decision] = []
    for decision in decisions:
        before = joined[-1] if joined else None
        if before is not None and before.action is Action.SKIP is decision.action and before.reason == decision.reason:
            joined[-1] = Decision(
                tick_s=before.tick_s,
                action=Action.SKIP,
                reason=before.reason,
                last_s=decision.tick_s,
                count=before.count + 1,
            )
        else:
            joined.append(
                Decision(tick_s=decision.tick_s, action=decision.action, reason=decision.reason, last_s=decision.tick_s)
            )
    return tuple(joined)
