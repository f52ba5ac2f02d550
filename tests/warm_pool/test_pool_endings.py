"""How replicas, functions and the pool end, under virtual time."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from tests.support.fake_backend import FakeBackend
from tests.support.pool_rig import Bundles, MemoryLearned, error_of, fake_pool, submit

from stoker.errors import ShuttingDown, StartFailed, WorkerLost
from stoker_pool.devices import MIB
from stoker_pool.pool import Pool
from stoker_pool.settings import PoolSettings
from stoker_runtime.clock import SystemClock

KEEP = {"keep_alive_s": 60}


@pytest.fixture
def bundles() -> Bundles:
    return Bundles()


def named(bundles: Bundles, name: str, number: int = 1, **options: object):  # type: ignore[no-untyped-def]
    return bundles.plan(f"def {name}(x):\n    return x\n", name, number, **{"scaling": KEEP, **options})


async def test_a_deleted_function_leaves_and_may_come_back_as_another(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan = named(bundles, "f")
    async with fake_pool(backend) as (pool, timers):
        submit(pool, plan)
        await timers.settle()
        backend.answer_all()
        pool.forget("default", "f")
        await timers.settle()
        assert backend.alive() == []
        again = replace(plan, bundle_sha256="other")
        submit(pool, again)
        await timers.settle()
        assert backend.orders[-1].plan is again


async def test_memory_over_the_declared_ends_a_replica_with_the_reason(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan = named(bundles, "f", memory_mib=256)
    async with fake_pool(backend) as (pool, timers):
        call = submit(pool, plan)
        await timers.settle()
        backend.replicas[0].memory_now = 300 * MIB
        await pool.measure_memory()
        await timers.settle()
        error = error_of(call)
        assert isinstance(error, WorkerLost)
        assert "used 300 of 256 MiB" in error.detail
        assert "memory_mib" in (error.hint or "")
        assert pool.stats.out_of_memory == 1


async def test_what_replicas_take_is_learned_and_kept(bundles: Bundles) -> None:
    store = MemoryLearned()
    backend = FakeBackend()
    for number in (1, 2):
        async with Pool(
            backend, clock=SystemClock(), learned=store, settings=PoolSettings(memory_sample_s=None)
        ) as pool:
            await pool.warm_up(named(bundles, "f", number))
            (device,) = pool.devices()
            assert device.memory_bytes - device.free_bytes == int(110 * MIB)
    assert store.content["default/f"] == [100 * MIB, pytest.approx(0.100002)]


async def test_a_warm_up_says_why_it_failed(bundles: Bundles) -> None:
    backend = FakeBackend()
    backend.failures = [StartFailed("no weights")]
    async with fake_pool(backend) as (pool, _):
        with pytest.raises(StartFailed, match="no weights"):
            await pool.warm_up(named(bundles, "f"))


async def test_drain_finishes_what_is_accepted_and_takes_nothing_new(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan, cold = named(bundles, "f"), named(bundles, "cold")
    async with fake_pool(backend) as (pool, timers):
        running = submit(pool, plan)
        await timers.settle()
        draining = asyncio.ensure_future(pool.drain(30.0))
        await timers.settle()
        late = submit(pool, cold)
        await timers.settle()
        assert isinstance(error_of(late), ShuttingDown)
        assert not running.done()
        backend.answer_all()
        await draining
        assert running.result().outcome.error is None
        assert backend.alive() == []


async def test_drain_ends_what_does_not_finish_in_time(bundles: Bundles) -> None:
    backend = FakeBackend()
    async with fake_pool(backend) as (pool, timers):
        running = submit(pool, named(bundles, "f"))
        await timers.settle()
        await pool.drain(0.0)
        assert isinstance(error_of(running), WorkerLost)
        assert backend.alive() == []


async def test_a_start_that_is_under_way_is_given_up_at_the_end(bundles: Bundles) -> None:
    backend = FakeBackend()
    backend.gate = asyncio.Event()
    async with fake_pool(backend) as (pool, timers):
        waiting = submit(pool, named(bundles, "f"))
        await timers.settle()
        await pool.drain(0.0)
        assert isinstance(error_of(waiting), ShuttingDown)
        assert pool.replicas() == []


async def test_a_worker_that_ends_slowly_keeps_its_callers_waiting_for_the_reason_only_briefly(
    bundles: Bundles,
) -> None:
    backend = FakeBackend()
    async with fake_pool(backend) as (pool, timers):
        call = submit(pool, named(bundles, "f"))
        await timers.settle()
        backend.replicas[0].is_slow_to_end = True
        backend.replicas[0].fake.die()
        await timers.settle()
        assert not call.done()
        await timers.advance(0.5)
        assert "closed its socket" in error_of(call).detail
        backend.replicas[0].is_slow_to_end = False
        backend.replicas[0].kill()


async def test_an_adaptive_keep_alive_follows_the_gaps_between_calls(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan = named(bundles, "f", scaling={"keep_alive_s": "adaptive"})
    async with fake_pool(backend) as (pool, timers):
        for _ in range(20):
            submit(pool, plan)
            await timers.settle()
            backend.answer_all()
            await timers.advance(20.0)
        assert len(backend.orders) == 1
        await timers.advance(6 * 3600.0)  # the calls have ended for good
        assert backend.alive() == []
