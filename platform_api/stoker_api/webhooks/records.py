"""Webhooks as values: who wants to hear, what is told, how it went.

The rule that must not break: these are the only form in which webhooks pass between rooms; times are Unix seconds, and
secrets are sealed.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from stoker.errors import InvalidInput

EVENTS: Final = (
    "job.succeeded",
    "job.failed",
    "job.canceled",
    "job.timed_out",
    "job.expired",
    "batch.succeeded",
    "batch.failed",
    "batch.canceled",
    "batch.paused",  # by itself: somebody must set something right
    "schedule.run_failed",
    "schedule.run_late",
    "webhook.test",
)
"""Everything that is told. A filter names some of these, or a whole kind as ``job.*``."""
MOST_TARGETS: Final = 8


class DeliveryState(str, Enum):
    """Where a message is."""

    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"  # given up


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Who wants to hear."""

    id: str
    namespace: str
    url: str
    description: str
    events: tuple[str, ...]
    """Empty: only what a job or a schedule sends there by name."""
    secret_sealed: bytes
    old_sealed: bytes | None
    old_until_s: float | None
    is_enabled: bool
    disabled_reason: str
    created_s: float
    updated_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that happened, to be told."""

    id: str
    """``msg_…``: the first delivery has it; where several endpoints hear of it, the others have ids of their own."""
    namespace: str
    type: str
    subject: str
    """Id of the job, batch run or schedule."""
    data: Mapping[str, object] | Callable[[], Mapping[str, object]]
    """A callable is asked only if somebody hears of it."""
    targets: tuple[str, ...] = ()
    """Asked for by name: ``hook_…`` or ``hook_… URL``."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """One message on its way to one endpoint."""

    seq: int
    id: str
    endpoint: str
    url: str | None
    event: str
    subject: str
    state: DeliveryState
    created_s: float
    give_up_s: float
    next_s: float | None
    attempts: int
    ended_s: float | None
    last_status: int | None
    last_error: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try of it."""

    number: int
    at_s: float
    took_s: float
    status: int | None
    error: str
    excerpt: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """What came of one attempt."""

    status: int | None
    error: str = ""
    excerpt: str = ""
    took_s: float = 0.0
    retry_after_s: float | None = None

    @property
    def is_delivered(self) -> bool:
        """The other side said 2xx."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        """The other side wants no more of it."""
        return self.status == 410


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message that is to be sent now, with what it takes."""

    delivery: Delivery
    endpoint: Endpoint
    body: bytes


def checked_filter(events: Sequence[str]) -> tuple[str, ...]:
    """A filter whose every part names something; raises ``InvalidInput``."""
    kinds = sorted({event.partition(".")[0] for event in EVENTS})
    for event in events:
        if event not in EVENTS and event not in ("*", *(f"{kind}.*" for kind in kinds)):
            raise InvalidInput(
                f"there is no event {event!r}", hint=f"Known: {', '.join(EVENTS)}; {'.*, '.join(kinds)}.* and *."
            )
    return tuple(dict.fromkeys(events))


def wants(events: Sequence[str], event: str) -> bool:
    """Whether a filter lets an event through. Pure."""
    return any(part in ("*", event, f"{event.partition('.')[0]}.*") for part in events)
