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
_LEAST_LEARNED_S: Final = 1.0
"""Who leaves sooner was not out of patience."""
_MANY_LEFT: Final = 0.2
_FORGET: Final = 0.005


def retry_after_s(depth: int, served_per_s: float) -> float:
    """When a refused caller may expect room: the time in which what waits now is served."""
    return min(_MOST_S, max(_LEAST_S, depth / served_per_s)) if served_per_s > 0 else 1.0


def is_hopeless(depth: int, served_per_s: float, patience_s: float) -> bool:
    """Whether a call that comes now, behind ``depth`` others, would wait longer than its caller does."""
    if depth < FEW or served_per_s <= 0 or patience_s <= 0:
        return False
    return depth / served_per_s > SHARE * patience_s


class Patience:
    """How long callers without a deadline wait before they leave, learned from those that left.

    It is a guess, so it counts only while many leave: a client that stops, or a page that closes, says nothing.
    """

    __slots__ = ("_learned_s", "left_share")

    def __init__(self) -> None:
        self._learned_s = 0.0
        self.left_share = 0.0
        """Of the last few hundred calls, those whose callers left before the answer."""

    @property
    def seconds(self) -> float:
        """0 = not known, or too few leave for it to matter."""
        return self._learned_s if self.left_share > _MANY_LEFT else 0.0

    def note_left(self, waited_s: float) -> None:
        """A caller left while its call waited."""
        if waited_s < _LEAST_LEARNED_S:
            return
        self.left_share += _FORGET * (1.0 - self.left_share)
        self._learned_s = waited_s if not self._learned_s else self._learned_s + 0.1 * (waited_s - self._learned_s)

    def note_served(self, waited_s: float) -> None:
        """A caller was still there after ``waited_s``: it has at least that much patience."""
        self.left_share -= _FORGET * self.left_share
        if waited_s > self._learned_s:
            self._learned_s = waited_s
