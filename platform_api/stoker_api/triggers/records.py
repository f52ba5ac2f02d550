"""Triggers as values: where messages come from, what they start, and how that goes.

The rule that must not break: a broker's URL is sealed here, and only its redacted form is shown.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

MOST_IN_FLIGHT: Final = 10_000
MOST_ATTEMPTS: Final = 100


class Kind(str, Enum):
    """Where messages come from."""

    REDIS = "redis"
    RABBITMQ = "rabbitmq"
    NATS = "nats"
    KAFKA = "kafka"
    HTTP = "http"  # CloudEvents are posted to us


class Passed(str, Enum):
    """What the function gets of a message."""

    DATA = "data"  # its body
    EVENT = "event"  # all of it, as the parameter `event`: a CloudEvent in JSON


class Start(str, Enum):
    """Where a new group of consumers begins."""

    EARLIEST = "earliest"
    LATEST = "latest"


class TriggerState(str, Enum):
    """What a trigger does now."""

    CONNECTING = "connecting"
    CONSUMING = "consuming"
    WAITING = "waiting"  # the function takes nothing now, so nothing is fetched
    DISCONNECTED = "disconnected"
    PAUSED = "paused"


@dataclass(frozen=True, slots=True, kw_only=True)
class TriggerRecord:
    """One trigger, as it is kept."""

    id: str
    namespace: str
    name: str
    kind: Kind
    function: str
    ref: str | None
    method: str | None
    url_sealed: bytes
    shown_url: str
    """Without its credentials."""
    topic: str
    """A stream, queue, subject or topic; empty for HTTP."""
    group: str
    results: str
    """Where results go; empty: nowhere."""
    dead_letters: str
    passed: Passed
    start: Start
    max_in_flight: int
    max_attempts: int
    reply_type: str
    """Type of the CloudEvent that is answered, or put among the results; empty: the plain result."""
    is_paused: bool
    created_s: float
    updated_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One message that a broker handed out, until it is taken off."""

    id: str
    """As its broker knows it; the same when it is handed out again."""
    body: bytes
    content_type: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    handle: object = None
    """The adapter's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outgoing:
    """A message that is to be put on a topic."""

    body: bytes
    content_type: str
    headers: Mapping[str, str]


@dataclass(slots=True, kw_only=True)
class Stats:
    """Counted since the platform's start."""

    consumed: int = 0
    """Handed out by the broker, again counted again."""
    succeeded: int = 0
    failed: int = 0
    """Runs that failed; those of one message count each."""
    dead_lettered: int = 0
    in_flight: int = 0
    reconnects: int = 0
