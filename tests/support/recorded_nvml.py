"""NVML as it answered on real machines, played back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, TypeVar

_Value = TypeVar("_Value")
GIB = 1 << 30


class RecordedError(Exception):
    """What pynvml raises."""


@dataclass
class RecordedGpu:
    """One device or slice; ``lost`` raises for everything."""

    uuid: str
    name: str
    memory_bytes: int
    mig_mode: int | None = 0
    slices: list[RecordedGpu | None] = field(default_factory=list)
    lost: bool = False
    processes: dict[int, int] = field(default_factory=dict)


@dataclass
class RecordedNvml:
    """The part of ``pynvml`` that is used."""

    gpus: list[RecordedGpu]
    has_driver: bool = True
    knows_mig: bool = True
    opened: int = 0
    NVMLError: type[Exception] = RecordedError

    def nvmlInit(self) -> None:
        if not self.has_driver:
            raise RecordedError("NVML Shared Library Not Found")
        self.opened += 1

    def nvmlShutdown(self) -> None:
        self.opened -= 1

    def nvmlDeviceGetCount(self) -> int:
        return len(self.gpus)

    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any:
        return _alive(self.gpus[index], lambda gpu: gpu)

    def nvmlDeviceGetName(self, handle: RecordedGpu) -> str:
        return _alive(handle, lambda gpu: gpu.name)

    def nvmlDeviceGetUUID(self, handle: RecordedGpu) -> bytes:
        return _alive(handle, lambda gpu: gpu.uuid.encode())

    def nvmlDeviceGetMemoryInfo(self, handle: RecordedGpu) -> Any:
        return _alive(handle, lambda gpu: SimpleNamespace(total=gpu.memory_bytes))

    def nvmlDeviceGetMigMode(self, handle: RecordedGpu) -> Any:
        if not self.knows_mig or handle.mig_mode is None:
            raise RecordedError("Not Supported" if self.knows_mig else "Function Not Found")
        return [handle.mig_mode, handle.mig_mode]

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: RecordedGpu) -> int:
        return len(handle.slices)

    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: RecordedGpu, index: int) -> Any:
        found = device.slices[index]
        if found is None:
            raise RecordedError("Not Found")
        return found

    def nvmlDeviceGetComputeRunningProcesses(self, handle: RecordedGpu) -> Any:
        return [SimpleNamespace(pid=pid, usedGpuMemory=used) for pid, used in handle.processes.items()]


def _alive(gpu: RecordedGpu, read: Callable[[RecordedGpu], _Value]) -> _Value:
    if gpu.lost:
        raise RecordedError("GPU is lost")
    return read(gpu)


def a100(index: int, **fields: Any) -> RecordedGpu:
    return RecordedGpu(f"GPU-{index:08x}-aaaa", "NVIDIA A100-SXM4-40GB", 40 * GIB, **fields)


def a100_slice(index: int, profile: str, memory_gib: int) -> RecordedGpu:
    return RecordedGpu(f"MIG-{index:08x}-bbbb", f"NVIDIA A100-SXM4-40GB MIG {profile}", memory_gib * GIB)
