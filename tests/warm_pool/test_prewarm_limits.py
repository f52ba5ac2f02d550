"""What prewarming may cost: budgets, others' room, and idle devices, under virtual time."""

from __future__ import annotations

import pytest
from tests.support.fake_backend import FakeBackend, cpu_of
from tests.support.fake_forecast import FakeForecast
from tests.support.pool_rig import Bundles, fake_pool, submit
from tests.warm_pool.test_prewarming import ADAPTIVE, F, named, unix_s

from stoker.errors import StartFailed
from stoker.options import Scaling
from stoker_pool.devices import MIB, Device, DeviceKind


@pytest.fixture
def bundles() -> Bundles:
    return Bundles()


@pytest.fixture
def forecast() -> FakeForecast:
    return FakeForecast()


async def test_prewarms_stop_when_their_budget_is_spent_and_come_back_with_it(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    backend = FakeBackend()
    plan = named(bundles, scaling={**ADAPTIVE, "prewarm_budget_s": 100})
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        start_s = unix_s(timers)
        forecast.plan(F, (start_s, start_s + 40_000))
        pool.dispatcher(plan)
        await timers.advance(150)
        assert backend.alive() == []
        await timers.advance(10 * 3600 - 150)
        account = pool.warmth.of(F).account
        assert account.wasted >= 2
        assert account.waited_s <= 100 * 11 + 10


async def test_a_budget_of_nothing_prewarms_nothing_but_keeps_what_calls_brought(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    backend = FakeBackend()
    plan = named(bundles, scaling={**ADAPTIVE, "prewarm_budget_s": 0})
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        forecast.plan(F, (unix_s(timers, 0), unix_s(timers, 500)))
        pool.dispatcher(plan)
        await timers.advance(100)
        assert backend.orders == []
        submit(pool, plan)
        await timers.settle()
        backend.answer_all()
        await timers.advance(300)
        assert len(backend.alive()) == 1
        await timers.advance(200)
        assert backend.alive() == []


async def test_a_prewarm_evicts_only_what_is_clearly_worth_less(bundles: Bundles, forecast: FakeForecast) -> None:
    backend = FakeBackend(cpu_of(500))
    forecast.rates = {
        F: 0.01,
        "default/dear": 0.08,
        "default/cheap": 0.01,
    }  # those that ran load in a tenth of the time
    dear, cheap, plan = (named(bundles, name, memory_mib=300) for name in ("dear", "cheap", "f"))
    for there, is_evicted in ((dear, False), (cheap, True)):
        async with fake_pool(backend, forecast=forecast) as (pool, timers):
            for name in ("dear", "cheap", "f"):
                forecast.plan(f"default/{name}", (unix_s(timers, 50 if name == "f" else 0), unix_s(timers, 1000)))
            submit(pool, there)
            await timers.settle()
            backend.answer_all()
            pool.dispatcher(plan)
            await timers.advance(100)
            assert bool(backend.alive("f")) is is_evicted
            assert bool(backend.alive(there.name)) is not is_evicted


async def test_a_prewarm_takes_no_room_that_another_was_promised(bundles: Bundles, forecast: FakeForecast) -> None:
    backend = FakeBackend(cpu_of(500))
    backend.failures = [StartFailed("not yet", start_phase="enter")] * 3
    kept = named(bundles, "kept", memory_mib=300, scaling={"min_replicas": 1})
    plan = named(bundles, memory_mib=300)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        pool.dispatcher(kept)
        await timers.settle()
        assert pool.breaker("default", "kept") is not None
        forecast.plan(F, (unix_s(timers, 0), unix_s(timers, 1000)))
        pool.dispatcher(plan)
        await timers.advance(100)
        assert backend.alive() == []
        pool.retry("default", "kept")
        await timers.settle()
        assert len(backend.alive("kept")) == 1
        pool.set_scaling("default", "kept", Scaling(keep_alive_s=0))
        await timers.advance(100)
        assert len(backend.alive("f")) == 1


async def test_calls_evict_what_will_be_used_last_by_the_forecast_not_what_was_used_last(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    backend = FakeBackend(cpu_of(700))
    soon, late, wanted = (named(bundles, name, memory_mib=300) for name in ("soon", "late", "wanted"))
    forecast.rates = {"default/soon": 0.1, "default/late": 0.001}
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        for name in ("soon", "late"):
            forecast.plan(f"default/{name}", (unix_s(timers, 0), unix_s(timers, 1000)))
        for plan in (soon, late):  # soon is the least recently used
            submit(pool, plan)
            await timers.settle()
            backend.answer_all()
            await timers.advance(20)
        submit(pool, wanted)
        await timers.settle()
        assert [len(backend.alive(name)) for name in ("soon", "late", "wanted")] == [1, 0, 1]


async def test_an_adaptive_function_stays_on_a_gpu_that_nobody_wants_unless_seconds_are_paid_for(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    gpu = Device(id="gpu0", name="gpu0", kind=DeviceKind.GPU, memory_bytes=8000 * MIB, model="A100")
    paid = {**ADAPTIVE, "gpu_second_cost": 0.001, "cold_start_cost": 0.1}
    for scaling, stays in ((ADAPTIVE, True), (paid, False), ({"keep_alive_s": 10}, False)):
        backend = FakeBackend(gpu)
        plan = named(bundles, gpu="A100", memory_mib=8000, scaling=scaling)
        other = named(bundles, "other", gpu="A100", memory_mib=8000)
        async with fake_pool(backend, forecast=forecast) as (pool, timers):
            submit(pool, plan)
            await timers.settle()
            backend.answer_all()
            await timers.advance(5000)
            assert bool(backend.alive("f")) is stays
            submit(pool, other)
            await timers.settle()
            assert len(backend.alive("other")) == 1
