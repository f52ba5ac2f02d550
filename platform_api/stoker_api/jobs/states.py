"""The life of a job, as a table of legal moves.

The rule that must not break: a state changes by a move that is in the table, in one transaction with its event, and a
job that has ended moves again only when somebody asks for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum, IntEnum
from typing import Final

from stoker.errors import Conflict


class JobState(str, Enum):
    """Where a job is."""

    QUEUED = "queued"
    STARTING = "starting"  # a runner has it; no replica does yet
    RUNNING = "running"  # a replica has it
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"
    TIMED_OUT = "timed_out"
    EXPIRED = "expired"  # it was older than max_age_s before it could run


class JobPriority(IntEnum):
    """Lower runs first; all of them after plain calls."""

    INTERACTIVE = 0
    BACKGROUND = 1
    BATCH = 2


_Q, _S, _R = JobState.QUEUED, JobState.STARTING, JobState.RUNNING
ENDED: Final = frozenset({JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELED, JobState.TIMED_OUT, JobState.EXPIRED})
DEAD: Final = frozenset({JobState.FAILED, JobState.TIMED_OUT, JobState.EXPIRED})
"""The dead letters: jobs that will not run again unless somebody says so."""
MOVES: Final[Mapping[JobState, frozenset[JobState]]] = {
    _Q: frozenset({_S, JobState.CANCELED, JobState.EXPIRED, JobState.FAILED}),
    _S: frozenset({_R, _Q, *ENDED}),
    _R: frozenset({_Q, *ENDED}),  # back to queued: it will be tried again
    JobState.SUCCEEDED: frozenset(),
    JobState.FAILED: frozenset({_Q}),
    JobState.CANCELED: frozenset({_Q}),
    JobState.TIMED_OUT: frozenset({_Q}),
    JobState.EXPIRED: frozenset({_Q}),
}


def check_move(job_id: str, before: JobState, after: JobState) -> None:
    """Raise ``Conflict`` for a move that is not in the table."""
    if after not in MOVES[before]:
        raise Conflict(
            f"job {job_id} is {before.value}, so it cannot become {after.value}",
            hint="GET /v1/jobs/{id} says where it is; submit a new job to run it once more.",
            phase="job",
        )
