"""Calls that wait for a replica: interactive before background, oldest first, groups that were set apart before all,
and those whose callers have probably given up after all. Parked ones wait for what comes of a run that is under way.

The rule that must not break: ``depth`` counts exactly the calls that are here and have not ended. Calls that end while
they wait stay as husks until they are passed over, so that ending one is O(1); husks never leave the queue as calls.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from stoker_runtime.invocation import Invocation, Priority

_HUSKS_KEPT: Final = 256
_LATE: Final = 2
_BATCH: Final = 3
_LANE_OF: Final = {Priority.INTERACTIVE: 0, Priority.BACKGROUND: 1, Priority.BATCH: _BATCH}


class CallQueue:
    """Lanes by priority, and one of the late; a lane per method where methods cannot share a batch."""

    __slots__ = ("_apart", "_by_method", "_husks", "_lanes", "_parked", "depth")

    def __init__(self, *, by_method: bool) -> None:
        self._by_method = by_method
        self._lanes: tuple[dict[str, deque[Invocation]], ...] = ({}, {}, {}, {})
        self._apart: deque[_Apart] = deque()
        self._parked: list[list[Invocation]] = []
        self._husks = 0
        self.depth = 0

    def push(self, invocation: Invocation) -> None:
        """Behind its equals."""
        self._lane(invocation).append(invocation)
        self.depth += 1

    @property
    def callers(self) -> int:
        """Those for whom somebody waits, about: not the items of batch runs, behind which no caller stands."""
        items = self._lanes[_BATCH]
        return max(0, self.depth - sum(len(lane) for lane in items.values())) if items else self.depth

    def push_front(self, invocations: list[Invocation]) -> None:
        """Before their equals, in the order given."""
        for invocation in reversed(invocations):
            self._lane(invocation).appendleft(invocation)
        self.depth += len(invocations)

    def push_apart(self, groups: list[list[Invocation]], *, are_suspects: bool = False, is_first: bool = True) -> None:
        """Before all other calls; each group runs by itself and is never mixed with others. Of suspects at least one
        is known to make a run fail."""
        marked = [_Apart(group, are_suspects) for group in groups]
        if is_first:
            self._apart.extendleft(reversed(marked))
        else:
            self._apart.extend(marked)
        for group in groups:
            self.depth += len(group)

    def park(self, calls: list[Invocation]) -> None:
        """Calls that were taken wait again, until ``release`` or until a replica has nothing else to do."""
        self._parked.append(calls)
        self.depth += len(calls)

    def release(self, calls: list[Invocation]) -> list[Invocation]:
        """Those of a parked list that still wait, taken; ``[]`` if they were taken meanwhile."""
        for index, parked in enumerate(self._parked):
            if parked is calls:
                del self._parked[index]
                waiting = list(_live(calls))
                self._husks -= len(calls) - len(waiting)
                self.depth -= len(waiting)
                return waiting
        return []

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

    def take_apart(self, now_ns: int, expired: list[Invocation]) -> tuple[list[Invocation], bool]:
        """The next group that was set apart, or ``[]``, and whether they are suspects (once one has left, the fault
        may have left with it). Those past their deadline go to ``expired``."""
        while self._apart:
            group = self._apart.popleft()
            taken = self._sort_all_out(group.calls, now_ns, expired)
            if taken:
                return taken, group.are_suspects and len(taken) == len(group.calls)
        return [], False

    def take_parked(self, now_ns: int, expired: list[Invocation]) -> list[Invocation]:
        """The longest parked list, or ``[]``. Those past their deadline go to ``expired``."""
        while self._parked:
            taken = self._sort_all_out(self._parked.pop(0), now_ns, expired)
            if taken:
                return taken
        return []

    def take(self, limit: int, now_ns: int, expired: list[Invocation]) -> list[Invocation]:
        """Up to ``limit`` calls in order, all of one method where methods matter."""
        taken: list[Invocation] = []
        method: str | None = None
        for place, lanes in enumerate(self._lanes):
            if taken and place == _BATCH:
                break
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

    def take_mates(self, limit: int, of: Invocation, now_ns: int, expired: list[Invocation]) -> list[Invocation]:
        """Up to ``limit`` calls in order that may fill up the batch of another."""
        taken: list[Invocation] = []
        method = of.method if self._by_method else ""
        for lanes in self._lanes[:_BATCH]:
            lane = lanes.get(method)
            while lane and len(taken) < limit:
                self._sort_out(lane.popleft(), now_ns, taken, expired)
            if lane is not None and not lane:
                del lanes[method]
        return taken

    def peek(self, limit: int, now_ns: int) -> list[Invocation]:
        """What ``take(limit)`` would give, without taking it."""
        seen: list[Invocation] = []
        method: str | None = None
        for place, lanes in enumerate(self._lanes):
            if seen and place == _BATCH:
                break
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

    @property
    def has_parked(self) -> bool:
        return bool(self._parked)

    @property
    def has_suspects_next(self) -> bool:
        """The group that is taken next is of suspects."""
        return bool(self._apart) and self._apart[0].are_suspects

    @property
    def ordinary(self) -> int:
        """Calls that wait for no more than a replica, and may share a run with any other."""
        others = sum(len(list(_live(group.calls))) for group in self._apart)
        return self.depth - others - sum(len(list(_live(calls))) for calls in self._parked)

    def oldest_ns(self) -> int:
        """When the longest-waiting call was accepted; 0 if none waits."""
        heads = [next(_live(lane), None) for lanes in self._lanes for lane in lanes.values()]
        heads += [next(_live(group.calls), None) for group in self._apart]
        heads += [next(_live(calls), None) for calls in self._parked]
        return min((head.accepted_ns for head in heads if head is not None), default=0)

    def __iter__(self) -> Iterator[Invocation]:
        for group in self._apart:
            yield from _live(group.calls)
        for calls in self._parked:
            yield from _live(calls)
        for lanes in self._lanes:
            for lane in lanes.values():
                yield from _live(lane)

    def _lane(self, invocation: Invocation) -> deque[Invocation]:
        lanes = self._lanes[_LANE_OF[invocation.priority]]
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

    def _sort_all_out(self, calls: list[Invocation], now_ns: int, expired: list[Invocation]) -> list[Invocation]:
        taken: list[Invocation] = []
        for invocation in calls:
            self._sort_out(invocation, now_ns, taken, expired)
        return taken

    def _drop_husks(self) -> None:
        for lanes in self._lanes:
            for method, lane in list(lanes.items()):
                kept = deque(_live(lane))
                if kept:
                    lanes[method] = kept
                else:
                    del lanes[method]
        for group in self._apart:
            group.are_suspects = group.are_suspects and all(call.outcome is None for call in group.calls)
            group.calls = list(_live(group.calls))
        self._apart = deque(group for group in self._apart if group.calls)
        for calls in self._parked:
            calls[:] = _live(calls)  # in place: whoever releases them knows the list
        self._husks = 0


@dataclass(slots=True)
class _Apart:
    calls: list[Invocation]
    are_suspects: bool


def _live(calls: deque[Invocation] | list[Invocation]) -> Iterator[Invocation]:
    return (call for call in calls if call.outcome is None)


def _age_key(head: Invocation | None) -> tuple[bool, int]:
    return (head is None, 0 if head is None else head.accepted_ns)
