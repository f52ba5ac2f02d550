"""What follows from the end of a message's run. Pure.

The rule that must not break: what is not the message's fault never costs it an attempt.
"""

from __future__ import annotations

from enum import Enum
from typing import Final

from stoker_api.internal_calls import CallResult

_REFUSED: Final = frozenset({404, 429, 499, 503, 504})
_WRONG: Final = frozenset({400, 413, 415, 422})
_SHORTEST_S: Final = 0.25
_LONGEST_S: Final = 30.0


class Verdict(str, Enum):
    """What becomes of the message."""

    DONE = "done"
    AGAIN = "again"  # one more attempt, a little later
    HELD = "held"  # nothing ran, and more messages would not fare better: fetch none, try this one later
    DEAD = "dead"


def verdict(result: CallResult, attempt: int, max_attempts: int) -> Verdict:
    """Judge how attempt number ``attempt`` (from 1) ended."""
    if result.problem is None:
        return Verdict.DONE
    if not result.ran and result.status in _REFUSED:
        return Verdict.HELD
    if result.status in _WRONG or attempt >= max_attempts:
        return Verdict.DEAD
    return Verdict.AGAIN


def backoff_s(tries: int, asked_s: float | None = None) -> float:
    """How long to wait after ``tries`` (>= 1) in vain; ``asked_s``: what the other side asked for at least."""
    own_s = min(_SHORTEST_S * 2.0 ** min(tries - 1, 16), _LONGEST_S)
    return max(own_s, min(asked_s or 0.0, _LONGEST_S))
