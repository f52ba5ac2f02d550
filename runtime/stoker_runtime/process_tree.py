"""Ends everything that a dead worker left behind.

The rule that must not break: a process that we did not fork ourselves, and that became our child, is an orphan of a
dead worker (live workers are subreapers of their own), so it is killed; a worker never is.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from pathlib import Path


def kill_group(pid: int) -> None:
    """Kill the process group that ``pid`` leads; ``pid`` must not have been reaped yet."""
    try:
        os.killpg(pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        pass


def sweep_orphans(workers: Collection[int]) -> int:
    """Kill and reap every child that is no worker; how many are still on their way out."""
    staying = 0
    for pid in _children():
        if pid in workers:
            continue
        try:
            os.kill(pid, signal.SIGKILL)
            if os.waitpid(pid, os.WNOHANG)[0] == 0:
                staying += 1
        except (ProcessLookupError, ChildProcessError):
            continue
    return staying


def _children() -> list[int]:
    own = os.getpid()
    try:
        return [int(pid) for pid in Path(f"/proc/{own}/task/{own}/children").read_text().split()]
    except FileNotFoundError:  # a kernel without that file
        return [pid for pid in _all_pids() if _parent_of(pid) == own]


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
