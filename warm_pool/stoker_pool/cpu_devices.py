"""The CPU as a device: a memory budget and as many slots as there are cores.

The rule that must not break: the budget is never more than this process may use, be it a laptop or a container.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

from stoker_pool.devices import Device, DeviceKind, DeviceReading

CPU_ID: Final = "cpu"
_SHARE: Final = 0.8
_FALLBACK_BYTES: Final = 1 << 30


class CpuDevices:
    """One device for all CPU replicas; the budget is fixed when this is made."""

    def __init__(self, memory_budget_bytes: int | None = None, *, root: Path = Path("/")) -> None:
        budget = memory_budget_bytes if memory_budget_bytes is not None else default_budget_bytes(root)
        device = Device(id=CPU_ID, name=CPU_ID, kind=DeviceKind.CPU, memory_bytes=budget, cpu_slots=os.cpu_count() or 1)
        self._reading = DeviceReading(devices=(device,))

    def read(self) -> DeviceReading:
        return self._reading


def default_budget_bytes(root: Path = Path("/")) -> int:
    """Most of the memory that is free now, within the container's limit."""
    available = _available_bytes(root / "proc/meminfo")
    limit = _container_room_bytes(root / "sys/fs/cgroup")
    return int(_SHARE * min(available, limit if limit is not None else available))


def _available_bytes(path: Path) -> int:
    try:
        for line in path.read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return _FALLBACK_BYTES


def _container_room_bytes(folder: Path) -> int | None:
    for limit_name, used_name in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        try:
            limit = int((folder / limit_name).read_text())
            used = int((folder / used_name).read_text())
        except (OSError, ValueError):  # absent, or "max"
            continue
        return max(limit - used, 0) if limit < 1 << 60 else None
    return None
