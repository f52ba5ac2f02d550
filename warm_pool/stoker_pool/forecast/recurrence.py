"""How far a function's calls of late tell of its next one, once it has paused: learned over the whole platform.

Where functions pause and come back at their old rate, who was called often is worth keeping; where each is used for an
afternoon and never again, he who was called last is. Which of the two a platform is like shows in what came of pauses.

The rule that must not break: what has not come back counts too, or every pause would seem to end in a return.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from stoker_pool.forecast.history import HALF_LIVES_S, FunctionHistory

_OF: Final = 2
"""Which of ``HALF_LIVES_S`` "of late" means: eight hours."""
_KEPT_S: Final = HALF_LIVES_S[_OF] / math.log(2.0)
_PAUSE_S: Final = 1800.0
_FORGET_AT: Final = 500.0
_MOST: Final = 0.5
_STEEP: Final = 8.0


@dataclass(slots=True)
class Recurrence:
    """Returns after a pause of half an hour, and how many there would be had each rate of late gone on."""

    returns: float = 0.0
    expected: float = 0.0

    def note(self, history: FunctionHistory, from_s: float, to_s: float, *, is_return: bool) -> None:
        """A function waited from one idle age to another; at its end a call came, or nothing yet."""
        start_s = max(from_s, _PAUSE_S)
        if to_s > start_s:
            faded = 2.0 ** (-start_s / HALF_LIVES_S[_OF]) - 2.0 ** (-to_s / HALF_LIVES_S[_OF])
            self.expected += history.rates[_OF] * _KEPT_S * faded
            self.returns += is_return
        if self.expected > _FORGET_AT:
            self.expected *= 0.5
            self.returns *= 0.5

    @property
    def share(self) -> float:
        """Of what was expected, what came; 1 while nothing is known."""
        return min((self.returns + 1.0) / (self.expected + 1.0), 1.0)

    def calls_per_s(self, history: FunctionHistory, age_s: float) -> float:
        """What the rate of late still says at an idle age; added to a forecast, which knows better the less it says."""
        weight = min(_MOST, _STEEP * self.share**2)
        faded: float = 2.0 ** (-age_s / HALF_LIVES_S[_OF])
        return weight * history.rates[_OF] * faded
