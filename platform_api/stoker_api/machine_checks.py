"""What a machine must have, and what makes the platform better on it.

The rule that must not break: a check reads and never writes; one that cannot be made is a warning, not a crash.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Final

from stoker_pool.cpu_devices import default_budget_bytes
from stoker_pool.devices import describe_devices
from stoker_pool.nvml import NvmlDevices
from stoker_runtime.sandbox import Fence, reachable_fence
from stoker_runtime.zygote_pool import FIRST_USER_ID

_GIB: Final = 1024**3
_NO_GPU: Final = "Functions run on the CPU. For GPUs, install the NVIDIA driver."
_LEAST_DISK_BYTES: Final = 2 * _GIB
_LEAST_MEMORY_BYTES: Final = _GIB


class Verdict(str, Enum):
    """How a check came out."""

    OK = "ok"
    WARNING = "warning"
    FAILED = "failed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One look at the machine."""

    name: str
    verdict: Verdict
    found: str
    fix: str = ""


def check_machine(data_dir: Path, port: int) -> list[Check]:
    """All checks, in the order in which they matter."""
    checks: tuple[tuple[str, Callable[[], Check]], ...] = (
        ("python", _python),
        ("system", _system),
        ("uv", _uv),
        ("data directory", lambda: _data_dir(data_dir)),
        ("disk", lambda: _disk(data_dir)),
        ("memory", _memory),
        ("port", lambda: _port(port)),
        ("users", _users),
        ("cgroups", _cgroups),
        ("gpu", _gpu),
        ("event loop", _event_loop),
    )
    return [_safely(name, check) for name, check in checks]


def _safely(name: str, check: Callable[[], Check]) -> Check:
    try:
        return check()
    except Exception as error:  # a machine may be odd in ways that nobody thought of; the other checks still help
        return Check(name=name, verdict=Verdict.WARNING, found=f"cannot be checked: {error}")


def _python() -> Check:
    found = f"{sys.implementation.name} {sys.version.split()[0]} at {sys.executable}"
    if sys.implementation.name != "cpython":
        fix = "Use CPython: bundles and zygotes are tried on nothing else."
        return Check(name="python", verdict=Verdict.WARNING, found=found, fix=fix)
    return Check(name="python", verdict=Verdict.OK, found=found)


def _system() -> Check:
    found = f"{os.uname().sysname} {os.uname().release} {os.uname().machine}"
    if not sys.platform.startswith("linux"):
        fix = "Workers need Linux: use a container or a virtual machine."
        return Check(name="system", verdict=Verdict.FAILED, found=found, fix=fix)
    if not hasattr(os, "pidfd_open"):
        fix = "Use a kernel of 5.3 or newer: workers are watched through pidfd."
        return Check(name="system", verdict=Verdict.FAILED, found=found, fix=fix)
    return Check(name="system", verdict=Verdict.OK, found=found)


def _uv() -> Check:
    if importlib.util.find_spec("uv") is None:
        fix = f"{sys.executable} -m pip install uv"
        return Check(name="uv", verdict=Verdict.FAILED, found="not installed", fix=fix)
    from uv import find_uv_bin

    return Check(name="uv", verdict=Verdict.OK, found=find_uv_bin())


def _data_dir(data_dir: Path) -> Check:
    where = _nearest(data_dir)
    if not os.access(where, os.W_OK | os.X_OK):
        fix = "Choose another --data-dir, or make it writable."
        return Check(name="data directory", verdict=Verdict.FAILED, found=f"{where} is not writable", fix=fix)
    is_there = "exists" if data_dir.exists() else "will be made"
    return Check(name="data directory", verdict=Verdict.OK, found=f"{data_dir} ({is_there})")


def _disk(data_dir: Path) -> Check:
    free = shutil.disk_usage(_nearest(data_dir)).free
    found = f"{free / _GIB:.1f} GiB free"
    if free < _LEAST_DISK_BYTES:
        fix = "Environments with torch take several GiB: free some space, or choose another --data-dir."
        return Check(name="disk", verdict=Verdict.WARNING, found=found, fix=fix)
    return Check(name="disk", verdict=Verdict.OK, found=found)


def _memory() -> Check:
    budget = default_budget_bytes()
    found = f"{budget / _GIB:.1f} GiB for replicas, {os.cpu_count()} cores"
    if budget < _LEAST_MEMORY_BYTES:
        fix = "Free some memory, or raise the container's limit."
        return Check(name="memory", verdict=Verdict.WARNING, found=found, fix=fix)
    return Check(name="memory", verdict=Verdict.OK, found=found)


def _port(port: int) -> Check:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError as error:
            found = f"127.0.0.1:{port} cannot be listened on: {error.strerror}"
            fix = "A platform may be running already; otherwise choose another --port, or 0 for a free one."
            return Check(name="port", verdict=Verdict.WARNING, found=found, fix=fix)
    return Check(name="port", verdict=Verdict.OK, found=f"127.0.0.1:{port} is free")


def _users() -> Check:
    if os.geteuid() != 0:
        fix = "Fine on a laptop. Started as root, the platform gives each replica a user of its own."
        return Check(name="users", verdict=Verdict.OK, found="replicas run as this user", fix=fix)
    fence = reachable_fence(FIRST_USER_ID, [sys.executable])
    if fence is Fence.OWN_USER:
        return Check(name="users", verdict=Verdict.OK, found="each replica gets a user of its own")
    fix = f"Put Python where every user can read it ({sys.executable} is below a private folder)."
    return Check(name="users", verdict=Verdict.WARNING, found=f"replicas run as: {fence.value}", fix=fix)


def _cgroups() -> Check:
    root = Path("/sys/fs/cgroup")
    if not (root / "cgroup.controllers").exists():
        fix = "Memory limits are kept by measuring; boot with cgroup v2 to have the kernel keep them."
        return Check(name="cgroups", verdict=Verdict.WARNING, found="no cgroup v2", fix=fix)
    if not os.access(root, os.W_OK):
        fix = "Memory limits are kept by measuring; run in a delegated slice (systemd-run --user --scope)."
        return Check(name="cgroups", verdict=Verdict.WARNING, found="cgroup v2, not writable", fix=fix)
    return Check(name="cgroups", verdict=Verdict.OK, found="cgroup v2, writable")


def _gpu() -> Check:
    reading = NvmlDevices().read()
    if reading.devices:
        return Check(name="gpu", verdict=Verdict.OK, found=describe_devices(reading.devices))
    found = "; ".join(reading.problems) or "no GPU"
    return Check(name="gpu", verdict=Verdict.WARNING, found=found, fix=_NO_GPU)


def _event_loop() -> Check:
    if importlib.util.find_spec("uvloop") is None:
        fix = f"{sys.executable} -m pip install uvloop"
        return Check(name="event loop", verdict=Verdict.WARNING, found="asyncio: half the calls per core", fix=fix)
    return Check(name="event loop", verdict=Verdict.OK, found="uvloop")


def _nearest(path: Path) -> Path:
    """The path, or the closest folder above it that exists."""
    path = path.absolute()
    while not path.exists():
        path = path.parent
    return path
