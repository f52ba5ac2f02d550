"""Weighs the estimates of ``features`` against each other: one small network, the same for every function.

It was fitted to several production traces at once by ``benchmarks/prewarming/fit_hazard_net.py``; each function's and
each platform's own numbers reach it through the features alone. The rule that must not break: what comes out is finite
and within ``LOG_LEAST`` and ``LOG_MOST``.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from stoker_pool.forecast.features import NAMES, VARYING, Estimates
from stoker_pool.forecast.history import Floats

LOG_LEAST: Final = -18.0
LOG_MOST: Final = 3.0
_DOUBT: Final = 0.9
_RARE: Final = -9.5
"""log of a call in about four hours."""
_LONG: Final = 8.0
"""log of 50 minutes."""
_RARE_SOFT: Final = 0.4
_LONG_SOFT: Final = 0.3
_AGE: Final = VARYING.index("age")
Log = NDArray[np.float32]
_CAUTION_SCALES: Final[Log] = np.array([[1.0 / _RARE_SOFT], [-1.0 / _LONG_SOFT], [1.0]], np.float32)
_CAUTION_SHIFTS: Final[Log] = np.array(
    [[-_RARE / _RARE_SOFT - math.log(_DOUBT)], [_LONG / _LONG_SOFT], [1.0]], np.float32
)
_CAUTION_LEAST: Final[Log] = np.array([[1.0 / _DOUBT], [1.0], [60.0 * math.e]], np.float32)
"""doubt = _DOUBT / ((1 + exp((log hazard - _RARE) / _RARE_SOFT)) · (1 + exp((_LONG - log age) / _LONG_SOFT))), and what
falls with age alone is -1 - log(age + 60)."""
_FILE: Final = Path(__file__).with_name("hazard_net.json")


class HazardNet:
    """log hazard = skip · x + bias + out · max(0, hidden · x + hidden_bias)."""

    def __init__(self, hidden: Floats, hidden_bias: Floats, out: Floats, skip: Floats, bias: float) -> None:
        mixing = np.hstack([hidden, skip[:, None]]).T
        self._by_cell = np.ascontiguousarray(mixing[:, : len(VARYING)], dtype=np.float32)
        self._same = np.ascontiguousarray(mixing[:, len(VARYING) :], dtype=np.float32)
        self._bias = np.append(hidden_bias, bias).astype(np.float32)
        self._out = out.astype(np.float32)

    @classmethod
    def shipped(cls) -> HazardNet:
        """As fitted."""
        return cls.of_file(_FILE)

    @classmethod
    def of_file(cls, path: Path) -> HazardNet:
        """Weights as ``benchmarks/prewarming/fit_hazard_net.py`` writes them; raises ``ValueError`` for others."""
        numbers = json.loads(path.read_text())
        if tuple(numbers["features"]) != NAMES:
            raise ValueError(f"{path.name} was fitted to other features: {numbers['features']}")
        return cls(
            np.array(numbers["hidden"]),
            np.array(numbers["hidden_bias"]),
            np.array(numbers["out"]),
            np.array(numbers["skip"]),
            float(numbers["bias"]),
        )

    def log_hazard(self, estimates: Estimates) -> Log:
        """In each cell."""
        mixed: Log = self._by_cell @ estimates.varying
        mixed += (self._same @ estimates.constant + self._bias)[:, None]
        hidden = mixed[:-1]
        log_hazard: Log = mixed[-1]
        np.maximum(hidden, 0.0, out=hidden)
        log_hazard += self._out @ hidden
        _be_cautious(log_hazard, estimates.varying[_AGE])
        np.maximum(log_hazard, LOG_LEAST, out=log_hazard)
        np.minimum(log_hazard, LOG_MOST, out=log_hazard)
        return log_hazard


def _be_cautious(log_hazard: Log, log_age: Log) -> None:
    """Draws it towards one that falls with age alone, where the call is both rare and long due.

    Few gaps are that long, so an estimate is mostly noise there, and a timer, which goes by age alone, would beat it.
    """
    rows = np.empty((3, len(log_age)), np.float32)
    rows[0] = log_hazard
    rows[1:] = log_age
    rows *= _CAUTION_SCALES
    rows += _CAUTION_SHIFTS
    np.exp(rows, out=rows)
    rows += _CAUTION_LEAST
    frequent, short, age = rows  # the product of the first two is one over the doubt
    frequent *= short
    drawn = np.log(age, out=age)  # less what falls with age alone
    drawn += log_hazard
    drawn /= frequent
    log_hazard -= drawn
