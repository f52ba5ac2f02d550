"""Which device a replica goes to.

The rule that must not break: what is placed on a device never sums to more than its budget. Pure: loads go in, a place
or the reason why there is none comes out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoker.options import GpuRequest
from stoker_pool.devices import MIB, Device, DeviceKind, describe_devices, fits_request

_CPU = GpuRequest("cpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLoad:
    """A device and what is promised on it."""

    device: Device
    used_bytes: int

    @property
    def free_bytes(self) -> int:
        return max(self.device.memory_bytes - self.used_bytes, 0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """What one replica asks for."""

    gpu: tuple[GpuRequest, ...] = ()
    """Acceptable shapes in order of preference; empty = CPU."""
    memory_bytes: int | None = None
    """On its device (over all of several). None: unknown, so a GPU is taken whole."""
    cpu_memory_bytes: int = 256 * MIB
    """What is taken for unknown memory on the CPU."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """Where a replica goes and what it takes on each of those devices."""

    devices: tuple[Device, ...]
    bytes_each: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NoRoom:
    """Nothing is free now. ``reason`` says why it can never fit; None where it fits once others have left."""

    reason: str | None = None
    hint: str | None = None


def place(need: Need, loads: Sequence[DeviceLoad]) -> Placement | NoRoom:
    """The first acceptable shape that has room; the tightest fit among its devices."""
    for request in need.gpu or (_CPU,):
        found = place_on(need, request, loads)
        if found is not None:
            return found
    empty = [DeviceLoad(device=load.device, used_bytes=0) for load in loads]
    if any(place_on(need, request, empty) is not None for request in need.gpu or (_CPU,)):
        return NoRoom()
    return _never(need, [load.device for load in loads])


def place_on(need: Need, request: GpuRequest, loads: Sequence[DeviceLoad]) -> Placement | None:
    """A place of exactly this shape."""
    room = sorted(
        (
            (load.free_bytes, load.device.id, load.device)
            for load in loads
            if fits_request(load.device, request) and bytes_on(need, request, load.device) <= load.free_bytes
        ),
        key=lambda entry: entry[:2],
    )
    chosen = tuple(device for _, _, device in room[: request.count])
    if len(chosen) < request.count:
        return None
    return Placement(devices=chosen, bytes_each=max(bytes_on(need, request, device) for device in chosen))


def bytes_on(need: Need, request: GpuRequest, device: Device) -> int:
    """What the replica takes on one of its devices."""
    if need.memory_bytes is not None:
        return max(-(-need.memory_bytes // request.count), 1)
    return need.cpu_memory_bytes if device.kind is DeviceKind.CPU else device.memory_bytes


def _never(need: Need, devices: Sequence[Device]) -> NoRoom:
    asked = " or ".join(str(request) for request in need.gpu) or "cpu"
    there = describe_devices(devices) or "no device at all"
    fitting = [device for device in devices if any(fits_request(device, request) for request in need.gpu or (_CPU,))]
    if fitting and need.memory_bytes is not None and not any(request.count > 1 for request in need.gpu):
        return NoRoom(
            reason=f"a replica needs {need.memory_bytes // MIB} MiB on {asked}, and no device here is that large",
            hint=f"This machine has: {there}. Lower memory_mib, or let the platform use more memory.",
        )
    return NoRoom(
        reason=f"no device here can be {asked}",
        hint=f"This machine has: {there}. Change gpu=, or give a list with a fallback such as ['{asked}', 'cpu'].",
    )
