"""A backend in memory: starts finish when the test says so, and replicas answer when they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from stoker.errors import PlatformError
from stoker_pool.backend import ReplicaOrder
from stoker_pool.devices import MIB, Device, DeviceKind, DeviceReading
from stoker_pool.plan import RevisionPlan
from stoker_runtime.replica_link import ReplicaLink
from tests.support.fake_replica import FakeReplica, fake_replica

PHASES_NS = {"place": 1000, "zygote": 0, "fork": 10_000_000, "verify": 1000, "unpickle": 1000, "enter": 90_000_000}


def cpu_of(memory_mib: int) -> Device:
    return Device(id="cpu", name="cpu", kind=DeviceKind.CPU, memory_bytes=memory_mib * MIB, cpu_slots=2)


class FakeBackendReplica:
    """Answers by itself as soon as the loop turns, or is held by the test."""

    schema_json = b'{"input": {}}'
    streams = False
    parks = False

    def __init__(self, order: ReplicaOrder, memory_bytes: int) -> None:
        self.order = order
        self.fake: FakeReplica = fake_replica(order.replica_id, concurrency=order.plan.options.concurrency)
        self.memory_bytes = memory_bytes
        self.memory_now = memory_bytes
        self.phases_ns = dict(PHASES_NS)
        self.pid = 4242
        self.was_killed = False
        self.was_stopped = False
        self.is_slow_to_end = False
        """A kill does not end it yet."""
        self._exit: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    @property
    def link(self) -> ReplicaLink:
        return self.fake.link

    @property
    def is_gone(self) -> bool:
        return self._exit.done()

    async def wait_exit(self) -> str:
        return await asyncio.shield(self._exit)

    def kill(self) -> None:
        self.was_killed = True
        if not self.is_slow_to_end:
            self.die("killed")

    def die(self, reason: str) -> None:
        """The process ends and its socket closes."""
        if not self._exit.done():
            self._exit.set_result(reason)
            self.fake.die()

    async def stop(self, grace_s: float) -> None:
        self.link.stop()
        self.was_stopped = True
        self.die("it was asked to leave")

    def memory_now_bytes(self) -> int:
        return self.memory_now


class FakeBackend:
    """Counts what is asked of it."""

    def __init__(self, *devices: Device) -> None:
        self.devices = devices or (cpu_of(1024),)
        self.orders: list[ReplicaOrder] = []
        self.replicas: list[FakeBackendReplica] = []
        self.prewarmed: list[str] = []
        self.failures: list[PlatformError] = []
        """Errors that the next starts raise."""
        self.memory_bytes = 100 * MIB
        self.gate: asyncio.Event | None = None
        """Starts wait for it where it is set."""
        self.parks = False
        """Whether replicas can be parked."""
        self.most_at_once = 0

    def read_devices(self) -> DeviceReading:
        return DeviceReading(devices=tuple(self.devices))

    async def start(self, order: ReplicaOrder, on_phase: Callable[[str], None]) -> FakeBackendReplica:
        self.orders.append(order)
        on_phase("place")
        if self.gate is not None:
            await self.gate.wait()
        if self.failures:
            raise self.failures.pop(0)
        on_phase("enter")
        replica = FakeBackendReplica(order, self.memory_bytes)
        replica.parks = self.parks
        self.replicas.append(replica)
        self.most_at_once = max(self.most_at_once, len(self.alive()))
        return replica

    async def prewarm(self, plan: RevisionPlan) -> None:
        self.prewarmed.append(plan.key)

    def alive(self, name: str | None = None) -> list[FakeBackendReplica]:
        """Replicas that have not ended."""
        return [replica for replica in self.replicas if not replica.is_gone and name in (None, replica.order.plan.name)]

    def answer_all(self) -> None:
        """Every replica answers all that it holds."""
        for replica in self.replicas:
            replica.fake.answer_all()
