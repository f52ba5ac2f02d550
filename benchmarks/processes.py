"""What the processes of a server are, cost and hold, and how one of them is killed: read from /proc.

The rule that must not break: a process is killed by a descriptor opened before it was looked at, never by a number that
may since be another's.
"""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def process_tree(pid: int) -> list[int]:
    """``pid`` and all its live descendants."""
    found = [pid]
    for parent in found:
        for children in Path(f"/proc/{parent}/task").glob("*/children"):
            try:
                found += [int(child) for child in children.read_text().split()]
            except OSError:
                continue
    return found


def cpu_seconds_of_tree(pid: int) -> float:
    """User and system CPU seconds of a process and its live descendants."""
    total = 0
    for member in process_tree(pid):
        try:
            fields = Path(f"/proc/{member}/stat").read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S


def memory_bytes_of(pid: int) -> int:
    """Proportional set size of one process."""
    return memory_kib(pid).get("Pss", 0) * 1024


def memory_kib(pid: int) -> dict[str, int]:
    """The lines of ``smaps_rollup`` of one process; empty when it has gone."""
    found: dict[str, int] = {}
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]:
            name, _, value = line.partition(":")
            found[name] = int(value.split()[0])
    return found


def forget_peaks(pids: list[int]) -> int:
    """From now on ``peak_bytes`` counts anew; what they hold resident now."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")
    return peak_bytes(pids)


def peak_bytes(pids: list[int]) -> int:
    """The most that each of them ever held resident, added up."""
    lines = [line for pid in pids for line in Path(f"/proc/{pid}/status").read_text().splitlines()]
    return sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM:"))


def command_of(pid: int) -> str:
    """The command line of a process; empty when it has gone."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def is_zygote(pid: int) -> bool:
    """Whether workers are forked from it (and it is not one of them, which keep its command line)."""
    parent = parent_of(pid)
    return "stoker_runtime.zygote" in command_of(pid) and "stoker_runtime.zygote" not in command_of(parent)


def is_worker(pid: int) -> bool:
    """Whether it was forked from a zygote."""
    return "stoker_runtime.zygote" in command_of(parent_of(pid))


def parent_of(pid: int) -> int:
    """0 when the process has gone."""
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def kill(pid: int, still: Callable[[int], bool]) -> bool:
    """``kill -9`` of the process if it is ``still`` what it was taken for."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if still(pid):
            signal.pidfd_send_signal(descriptor, signal.SIGKILL)
            return True
    except ProcessLookupError:
        pass
    finally:
        os.close(descriptor)
    return False
