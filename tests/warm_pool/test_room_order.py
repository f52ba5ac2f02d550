"""Room goes to who waited for it longest."""

from __future__ import annotations

import asyncio

from tests.support.fake_backend import FakeBackend, cpu_of
from tests.support.manual_timers import ManualTimers
from tests.support.pool_rig import Bundles, fake_pool, submit


async def answer(backend: FakeBackend, timers: ManualTimers) -> None:
    backend.answer_all()
    await timers.advance(0.1)


async def test_a_trial_gets_the_room_that_a_busy_function_gave_up_for_it() -> None:
    bundles, backend = Bundles(), FakeBackend(cpu_of(700))
    source = "def f(x):\n    return x\n"
    scaling = {"min_replicas": 1, "max_replicas": 1}
    old, new = (bundles.plan(source, "f", number, memory_mib=400, scaling=scaling) for number in (1, 2))
    async with fake_pool(backend) as (pool, timers):
        calls = [submit(pool, old) for _ in range(8)]
        await timers.settle()
        trial = asyncio.ensure_future(pool.dry_run(new, bundles.by_hash[new.bundle_sha256]))
        for _ in range(3):
            await answer(backend, timers)
            calls.append(submit(pool, old))  # callers never pause
        assert trial.done()
        for _ in calls:
            await answer(backend, timers)
        assert [call for call in calls if not call.done()] == []
        starts = [order.plan.number for order in backend.orders]
        assert starts == [1, 2, 1]
