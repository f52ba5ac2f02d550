"""What the rooms of jobs need of a store, whichever keeps them.

The rule that must not break: every method is one transaction, durable when it returns; what a runner says of a run
counts only while the job is still its own and that run is the newest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from stoker_api.jobs.records import (
    ClaimedJob,
    EventKind,
    JobEnd,
    JobEvent,
    JobFilter,
    JobRecord,
    JobResult,
    LaneView,
    NewJob,
)
from stoker_api.jobs.states import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvent:
    """Progress or log lines of a run, as they came."""

    kind: EventKind
    at_s: float
    data: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Purged:
    """A job that was removed, and the blobs that nobody refers to any more."""

    id: str
    blobs: tuple[str, ...]
    result_bytes: int


class JobStore(Protocol):
    """Keeps jobs: for those who submit and look."""

    async def submit(self, job: NewJob, now_s: float) -> tuple[JobRecord, bool]:
        """The job that stands for this request, and whether it is new; raises ``JobExists``."""
        ...

    async def find(self, job_id: str) -> JobRecord | None: ...

    async def body(self, job_id: str) -> tuple[bytes, str | None]:
        """The body, or the name of the blob that holds it; raises ``NotFound``."""
        ...

    async def result(self, job_id: str) -> JobResult | None:
        """What it answered; None while it has not succeeded."""
        ...

    async def find_all(self, wanted: JobFilter, before_seq: int | None, limit: int) -> list[JobRecord]:
        """Newest first."""
        ...

    async def events(self, job_id: str, after: int, limit: int) -> list[JobEvent]: ...

    async def add_events(self, job_id: str, events: Sequence[NewEvent], kept: int) -> None:
        """Append to a job that has not ended; of those that are no change of state, the last ``kept`` stay."""
        ...

    async def cancel(self, job_id: str, now_s: float) -> JobRecord:
        """End it wherever it is; raises ``NotFound``, or ``Conflict`` where it has ended."""
        ...

    async def revive(self, job_id: str, now_s: float, edit: NewJob | None) -> JobRecord:
        """Queue an ended job again, with another body if ``edit`` has one."""
        ...

    async def open_jobs(self) -> dict[tuple[str, str, str], int]:
        """How many have not ended, by namespace, function and state."""
        ...


class RunStore(Protocol):
    """Keeps jobs: for those who run them."""

    async def due_lanes(self, now_s: float) -> list[LaneView]:
        """Lanes with a job that may run now."""
        ...

    async def upcoming(self, now_s: float) -> dict[tuple[str, str], float]:
        """By namespace and function: when the next of its jobs may run that may not yet."""
        ...

    async def claim(self, runner: str, wanted: Mapping[int, int], now_s: float) -> list[ClaimedJob]:
        """Take up to so many jobs of each lane, oldest first; each is this runner's alone from here on."""
        ...

    async def note_running(self, runner: str, job_id: str, run: int, now_s: float) -> bool:
        """A replica has it; False where the job is no longer this runner's."""
        ...

    async def put_back(
        self, runner: str, job_id: str, run: int, *, not_before_s: float, now_s: float, counts: bool, reason_json: str
    ) -> JobRecord | None:
        """Queue it again; None where it is no longer this runner's. ``counts``: the run used up an attempt."""
        ...

    async def end(self, runner: str, job_id: str, run: int, end: JobEnd, now_s: float) -> JobRecord | None:
        """Record how a run ended; None where the job is no longer this runner's, and then nothing is changed."""
        ...

    async def renew(self, runner: str, lease_until_s: float) -> None:
        """The runner lives: its jobs are its own until then."""
        ...

    async def leave(self, runner: str) -> None: ...

    async def orphans(self, runner: str, alive_s: float, limit: int) -> list[JobRecord]:
        """Jobs of runners whose lease ended before ``alive_s``."""
        ...

    async def held(self, runner: str) -> dict[str, int]:
        """Jobs that are this runner's, with the run of each."""
        ...

    async def expire(self, now_s: float, problem_json: str, limit: int) -> list[JobRecord]:
        """End jobs that waited for longer than they may."""
        ...

    async def purge(self, ended_before_s: Mapping[JobState, float], limit: int) -> list[Purged]:
        """Forget jobs that ended before a time, by their state."""
        ...

    async def purge_largest(self, over_bytes: int, limit: int) -> list[Purged]:
        """Forget the jobs with the oldest results, until ``over_bytes`` are gone or ``limit`` jobs."""
        ...

    async def kept_bytes(self) -> int:
        """Bytes of all results."""
        ...

    async def blobs(self) -> set[str]:
        """Every blob that a job refers to."""
        ...
