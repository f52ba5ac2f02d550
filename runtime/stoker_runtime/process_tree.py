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
    """Kill everything below every child that is no worker; how many there were. 0 is the only proof that none is left.

    All are stopped before any is killed: a stopped process neither forks nor frees its place under the process
    limit, so a fork bomb runs out of both.
    """
    stopped: set[int] = set()
    while new := _orphan_tree(workers) - stopped:
        for pid in new:
            _signal(pid, signal.SIGSTOP)
        stopped |= new
    for pid in stopped:
        _signal(pid, signal.SIGKILL)
    for pid in _children(os.getpid()):
        if pid not in workers:
            _reap(pid)
    return len(stopped)


def _orphan_tree(workers: Collection[int]) -> set[int]:
    return tree_of([pid for pid in _children(os.getpid()) if pid not in workers])


def tree_of(roots: Collection[int]) -> set[int]:
    """These processes and all below them, as far as they can be seen at one instant."""
    found: set[int] = set()
    waiting = list(roots)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += _children(pid)
    return found


def _signal(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        pass


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass


def _children(pid: int) -> list[int]:
    found: list[int] = []
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            found += map(int, Path(f"/proc/{pid}/task/{task}/children").read_text().split())
    except ProcessLookupError:
        return found  # it ended meanwhile
    except FileNotFoundError:
        if not Path(f"/proc/{pid}/task/{pid}").exists():
            return found
        return [other for other in _all_pids() if _parent_of(other) == pid]  # a kernel without that file
    return found


def _all_pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
