"""Narrowing a failed execution down to the calls that are at fault.

The rule that must not break: every call ends up either answered or failed by itself alone, never by its mates, and each
step makes the groups strictly smaller. Pure: no clock, no I/O.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final, TypeVar

from stoker_runtime.cost_model import CostModel

Item = TypeVar("Item")
_KEEP: Final = 0.995


def halves(group: Sequence[Item]) -> list[list[Item]]:
    """Two halves of a failed batch (at least two calls)."""
    middle = (len(group) + 1) // 2
    return [list(group[:middle]), list(group[middle:])]


def regroup_after_loss(group: Sequence[Item], attempts_left: int) -> list[list[Item]]:
    """How calls that lost their worker together run again: each by itself on its last attempt, so that one that
    kills workers takes no mate with it; in groups of about the square root before."""
    size = 1 if attempts_left <= 1 else math.isqrt(max(len(group) - 1, 0)) + 1
    size = max(1, min(size, len(group) - 1 or 1))
    return [list(group[start : start + size]) for start in range(0, len(group), size)]


class FaultRate:
    """How often calls are bad, and what a failed execution costs beside a good one of the same size."""

    __slots__ = ("_bad", "_items", "failed_share")

    def __init__(self) -> None:
        self._bad = 0.0
        self._items = 0.0
        self.failed_share = 0.0

    def note_good(self, items: int) -> None:
        keep = _KEEP**items if items < 5000 else 0.0
        self._bad *= keep
        self._items = self._items * keep + items

    def note_bad(self) -> None:
        """One call was found to be at fault."""
        self._bad = self._bad * _KEEP + 1
        self._items = self._items * _KEEP + 1

    def note_failed_execution(self, duration_s: float, good_s: float) -> None:
        """A failed execution took ``duration_s``, where a good one would have taken ``good_s``."""
        if good_s > 0:
            self.failed_share += 0.1 * (min(duration_s / good_s, 1.0) - self.failed_share)

    @property
    def bad_share(self) -> float:
        """Share of calls that are bad, among the recent ones."""
        return self._bad / max(self._items, 50.0)


def best_batch_size(max_batch_size: int, faults: FaultRate, model: CostModel) -> int:
    """The size at which an item costs least, with the expected price of narrowing bad ones down."""
    bad = faults.bad_share
    if bad < 1e-3 or model.observations < 3 or model.mean_s <= 0:
        return max_batch_size
    sizes = [max_batch_size]
    while sizes[-1] > 1:
        sizes.append((sizes[-1] + 1) // 2)
    return min(sizes, key=lambda size: _cost_per_item_s(size, bad, faults.failed_share, model))


def _cost_per_item_s(size: int, bad: float, failed_share: float, model: CostModel) -> float:
    """Expected replica time per item in batches of ``size``, one bad item at a time."""
    narrowing_s, group = 0.0, size
    while group > 1:
        narrowing_s += failed_share * model.predict_s(group) + model.a_s
        group = (group + 1) // 2
    return model.predict_s(size) / size + bad * narrowing_s
