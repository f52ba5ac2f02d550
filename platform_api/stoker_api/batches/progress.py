"""How far a run is and how fast it goes, for people, events and metrics.

The rule that must not break: what is shown is what is on disk or in the journals, never a guess; what is a guess (the
total of an input that has not been read to its end, the time left) is marked as such.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from typing import Any, Final

Json = dict[str, Any]
_WINDOW_S: Final = 10.0
_LEAST_S: Final = 0.2
SHOWN_ERRORS: Final = 10


class RateMeter:
    """Rows per second over the last seconds."""

    def __init__(self) -> None:
        self._points: deque[tuple[float, int]] = deque()

    def note(self, done: int, now_s: float) -> None:
        """So many rows were done by now."""
        points = self._points
        if points and now_s - points[-1][0] < _LEAST_S:
            return
        points.append((now_s, done))
        while len(points) > 2 and now_s - points[0][0] > _WINDOW_S:
            points.popleft()

    @property
    def per_s(self) -> float:
        if len(self._points) < 2:
            return 0.0
        (from_s, before), (to_s, after) = self._points[0], self._points[-1]
        return (after - before) / (to_s - from_s) if to_s > from_s else 0.0


@dataclass(slots=True)
class RunProgress:
    """What the run that is at work says of itself."""

    done: int = 0
    """Rows that have ended, well or not."""
    failed: int = 0
    committed: int = 0
    in_flight: int = 0
    window: int = 0
    raised: float = 0.0
    read: int = 0
    fraction_read: float = 0.0
    total: int | None = None
    """Known once the input was read to its end."""
    executions: float = 0.0
    calls: int = 0
    waiting_for: str | None = None
    """Why nothing moves, as the function's refusal said it."""
    errors: list[Json] = field(default_factory=list)
    """The first failures."""
    rate: RateMeter = field(default_factory=RateMeter)

    had: int = 0
    """Rows that had ended when this process took the run up."""
    had_failed: int = 0

    @property
    def fresh(self) -> int:
        """Rows that ended in this process."""
        return self.done - self.had

    @property
    def fresh_failed(self) -> int:
        return self.failed - self.had_failed

    @property
    def expected_total(self) -> float | None:
        """Rows of the whole input, as far as they can be told."""
        if self.total is not None:
            return float(self.total)
        if self.fraction_read <= 0 or not self.read:
            return None
        return max(self.read / self.fraction_read, float(self.read))

    @property
    def left(self) -> float | None:
        total = self.expected_total
        return None if total is None else max(0.0, total - self.done)

    def note_error(self, line: Json) -> None:
        """Keep the first few."""
        if len(self.errors) < SHOWN_ERRORS:
            self.errors.append(line)

    def document(self) -> Json:
        """As the API shows it."""
        rate = self.rate.per_s
        left = self.left
        total = self.expected_total
        return {
            "done": self.done,
            "failed": self.failed,
            "committed": self.committed,
            "in_flight": self.in_flight,
            "total": None if total is None else round(total),
            "is_total_exact": self.total is not None,
            "rate_per_s": round(rate, 2),
            "eta_s": None if left is None or rate <= 0 else round(left / rate, 1),
            "batch_size": round(self.calls / self.executions, 2) if self.executions else None,
            "window": self.window,
            "raised": round(self.raised, 3),
            "waiting_for": self.waiting_for,
            "errors": list(self.errors),
        }
