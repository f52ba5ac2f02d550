"""A forecast that is a timer: for how long an idle replica stays, by the gaps between calls seen lately.

The rule that must not break: it never starts anything, it only says how long to stay.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from stoker.options import Scaling
from stoker_pool.forecast.policy import Window, Windows

_REMEMBERED: Final = 64
_ENOUGH_GAPS: Final = 8
_LEAST_GAP_S: Final = 1.0
_DEFAULT_S: Final = 60.0
_LEAST_S: Final = 10.0
_MOST_S: Final = 1800.0
_QUANTILE: Final = 0.95
_MARGIN: Final = 1.25


class TimerForecast:
    """Long enough for most of the gaps seen lately, with a margin; a minute while little is known."""

    def __init__(self) -> None:
        self._last_s: dict[str, float] = {}
        self._gaps_s: dict[str, deque[float]] = {}

    def note_calls(self, function: str, at_s: float, count: int = 1) -> None:
        gap_s = at_s - self._last_s.get(function, at_s)
        if gap_s >= _LEAST_GAP_S:
            self._gaps_s.setdefault(function, deque(maxlen=_REMEMBERED)).append(gap_s)
        self._last_s[function] = at_s

    def note_idle(self, function: str, at_s: float) -> None:
        self._last_s[function] = at_s

    def windows(self, function: str, now_s: float) -> Windows:
        last_s = self._last_s.get(function)
        end_s = -math.inf if last_s is None else last_s + self._keep_alive_s(function)
        return (Window(min(last_s or 0.0, now_s), end_s),) if end_s > now_s else ()

    def forget(self, function: str) -> None:
        self._last_s.pop(function, None)
        self._gaps_s.pop(function, None)

    def set_scaling(self, function: str, scaling: Scaling) -> None:
        pass

    def note_load(self, function: str, load_s: float, memory_bytes: int) -> None:
        pass

    def next_use_rate(self, function: str, now_s: float) -> float:
        return 0.0

    def hazard(self, function: str, at_s: float) -> float:
        return 0.0

    def price_s(self, function: str) -> float:
        return _DEFAULT_S

    def status(self, function: str) -> str:
        return "a timer"

    def is_off(self, function: str) -> bool:
        return True

    def state(self) -> bytes:
        return b""

    def restore(self, state: bytes) -> None:
        pass

    def _keep_alive_s(self, function: str) -> float:
        gaps = self._gaps_s.get(function, ())
        if len(gaps) < _ENOUGH_GAPS:
            return _DEFAULT_S
        ordered = sorted(gaps)
        wanted_s = ordered[min(math.ceil(_QUANTILE * len(ordered)), len(ordered)) - 1] * _MARGIN
        if wanted_s > _MOST_S:
            # waiting out such gaps costs more than a start: stay for the short ones only
            wanted_s = ordered[(len(ordered) - 1) // 2] * _MARGIN
        return min(max(wanted_s, _LEAST_S), _MOST_S)
