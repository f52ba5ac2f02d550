"""A process's memory as the pool sees it: exact when it moves, cheap while it stands still."""

from __future__ import annotations

import mmap
import os
import subprocess
import sys

import pytest

from stoker_runtime import process_memory
from stoker_runtime.process_memory import MemoryGauge, proportional_bytes, resident_bytes

MIB = 1024 * 1024


def test_what_a_process_takes_is_seen_at_once() -> None:
    gauge = MemoryGauge(os.getpid())
    before = gauge.now_bytes()
    with mmap.mmap(-1, 64 * MIB, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as taken:
        taken.write(b"x" * len(taken))
        assert gauge.now_bytes() - before > 60 * MIB
    assert gauge.now_bytes() - before < 60 * MIB


def test_a_process_that_stands_still_is_not_walked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[int] = []

    def walk(pid: int) -> int:
        walks.append(pid)
        return 100 * MIB

    monkeypatch.setattr(process_memory, "proportional_bytes", walk)
    monkeypatch.setattr(process_memory, "resident_bytes", lambda pid: (300 + len(walks)) * MIB)
    gauge = MemoryGauge(7)
    assert [gauge.now_bytes() for _ in range(31)] == [100 * MIB] + [101 * MIB] * 30
    assert walks == [7]
    gauge.now_bytes()
    assert walks == [7, 7]  # its neighbours may have come and gone


def test_a_process_that_is_gone_costs_nothing() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as child:
        gauge = MemoryGauge(child.pid)
        assert 0 < gauge.now_bytes() <= resident_bytes(child.pid)
    assert (gauge.now_bytes(), resident_bytes(child.pid), proportional_bytes(child.pid)) == (0, 0, 0)
