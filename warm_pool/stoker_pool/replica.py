"""One replica as the pool keeps it: a life cycle with one table of allowed moves.

The rule that must not break: a replica changes its state by ``move`` alone, and ends STOPPED exactly once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import Final

from stoker_pool.backend import BackendReplica
from stoker_pool.devices import DeviceKind
from stoker_pool.placement import Placement
from stoker_pool.plan import RevisionPlan


class ReplicaState(str, Enum):
    """Where a replica is in its life."""

    STARTING = "starting"
    READY = "ready"
    PARKING = "parking"
    """On its way from the device to host memory."""
    PARKED = "parked"
    WAKING = "waking"
    """On its way back."""
    DRAINING = "draining"
    STOPPED = "stopped"


MOVES: Final[Mapping[ReplicaState, frozenset[ReplicaState]]] = MappingProxyType(
    {
        ReplicaState.STARTING: frozenset({ReplicaState.READY, ReplicaState.STOPPED}),
        ReplicaState.READY: frozenset({ReplicaState.DRAINING, ReplicaState.PARKING, ReplicaState.STOPPED}),
        ReplicaState.PARKING: frozenset({ReplicaState.PARKED, ReplicaState.STOPPED}),
        ReplicaState.PARKED: frozenset({ReplicaState.WAKING, ReplicaState.DRAINING, ReplicaState.STOPPED}),
        ReplicaState.WAKING: frozenset({ReplicaState.READY, ReplicaState.STOPPED}),
        ReplicaState.DRAINING: frozenset({ReplicaState.STOPPED}),
        ReplicaState.STOPPED: frozenset(),
    }
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaInfo:
    """A replica for ``stoker ps`` and ``stoker describe``."""

    id: str
    namespace: str
    name: str
    revision: int
    state: str
    device: str
    pid: int
    memory_bytes: int
    in_flight: int
    idle_s: float


class Replica:
    """Kept from the moment its room is taken until nothing of it is left."""

    def __init__(self, replica_id: str, placement: Placement, now_s: float, *, is_prewarm: bool = False) -> None:
        self.id = replica_id
        self.placement = placement
        self.state = ReplicaState.STARTING
        self.began_s = now_s
        """Since when it takes its device; infinite while it is parked."""
        self.wake_ns = 0
        """How long it took to come back from host memory, where it last did."""
        self.prewarm_s = now_s if is_prewarm else None
        """When it was started ahead of any call, until it gets one."""
        self.since_s = now_s
        """When it was made, then when it became ready."""
        self.live: BackendReplica | None = None
        self.memory_bytes = 0
        self.failures_before = 0
        """Failed starts in a row before this one succeeded."""
        self.ended: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        """Done when nothing of it is left."""
        self.end_reason = ""
        """Why the pool ended it, where it did so by force."""

    def move(self, state: ReplicaState) -> None:
        """Change state; raises ``ValueError`` where the table has no such move."""
        if state not in MOVES[self.state]:
            raise ValueError(f"replica {self.id} cannot go from {self.state.value} to {state.value}")
        self.state = state

    @property
    def in_flight(self) -> int:
        """Calls that it holds."""
        return len(self.live.link.in_flight) if self.live is not None else 0

    @property
    def was_used(self) -> bool:
        """It was given at least one call."""
        return self.live is not None and self.live.link.last_used_ns > 0

    def idle_s(self, now_s: float) -> float:
        """Seconds since it last had anything to do; 0 while it has."""
        if self.live is None or self.in_flight:
            return 0.0
        link = self.live.link
        return max(now_s - max(link.last_used_ns / 1e9, link.last_result_ns / 1e9, self.since_s), 0.0)

    @property
    def host_id(self) -> str:
        """Its name in the ledger while it is in host memory."""
        return f"{self.id}:host"

    @property
    def is_on_gpu(self) -> bool:
        return any(device.kind is not DeviceKind.CPU for device in self.placement.devices)

    def info(self, plan: RevisionPlan, now_s: float) -> ReplicaInfo:
        """For people."""
        return ReplicaInfo(
            id=self.id,
            namespace=plan.namespace,
            name=plan.name,
            revision=plan.number,
            state=self.state.value,
            device="+".join(device.name for device in self.placement.devices),
            pid=self.live.pid if self.live is not None else 0,
            memory_bytes=self.memory_bytes,
            in_flight=self.in_flight,
            idle_s=self.idle_s(now_s),
        )
