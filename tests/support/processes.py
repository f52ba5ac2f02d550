"""Which processes a test left behind."""

from __future__ import annotations

import ctypes
import os
import select
from pathlib import Path

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Orphans of ours become our children instead of init's, so that they can be found."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def children() -> dict[int, str]:
    """Live children of this process (zombies are reaped and left out): pid → command line."""
    found: dict[int, str] = {}
    for task in Path("/proc/self/task").iterdir():
        try:
            pids = (task / "children").read_text().split()
        except FileNotFoundError:  # the thread ended between the two looks
            continue
        for pid in pids:
            command = _command(int(pid))
            if command is not None:
                found[int(pid)] = command
    return found


def children_that_stay(limit_s: float) -> dict[int, str]:
    """Children still alive after each was given up to ``limit_s`` to leave by itself."""
    for pid in children():
        try:
            descriptor = os.pidfd_open(pid)
        except ProcessLookupError:
            continue
        select.select([descriptor], [], [], limit_s)
        os.close(descriptor)
    return children()


def _command(pid: int) -> str | None:
    try:
        if os.waitpid(pid, os.WNOHANG)[0] == pid:
            return None
    except ChildProcessError:
        pass
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode() or "zombie"
    except (FileNotFoundError, ProcessLookupError):
        return None
