"""How much a busy replica may hold beyond what it runs, so that it need not wait between short calls.

The rule that must not break: early binding costs at most about a millisecond of work, and nothing is bound to a busy
replica while another could take it at once. Pure: no clock, no I/O.
"""

from __future__ import annotations

from typing import Final

MOST_CALLS: Final = 64
_WINDOW_S: Final = 0.001
"""Work that may be bound early."""
_WORTH: Final = 50
"""A hop is worth hiding when the execution is shorter than so many hops."""


def calls_per_replica(duration_s: float, hop_s: float, *, observations: int) -> int:
    """Calls that one replica of concurrency 1 may hold, the running one included."""
    if observations < 8:
        return 1
    if duration_s > _WORTH * hop_s:
        return 1
    return max(2, min(MOST_CALLS, int(_WINDOW_S / max(duration_s, 1e-6))))


def prefetches_batch(duration_s: float, hop_s: float, *, waiting: int, full_batch: int, observations: int) -> bool:
    """Whether one batch more goes to a replica that runs one: only a full one, which waiting could not make larger."""
    return observations >= 8 and waiting >= full_batch and duration_s <= _WORTH * hop_s
