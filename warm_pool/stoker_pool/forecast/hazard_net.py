"""Weighs the estimates of ``features`` against each other: one small network, the same for every function.

It was fitted to several production traces at once by ``benchmarks/prewarming/fit_hazard_net.py``; each function's and
each platform's own numbers reach it through the features alone. The rule that must not break: what comes out is finite
and within ``LOG_LEAST`` and ``LOG_MOST``.
"""

from __future__ import annotations

import json
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

    def log_hazard(self, estimates: Estimates) -> Floats:
        """In each cell."""
        mixed = self._by_cell @ estimates.varying
        mixed += (self._same @ estimates.constant + self._bias)[:, None]
        hidden, log_hazard = mixed[:-1], mixed[-1]
        np.maximum(hidden, 0.0, out=hidden)
        log_hazard += self._out @ hidden
        _be_cautious(log_hazard, estimates.varying[_AGE])
        np.maximum(log_hazard, LOG_LEAST, out=log_hazard)
        np.minimum(log_hazard, LOG_MOST, out=log_hazard)
        result: Floats = log_hazard.astype(np.float64)
        return result


def _be_cautious(log_hazard: Log, log_age: Log) -> None:
    """Draws it towards one that falls with age alone, where the call is both rare and long due.

    Few gaps are that long, so an estimate is mostly noise there, and a timer, which goes by age alone, would beat it.
    """
    odds = np.empty((3, len(log_age)), np.float32)
    rare, short, age = odds
    np.subtract(log_hazard, _RARE, out=rare)
    rare *= 1.0 / _RARE_SOFT
    np.subtract(_LONG, log_age, out=short)
    short *= 1.0 / _LONG_SOFT
    age[:] = log_age
    np.exp(odds, out=odds)
    rare += 1.0
    short += 1.0
    rare *= short
    age += 60.0
    drawn = np.log(age, out=age)
    drawn += 1.0
    drawn += log_hazard
    drawn *= _DOUBT
    drawn /= rare
    log_hazard -= drawn
