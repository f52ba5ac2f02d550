"""Curves of cold starts against waste, from replays at several prices, and what lies between their points.

The rule that must not break: between two points of a curve nothing better is claimed than mixing them would give, and
beyond its ends nothing at all.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Point:
    """One setting of a policy."""

    waste: float
    cold_share: float


def curve(points: Iterable[Point]) -> tuple[Point, ...]:
    """The points that no other one beats in both, by rising waste."""
    kept: list[Point] = []
    for point in sorted(points, key=lambda item: (item.waste, item.cold_share)):
        if math.isfinite(point.waste) and (not kept or point.cold_share < kept[-1].cold_share):
            kept.append(point)
    return tuple(kept)


def cold_at(points: Sequence[Point], waste: float) -> float:
    """The cold share of a curve at ``waste``; nan left of it, and the last one's to its right."""
    return _between([(point.waste, point.cold_share) for point in points], waste)


def waste_at(points: Sequence[Point], cold_share: float) -> float:
    """The waste at which a curve comes down to ``cold_share``; nan where it never does."""
    rising = [(-point.cold_share, point.waste) for point in points]
    if not rising or -cold_share > rising[-1][0]:
        return math.nan
    return rising[0][1] if -cold_share <= rising[0][0] else _between(rising, -cold_share)


def _between(pairs: Sequence[tuple[float, float]], at: float) -> float:
    if not pairs or at < pairs[0][0]:
        return math.nan
    for (left, low), (right, high) in itertools.pairwise(pairs):
        if at <= right:
            return low + (high - low) * (at - left) / (right - left)
    return pairs[-1][1]
