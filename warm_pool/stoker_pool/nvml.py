"""NVIDIA GPUs and MIG slices, read through NVML.

The rule that must not break: no driver, an old driver or a GPU that fell off the bus makes the reading shorter and
adds a problem in words; it never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, Protocol, TypeVar

from stoker_pool.devices import Device, DeviceKind, DeviceReading

_MIG_ON = 1
_Value = TypeVar("_Value")


class Nvml(Protocol):
    """The calls of ``pynvml`` that are used here. Handles are opaque."""

    NVMLError: type[Exception]

    def nvmlInit(self) -> None: ...
    def nvmlShutdown(self) -> None: ...
    def nvmlDeviceGetCount(self) -> int: ...
    def nvmlDeviceGetHandleByIndex(self, index: int) -> Any: ...
    def nvmlDeviceGetName(self, handle: Any) -> str | bytes: ...
    def nvmlDeviceGetUUID(self, handle: Any) -> str | bytes: ...
    def nvmlDeviceGetMemoryInfo(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMigMode(self, handle: Any) -> Any: ...
    def nvmlDeviceGetMaxMigDeviceCount(self, handle: Any) -> int: ...
    def nvmlDeviceGetMigDeviceHandleByIndex(self, device: Any, index: int) -> Any: ...
    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any) -> Any: ...


class NvmlDevices:
    """Reads GPUs afresh each time; ``budget_share`` of a device's memory is what replicas may use."""

    def __init__(self, library: Nvml | None = None, *, budget_share: float = 0.95) -> None:
        self._library = library if library is not None else _pynvml()
        self._budget_share = budget_share

    def read(self) -> DeviceReading:
        library = self._library
        if library is None:
            return DeviceReading(devices=(), problems=("nvidia-ml-py is not installed: no GPU can be used",))
        try:
            library.nvmlInit()
        except library.NVMLError as error:
            return DeviceReading(devices=(), problems=(f"no NVIDIA driver: {error}",))
        try:
            problems: list[str] = []
            devices = tuple(self._devices(library, problems))
            return DeviceReading(devices=devices, problems=tuple(problems))
        except library.NVMLError as error:
            return DeviceReading(devices=(), problems=(f"GPUs cannot be listed: {error}",))
        finally:
            self._shut_down(library)

    def used_bytes(self, pid: int) -> int:
        """Device memory that a process holds on all GPUs; 0 where the driver does not tell."""
        library = self._library
        if library is None:
            return 0
        used = 0
        try:
            library.nvmlInit()
        except library.NVMLError:
            return 0
        try:
            for index in range(library.nvmlDeviceGetCount()):
                handle = library.nvmlDeviceGetHandleByIndex(index)
                for process in library.nvmlDeviceGetComputeRunningProcesses(handle):
                    if process.pid == pid:
                        used += process.usedGpuMemory or 0
        except library.NVMLError:
            return used
        finally:
            self._shut_down(library)
        return used

    def _devices(self, library: Nvml, problems: list[str]) -> Iterator[Device]:
        for index in range(library.nvmlDeviceGetCount()):
            try:
                yield from self._device(library, index)
            except library.NVMLError as error:
                problems.append(f"gpu{index} cannot be used: {error}")

    def _device(self, library: Nvml, index: int) -> list[Device]:
        handle = library.nvmlDeviceGetHandleByIndex(index)
        if _or_none(library, lambda: library.nvmlDeviceGetMigMode(handle)[0]) != _MIG_ON:
            return [self._describe(library, handle, f"gpu{index}", DeviceKind.GPU)]
        slices = []
        for position in range(library.nvmlDeviceGetMaxMigDeviceCount(handle)):
            slice_handle = _or_none(library, partial(library.nvmlDeviceGetMigDeviceHandleByIndex, handle, position))
            if slice_handle is not None:
                slices.append(self._describe(library, slice_handle, f"gpu{index}/mig{position}", DeviceKind.MIG))
        return slices

    def _describe(self, library: Nvml, handle: Any, name: str, kind: DeviceKind) -> Device:
        model = _text(library.nvmlDeviceGetName(handle))
        profile = None
        if kind is DeviceKind.MIG:
            model, _, profile = (part.strip() for part in model.partition(" MIG "))
        return Device(
            id=_text(library.nvmlDeviceGetUUID(handle)),
            name=name,
            kind=kind,
            memory_bytes=int(library.nvmlDeviceGetMemoryInfo(handle).total * self._budget_share),
            model=model,
            mig_profile=profile or None,
        )

    @staticmethod
    def _shut_down(library: Nvml) -> None:
        try:
            library.nvmlShutdown()
        except library.NVMLError:
            pass  # it was already down


def _or_none(library: Nvml, read: Callable[[], _Value]) -> _Value | None:
    """None where this GPU or driver does not know the question."""
    try:
        return read()
    except library.NVMLError:
        return None


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _pynvml() -> Nvml | None:
    try:
        import pynvml
    except ImportError:
        return None
    library: Nvml = pynvml
    return library
