"""Finds room for starts: takes what is free, evicts idle replicas, and lets the rest wait in line.

The rule that must not break: who finds no room is told again as soon as any may have appeared, and room goes to who
waited for it longest, else the owner of a replica that was drained for another would take it back for ever. Nobody
polls. A busy replica is never evicted. What is started ahead of calls takes no room that ``min_replicas`` of another
counts on, and from others only what is worth clearly less.

Two kinds are drained instead (they finish what they hold, and their callers go
on being held): those of an older revision when a newer one of the same function has no room beside it, and surplus ones
of a revision that has several while the asker has none.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Final, Protocol

from stoker_pool.devices import DeviceReading
from stoker_pool.eviction import Candidate, choose_victims, keep_value, value_of
from stoker_pool.ledger import DeviceLedger
from stoker_pool.placement import DeviceLoad, Need, NoRoom, Placement, place
from stoker_pool.plan import RevisionPlan

_CLEARLY: Final = 2.0
"""What is evicted for a prewarm is worth so much less: forecasts are not exact, and a swap costs two starts."""


class Asker(Protocol):
    """Who wants to start a replica."""

    @property
    def plan(self) -> RevisionPlan: ...
    @property
    def live_count(self) -> int:
        """Replicas that it has, ready or starting."""
        ...

    @property
    def is_pressed(self) -> bool:
        """Calls wait for it, rather than a wish to have more ready."""
        ...

    @property
    def waited_s(self) -> float:
        """How long the oldest of what waits for it has waited."""
        ...

    @property
    def prewarm_per_s(self) -> float | None:
        """Expected calls per second of what it would start ahead of any; None: calls or a promise ask for it."""
        ...

    @property
    def load_s(self) -> float:
        """How long its start takes."""
        ...

    def wake(self) -> None:
        """There may be room now: ask again."""
        ...


class Occupant(Asker, Protocol):
    """A revision whose replicas may have to leave."""

    @property
    def ready_count(self) -> int: ...
    @property
    def min_replicas(self) -> int: ...
    @property
    def is_retired(self) -> bool: ...
    @property
    def has_calls(self) -> bool:
        """Any call is queued or in flight."""
        ...

    def candidates(self, *, for_calls: bool = True) -> list[Candidate]:
        """Its ready replicas; those that someone wishes to have ready are kept unless it is for calls."""
        ...

    def promised(self) -> list[Need]:
        """What ``min_replicas`` of it still asks for."""
        ...

    def leaving_ids(self) -> list[str]:
        """Its replicas that drain already."""
        ...

    def drain_replica(self, replica_id: str) -> None: ...
    def evict_replica(self, replica_id: str) -> None: ...


class RoomKeeper:
    """The line at the door of the devices."""

    def __init__(
        self,
        ledger: DeviceLedger,
        occupants: Callable[[], Iterable[Occupant]],
        read_devices: Callable[[], DeviceReading],
    ) -> None:
        self._ledger = ledger
        self._occupants = occupants
        self._read_devices = read_devices
        self._waiting: dict[int, tuple[Asker, Need]] = {}
        self._is_nudge_due = False

    @property
    def is_wanted(self) -> bool:
        """Someone waits for room."""
        return bool(self._waiting)

    def acquire(self, asker: Asker, replica_id: str, need: Need) -> Placement | NoRoom:
        """Take room, or wait in line for it (``wake`` is called); a ``NoRoom`` with a reason is for good."""
        if not asker.is_pressed and self._calls_wait_for(asker, need):
            self._waiting.setdefault(id(asker), (asker, need))
            return NoRoom()
        if owed := self._owed_before(asker, need):
            self._waiting.setdefault(id(asker), (asker, need))
            for earlier in owed:
                earlier.wake()
            return NoRoom()
        if self._is_promised(asker, need):
            self._waiting.setdefault(id(asker), (asker, need))
            return NoRoom()
        found = self._ledger.acquire(replica_id, need)
        if isinstance(found, NoRoom) and found.reason is not None and need.gpu:
            self._ledger.update_devices(self._read_devices().devices)
            found = self._ledger.acquire(replica_id, need)
        if isinstance(found, Placement) or found.reason is not None:
            self.leave_line(asker)
            return found
        self._waiting.setdefault(id(asker), (asker, need))
        self._make_room(asker, need)
        return found

    def take_back(self, asker: Asker, replica_id: str, placed: Placement, need: Need) -> bool:
        """Room for a parked replica where it was, or a place in line for it."""
        if not self._is_promised(asker, need) and self._ledger.take(replica_id, placed):
            self.leave_line(asker)
            return True
        self._waiting.setdefault(id(asker), (asker, need))
        self._make_room(asker, need)
        return False

    def leave_line(self, asker: Asker) -> None:
        """It wants no room any more, or has it: the next in line ask again."""
        if self._waiting.pop(id(asker), None) is not None:
            self.nudge()

    def release(self, replica_id: str) -> None:
        """Nothing of a replica is left."""
        self._ledger.release(replica_id)
        self.nudge()

    def nudge(self) -> None:
        """Something left or became idle: whoever waits asks again, the first in line first."""
        if self._waiting and not self._is_nudge_due:
            self._is_nudge_due = True
            asyncio.get_running_loop().call_soon(self._wake_all)

    def _wake_all(self) -> None:
        self._is_nudge_due = False
        for asker, _ in list(self._waiting.values()):
            asker.wake()

    def _calls_wait_for(self, asker: Asker, need: Need) -> bool:
        """Room of this kind is being made for others' calls, and is not there to be taken by a wish."""
        return any(
            other is not asker
            and other.is_pressed
            and bool(set(other_need.gpu) & set(need.gpu) or other_need.gpu == need.gpu)
            for other, other_need in self._waiting.values()
        )

    def _is_promised(self, asker: Asker, need: Need) -> bool:
        """There is room, but others' ``min_replicas`` count on it."""
        if asker.prewarm_per_s is None:
            return False
        loads = self._ledger.loads()
        if isinstance(place(need, loads), NoRoom):
            return False
        return isinstance(place(need, _with_promised(loads, self._occupants(), asker)), NoRoom)

    def _owed_before(self, asker: Asker, need: Need) -> list[Asker]:
        """Who came earlier for calls and finds room now, where nothing would be left of it for the asker."""
        loads = self._ledger.loads()
        owed: list[Asker] = []
        for other, other_need in self._waiting.values():
            if other is asker:
                if asker.prewarm_per_s is None:
                    break
                continue
            found = place(other_need, loads)
            if (other.is_pressed or self._is_dearer(other, other_need, asker, need)) and isinstance(found, Placement):
                owed.append(other)
                loads = [_with(load, found) for load in loads]
        return owed if owed and isinstance(place(need, loads), NoRoom) else []

    def _is_dearer(self, other: Asker, other_need: Need, asker: Asker, need: Need) -> bool:
        """Both would start ahead of calls, and it is worth more to the other: whoever came first."""
        loads = self._ledger.loads()
        worth = _worth(asker, need, loads)
        return worth is not None and (_worth(other, other_need, loads) or 0.0) > worth

    def _make_room(self, asker: Asker, need: Need) -> None:
        occupants = list(self._occupants())
        loads = self._without_leaving(occupants)
        if asker.prewarm_per_s is not None:
            loads = _with_promised(loads, occupants, asker)
        if isinstance(place(need, loads), Placement):
            return  # enough is on its way out
        # a wish may not take from those who have calls: both would take the same room from each other for ever
        others = [owner for owner in occupants if owner is not asker and (asker.is_pressed or not owner.has_calls)]
        idle: list[Candidate] = []
        owners: dict[str, Occupant] = {}
        for owner in others:
            found = owner.candidates(for_calls=asker.is_pressed)
            idle += found
            owners.update(dict.fromkeys((candidate.replica_id for candidate in found), owner))
        worth = _worth(asker, need, loads)
        if worth is not None:
            idle = [candidate for candidate in idle if keep_value(candidate) * _CLEARLY < worth]
        victims = choose_victims(need, loads, idle)
        for victim in victims or ():
            owners[victim.replica_id].evict_replica(victim.replica_id)
        if victims is not None or worth is not None:
            return
        yielding = {candidate.replica_id: candidate for owner in others for candidate in _yields(owner, asker)}
        all_of_them = [yielding.get(candidate.replica_id, candidate) for candidate in idle]
        for victim in choose_victims(need, loads, all_of_them) or ():
            owners[victim.replica_id].drain_replica(victim.replica_id)

    def _without_leaving(self, occupants: list[Occupant]) -> list[DeviceLoad]:
        freed: dict[str, int] = {}
        for owner in occupants:
            for replica_id in owner.leaving_ids():
                device_ids, bytes_each = self._ledger.taken(replica_id)
                for device_id in device_ids:
                    freed[device_id] = freed.get(device_id, 0) + bytes_each
        return [
            DeviceLoad(device=load.device, used_bytes=max(load.used_bytes - freed.get(load.device.id, 0), 0))
            for load in self._ledger.loads()
        ]


def _with(load: DeviceLoad, placed: Placement) -> DeviceLoad:
    taken_bytes = placed.bytes_each if load.device in placed.devices else 0
    return replace(load, used_bytes=load.used_bytes + taken_bytes)


def _with_promised(loads: list[DeviceLoad], occupants: Iterable[Occupant], asker: Asker) -> list[DeviceLoad]:
    for owner in occupants:
        for need in owner.promised() if owner is not asker else ():
            found = place(need, loads)
            if isinstance(found, Placement):
                loads = [_with(load, found) for load in loads]
    return loads


def _worth(asker: Asker, need: Need, loads: list[DeviceLoad]) -> float | None:
    """Of a start ahead of calls, in the measure of ``keep_value``; None: it is for calls, or was promised."""
    if asker.prewarm_per_s is None:
        return None
    found = place(need, [replace(load, used_bytes=0) for load in loads])
    size_bytes = found.bytes_each * len(found.devices) if isinstance(found, Placement) else 0
    return value_of(asker.prewarm_per_s, asker.load_s, size_bytes)


def _yields(owner: Occupant, asker: Asker) -> list[Candidate]:
    """Replicas that finish what they hold and go, though they are busy or kept."""
    plan, other = asker.plan, owner.plan
    there = owner.candidates(for_calls=asker.is_pressed)
    surplus = owner.ready_count - max(owner.min_replicas, 1)
    chosen: list[Candidate] = []
    if (plan.namespace, plan.name) == (other.namespace, other.name):
        # the calls that a retired revision was left with came before the asker's: it serves them, is idle, and goes
        is_owed = owner.is_retired and owner.is_pressed and owner.waited_s > asker.waited_s
        if plan.number > other.number and (asker.is_pressed or owner.is_retired) and not is_owed:
            chosen = there
        elif asker.is_pressed:
            chosen = [candidate for candidate in there if not candidate.is_busy]
    elif asker.is_pressed and asker.live_count == 0 and surplus > 0:
        chosen = [candidate for candidate in there if candidate.is_busy][:surplus]
    return [replace(candidate, is_busy=False, is_kept=False) for candidate in chosen]
