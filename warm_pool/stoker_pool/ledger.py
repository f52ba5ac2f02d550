"""Which replica takes what on which device.

The rule that must not break: room is taken before a replica starts and given back when nothing of it is left; taking
is one step that cannot be interleaved, and never promises more than a device's budget.
"""

from __future__ import annotations

from collections.abc import Sequence

from stoker_pool.devices import Device, DeviceInfo
from stoker_pool.placement import DeviceLoad, Need, NoRoom, Placement, place


class DeviceLedger:
    """The books of all devices; lives on the loop's thread."""

    def __init__(self, devices: Sequence[Device]) -> None:
        self._devices = {device.id: device for device in devices}
        self._taken: dict[str, tuple[tuple[str, ...], int]] = {}

    def update_devices(self, devices: Sequence[Device]) -> None:
        """A device that is gone takes nothing new; what runs on it stays in the books until it ends."""
        self._devices = {device.id: device for device in devices}

    def acquire(self, replica_id: str, need: Need) -> Placement | NoRoom:
        """Take room for a replica, or say why not."""
        found = place(need, self.loads())
        if isinstance(found, Placement):
            self._taken[replica_id] = (tuple(device.id for device in found.devices), found.bytes_each)
        return found

    def take(self, replica_id: str, placed: Placement) -> bool:
        """Take the same room again, on the very same devices; False where it is not free."""
        free = {load.device.id: load.free_bytes for load in self.loads()}
        if any(free.get(device.id, -1) < placed.bytes_each for device in placed.devices):
            return False
        self._taken[replica_id] = (tuple(device.id for device in placed.devices), placed.bytes_each)
        return True

    def resize(self, replica_id: str, bytes_each: int) -> None:
        """A replica was measured: the books follow."""
        entry = self._taken.get(replica_id)
        if entry is not None:
            self._taken[replica_id] = (entry[0], bytes_each)

    def release(self, replica_id: str) -> None:
        """Nothing of the replica is left."""
        self._taken.pop(replica_id, None)

    def taken(self, replica_id: str) -> tuple[tuple[str, ...], int]:
        """Devices and bytes on each; empty where it has none."""
        return self._taken.get(replica_id, ((), 0))

    def loads(self) -> list[DeviceLoad]:
        """Every device with what is promised on it."""
        used = dict.fromkeys(self._devices, 0)
        for device_ids, bytes_each in self._taken.values():
            for device_id in device_ids:
                if device_id in used:
                    used[device_id] += bytes_each
        return [DeviceLoad(device=device, used_bytes=used[device.id]) for device in self._devices.values()]

    def info(self) -> list[DeviceInfo]:
        """Every device, for people."""
        on = [device_id for device_ids, _ in self._taken.values() for device_id in device_ids]
        return [
            DeviceInfo(
                name=load.device.name,
                kind=load.device.kind.value,
                model=load.device.model,
                memory_bytes=load.device.memory_bytes,
                free_bytes=load.free_bytes,
                replicas=on.count(load.device.id),
            )
            for load in self.loads()
        ]
