"""What is kept of one function's past: bounded, recency-weighted, and enough for every estimate of its next call.

The rule that must not break: its size does not grow with the number of calls, and no time handed in, however absurd,
leaves it with a number that is not finite or with a past that runs backwards.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

REMEMBERED: Final = 64
"""Gaps kept one by one."""
_ROOM: Final = REMEMBERED + 16
BURST_S: Final = 15.0
"""Calls closer than this are one burst."""
BURST_HALF_S: Final = 5.0
_ENOUGH_GAPS: Final = 16
_ALIKE: Final = 0.05
"""Two gaps that differ by no more than this share are of one kind."""
_BURST_PRIOR: Final = 0.5
_BURST_SHARE: Final = 0.2
"""Half a gap seen before any, ended within a burst with this chance."""
SESSION_GAP_S: Final = 900.0
"""A longer gap begins a new stretch of use."""
CLOCK_SET_S: Final = 300.0
"""A call that is earlier than the last one by more came after somebody set the clock back; by less, it came late."""
HALF_LIVES_S: Final = (600.0, 3600.0, 28800.0, 172800.0)
"""Over how long the four call rates look back."""
HISTOGRAM_BINS: Final = 104
HISTOGRAM_PER_OCTAVE: Final = 8
"""Of the long memory: gaps by size, from 15 s to two days."""
MINUTES: Final = 60
DAY_SLOTS: Final = 144
WEEK_SLOTS: Final = 168
_GAPS_KEPT: Final = 2000.0  # float16 counts no further than 2048 one by one
_HOURS_KEPT: Final = 72.0
_DAYS_KEPT: Final = 28.0
_WEEKS_KEPT: Final = 8.0
_RATES: Final = tuple(math.log(2.0) / half_s for half_s in HALF_LIVES_S)


_SCALARS: Final = (
    "first_s", "last_s", "swept_s", "calls", "bursts", "longest_s", "session_s", "session_bursts", "histogram_total",
    "hours", "days", "weeks", "nearest", "nearer", "_size", "_minute_mark", "_day_mark", "_week_mark",
)  # fmt: skip
_WHOLE: Final = frozenset({"calls", "bursts", "session_bursts", "_size", "_minute_mark", "_day_mark", "_week_mark"})
_LENGTHS: Final = (_ROOM, HISTOGRAM_BINS, MINUTES + DAY_SLOTS + WEEK_SLOTS)
SCALARS: Final = len(_SCALARS) + len(HALF_LIVES_S)
COUNTS: Final = sum(_LENGTHS)


class FunctionHistory:
    """One function's bursts: when they began, how far apart they were, and how they sit on the clock."""

    __slots__ = (
        "_day_mark",
        "_minute_mark",
        "_ring",
        "_size",
        "_week_mark",
        "bursts",
        "calls",
        "clocks",
        "days",
        "first_s",
        "histogram",
        "histogram_total",
        "hours",
        "last_s",
        "longest_s",
        "nearer",
        "nearest",
        "rates",
        "session_bursts",
        "session_s",
        "swept_s",
        "weeks",
    )

    def __init__(self, at_s: float) -> None:
        self.first_s = at_s
        self.last_s = at_s
        self.swept_s = 0.0
        self.calls = 0
        self.bursts = 0
        self.longest_s = 60.0
        self.nearest = self.nearer = 0.0
        self.session_s = at_s
        self.session_bursts = 0
        self._ring = np.zeros(_ROOM, np.float32)
        self._size = 0
        self.rates = [0.0] * len(HALF_LIVES_S)
        self.histogram = np.zeros(HISTOGRAM_BINS, np.float16)
        self.histogram_total = 0.0
        self.clocks = np.zeros(MINUTES + DAY_SLOTS + WEEK_SLOTS, np.float16)
        """Bursts by minute of the hour, then by ten minutes of the day, then by hour of the week."""
        self.hours = self.days = self.weeks = 0.0
        self._minute_mark = self._day_mark = self._week_mark = -1
        self._mark(at_s)

    @property
    def gaps(self) -> Floats:
        """The last gaps between bursts, oldest first; at most ``REMEMBERED``."""
        return self.recent.astype(np.float64)

    @property
    def recent(self) -> NDArray[np.float32]:
        """The same, for reading alone."""
        return self._ring[max(self._size - REMEMBERED, 0) : self._size]

    def last_gaps(self, count: int) -> list[float]:
        """At most ``count`` of them, oldest first."""
        found: list[float] = self._ring[max(self._size - count, 0) : self._size].tolist()
        return found

    @property
    def minute(self) -> NDArray[np.float16]:
        """Bursts by minute of the hour."""
        return self.clocks[:MINUTES]

    @property
    def day(self) -> NDArray[np.float16]:
        """Bursts by ten minutes of the day."""
        return self.clocks[MINUTES : MINUTES + DAY_SLOTS]

    @property
    def week(self) -> NDArray[np.float16]:
        """Bursts by hour of the week."""
        return self.clocks[MINUTES + DAY_SLOTS :]

    def note(self, at_s: float, count: int) -> float | None:
        """Calls at ``at_s``; answers the gap that they ended, or None inside a burst or for a time already passed."""
        self.calls += count
        gap_s = at_s - self.last_s
        if gap_s < -CLOCK_SET_S:
            self._set_back(at_s)
        if gap_s <= 0.0:
            return None
        self.last_s = at_s
        if gap_s < BURST_S:
            if gap_s < BURST_HALF_S:
                self.nearest += 1.0
            else:
                self.nearer += 1.0
            return None
        if gap_s > SESSION_GAP_S:
            self.session_s, self.session_bursts = at_s, 0
        else:
            self.session_bursts += 1
        self.longest_s = max(gap_s, self.longest_s * 0.995)
        self._push(gap_s)
        self._decay(gap_s)
        self._mark(at_s)
        return gap_s

    def _set_back(self, at_s: float) -> None:
        """What was learned stays, and ages count from here: else nothing is expected until the clock is there again."""
        self.last_s = at_s
        self.first_s, self.session_s = min(self.first_s, at_s), min(self.session_s, at_s)
        self.swept_s = 0.0

    def is_regular(self, gap_s: float) -> bool:
        """Enough is known, and ``gap_s`` is one more like the last."""
        if self._size < _ENOUGH_GAPS:
            return False
        last_s = float(self._ring[self._size - 1])
        return abs(gap_s - last_s) <= _ALIKE * last_s + 2.0

    def burst_hazards(self) -> tuple[float, float]:
        """Calls per second within ``BURST_HALF_S`` of the last, and then to ``BURST_S``; many while little is known."""
        ended = self.nearest + self.nearer + self.bursts
        near = (self.nearest + _BURST_PRIOR * _BURST_SHARE) / (ended + _BURST_PRIOR) / BURST_HALF_S
        left = ended - self.nearest + _BURST_PRIOR
        return near, (self.nearer + _BURST_PRIOR * _BURST_SHARE) / left / (BURST_S - BURST_HALF_S)

    def spans(self, at_s: float) -> tuple[float, float, float]:
        """Hours, days and weeks over which the three clocks have been watched, as far as they are remembered."""
        seen_s = max(at_s - self.first_s, 0.0)
        return (
            min(seen_s / 3600.0, _HOURS_KEPT),
            min(seen_s / 86400.0, _DAYS_KEPT),
            min(seen_s / 604800.0, _WEEKS_KEPT),
        )

    def numbers(self) -> tuple[Floats, NDArray[np.float32]]:
        """All of it, as ``SCALARS`` and ``COUNTS`` numbers."""
        scalars = [float(getattr(self, name)) for name in _SCALARS]
        counts = np.concatenate([self._ring, self.histogram, self.clocks]).astype(np.float32)
        return np.array([*scalars, *self.rates]), counts

    @classmethod
    def of_numbers(cls, scalars: Floats, counts: NDArray[np.float32]) -> FunctionHistory:
        """What ``numbers`` said; raises ``ValueError`` where that is no past."""
        if not (np.isfinite(scalars).all() and np.isfinite(counts).all() and (counts >= 0).all()):
            raise ValueError("a function's numbers are not finite or negative")
        history = cls(float(scalars[_SCALARS.index("first_s")]))
        for name, value in zip(_SCALARS, scalars.tolist(), strict=False):
            setattr(history, name, int(value) if name in _WHOLE else value)
        history.rates = scalars[len(_SCALARS) :].tolist()
        if not (0 <= history._size <= _ROOM and history.bursts >= 0 and history.first_s <= history.last_s):
            raise ValueError("a function's numbers contradict each other")
        if (
            min(history.nearest, history.nearer) < 0
            or (counts[: history._size] < BURST_S).any()
            or history.longest_s <= 0
        ):
            raise ValueError("a function's gaps are too short")
        ring, histogram, clocks = np.split(counts, np.cumsum(_LENGTHS)[:-1])
        history._ring = ring.copy()
        history.histogram, history.clocks = histogram.astype(np.float16), clocks.astype(np.float16)
        if not (np.isfinite(history.histogram).all() and np.isfinite(history.clocks).all()):
            raise ValueError("a function's counts are too large")
        return history

    def _push(self, gap_s: float) -> None:
        if self._size == len(self._ring):
            self._ring[: REMEMBERED - 1] = self._ring[_ROOM - REMEMBERED + 1 :].copy()
            self._size = REMEMBERED - 1
        self._ring[self._size] = gap_s
        self._size += 1
        self.bursts += 1
        place = int(HISTOGRAM_PER_OCTAVE * math.log2(gap_s / BURST_S))
        self.histogram[min(place, HISTOGRAM_BINS - 1)] += 1.0
        self.histogram_total += 1.0
        if self.histogram_total > _GAPS_KEPT:
            self.histogram *= 0.5
            self.histogram_total *= 0.5

    def _decay(self, gap_s: float) -> None:
        rates = self.rates
        for index, rate in enumerate(_RATES):
            rates[index] = rates[index] * math.exp(-gap_s * rate) + rate

    def _mark(self, at_s: float) -> None:
        minute = int(at_s // 60.0)
        if minute == self._minute_mark:
            return
        self._minute_mark = minute
        hours = (at_s - self.first_s) / 3600.0
        if hours > _HOURS_KEPT and hours - self.hours > 1.0:
            self.minute[:] *= (1.0 - 1.0 / _HOURS_KEPT) ** (hours - max(self.hours, _HOURS_KEPT))
            self.hours = hours
        self.clocks[minute % MINUTES] += 1.0
        slot = minute // 10
        if slot == self._day_mark:
            return
        self._day_mark = slot
        days = hours / 24.0
        if days > _DAYS_KEPT and days - self.days > 1.0:
            self.day[:] *= (1.0 - 1.0 / _DAYS_KEPT) ** (days - max(self.days, _DAYS_KEPT))
            self.days = days
        self.clocks[MINUTES + slot % DAY_SLOTS] += 1.0
        hour = minute // 60
        if hour == self._week_mark:
            return
        self._week_mark = hour
        weeks = days / 7.0
        if weeks > _WEEKS_KEPT and weeks - self.weeks > 1.0:
            self.week[:] *= (1.0 - 1.0 / _WEEKS_KEPT) ** (weeks - max(self.weeks, _WEEKS_KEPT))
            self.weeks = weeks
        self.clocks[MINUTES + DAY_SLOTS + hour % WEEK_SLOTS] += 1.0
