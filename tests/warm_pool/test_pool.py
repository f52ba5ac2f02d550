"""The pool under virtual time, over a backend in memory."""

from __future__ import annotations

import asyncio

import pytest
from tests.support.fake_backend import FakeBackend, cpu_of
from tests.support.pool_rig import Bundles, error_of, fake_pool, submit

from stoker.errors import BundleTampered, CrashLooping, NoCapacity, StartFailed
from stoker.options import Scaling
from stoker_pool.devices import MIB, Device, DeviceKind

KEEP = {"keep_alive_s": 60}


@pytest.fixture
def bundles() -> Bundles:
    return Bundles()


def named(bundles: Bundles, name: str, number: int = 1, **options: object):  # type: ignore[no-untyped-def]
    return bundles.plan(f"def {name}(x):\n    return x\n", name, number, **{"scaling": KEEP, **options})


async def test_callers_are_held_for_one_start_and_told_its_phases(bundles: Bundles) -> None:
    backend = FakeBackend()
    backend.gate = asyncio.Event()
    plan = named(bundles, "f")
    async with fake_pool(backend) as (pool, timers):
        calls = [submit(pool, plan) for _ in range(50)]
        await timers.advance(5.0)
        assert len(backend.orders) == 1
        backend.gate.set()
        await timers.settle()
        for _ in calls:
            backend.answer_all()
            await timers.settle()
        assert all(call.done() for call in calls)
        assert len(backend.orders) == 1
        assert pool.stats.cold_phase_ns["enter"] == 90_000_000
        assert {"place", "fork", "enter"} <= set(calls[0].result().cold_phases_ns or {})


async def test_the_last_replica_drains_when_its_keep_alive_has_passed(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan = named(bundles, "f")
    async with fake_pool(backend) as (pool, timers):
        submit(pool, plan)
        await timers.settle()
        await timers.advance(50.0)
        backend.answer_all()
        await timers.advance(59.0)
        assert len(backend.alive()) == 1
        await timers.advance(1.5)
        assert backend.alive() == []
        assert backend.replicas[0].was_stopped


async def test_with_no_keep_alive_it_drains_as_soon_as_it_is_idle(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan = named(bundles, "f", scaling={"keep_alive_s": 0})
    async with fake_pool(backend) as (pool, timers):
        call = submit(pool, plan)
        await timers.settle()
        backend.answer_all()
        await timers.settle()
        assert call.done()
        assert backend.alive() == []


async def test_load_over_time_never_passes_max_replicas(bundles: Bundles) -> None:
    backend = FakeBackend(cpu_of(4096))
    plan = named(bundles, "f", scaling={"max_replicas": 3, "target_concurrency": 1, **KEEP})
    async with fake_pool(backend) as (pool, timers):
        for step in range(40):
            submit(pool, plan, step)
            await timers.advance(0.5)
            if step % 7 == 6:
                backend.alive()[0].die("crashed")
        assert backend.most_at_once == 3
        for _ in range(60):
            backend.answer_all()
            await timers.settle()
        await timers.advance(200.0)
        assert backend.alive() == []


async def test_min_replicas_are_there_without_a_call_and_come_back(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan = named(bundles, "f", scaling={"min_replicas": 2, **KEEP})
    async with fake_pool(backend) as (pool, timers):
        pool.dispatcher(plan)
        await timers.advance(300.0)
        assert len(backend.alive()) == 2
        submit(pool, plan)
        await timers.settle()
        backend.answer_all()
        backend.alive()[0].die("crashed")
        await timers.settle()
        assert len(backend.alive()) == 2


async def test_a_buffer_is_ready_beside_what_is_used(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan = named(bundles, "f", scaling={"buffer_replicas": 1, **KEEP})
    async with fake_pool(backend) as (pool, timers):
        submit(pool, plan)
        await timers.settle()
        assert len(backend.alive()) == 2


async def test_only_idle_replicas_are_evicted(bundles: Bundles) -> None:
    backend = FakeBackend(cpu_of(1000))
    busy, idle, third = (named(bundles, name, memory_mib=400) for name in ("busy", "idle", "third"))
    async with fake_pool(backend) as (pool, timers):
        held = submit(pool, busy)
        submit(pool, idle)
        await timers.settle()
        backend.alive("idle")[0].fake.answer_all()
        waiting = submit(pool, third)
        await timers.settle()
        assert len(backend.alive("busy")) == 1
        assert backend.alive("idle") == []
        assert len(backend.alive("third")) == 1
        assert not held.done()
        assert not waiting.done()
        assert pool.stats.evictions == 1


async def test_who_finds_no_room_waits_until_a_busy_one_is_idle(bundles: Bundles) -> None:
    backend = FakeBackend(cpu_of(500))
    first, second = (named(bundles, name, memory_mib=400) for name in ("first", "second"))
    async with fake_pool(backend) as (pool, timers):
        held = submit(pool, first)
        await timers.settle()
        waiting = submit(pool, second)
        await timers.advance(5.0)
        assert len(backend.alive("first")) == 1
        backend.answer_all()
        await timers.settle()
        backend.answer_all()
        await timers.settle()
        assert held.done()
        assert waiting.done()
        assert [replica.name for replica in pool.replicas()] == ["second"]


async def test_surplus_replicas_make_room_for_a_function_that_has_none(bundles: Bundles) -> None:
    backend = FakeBackend(cpu_of(800))
    scaling = {"max_replicas": 2, "target_concurrency": 1, **KEEP}
    greedy = named(bundles, "greedy", memory_mib=400, scaling=scaling)
    other = named(bundles, "other", memory_mib=400)
    async with fake_pool(backend) as (pool, timers):
        calls = [submit(pool, greedy) for _ in range(2)]
        await timers.settle()
        assert len(backend.alive("greedy")) == 2
        waiting = submit(pool, other)
        await timers.settle()
        assert len(backend.alive("greedy")) == 2
        backend.answer_all()
        await timers.settle()
        backend.answer_all()
        await timers.settle()
        assert all(call.result().outcome.error is None for call in (*calls, waiting))


async def test_a_new_revision_without_room_drains_the_old_one(bundles: Bundles) -> None:
    backend = FakeBackend(cpu_of(500))
    old, new = (named(bundles, "f", number, memory_mib=400) for number in (1, 2))
    async with fake_pool(backend) as (pool, timers):
        running = submit(pool, old)
        await timers.settle()
        held = submit(pool, new)
        pool.retire("default", "f", {2})
        await timers.settle()
        assert pool.replicas()[0].state == "draining"
        backend.answer_all()
        await timers.settle()
        backend.answer_all()
        await timers.settle()
        assert running.result().outcome.error is None
        assert held.result().outcome.error is None
        assert [replica.revision for replica in pool.replicas()] == [2]


async def test_a_retired_revision_drains_when_its_calls_are_answered(bundles: Bundles) -> None:
    backend = FakeBackend()
    old, new = (named(bundles, "f", number, scaling={"min_replicas": 1, **KEEP}) for number in (1, 2))
    async with fake_pool(backend) as (pool, timers):
        calls = [submit(pool, old) for _ in range(3)]
        pool.dispatcher(new)
        await timers.settle()
        pool.retire("default", "f", {2})
        for _ in range(3):
            await timers.settle()
            backend.answer_all()
        await timers.settle()
        assert all(call.result().outcome.error is None for call in calls)
        assert [replica.revision for replica in pool.replicas()] == [2]


async def test_a_retired_revision_that_is_called_by_its_number_stays_warm(bundles: Bundles) -> None:
    backend = FakeBackend()
    old, new = (named(bundles, "f", number, scaling=KEEP) for number in (1, 2))
    async with fake_pool(backend) as (pool, timers):
        pool.dispatcher(new)
        pool.dispatcher(old)
        pool.retire("default", "f", {2})
        for _ in range(2):
            submit(pool, old)
            await timers.settle()
            backend.answer_all()
            await timers.settle()
        assert [replica.revision for replica in pool.replicas()] == [1]
        assert len(backend.orders) == 1


async def test_three_failed_starts_stop_it_and_say_why(bundles: Bundles) -> None:
    backend = FakeBackend()
    backend.failures = [StartFailed("no weights", start_phase="enter", log_tail="last words") for _ in range(4)]
    plan = named(bundles, "f", scaling={"min_replicas": 1, **KEEP})
    async with fake_pool(backend) as (pool, timers):
        call = submit(pool, plan)
        await timers.advance(100.0)
        error = error_of(call)
        assert isinstance(error, CrashLooping)
        assert error.log_tail == "last words"
        assert len(backend.orders) == 3
        with pytest.raises(CrashLooping):
            await pool.warm_up(plan)
        breaker = pool.breaker("default", "f")
        assert breaker is not None
        assert (breaker.revision, breaker.failures, breaker.reason) == (1, 3, "no weights")
        backend.failures = []
        pool.retry("default", "f")
        await timers.settle()
        assert len(backend.alive()) == 1
        assert pool.breaker("default", "f") is None


async def test_replicas_that_die_before_their_first_call_count_as_failed_starts(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan = named(bundles, "f", scaling={"min_replicas": 1, **KEEP})
    async with fake_pool(backend) as (pool, timers):
        pool.dispatcher(plan)
        for _ in range(5):
            await timers.settle()
            for replica in backend.alive():
                replica.die("killed by SIGSEGV")
        await timers.settle()
        assert len(backend.orders) == 3
        breaker = pool.breaker("default", "f")
        assert breaker is not None
        assert "SIGSEGV" in breaker.reason


async def test_a_tampered_bundle_is_told_at_once(bundles: Bundles) -> None:
    backend = FakeBackend()
    backend.failures = [BundleTampered("the hash does not fit")]
    async with fake_pool(backend) as (pool, timers):
        call = submit(pool, named(bundles, "f"))
        await timers.settle()
        assert isinstance(error_of(call), BundleTampered)
        assert len(backend.orders) == 1


async def test_what_can_never_fit_is_refused_with_what_there_is(bundles: Bundles) -> None:
    async with fake_pool(FakeBackend(cpu_of(100))) as (pool, timers):
        call = submit(pool, named(bundles, "f", memory_mib=400))
        await timers.settle()
        error = error_of(call)
        assert isinstance(error, NoCapacity)
        assert "400 MiB" in error.detail
        assert "cpu (100 MiB)" in (error.hint or "")


async def test_gpus_are_read_again_before_a_function_is_refused(bundles: Bundles) -> None:
    backend = FakeBackend(cpu_of(100))
    async with fake_pool(backend) as (pool, timers):
        gpu = Device(id="GPU-1", name="gpu0", kind=DeviceKind.GPU, memory_bytes=40_000 * MIB, model="NVIDIA A100")
        backend.devices = (cpu_of(100), gpu)
        submit(pool, named(bundles, "f", gpu="A100"))
        await timers.settle()
        assert [device.id for device in backend.orders[0].devices] == ["GPU-1"]
        assert pool.replicas()[0].device == "gpu0"


async def test_an_override_of_scaling_outlives_a_new_revision(bundles: Bundles) -> None:
    backend = FakeBackend()
    async with fake_pool(backend) as (pool, timers):
        pool.set_scaling("default", "f", Scaling(min_replicas=2))
        pool.dispatcher(named(bundles, "f"))
        await timers.settle()
        assert len(backend.alive()) == 2
        pool.dispatcher(named(bundles, "f", 2))
        pool.retire("default", "f", {2})
        await timers.settle()
        assert sorted(replica.revision for replica in pool.replicas()) == [2, 2]
        pool.set_scaling("default", "f", None)
        await timers.advance(61.0)
        assert backend.alive() == []
