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
        self._hidden = np.ascontiguousarray(np.hstack([hidden, skip[:, None]]), dtype=np.float32)
        self._bias = np.append(hidden_bias, bias).astype(np.float32)
        self._out = out.astype(np.float32)

    @classmethod
    def shipped(cls) -> HazardNet:
        """As fitted."""
        numbers = json.loads(_FILE.read_text())
        if tuple(numbers["features"]) != NAMES:
            raise ValueError(f"{_FILE.name} was fitted to other features: {numbers['features']}")
        return cls(
            np.array(numbers["hidden"]),
            np.array(numbers["hidden_bias"]),
            np.array(numbers["out"]),
            np.array(numbers["skip"]),
            float(numbers["bias"]),
        )

    def log_hazard(self, estimates: Estimates) -> Floats:
        """In each cell."""
        mixed = estimates.varying.T @ self._hidden[: len(VARYING)]
        mixed += estimates.constant @ self._hidden[len(VARYING) :] + self._bias
        skipped = mixed[:, -1].copy()
        np.maximum(mixed, 0.0, out=mixed)
        skipped += mixed[:, :-1] @ self._out
        result: Floats = np.clip(_cautious(skipped, estimates.varying[_AGE]), LOG_LEAST, LOG_MOST).astype(np.float64)
        return result


def _cautious(log_hazard: Log, log_age: Log) -> Log:
    """Drawn towards one that falls with age alone, where the call is both rare and long due.

    Few gaps are that long, so an estimate is mostly noise there, and a timer, which goes by age alone, would beat it.
    """
    doubt = _DOUBT / (
        (1.0 + np.exp((log_hazard - _RARE) / _RARE_SOFT)) * (1.0 + np.exp((_LONG - log_age) / _LONG_SOFT))
    )
    by_age = -1.0 - np.log(np.exp(log_age) + 60.0)
    drawn: Log = log_hazard + doubt * (by_age - log_hazard)
    return drawn
