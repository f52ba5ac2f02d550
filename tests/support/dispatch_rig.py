"""A dispatcher under virtual time with replicas in memory, and what its callers were told."""

from __future__ import annotations

from stoker.errors import PlatformError
from stoker.options import FunctionOptions
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.invocation import Invocation, Priority
from tests.support.fake_replica import FakeReplica, fake_replica
from tests.support.virtual_loop import VirtualLoop


class Rig:
    """Everything that a test of the dispatcher turns and reads."""

    def __init__(self, cold_hold_s: float | None = None, max_collected_bytes: int = 1 << 20, **options: object) -> None:
        self.loop = VirtualLoop()
        self.options = FunctionOptions(name="f", **options)  # type: ignore[arg-type]
        self.demands = 0
        self.ended: list[Invocation] = []
        self.dispatcher = Dispatcher(
            self.options,
            3,
            clock=self.loop.clock,
            on_demand=self._on_demand,
            cold_hold_s=cold_hold_s,
            max_collected_bytes=max_collected_bytes,
            loop=self.loop,
        )

    def replica(self, replica_id: str = "r1") -> FakeReplica:
        """A ready replica, attached."""
        replica = fake_replica(replica_id, concurrency=self.options.concurrency)
        self.dispatcher.attach(replica.link)
        self.loop.settle()
        return replica

    def call(
        self,
        body: bytes = b"1",
        *,
        deadline_s: float = 0.0,
        priority: Priority = Priority.INTERACTIVE,
        method: str = "",
        chunks: list[bytes] | None = None,
        settle: bool = True,
    ) -> Invocation:
        """Submit a call at this instant; ``chunks`` makes it a streamed one and receives its items."""
        now_ns = self.dispatcher.now_ns()
        invocation = Invocation(
            body,
            "",
            self.ended.append,
            priority=priority,
            method=method,
            accepted_ns=now_ns,
            deadline_ns=now_ns + int(deadline_s * 1e9) if deadline_s else 0,
        )
        if chunks is not None:
            invocation.on_chunk = lambda chunk, content_type: chunks.append(chunk)
        self.dispatcher.submit(invocation)
        if settle:
            self.loop.settle()
        return invocation

    def _on_demand(self) -> None:
        self.demands += 1


def error_of(invocation: Invocation) -> PlatformError | None:
    assert invocation.outcome is not None
    return invocation.outcome.error


def body_of(invocation: Invocation) -> bytes:
    assert invocation.outcome is not None
    assert invocation.outcome.error is None, invocation.outcome.error
    return bytes(invocation.outcome.body)
