"""Room that is scarce: a device of so many slots or so much memory, and optionally host memory behind it.

Room is taken through the production books and placement; who leaves is chosen by production's ``choose_victims`` or by
a published rule. The host tier holds what left the device until its own room is needed: a start from there is short.

The rule that must not break: a busy replica never leaves, and nothing leaves before its room is needed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from stoker_pool.devices import MIB, Device, DeviceKind
from stoker_pool.ledger import DeviceLedger
from stoker_pool.placement import Need, Placement

SLOT_MIB: Final = 1024
"""What a replica takes where slots are counted and not memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Capacity:
    """How much room there is, and what loading costs."""

    device_mib: int
    host_mib: int = 0
    replica_mib: int = SLOT_MIB
    load_s: float = 0.0
    host_load_s: float = 0.0
    """From host memory instead of from scratch."""

    @staticmethod
    def of_slots(slots: int, *, host_slots: int = 0, load_s: float = 0.0, host_load_s: float = 0.0) -> Capacity:
        """So many replicas of equal size."""
        return Capacity(
            device_mib=slots * SLOT_MIB, host_mib=host_slots * SLOT_MIB, load_s=load_s, host_load_s=host_load_s
        )


class EvictionRule(Protocol):
    """Says which of the idle ones leave. Owners are numbers."""

    def note_calls(self, owner: int, now_s: float, count: int) -> None: ...
    def note_load(self, owner: int, now_s: float, load_s: float) -> None:
        """It was loaded for a call or a prewarm."""
        ...

    def note_idle(self, owner: int, now_s: float) -> None: ...
    def victims(self, needed_mib: int, idle: Sequence[int], ledger: DeviceLedger, now_s: float) -> list[int] | None:
        """Who leaves to make the room; None where even all of them would not."""
        ...

    def least_worth(self, owners: Iterable[int], now_s: float) -> int:
        """Whose weights host memory would miss least."""
        ...


class ScarceRoom:
    """The engine's ``Room`` over one device and its host."""

    def __init__(self, capacity: Capacity, rule: EvictionRule) -> None:
        self.capacity = capacity
        self._rule = rule
        self._ledger = DeviceLedger(
            (Device(id="cpu", name="cpu", kind=DeviceKind.CPU, memory_bytes=capacity.device_mib * MIB),)
        )
        self._most_parked = capacity.host_mib // capacity.replica_mib
        self._need = Need(memory_bytes=capacity.replica_mib * MIB)
        self._inside: set[int] = set()
        self._busy: set[int] = set()
        self._parked: set[int] = set()

    def enter(self, owner: int, now_s: float, *, for_call: bool) -> list[int] | None:
        leaving: list[int] = []
        if not isinstance(self._ledger.acquire(str(owner), self._need), Placement):
            idle = sorted(self._inside - self._busy) if for_call else []
            found = self._rule.victims(self.capacity.replica_mib, idle, self._ledger, now_s)
            if found is None:
                return None
            leaving = found
        self._rule.note_load(owner, now_s, self.load_s(owner, now_s))
        self._parked.discard(owner)
        for other in leaving:
            self.leave(other, now_s)
        if leaving and not isinstance(self._ledger.acquire(str(owner), self._need), Placement):
            raise AssertionError("the eviction rule made no room")
        self._inside.add(owner)
        self._busy.add(owner)  # nothing leaves while it loads
        return leaving

    def leave(self, owner: int, now_s: float) -> None:
        self._ledger.release(str(owner))
        self._inside.discard(owner)
        self._busy.discard(owner)
        self._parked.add(owner)
        if len(self._parked) > self._most_parked:
            self._parked.discard(self._rule.least_worth(sorted(self._parked), now_s))

    def set_busy(self, owner: int, is_busy: bool, now_s: float) -> None:
        if is_busy:
            self._busy.add(owner)
        else:
            self._busy.discard(owner)
            self._rule.note_idle(owner, now_s)

    def note_calls(self, owner: int, now_s: float, count: int) -> None:
        self._rule.note_calls(owner, now_s, count)

    def load_s(self, owner: int, now_s: float) -> float:
        return self.capacity.host_load_s if owner in self._parked else self.capacity.load_s

    def is_parked(self, owner: int) -> bool:
        return owner in self._parked
