"""How much memory a process really costs, with shared pages counted by share.

The rule that must not break: pages that forked workers share with their zygote are not counted once per worker.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

_LEAST_CHANGE_BYTES: Final = 4 * 1024 * 1024
_LEAST_CHANGE_SHARE: Final = 1 / 32
_MOST_ESTIMATES: Final = 30


class MemoryGauge:
    """Measures one process time and again.

    The kernel walks all page tables for a proportional size, milliseconds of a core for a model. So while the resident
    size, which it counts anyway, stays about the same, the last figure is moved by what the resident size moved.
    """

    __slots__ = ("_estimates_left", "_pid", "_proportional", "_resident")

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._resident = 0
        self._proportional = 0
        self._estimates_left = 0

    def now_bytes(self) -> int:
        """What it costs now; 0 when it is gone."""
        resident = resident_bytes(self._pid)
        change = resident - self._resident
        least = max(_LEAST_CHANGE_BYTES, self._resident * _LEAST_CHANGE_SHARE)
        if resident and self._estimates_left and abs(change) < least:
            self._estimates_left -= 1
            return max(self._proportional + change, 0)
        self._resident, self._proportional = resident, proportional_bytes(self._pid)
        self._estimates_left = _MOST_ESTIMATES
        return self._proportional


def proportional_bytes(pid: int) -> int:
    """Proportional set size (where the kernel does not tell: private resident memory); 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    resident, shared = _resident_and_shared_bytes(pid)
    return resident - shared


def resident_bytes(pid: int) -> int:
    """Resident memory, shared pages in full; 0 when it is gone."""
    return _resident_and_shared_bytes(pid)[0]


def _resident_and_shared_bytes(pid: int) -> tuple[int, int]:
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return int(fields[1]) * os.sysconf("SC_PAGE_SIZE"), int(fields[2]) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0, 0
