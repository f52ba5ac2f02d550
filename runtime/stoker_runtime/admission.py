"""Who is let into the queue, and what those that are not are told.

The rule that must not break: a call that cannot be served before its caller gives up is refused at the door, where it
costs nothing. Under overload a full first-in-first-out queue would serve only callers that have just left.
"""

from __future__ import annotations

from typing import Final

FEW: Final = 8
"""So few waiting calls say nothing about overload."""
SHARE: Final = 0.8
"""Part of a caller's patience that the expected wait may take."""
_LEAST_S: Final = 0.05
_MOST_S: Final = 60.0


def retry_after_s(depth: int, served_per_s: float) -> float:
    """When a refused caller may expect room: the time in which what waits now is served."""
    return min(_MOST_S, max(_LEAST_S, depth / served_per_s)) if served_per_s > 0 else 1.0


def is_hopeless(depth: int, served_per_s: float, patience_s: float) -> bool:
    """Whether a call that comes now, behind ``depth`` others, would wait longer than its caller does."""
    if depth < FEW or served_per_s <= 0 or patience_s <= 0:
        return False
    return depth / served_per_s > SHARE * patience_s


class Patience:
    """How long callers without a deadline wait before they leave, learned from those that left. 0 = not known."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    def note_left(self, waited_s: float) -> None:
        """A caller left while its call waited."""
        if waited_s < _LEAST_S:
            return  # a page closed, not patience that ran out
        self.seconds = waited_s if not self.seconds else self.seconds + 0.1 * (waited_s - self.seconds)

    def note_served(self, waited_s: float) -> None:
        """A caller was still there after ``waited_s``: it has at least that much patience."""
        if self.seconds and waited_s > self.seconds:
            self.seconds = waited_s
