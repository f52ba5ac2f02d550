"""Schedules as values: what is kept of one, and of each of its runs.

The rule that must not break: these are the only form in which schedules pass between rooms; times are Unix seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from stoker.schedule import Schedule


class Origin(str, Enum):
    """Where a schedule came from."""

    DEPLOY = "deploy"  # with its function, and it goes with it
    API = "api"


class RunKind(str, Enum):
    """Why there is a run."""

    TICK = "tick"
    MANUAL = "manual"
    BACKFILL = "backfill"


class RunState(str, Enum):
    """Where a run is."""

    WAITING = "waiting"  # for the run before it to end
    RUNNING = "running"  # its job or batch run has been made
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    SKIPPED = "skipped"


OUTCOMES: Mapping[str, RunState] = {
    "succeeded": RunState.SUCCEEDED,
    "canceled": RunState.CANCELED,
    "failed": RunState.FAILED,
    "timed_out": RunState.FAILED,
    "expired": RunState.FAILED,
}
"""How a job or a batch run ended → how the run did."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What a tick starts: a call of the function, or a batch run of it."""

    ref: str | None = None
    batch: Mapping[str, Any] | None = None
    """As ``POST /v1/batches`` takes it, without the function; None: a call."""
    finish_within_s: float | None = None
    """Of a batch run: its deadline, counted from the tick."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ScheduleRecord:
    """A schedule as it is kept."""

    id: str
    namespace: str
    name: str
    origin: Origin
    function: str
    schedule: Schedule
    target: Target
    webhook_ids: tuple[str, ...]
    is_paused: bool
    cursor_s: float
    created_s: float
    updated_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RunRecord:
    """One tick, or several that were skipped in a row, and what became of it."""

    seq: int
    id: str
    schedule: str
    tick_s: float
    last_s: float
    count: int
    kind: RunKind
    state: RunState
    reason: str
    decided_s: float
    work_id: str | None
    started_s: float | None
    ended_s: float | None


@dataclass(slots=True, kw_only=True)
class Counted:
    """What one step did, for the metrics; filled in while the step runs."""

    namespace: str
    function: str
    late_s: list[float] = field(default_factory=list)
    """Of each tick that began: how long after it was due."""
    skipped: int = 0
    """Ticks that did not run because another run did."""
    missed: int = 0
    """Ticks that did not run because their time had passed."""
    ended: RunState | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What the end of a job or batch run came to, for the schedule that had started it."""

    schedule_id: str
    run_id: str
    counted: Counted


@dataclass(frozen=True, slots=True, kw_only=True)
class Ticked:
    """What one step of a schedule came to."""

    wake_s: float | None
    """When to look again; None: when a run has ended, or never."""
    expected_s: float | None
    """When the next run will begin, as far as is known."""
    started: int = 0
    has_cancels: bool = False
    counted: Counted | None = None


STILL = Ticked(wake_s=None, expected_s=None)
"""Of a schedule that is paused or gone."""
