"""Whatever happens in whatever order: limits hold, every call ends, nothing is left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fake_backend import FakeBackend, cpu_of
from tests.support.manual_timers import ManualTimers
from tests.support.pool_rig import Bundles, fake_pool, submit

from stoker.errors import StartFailed
from stoker.options import Scaling
from stoker_pool.devices import MIB
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool import Pool
from stoker_pool.replica_set import ReplicaSet
from stoker_runtime.invocation import Invocation

BUDGET_MIB = 1000
MOST = 3
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["call", "answer", "wait", "crash", "fail", "retire", "revive", "scale", "retry", "warm"]),
        st.integers(0, 3),
    ),
    max_size=40,
)


class World:
    """A pool with four revisions, and the steps that may be taken in it."""

    def __init__(self, pool: Pool, timers: ManualTimers, backend: FakeBackend) -> None:
        self.pool, self.timers, self.backend = pool, timers, backend
        bundles = Bundles()
        scaling = {"max_replicas": MOST, "keep_alive_s": 5}
        self.plans: list[RevisionPlan] = [
            bundles.plan(f"def {name}(x):\n    return x\n", name, number, memory_mib=size, scaling=scaling)
            for name, number, size in (("f", 1, 400), ("f", 2, 400), ("g", 1, 300), ("h", 1, 700))
        ]
        self.calls: list[asyncio.Future[Invocation]] = []
        self.warming: list[asyncio.Future[None]] = []

    async def take(self, step: str, which: int) -> None:
        plan, pool = self.plans[which], self.pool
        steps: dict[str, Callable[[], object]] = {
            "call": lambda: self.calls.append(submit(pool, plan)),
            "answer": self.backend.answer_all,
            "crash": lambda: [replica.die("crashed") for replica in self.backend.alive(plan.name)[:1]],
            "fail": lambda: self.backend.failures.append(StartFailed("no luck")),
            "retire": lambda: pool.retire("default", plan.name, set()),
            "revive": lambda: pool.retire("default", plan.name, {plan.number}),
            "scale": lambda: pool.set_scaling("default", plan.name, Scaling(max_replicas=1 + which % MOST)),
            "retry": lambda: pool.retry("default", plan.name),
            "warm": lambda: self.warming.append(asyncio.ensure_future(pool.warm_up(plan, 2))),
            "wait": lambda: None,
        }
        steps[step]()
        await self.timers.advance(2.0 if step == "wait" else 0.0)
        self.check()

    def check(self) -> None:
        (device,) = self.pool.devices()
        booked = sum(replica.order.plan.options.memory_mib or 0 for replica in self.backend.alive())
        assert booked <= BUDGET_MIB
        assert device.free_bytes >= 0
        assert booked * MIB <= device.memory_bytes - device.free_bytes
        for plan in self.plans:
            alive = [replica for replica in self.backend.alive() if replica.order.plan is plan]
            assert len(alive) <= MOST

    async def finish(self) -> None:
        self.backend.failures.clear()
        for _ in range(60):
            self.backend.answer_all()
            await self.timers.advance(1.0)
            for plan in self.plans:
                self.pool.retry("default", plan.name)
        assert [call for call in self.calls if not call.done()] == []
        for wait in self.warming:
            wait.cancel()
        await asyncio.gather(*self.warming, return_exceptions=True)
        await self.timers.advance(100.0)
        assert self.backend.alive() == []


@settings(max_examples=40, deadline=None)
@given(STEPS)
def test_limits_hold_and_every_call_ends(steps: list[tuple[str, int]]) -> None:
    async def live() -> None:
        backend = FakeBackend(cpu_of(BUDGET_MIB))
        async with fake_pool(backend) as (pool, timers):
            world = World(pool, timers, backend)
            for step, which in steps:
                await world.take(step, which)
            await world.finish()

    asyncio.run(live())


@settings(max_examples=25, deadline=None)
@given(STEPS)
def test_eviction_takes_only_what_holds_nothing(steps: list[tuple[str, int]]) -> None:
    async def live() -> None:
        backend = FakeBackend(cpu_of(BUDGET_MIB))
        async with fake_pool(backend) as (pool, timers):
            world = World(pool, timers, backend)
            evicted: list[int] = []
            for plan in world.plans:
                revision = pool._revision(plan)
                watch_evictions(revision.replicas, revision, evicted)
            for step, which in steps:
                await world.take(step, which)
            assert evicted == [0] * len(evicted)
            await world.finish()

    asyncio.run(live())


def watch_evictions(replicas: ReplicaSet, revision: object, evicted: list[int]) -> None:
    """Note what each replica holds at the moment it is evicted."""
    evict = revision.evict_replica  # type: ignore[attr-defined]

    def noting(replica_id: str) -> None:
        evicted.append(replicas.members[replica_id].in_flight)
        evict(replica_id)

    revision.evict_replica = noting  # type: ignore[attr-defined]
