"""Lists of windows: put together from several sources, and read at one instant.

The rule that must not break: whatever goes in, what comes out is sorted and disjoint. Pure.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from stoker_pool.forecast.policy import Window, Windows


@dataclass(frozen=True, slots=True)
class Warmth:
    """What a list of windows says at one instant; seconds from then on."""

    left_s: float
    """For how long to be loaded; 0: not now."""
    comes_in_s: float | None
    """When to begin loading next; None: within ``left_s``, or never."""


def merged(windows: Iterable[Window], gap_s: float = 0.0) -> Windows:
    """Sorted and disjoint; windows that lie at most ``gap_s`` apart become one, and what is no window is dropped."""
    whole: list[Window] = []
    for window in sorted(_sound(windows), key=lambda item: (item.start_s, item.end_s)):
        if whole and window.start_s <= whole[-1].end_s + gap_s:
            if window.end_s > whole[-1].end_s:
                whole[-1] = Window(whole[-1].start_s, window.end_s)
        else:
            whole.append(window)
    return tuple(whole)


def warmth_at(
    windows: Windows, now_s: float, lead_s: float, least_away_s: float = 0.0, *, is_loaded: bool = False
) -> Warmth:
    """What to do at ``now_s`` when a start takes ``lead_s``: being let go for less than twice that never pays."""
    away_s = max(2 * lead_s, least_away_s)
    for window in merged(windows, away_s):
        if window.end_s <= now_s:
            continue
        if window.start_s - (away_s if is_loaded else lead_s) <= now_s:
            return Warmth(window.end_s - now_s, None)
        return Warmth(0.0, window.start_s - lead_s - now_s)
    return Warmth(0.0, None)


def cut(windows: Windows, now_s: float, allowed_s: float) -> Windows:
    """The first of the time from ``now_s`` on that the windows cover, up to ``allowed_s`` seconds of it."""
    kept: list[Window] = []
    for window in windows:
        start_s = max(window.start_s, now_s)
        end_s = min(window.end_s, start_s + allowed_s)
        if start_s < end_s:
            kept.append(Window(start_s, end_s))
            allowed_s -= end_s - start_s
    return tuple(kept)


def _sound(windows: Iterable[Window]) -> Iterable[Window]:
    return (window for window in windows if not math.isnan(window.start_s) and window.start_s < window.end_s)
