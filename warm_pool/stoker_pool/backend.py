"""Where replicas run, as the pool sees it.

The rule that must not break: a start either gives a replica that answers calls on its link, or raises an error of the
tree; and when ``wait_exit`` returns, nothing of the replica is left.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from stoker_pool.devices import Device, DeviceReading
from stoker_pool.plan import RevisionPlan
from stoker_runtime.replica_link import ReplicaLink


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaOrder:
    """One start, placed."""

    plan: RevisionPlan
    replica_id: str
    devices: tuple[Device, ...]
    bundle: bytes | None = None
    """Where it is not stored yet."""


class BackendReplica(Protocol):
    """One loaded replica."""

    @property
    def pid(self) -> int: ...
    @property
    def link(self) -> ReplicaLink: ...
    @property
    def phases_ns(self) -> dict[str, int]:
        """Phases of its start in their order, from ``place`` to ``warmup``."""
        ...

    @property
    def memory_bytes(self) -> int:
        """On its device, once loaded; 0 where nothing tells."""
        ...

    @property
    def schema_json(self) -> bytes: ...
    @property
    def streams(self) -> bool: ...
    @property
    def parks(self) -> bool:
        """It can leave its device for host memory and come back."""
        ...

    async def wait_exit(self) -> str:
        """Why it ended, once nothing of it is left."""
        ...

    def kill(self) -> None:
        """End it at once."""
        ...

    async def stop(self, grace_s: float) -> None:
        """Let it run its exit hooks and leave; end it after ``grace_s``."""
        ...

    def memory_now_bytes(self) -> int:
        """What it takes on its device now; may be slow, so it is called in a thread."""
        ...


class Backend(Protocol):
    """A place for replicas."""

    def read_devices(self) -> DeviceReading: ...

    async def start(self, order: ReplicaOrder, on_phase: Callable[[str], None]) -> BackendReplica:
        """Raises ``StartFailed``, ``EnvironmentBuildFailed``, ``BundleTampered`` or ``NotFound``."""
        ...

    async def prewarm(self, plan: RevisionPlan) -> None:
        """Have ready what every start of this revision needs, without a replica."""
        ...


class BundleSource(Protocol):
    """Where bundles are stored."""

    async def read(self, sha256: str) -> bytes:
        """Raises ``NotFound``."""
        ...


class SecretSource(Protocol):
    """Where secrets are stored."""

    def values(self, namespace: str, names: Sequence[str]) -> dict[str, str]:
        """Variable name to value; raises ``NotFound`` naming the missing one."""
        ...
