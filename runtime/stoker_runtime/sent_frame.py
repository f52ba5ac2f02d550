"""What a link knows of one CALLS frame that it sent.

The rule that must not break: the calls of a frame have consecutive ids, and it is answered when ``open`` is 0.
"""

from __future__ import annotations

from stoker_runtime.frames import ResultHeader
from stoker_runtime.invocation import Invocation


class SentFrame:
    """One CALLS frame that is not fully answered."""

    __slots__ = (
        "batched",
        "busy_ns",
        "cost",
        "failed",
        "first_id",
        "last_id",
        "open",
        "rest",
        "sent_ns",
        "size",
        "started_ns",
        "suspects_below",
    )

    def __init__(self, first_id: int, size: int, batched: bool, cost: float, sent_ns: int) -> None:
        self.first_id = first_id
        self.last_id = first_id + size - 1
        self.size = size
        self.open = size
        self.batched = batched
        self.cost = cost
        self.sent_ns = sent_ns
        self.started_ns = 0
        self.busy_ns = 0
        """What the worker says that it spent: decode, execute, encode."""
        self.failed: list[tuple[Invocation, ResultHeader, bytes | memoryview]] | None = None
        """Calls of a batch that failed as a whole, with what the worker said."""
        self.suspects_below = 0
        """Calls with ids below are suspects, the others are mates that filled up the batch."""
        self.rest: list[Invocation] | None = None
        """Suspects that wait to hear what comes of this frame."""
