"""Whose jobs run next.

Pure. Interactive jobs go before background ones, and those before batches. Within one of these, each free place goes
to the namespace that has the fewest jobs running, and in it to the function that has the fewest. The rule that must
not break: a namespace with one job gets the next place that is free, however many jobs the others have.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from stoker_api.jobs.states import JobPriority

_SHARE_OF_ONE: Final = 7 / 8
"""Of all places, at most so many are one namespace's: the others never find all of them taken."""

Function = tuple[str, str]
"""Namespace and name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LaneDemand:
    """A lane that has jobs waiting."""

    lane: int
    namespace: str
    function: str
    priority: JobPriority
    limit: int
    """Jobs of this function that may run at once, over all its lanes."""


def shares(lanes: Sequence[LaneDemand], running: Mapping[Function, int], places: int) -> dict[int, int]:
    """How many jobs to take from each lane, so that at most ``places`` run in all."""
    left = places - sum(running.values())
    by_function = dict(running)
    by_namespace: dict[str, int] = {}
    for (namespace, _), count in running.items():
        by_namespace[namespace] = by_namespace.get(namespace, 0) + count
    most_of_one = max(1, int(places * _SHARE_OF_ONE))
    granted: dict[int, int] = {}
    for priority in JobPriority:
        level = [lane for lane in lanes if lane.priority is priority]
        left = _grant(level, by_function, by_namespace, left, most_of_one, granted)
    return granted


def _grant(
    lanes: Sequence[LaneDemand],
    by_function: dict[Function, int],
    by_namespace: dict[str, int],
    left: int,
    most_of_one: int,
    granted: dict[int, int],
) -> int:
    """Give places to lanes of one priority; returns how many are left."""
    within: dict[str, list[tuple[int, int]]] = {}
    for index, lane in enumerate(lanes):
        taken = by_function.get((lane.namespace, lane.function), 0)
        within.setdefault(lane.namespace, []).append((taken, index))
    for functions in within.values():
        heapq.heapify(functions)
    queue = [(by_namespace.get(namespace, 0), namespace) for namespace in within]
    heapq.heapify(queue)
    while queue and left > 0:
        count, namespace = heapq.heappop(queue)
        functions = within[namespace]
        if count >= most_of_one:
            continue
        taken, index = functions[0]
        lane = lanes[index]
        if taken >= lane.limit:
            heapq.heappop(functions)
        else:
            heapq.heapreplace(functions, (taken + 1, index))
            granted[lane.lane] = granted.get(lane.lane, 0) + 1
            by_function[namespace, lane.function] = taken + 1
            by_namespace[namespace] = count = count + 1
            left -= 1
        if functions:
            heapq.heappush(queue, (count, namespace))
    return left
