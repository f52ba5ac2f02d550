"""Which idle replicas leave when another needs their room.

The rule that must not break: a busy replica is never chosen, and nothing is chosen unless it makes the room. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from stoker_pool.devices import MIB
from stoker_pool.placement import DeviceLoad, Need, Placement, place


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A replica that might leave."""

    replica_id: str
    device_ids: tuple[str, ...]
    bytes_each: int
    is_busy: bool
    is_kept: bool
    """It belongs to its function's ``min_replicas``."""
    idle_s: float
    calls_per_s: float
    load_s: float
    next_use_per_s: float = 0.0
    """Expected calls per second, by the forecast; 0: it knows nothing, so recent use has to tell."""


def keep_value(candidate: Candidate) -> float:
    """Expected seconds of loading saved per second and MiB by keeping it: next use x load cost / memory."""
    next_use_per_s = candidate.next_use_per_s or max(candidate.calls_per_s, 1.0 / (candidate.idle_s + 1.0))
    return value_of(next_use_per_s, candidate.load_s, candidate.bytes_each * len(candidate.device_ids))


def value_of(next_use_per_s: float, load_s: float, size_bytes: int) -> float:
    """The same of anything that is loaded, or might be."""
    return next_use_per_s * max(load_s, 0.001) / max(size_bytes / MIB, 1.0)


def choose_victims(
    need: Need, loads: Sequence[DeviceLoad], candidates: Sequence[Candidate]
) -> tuple[Candidate, ...] | None:
    """The idle replicas of least value whose leaving makes room for ``need``; None where none do.

    () means that there is room already.
    """
    leaving: list[Candidate] = []
    if isinstance(place(need, loads), Placement):
        return ()
    for candidate in sorted(candidates, key=lambda item: (keep_value(item), item.replica_id)):
        if candidate.is_busy or candidate.is_kept:
            continue
        leaving.append(candidate)
        if isinstance(place(need, _without(loads, leaving)), Placement):
            return _fewest(need, loads, leaving)
    return None


def _fewest(need: Need, loads: Sequence[DeviceLoad], leaving: list[Candidate]) -> tuple[Candidate, ...]:
    """Spare every replica that need not leave, the most valuable first."""
    kept = list(leaving)
    for candidate in reversed(leaving[:-1]):
        rest = [other for other in kept if other is not candidate]
        if isinstance(place(need, _without(loads, rest)), Placement):
            kept = rest
    return tuple(kept)


def _without(loads: Sequence[DeviceLoad], leaving: Sequence[Candidate]) -> list[DeviceLoad]:
    freed: dict[str, int] = {}
    for candidate in leaving:
        for device_id in candidate.device_ids:
            freed[device_id] = freed.get(device_id, 0) + candidate.bytes_each
    return [
        DeviceLoad(device=load.device, used_bytes=max(load.used_bytes - freed.get(load.device.id, 0), 0))
        for load in loads
    ]
