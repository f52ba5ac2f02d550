"""Narrowing a failed execution down to the calls that are at fault, at the least price.

The rule that must not break: every call ends up either answered or failed by itself alone, never by its mates, and each
step makes the groups strictly smaller. Pure: no clock, no I/O.

Of suspects (calls of which at least one is bad) some run first. Fail they, then they are the suspects, and nothing is
known of the rest any more: it goes back among the ordinary calls, where it costs no run of its own. Pass they, then the
rest is known to hold the fault without having run.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from stoker_runtime.cost_model import CostModel

Item = TypeVar("Item")
_KEEP: Final = 0.995
_RARE: Final = 1e-3
"""Bad items rarer than this do not shrink batches."""
_PLAN_AGAIN: Final = 32
"""Executions after which what was learned is looked at again."""
_LEARNED: Final = 3
_MOST_SUSPICIONS: Final = 4
_PASSES: Final = 3


def regroup_after_loss(group: Sequence[Item], attempts_left: int) -> list[list[Item]]:
    """How calls that lost their worker together run again: each by itself on its last attempt, so that one that
    kills workers takes no mate with it; in groups of about the square root before."""
    size = 1 if attempts_left <= 1 else math.isqrt(max(len(group) - 1, 0)) + 1
    size = max(1, min(size, len(group) - 1 or 1))
    return [list(group[start : start + size]) for start in range(0, len(group), size)]


def first_of_cheap_suspects(suspects: int) -> int:
    """How many of ``suspects`` (at least two) run first where failing costs next to nothing: what passes is large."""
    return max(1, suspects * 3 // 4)


def may_mix(suspicions: int) -> bool:
    """Whether a call that was part of so many failed batches may share one with fresh calls again; else it runs only in
    groups that get strictly smaller, so that the number of its runs is bounded whatever the others do."""
    return suspicions <= _MOST_SUSPICIONS


@dataclass(frozen=True, slots=True)
class RunPrice:
    """What an execution of ``items`` costs: fixed + items · each, in seconds of a replica."""

    fixed_s: float
    item_s: float

    def of(self, items: int) -> float:
        return self.fixed_s + self.item_s * items


class NarrowingPlan:
    """How many suspects run first, and how large batches are best, with the price of narrowing down in it."""

    __slots__ = ("_failed", "_good", "_good_share", "_item_s", "_prices", "best_size")

    def __init__(self, good: RunPrice, failed: RunPrice, bad_share: float, max_batch_size: int) -> None:
        self._good = good
        self._failed = failed
        self._good_share = 1.0 - min(max(bad_share, _RARE), 0.999)
        self._prices: dict[int, tuple[float, int]] = {}
        self.best_size = max_batch_size
        self._item_s = good.of(max_batch_size) / max_batch_size
        sizes = _sizes(max_batch_size)
        for _ in range(_PASSES):  # what goes back is priced as an ordinary item, which is what is being worked out
            self._prices.clear()
            prices = {size: self._batch_s(size) / size for size in sizes}
            self.best_size = min(sizes, key=lambda size: prices[size])
            self._item_s = prices[self.best_size]
        if bad_share < _RARE:
            self.best_size = max_batch_size

    @property
    def item_s(self) -> float:
        """Expected replica time per item in batches of the best size."""
        return self._item_s

    def suspects_to_run(self, suspects: int) -> int:
        """How many of ``suspects`` (at least two) run first: between a quarter and three quarters of them."""
        return self._price(suspects)[1]

    def _batch_s(self, size: int) -> float:
        passes = self._good_share**size
        narrowing_s = self._price(size)[0] if size > 1 else 0.0
        return passes * self._good.of(size) + (1.0 - passes) * (self._failed.of(size) + narrowing_s)

    def _price(self, suspects: int) -> tuple[float, int]:
        """Expected replica time until all suspects are answered or ordinary again, and how many run first."""
        known = self._prices.get(suspects)
        if known is not None:
            return known
        if suspects == 1:
            best = (self._failed.of(1), 1)
        else:
            parts = {max(1, suspects * eighths // 8) for eighths in (2, 3, 4, 6)}
            best = min((self._split_s(suspects, first), first) for first in parts)
        self._prices[suspects] = best
        return best

    def _split_s(self, suspects: int, first: int) -> float:
        fails = (1.0 - self._good_share**first) / (1.0 - self._good_share**suspects)
        rest = suspects - first
        if_fails_s = self._failed.of(first) + self._price(first)[0] * (first > 1) + rest * self._item_s
        return fails * if_fails_s + (1.0 - fails) * (self._good.of(first) + self._price(rest)[0])


class FaultRate:
    """How often calls are bad, and what a failed execution costs."""

    __slots__ = ("_bad", "_failed", "_items", "_max_batch_size", "_plan", "_seen", "is_found_at_once")

    def __init__(self, max_batch_size: int) -> None:
        self._max_batch_size = max_batch_size
        self._bad = 0.0
        self._items = 0.0
        self._failed = CostModel()
        self.is_found_at_once = False
        """The last batch that failed was narrowed down by the worker itself."""
        self._plan: NarrowingPlan | None = None
        self._seen = 0

    def note_good(self, items: int) -> None:
        """An execution answered ``items``."""
        keep = _KEEP**items if items < 5000 else 0.0
        self._bad *= keep
        self._items = self._items * keep + items
        self._note_run()

    def note_failed(self, cost: float, duration_s: float) -> None:
        """An execution failed as a whole."""
        self._failed.observe(cost, duration_s)
        self._note_run()

    def note_bad(self) -> None:
        """A call was found to be bad."""
        self._bad = self._bad * _KEEP + 1
        self._items = self._items * _KEEP + 1

    @property
    def bad_share(self) -> float:
        """Share of calls that are bad, among the recent ones."""
        return self._bad / max(self._items, 50.0)

    def batch_size(self, model: CostModel, cost_per_call: float) -> int:
        """The size at which an item costs least."""
        if self.bad_share < _RARE or model.observations < _LEARNED or not model.has_shape:
            return self._max_batch_size
        return self._planned(model, cost_per_call).best_size

    def suspects_to_run(self, suspects: int, model: CostModel, cost_per_call: float) -> int:
        """How many of ``suspects`` (at least two) run first; half of them while little is known."""
        if model.observations < _LEARNED or not model.has_shape:
            return suspects // 2
        return self._planned(model, cost_per_call).suspects_to_run(suspects)

    def _note_run(self) -> None:
        self._seen += 1
        if self._seen >= _PLAN_AGAIN:
            self._seen = 0
            self._plan = None

    def _planned(self, model: CostModel, cost_per_call: float) -> NarrowingPlan:
        if self._plan is None:
            good = RunPrice(model.a_s, model.b_s * cost_per_call)
            failed = RunPrice(self._failed.a_s, self._failed.b_s * cost_per_call)
            self._plan = NarrowingPlan(good, failed, self.bad_share, self._max_batch_size)
        return self._plan


def _sizes(largest: int) -> list[int]:
    """Sizes worth a look, largest first: halves, and three quarters between them."""
    sizes, size = [largest], largest
    while size > 1:
        sizes += [max(1, size * 3 // 4), (size + 1) // 2] if size > 2 else [1]
        size = (size + 1) // 2
    return list(dict.fromkeys(sizes))
