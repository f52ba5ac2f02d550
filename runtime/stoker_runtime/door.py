"""The door of one queue: measures how fast calls come and are served, and says who is not let in.

The rule that must not break: full means no, at once, with the time after which a retry makes sense.
"""

from __future__ import annotations

from collections.abc import Callable

from stoker.errors import Overloaded
from stoker.options import FunctionOptions
from stoker_runtime.admission import FEW, SHARE, Patience, is_hopeless, retry_after_s
from stoker_runtime.arrival_log import ArrivalLog
from stoker_runtime.arrival_rate import ArrivalRate
from stoker_runtime.queue import CallQueue


class Door:
    """``capacity_per_s`` is what the replicas could serve, by what was learned of them; 0 = not known."""

    def __init__(self, options: FunctionOptions, queue: CallQueue, now_s: float) -> None:
        self.arrivals = ArrivalRate(now_s)
        self.log = ArrivalLog()
        self.patience = Patience()
        self.arrived = 0
        """Calls that came since the last note."""
        self.answered = 0
        """Calls that replicas answered since the last note."""
        self.capacity_per_s: Callable[[], float] = lambda: 0.0
        self._name = options.name
        self._most = options.max_queue_depth
        self._queue = queue
        self._departures = ArrivalRate(now_s)

    @property
    def is_full(self) -> bool:
        return self._queue.depth >= self._most

    def note(self, now_s: float) -> None:
        """Fold what came and went into the rates."""
        if self.arrived:
            self.log.note(self.arrived, now_s)
        self.arrivals.note(self.arrived, now_s)
        self._departures.note(self.answered, now_s)
        self.arrived = self.answered = 0

    def is_hopeless(self, deadline_ns: int, now_ns: Callable[[], int]) -> bool:
        """Whether a call that comes now would be served only after its caller has given up."""
        if self._queue.depth < FEW or not (deadline_ns or self.patience.seconds):
            return False
        callers = self._queue.callers
        if callers < FEW:
            return False
        now = now_ns()
        patience_s = (deadline_ns - now) / 1e9 if deadline_ns else self.patience.seconds
        return is_hopeless(callers, self._serves_per_s(now / 1e9), patience_s)

    def set_late_aside(self, now_ns: int) -> None:
        """Under load, serve those first whose callers are still there when they get their answer."""
        if self.patience.seconds and self._queue.depth >= FEW:
            self._queue.set_late_aside(now_ns - int(SHARE * self.patience.seconds * 1e9))

    def refusal(self, now_s: float) -> Overloaded:
        """What a caller that is not let in is told."""
        depth = self._queue.depth
        why = "the queue is full" if depth >= self._most else "it would not be served in time"
        return Overloaded(
            f"{depth} calls wait for {self._name}: {why}",
            hint="Retry after the time given, or raise max_queue_depth or scaling.max_replicas.",
            retry_after_s=retry_after_s(depth, self._serves_per_s(now_s)),
        )

    def _serves_per_s(self, now_s: float) -> float:
        return max(self._departures.per_s(now_s), self.capacity_per_s())
