"""Replicas in host memory: off the device, accounted for, and back for the next call or ahead of it."""

from __future__ import annotations

import pytest
from tests.support.fake_backend import FakeBackend, cpu_of
from tests.support.fake_forecast import FakeForecast
from tests.support.manual_timers import ManualTimers
from tests.support.pool_rig import Bundles, fake_pool, submit

from stoker_pool.devices import MIB, Device, DeviceKind
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool import Pool

GPU = Device(id="gpu0", name="gpu0", kind=DeviceKind.GPU, memory_bytes=8000 * MIB, model="A100")
ADAPTIVE = {"keep_alive_s": "adaptive"}
F, G = "default/f", "default/g"


@pytest.fixture
def bundles() -> Bundles:
    return Bundles()


@pytest.fixture
def forecast() -> FakeForecast:
    known = FakeForecast()
    known.rates = {F: 0.001, G: 0.001}  # at a price of 600 s, as the fake has it, worth host memory
    return known


def backend_of(*, host_mib: int = 64_000) -> FakeBackend:
    backend = FakeBackend(GPU, cpu_of(host_mib))
    backend.parks = True
    return backend


def gpu_plan(bundles: Bundles, name: str = "f", number: int = 1, **options: object) -> RevisionPlan:
    source = f"def {name}(x):\n    return x\n"
    return bundles.plan(source, name, number, **{"gpu": "A100", "memory_mib": 6000, "scaling": ADAPTIVE, **options})


async def served(pool: Pool, timers: ManualTimers, backend: FakeBackend, plan: RevisionPlan):  # type: ignore[no-untyped-def]
    """One call, to its end."""
    call = submit(pool, plan)
    for _ in range(4):  # what must move answers too
        await timers.advance(0.01)
        backend.answer_all()
    await timers.settle()
    assert call.done()
    return call.result()


def states(pool: Pool) -> dict[str, str]:
    return {info.name: info.state for info in pool.replicas()}


def free_mib(pool: Pool) -> dict[str, int]:
    return {device.name: device.free_bytes // MIB for device in pool.devices()}


async def test_who_loses_its_device_is_parked_and_wakes_for_its_next_call(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    backend, f, g = backend_of(), gpu_plan(bundles), gpu_plan(bundles, "g")
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        await served(pool, timers, backend, f)
        assert free_mib(pool) == {"gpu0": 2000, "cpu": 64_000}
        await served(pool, timers, backend, g)
        assert states(pool) == {"f": "parked", "g": "ready"}
        assert free_mib(pool) == {"gpu0": 2000, "cpu": 58_000}
        woken = await served(pool, timers, backend, f)
        assert states(pool) == {"f": "ready", "g": "parked"}
        assert free_mib(pool) == {"gpu0": 2000, "cpu": 58_000}
        assert len(backend.orders) == 2
        assert woken.is_cold
        assert list(woken.cold_phases_ns or {})[-1] == "wake"
    assert backend.alive() == []


async def test_a_window_wakes_a_parked_replica_ahead_of_the_call(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, paid = backend_of(), {**ADAPTIVE, "gpu_second_cost": 1.0, "cold_start_cost": 600.0}
    plan = gpu_plan(bundles, scaling=paid)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        now_s = timers.clock.now().timestamp()
        forecast.plan(F, (now_s, now_s + 60), (now_s + 600, now_s + 660))
        await served(pool, timers, backend, plan)
        await timers.advance(65)
        backend.answer_all()
        await timers.settle()
        assert states(pool) == {"f": "parked"}
        await timers.advance(536)
        backend.answer_all()
        await timers.settle()
        assert states(pool) == {"f": "ready"}
        ahead = await served(pool, timers, backend, plan)
        assert (ahead.is_cold, ahead.is_prewarmed) == (False, True)
        assert len(backend.orders) == 1
        account = pool.warmth.of(F).account
        assert (account.used, account.wasted) == (1, 0)
        assert account.loaded_s == pytest.approx(64, abs=3)  # what it took of the device


async def test_what_is_not_worth_host_memory_leaves(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, f, g = backend_of(), gpu_plan(bundles), gpu_plan(bundles, "g")
    forecast.rates[F] = 0.00005
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        await served(pool, timers, backend, f)
        await served(pool, timers, backend, g)
        assert states(pool) == {"g": "ready"}


async def test_a_parked_replica_leaves_when_it_is_worth_it_no_more(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, f, g = backend_of(), gpu_plan(bundles), gpu_plan(bundles, "g")
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        await served(pool, timers, backend, f)
        await served(pool, timers, backend, g)
        assert states(pool)["f"] == "parked"
        forecast.rates[F] = 0.0
        await timers.advance(1000)
        assert states(pool) == {"g": "ready"}
        assert free_mib(pool)["cpu"] == 64_000


async def test_without_room_in_host_memory_it_leaves(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, f, g = backend_of(host_mib=5000), gpu_plan(bundles), gpu_plan(bundles, "g")
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        await served(pool, timers, backend, f)
        await served(pool, timers, backend, g)
        assert states(pool) == {"g": "ready"}


async def test_host_memory_that_calls_need_is_given_up(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, f, g = backend_of(host_mib=6500), gpu_plan(bundles), gpu_plan(bundles, "g")
    on_cpu = gpu_plan(bundles, "h", gpu=None, memory_mib=2000)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        await served(pool, timers, backend, f)
        await served(pool, timers, backend, g)
        assert states(pool)["f"] == "parked"
        await served(pool, timers, backend, on_cpu)
        assert states(pool) == {"g": "ready", "h": "ready"}


async def test_a_hook_that_fails_costs_the_replica_and_no_call(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, f, g = backend_of(), gpu_plan(bundles), gpu_plan(bundles, "g")
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        await served(pool, timers, backend, f)
        call = submit(pool, g)
        await timers.settle()
        backend.replicas[0].fake.answer(bad={b""})  # what its sleep hook was asked
        for _ in range(3):
            await timers.settle()
            backend.answer_all()
        await timers.settle()
        assert call.done()
        assert states(pool) == {"g": "ready"}
        assert backend.replicas[0].was_killed


async def test_a_worker_that_dies_in_host_memory_is_forgotten(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, f, g = backend_of(), gpu_plan(bundles), gpu_plan(bundles, "g")
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        await served(pool, timers, backend, f)
        await served(pool, timers, backend, g)
        backend.replicas[0].die("killed by someone")
        await timers.settle()
        assert states(pool) == {"g": "ready"}
        assert free_mib(pool)["cpu"] == 64_000
        again = await served(pool, timers, backend, f)
        assert again.is_cold


async def test_a_retired_revision_does_not_stay_in_host_memory(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, f, g = backend_of(), gpu_plan(bundles), gpu_plan(bundles, "g")
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        await served(pool, timers, backend, f)
        await served(pool, timers, backend, g)
        pool.retire("default", "f", {2})
        await timers.advance(1)
        assert states(pool) == {"g": "ready"}
