"""When a run is hopeless.

The rule that must not break: few failures at the beginning never stop a run that may still stay under its limit, and
a run whose every row fails stops within its first hundred. Pure.
"""

from __future__ import annotations

import math
from typing import Final

_Z: Final = 2.58
"""99 % sure."""
_FEW: Final = 20


def is_hopeless(done: int, failed: int, max_failed_fraction: float, *, is_complete: bool = False) -> bool:
    """Whether more than the allowed fraction fails: counted at the end, before it as good as certain."""
    if failed == 0 or max_failed_fraction >= 1.0:
        return False
    if max_failed_fraction <= 0.0:
        return True
    if is_complete:
        return failed > max_failed_fraction * done
    return done >= _FEW and _at_least(failed, done) > max_failed_fraction


def _at_least(failed: int, done: int) -> float:
    """Lower bound of the true fraction (Wilson)."""
    share = failed / done
    square = _Z * _Z / done
    spread = _Z * math.sqrt(share * (1 - share) / done + square / (4 * done))
    return (share + square / 2 - spread) / (1 + square)
