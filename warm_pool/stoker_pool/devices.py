"""What replicas run on, as values.

The rule that must not break: a device is known by its id for as long as it exists, and ``environment`` alone makes a
worker see that device and no other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from stoker.options import GpuRequest

MIB = 1024 * 1024


class DeviceKind(str, Enum):
    """What a device is."""

    CPU = "cpu"
    GPU = "gpu"
    MIG = "mig"


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """One CPU pool, one whole GPU, or one MIG slice."""

    id: str
    """The UUID of a GPU or slice; ``cpu``."""
    name: str
    """How people call it: ``cpu``, ``gpu0``, ``gpu0/mig1``."""
    kind: DeviceKind
    memory_bytes: int
    """The budget that replicas on it may use together."""
    model: str = ""
    """As the driver names it, e.g. ``NVIDIA A100-SXM4-40GB``."""
    mig_profile: str | None = None
    cpu_slots: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceReading:
    """What was found at one instant, and what could not be read."""

    devices: tuple[Device, ...]
    problems: tuple[str, ...] = field(default=())


class DeviceSource(Protocol):
    """Where devices come from; read again when a start on a GPU failed."""

    def read(self) -> DeviceReading: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceInfo:
    """A device and what is on it, for ``stoker ps``."""

    name: str
    kind: str
    model: str
    memory_bytes: int
    free_bytes: int
    replicas: int


def fits_request(device: Device, request: GpuRequest) -> bool:
    """Whether the device is of the shape that was asked for, whatever is on it now."""
    if request.model.lower() == "cpu":
        return device.kind is DeviceKind.CPU
    if device.kind is DeviceKind.CPU or not _words(request.model) <= _words(device.model):
        return False
    if request.mig_profile is not None:
        return device.kind is DeviceKind.MIG and device.mig_profile == request.mig_profile
    return device.kind is DeviceKind.GPU


def device_environment(devices: Sequence[Device]) -> dict[str, str]:
    """The variables that let a worker see these devices only."""
    uuids = [device.id for device in devices if device.kind is not DeviceKind.CPU]
    # an empty value hides every GPU: a CPU function must not take device memory by accident
    return {"CUDA_VISIBLE_DEVICES": ",".join(uuids), "CUDA_DEVICE_ORDER": "PCI_BUS_ID"}


def describe_devices(devices: Sequence[Device]) -> str:
    """The devices of this machine in one line, for hints."""
    return ", ".join(
        f"{device.name} ({device.model + ', ' if device.model else ''}"
        f"{device.mig_profile + ', ' if device.mig_profile else ''}{device.memory_bytes // MIB} MiB)"
        for device in devices
    )


def _words(model: str) -> set[str]:
    return {word for word in re.split(r"[\s_-]+", model.lower()) if word}
