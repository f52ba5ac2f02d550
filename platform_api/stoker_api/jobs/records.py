"""Jobs as values: what is asked for, what is kept, what is told.

The rule that must not break: these are the only form in which jobs pass between rooms; times are Unix seconds.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from stoker_api.jobs.states import ENDED, JobPriority, JobState

DAY_S: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class NewJob:
    """A job to be."""

    id: str
    namespace: str
    function: str
    body: bytes
    ref: str | None = None
    """An alias or a revision's number; None follows ``latest``. It is looked up when the job runs."""
    method: str = ""
    content_type: str = ""
    """"" = application/json."""
    accept: str = ""
    priority: JobPriority = JobPriority.BACKGROUND
    not_before_s: float | None = None
    """Unix time before which it does not run; None: at once."""
    max_age_s: float = DAY_S
    """It expires when it has not begun so long after it could."""
    max_attempts: int | None = None
    """How often it may run; None leaves it to the function's ``retries`` and ``idempotent``."""
    timeout_s: float | None = None
    """The deadline of one run, waiting included; None: the function's own."""
    source: str = "api"
    """What made it: api, or the id of a schedule or batch."""
    webhook_ids: tuple[str, ...] = ()
    idempotency_key: str | None = None
    body_blob: str | None = None
    """Where the body is when it is too large for the database; then ``body`` is empty."""
    body_sha256: str = ""
    """Of a body in a blob; otherwise found from ``body``."""

    def digest(self) -> str:
        """Equal for two submits that mean the same work."""
        parts = (self.namespace, self.function, self.ref or "", self.method, self.content_type, self.accept)
        digest = hashlib.sha256("\0".join(parts).encode())
        digest.update(b"\0" + (self.body_sha256 or hashlib.sha256(self.body).hexdigest()).encode())
        return digest.hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRecord:
    """A job as it is kept."""

    seq: int
    """Its place in the order of submission."""
    id: str
    namespace: str
    function: str
    ref: str | None
    method: str
    priority: JobPriority
    content_type: str
    accept: str
    source: str
    webhook_ids: tuple[str, ...]
    idempotency_key: str | None
    state: JobState
    created_s: float
    not_before_s: float
    expires_s: float
    max_age_s: float
    max_attempts: int | None
    timeout_s: float | None
    attempts: int
    """Runs that count."""
    delays: int
    """Times that it was put back although nothing had run."""
    runner: str | None
    run: int
    """Which handing-out to a runner this is: an answer from an earlier one no longer counts."""
    started_s: float | None
    finished_s: float | None
    result_bytes: int
    result_type: str
    result_status: int
    problem_json: str | None
    receipt_json: str | None
    progress: float | None
    progress_message: str
    last_event: int

    @property
    def has_ended(self) -> bool:
        """It will not move by itself any more."""
        return self.state in ENDED


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimedJob:
    """A job that a runner has taken, with what it needs to run it."""

    record: JobRecord
    body: bytes
    body_blob: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What a job that succeeded answered."""

    body: bytes
    content_type: str
    status: int
    blob: str | None = None


class EventKind(str, Enum):
    """What an event tells."""

    STATE = "state"
    PROGRESS = "progress"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEvent:
    """One thing that happened to a job; ``number`` counts from 1 within it."""

    number: int
    at_s: float
    kind: EventKind
    data: dict[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneView:
    """Jobs of one function and priority, as the runner goes round them."""

    lane: int
    namespace: str
    function: str
    priority: JobPriority


@dataclass(frozen=True, slots=True, kw_only=True)
class JobEnd:
    """How one run ended, for the store."""

    state: JobState
    result: bytes | None = None
    result_blob: str | None = None
    result_bytes: int = 0
    result_type: str = ""
    result_status: int = 0
    problem_json: str | None = None
    receipt_json: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs a list shows."""

    namespace: str | None = None
    namespaces: tuple[str, ...] | None = None
    """Those that the asker may see; None: all."""
    function: str | None = None
    states: frozenset[JobState] = frozenset()
    """Empty: every state."""
    source: str | None = None
    since_s: float | None = None
    until_s: float | None = None


def new_input(record: JobRecord, body: bytes, content_type: str) -> NewJob:
    """The job with another input."""
    return NewJob(
        id=record.id,
        namespace=record.namespace,
        function=record.function,
        ref=record.ref,
        method=record.method,
        body=body,
        content_type=content_type,
        accept=record.accept,
    )
