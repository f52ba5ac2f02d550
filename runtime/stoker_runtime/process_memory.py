"""How much memory a process really costs, with shared pages counted by share.

The rule that must not break: pages that forked workers share with their zygote are not counted once per worker.
"""

from __future__ import annotations

import os
from pathlib import Path


def proportional_bytes(pid: int) -> int:
    """Proportional set size (where the kernel does not tell: private resident memory); 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError):
        pass
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
        return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")
    except (OSError, IndexError, ValueError):
        return 0
