"""What a warmth policy is: from the past of a function to the windows in which it should be loaded.

The rule that must not break: a policy is a pure state machine. It reads no clock and does no I/O, so the live pool
and ``stoker simulate`` take the same decisions on the same events.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Window:
    """From ``start_s`` (inclusive) to ``end_s`` (exclusive), in seconds since the Unix epoch, UTC."""

    start_s: float
    end_s: float

    def contains(self, at_s: float) -> bool:
        """Loaded at ``at_s``."""
        return self.start_s <= at_s < self.end_s


Windows = tuple[Window, ...]
"""Sorted and disjoint; empty: let go now, and come back only for a call. The last may end at infinity."""


class WarmthPolicy(Protocol):
    """One per platform, over all functions; ``function`` is ``"namespace/name"``."""

    def note_calls(self, function: str, at_s: float, count: int = 1) -> None:
        """``count`` calls arrived at ``at_s``. Late, repeated and backward times are taken, not refused."""

    def note_idle(self, function: str, at_s: float) -> None:
        """The last call in flight has ended."""

    def windows(self, function: str, now_s: float) -> Windows:
        """When to be loaded from ``now_s`` on, for as long as no other call comes.

        It may be the first part of that: ask again at the end of the last window.
        """

    def forget(self, function: str) -> None:
        """The function was deleted."""
