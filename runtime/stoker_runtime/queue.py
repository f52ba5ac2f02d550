"""Calls that wait for a replica: interactive before background, oldest first, groups that were set apart before all,
and those whose callers have probably given up after all.

The rule that must not break: ``depth`` counts exactly the calls that are here and have not ended. Calls that end while
they wait stay as husks until they are passed over, so that ending one is O(1); husks never leave the queue as calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from stoker_runtime.invocation import Invocation

_HUSKS_KEPT: Final = 256
_LATE: Final = 2


class CallQueue:
    """Two priorities of lanes, and one of the late; a lane per method where methods cannot share a batch."""

    __slots__ = ("_apart", "_by_method", "_husks", "_lanes", "depth")

    def __init__(self, *, by_method: bool) -> None:
        self._by_method = by_method
        self._lanes: tuple[dict[str, deque[Invocation]], ...] = ({}, {}, {})
        self._apart: deque[list[Invocation]] = deque()
        self._husks = 0
        self.depth = 0

    def push(self, invocation: Invocation) -> None:
        """Behind its equals."""
        self._lane(invocation).append(invocation)
        self.depth += 1

    def push_front(self, invocations: list[Invocation]) -> None:
        """Before their equals, in the order given."""
        for invocation in reversed(invocations):
            self._lane(invocation).appendleft(invocation)
        self.depth += len(invocations)

    def push_apart(self, groups: list[list[Invocation]]) -> None:
        """Before everything; each group runs by itself and is never mixed with other calls."""
        self._apart.extendleft(reversed(groups))
        for group in groups:
            self.depth += len(group)

    def set_late_aside(self, accepted_before_ns: int) -> None:
        """Those that wait since before that instant, without a deadline of their own, run when nothing else waits."""
        late = self._lanes[_LATE]
        for lanes in self._lanes[:_LATE]:
            for method, lane in lanes.items():
                while lane and lane[0].accepted_ns < accepted_before_ns and not lane[0].deadline_ns:
                    late.setdefault(method, deque()).append(lane.popleft())

    def note_ended(self) -> None:
        """A waiting call ended (cancelled, expired): what is left of it is passed over later."""
        self.depth -= 1
        self._husks += 1
        if self._husks > self.depth + _HUSKS_KEPT:
            self._drop_husks()

    def take_apart(self, now_ns: int, expired: list[Invocation]) -> list[Invocation]:
        """The next group that was set apart, or ``[]``. Those past their deadline go to ``expired``."""
        while self._apart:
            taken: list[Invocation] = []
            for invocation in self._apart.popleft():
                self._sort_out(invocation, now_ns, taken, expired)
            if taken:
                return taken
        return []

    def take(self, limit: int, now_ns: int, expired: list[Invocation]) -> list[Invocation]:
        """Up to ``limit`` calls in order, all of one method where methods matter."""
        taken: list[Invocation] = []
        method: str | None = None
        for lanes in self._lanes:
            if not lanes:
                continue
            if method is None:
                method = self._next_method(lanes)
            lane = lanes.get(method)
            while lane and len(taken) < limit:
                self._sort_out(lane.popleft(), now_ns, taken, expired)
            if not lane and self._by_method:
                lanes.pop(method, None)
            if not taken:
                method = None
        return taken

    def peek(self, limit: int, now_ns: int) -> list[Invocation]:
        """What ``take(limit)`` would give, without taking it."""
        seen: list[Invocation] = []
        method: str | None = None
        for lanes in self._lanes:
            self._drop_empty_front(lanes)
            if not lanes:
                continue
            if method is None:
                method = self._next_method(lanes)
            for invocation in lanes.get(method, ()):
                if len(seen) >= limit:
                    return seen
                if invocation.outcome is None and not 0 < invocation.deadline_ns <= now_ns:
                    seen.append(invocation)
            if not seen:
                method = None
        return seen

    @property
    def has_apart(self) -> bool:
        return bool(self._apart)

    def oldest_ns(self) -> int:
        """When the longest-waiting call was accepted; 0 if none waits."""
        heads = [next(_live(lane), None) for lanes in self._lanes for lane in lanes.values()]
        heads += [next(_live(group), None) for group in self._apart]
        return min((head.accepted_ns for head in heads if head is not None), default=0)

    def __iter__(self) -> Iterator[Invocation]:
        for group in self._apart:
            yield from _live(group)
        for lanes in self._lanes:
            for lane in lanes.values():
                yield from _live(lane)

    def _lane(self, invocation: Invocation) -> deque[Invocation]:
        lanes = self._lanes[1 if invocation.priority else 0]
        method = invocation.method if self._by_method else ""
        lane = lanes.get(method)
        if lane is None:
            lane = lanes[method] = deque()
        return lane

    def _next_method(self, lanes: dict[str, deque[Invocation]]) -> str:
        if len(lanes) == 1:
            return next(iter(lanes))
        heads = {method: next(_live(lane), None) for method, lane in lanes.items()}
        return min(heads, key=lambda method: _age_key(heads[method]))

    def _drop_empty_front(self, lanes: dict[str, deque[Invocation]]) -> None:
        for method in [method for method, lane in lanes.items() if next(_live(lane), None) is None]:
            self._husks -= len(lanes.pop(method))

    def _sort_out(
        self, invocation: Invocation, now_ns: int, taken: list[Invocation], expired: list[Invocation]
    ) -> None:
        if invocation.outcome is not None:
            self._husks -= 1
            return
        self.depth -= 1
        (expired if 0 < invocation.deadline_ns <= now_ns else taken).append(invocation)

    def _drop_husks(self) -> None:
        for lanes in self._lanes:
            for method, lane in list(lanes.items()):
                kept = deque(_live(lane))
                if kept:
                    lanes[method] = kept
                else:
                    del lanes[method]
        self._apart = deque(group for group in (list(_live(group)) for group in self._apart) if group)
        self._husks = 0


def _live(calls: deque[Invocation] | list[Invocation]) -> Iterator[Invocation]:
    return (call for call in calls if call.outcome is None)


def _age_key(head: Invocation | None) -> tuple[bool, int]:
    return (head is None, 0 if head is None else head.accepted_ns)
