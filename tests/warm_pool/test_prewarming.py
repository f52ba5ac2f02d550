"""Prewarming under virtual time: replicas come before the call that needs them, within what they may cost."""

from __future__ import annotations

import math
from datetime import datetime, timedelta

import pytest
from tests.support.fake_backend import FakeBackend, cpu_of
from tests.support.fake_forecast import FakeForecast
from tests.support.manual_timers import ManualTimers
from tests.support.pool_rig import Bundles, MemoryLearned, fake_pool, submit

from stoker.errors import StartFailed
from stoker.options import Scaling
from stoker_pool.pool import Pool
from stoker_pool.settings import PoolSettings

ADAPTIVE = {"keep_alive_s": "adaptive"}
F = "default/f"


@pytest.fixture
def bundles() -> Bundles:
    return Bundles()


@pytest.fixture
def forecast() -> FakeForecast:
    return FakeForecast()


def named(bundles: Bundles, name: str = "f", number: int = 1, **options: object):  # type: ignore[no-untyped-def]
    return bundles.plan(f"def {name}(x):\n    return x\n", name, number, **{"scaling": ADAPTIVE, **options})


def unix_s(timers: ManualTimers, later_s: float = 0.0) -> float:
    return timers.clock.now().timestamp() + later_s


async def test_a_replica_is_ready_before_the_expected_call_and_its_receipt_says_so(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    backend, plan = FakeBackend(), named(bundles)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        forecast.plan(F, (unix_s(timers, 100), unix_s(timers, 160)))
        pool.dispatcher(plan)
        await timers.advance(95)
        assert backend.orders == []
        await timers.advance(5)
        assert len(backend.alive()) == 1
        call, later = submit(pool, plan), submit(pool, plan)
        await timers.settle()
        backend.answer_all()
        await timers.settle()
        backend.answer_all()
        await timers.settle()
        assert (call.result().is_cold, call.result().is_prewarmed) == (False, True)
        assert later.result().is_prewarmed is False
        await timers.advance(70)
        assert backend.alive() == []
        account = pool.warmth.of(F).account
        assert (account.used, account.wasted) == (1, 0)
        assert account.loaded_s == pytest.approx(62, abs=1.5)


async def test_a_prewarm_that_nobody_needed_is_counted_as_wasted(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, plan = FakeBackend(), named(bundles)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        forecast.plan(F, (unix_s(timers, 100), unix_s(timers, 160)), (unix_s(timers, 500), unix_s(timers, 510)))
        pool.dispatcher(plan)
        await timers.advance(1000)
        assert backend.most_at_once == 1
        assert len(backend.orders) == 2
        account = pool.warmth.of(F).account
        assert (account.used, account.wasted) == (0, 2)
        assert account.wasted_s == account.waited_s == pytest.approx(72, abs=3)


async def test_calls_are_told_to_the_forecast_at_the_time_they_came(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, plan = FakeBackend(), named(bundles)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        forecast.plan(F, (unix_s(timers, 0), unix_s(timers, 1000)))
        times = []
        for _ in range(5):
            await timers.advance(50)
            times.append(unix_s(timers))
            for _ in range(3):
                submit(pool, plan)
            await timers.advance(2)
            for _ in range(5):
                backend.answer_all()
                await timers.settle()
        await timers.advance(2)
        assert forecast.calls[F] == [(pytest.approx(at_s), 3) for at_s in times]
        assert len(forecast.idle[F]) >= 5
        assert forecast.loads[F] > 0


async def test_a_thousand_calls_in_a_row_ask_the_forecast_a_few_times_only(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    backend, plan = FakeBackend(), named(bundles)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        forecast.plan(F, (unix_s(timers, 0), unix_s(timers, 1000)))
        pool.dispatcher(plan)
        await timers.advance(5)
        asked = forecast.asked
        for _ in range(100):
            call = submit(pool, plan)
            await timers.settle()
            backend.answer_all()
            await timers.advance(0.01)
            assert call.done()
        assert forecast.asked - asked <= 5
        await timers.advance(5)
        assert sum(count for _, count in forecast.calls[F]) == 100


async def test_a_retired_revision_is_never_started_ahead_and_the_new_one_takes_over(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    backend = FakeBackend()
    old, new = named(bundles, number=1), named(bundles, number=2)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        forecast.plan(F, (unix_s(timers, 100), unix_s(timers, 160)))
        submit(pool, old)
        await timers.settle()
        backend.answer_all()
        await timers.advance(10)
        assert backend.alive() == []
        pool.dispatcher(new)
        pool.retire("default", "f", {2})
        await timers.advance(100)
        assert [order.plan.number for order in backend.orders] == [1, 2]


async def test_of_two_live_revisions_the_one_that_gets_the_calls_is_started_ahead(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    backend = FakeBackend()
    stable, canary = named(bundles, number=1), named(bundles, number=2)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        pool.dispatcher(canary)
        submit(pool, stable)
        await timers.settle()
        backend.answer_all()
        await timers.advance(30)
        forecast.plan(F, (unix_s(timers, 1000), unix_s(timers, 1060)))
        await timers.advance(1030)
        assert [order.plan.number for order in backend.orders] == [1, 1]


async def test_an_open_breaker_stops_prewarms_and_one_failure_does_not_use_up_the_tries(
    bundles: Bundles, forecast: FakeForecast
) -> None:
    backend, plan = FakeBackend(), named(bundles)
    backend.failures = [StartFailed("no weights", start_phase="enter")] * 50
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        forecast.plan(F, (unix_s(timers, 10), unix_s(timers, 5000)))
        pool.dispatcher(plan)
        await timers.advance(60)
        assert len(backend.orders) == 1
        assert pool.breaker("default", "f") is None
        await timers.advance(4000)
        assert len(backend.orders) == 3
        assert pool.breaker("default", "f") is not None
        assert pool.warmth.of(F).account.wasted == 3


async def test_a_forecast_that_breaks_costs_its_windows_and_no_call(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, plan = FakeBackend(), named(bundles)
    forecast.is_broken = True
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        call = submit(pool, plan)
        await timers.settle()
        backend.answer_all()
        await timers.advance(5)
        assert call.done()
        assert backend.alive() == []


class SteppedClock:
    """A wall clock that somebody sets, beside a monotonic one that nobody does."""

    def __init__(self, timers: ManualTimers) -> None:
        self._clock = timers.clock
        self.ahead = timedelta()

    def monotonic_s(self) -> float:
        return self._clock.monotonic_s()

    def now(self) -> datetime:
        return self._clock.now() + self.ahead


@pytest.mark.parametrize("hours", [-24 * 400, -1, 1, 24 * 400], ids=lambda hours: f"{hours} h")
async def test_a_wall_clock_that_is_set_costs_no_call_and_starts_nothing_over_and_over(
    bundles: Bundles, hours: int
) -> None:
    timers, backend, plan = ManualTimers(), FakeBackend(), named(bundles)
    clock = SteppedClock(timers)
    settings = PoolSettings(memory_sample_s=None)
    async with Pool(backend, clock=clock, learned=MemoryLearned(), settings=settings, timers=timers) as pool:
        cold = 0
        for step in range(120):
            if step == 60:
                clock.ahead = timedelta(hours=hours)
            call = submit(pool, plan)
            await timers.advance(0.5)
            backend.answer_all()
            await timers.advance(29.5)
            cold += call.result().is_cold
        assert cold <= 12
        assert len(backend.orders) <= 121
        clock.ahead = timedelta()
        await timers.advance(24 * 3600)
        assert backend.alive() == []


# --- what is certain


async def test_an_expected_call_finds_a_replica_also_with_a_fixed_keep_alive(bundles: Bundles) -> None:
    backend, plan = FakeBackend(), named(bundles, scaling={"keep_alive_s": 5})
    async with fake_pool(backend) as (pool, timers):
        pool.dispatcher(plan)
        pool.expect("default", "f", unix_s(timers, 3600), source="schedule nightly")
        await timers.advance(3590)
        assert backend.orders == []
        await timers.advance(10)
        assert len(backend.alive()) == 1
        await timers.advance(40)
        assert backend.alive() == []


async def test_an_expectation_replaces_the_earlier_one_of_its_source_and_can_be_taken_back(bundles: Bundles) -> None:
    backend, plan = FakeBackend(), named(bundles)
    async with fake_pool(backend) as (pool, timers):
        pool.dispatcher(plan)
        pool.expect("default", "f", unix_s(timers, 100), source="job 1")
        pool.expect("default", "f", unix_s(timers, 500), source="job 1")
        pool.expect("default", "f", unix_s(timers, 200), source="job 2")
        pool.unexpect("default", "f", "job 2")
        await timers.advance(400)
        assert backend.orders == []
        await timers.advance(110)
        assert len(backend.orders) == 1
        with pytest.raises(ValueError, match="must be times"):
            pool.expect("default", "f", math.nan, source="job 3")


async def test_an_expected_call_of_a_function_not_seen_yet_is_told_to_who_knows_its_revisions(bundles: Bundles) -> None:
    backend, plan = FakeBackend(), named(bundles)
    async with fake_pool(backend) as (pool, timers):
        pool.on_wanted = lambda namespace, name: (namespace, name) == ("default", "f") and pool.dispatcher(plan)
        pool.expect("default", "f", unix_s(timers, 50), source="schedule")
        await timers.advance(50)
        assert len(backend.alive()) == 1


async def test_named_hours_keep_one_ready_and_no_longer(bundles: Bundles) -> None:
    backend = FakeBackend()
    plan = named(bundles, scaling={"keep_alive_s": 0, "warm": ["00:30-01:00 UTC"]})  # the clock starts at 00:16:40
    async with fake_pool(backend) as (pool, timers):
        pool.dispatcher(plan)
        await timers.advance(700)
        assert backend.orders == []
        await timers.advance(110)
        assert len(backend.alive()) == 1
        submit(pool, plan)
        await timers.settle()
        backend.answer_all()
        await timers.advance(1500)
        assert len(backend.alive()) == 1
        await timers.advance(400)
        assert backend.alive() == []


async def test_hours_that_are_set_at_run_time_hold_at_once(bundles: Bundles) -> None:
    backend, plan = FakeBackend(), named(bundles)
    async with fake_pool(backend) as (pool, timers):
        pool.dispatcher(plan)
        await timers.settle()
        pool.set_scaling("default", "f", Scaling(warm=("00:00-24:00",)))
        await timers.settle()
        assert len(backend.alive()) == 1
        pool.set_scaling("default", "f", Scaling(keep_alive_s=0))
        await timers.settle()
        await timers.advance(5)
        assert backend.alive() == []


async def test_what_a_warm_up_made_ready_waits_for_its_call(bundles: Bundles, forecast: FakeForecast) -> None:
    backend, plan = FakeBackend(), named(bundles)
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        await pool.warm_up(plan)
        await timers.advance(290)
        assert len(backend.alive()) == 1
        await timers.advance(20)
        assert backend.alive() == []


# --- what is kept


class MemoryStore:
    def __init__(self, state: bytes | None = None) -> None:
        self.saved = state

    def load(self) -> bytes | None:
        return self.saved

    def save(self, state: bytes) -> None:
        self.saved = state


async def test_what_was_learned_outlives_the_pool_and_a_damaged_state_starts_anew(bundles: Bundles) -> None:
    store, plan = MemoryStore(), named(bundles)
    backend = FakeBackend()
    async with fake_pool(backend, forecast=FakeForecast(), store=store) as (pool, timers):
        submit(pool, plan)
        await timers.settle()
        backend.answer_all()
        await timers.advance(5)
    assert store.saved == b"learned"
    after, damaged = FakeForecast(), FakeForecast()
    async with fake_pool(FakeBackend(), forecast=after, store=store):
        assert after.restored == b"learned"
    async with fake_pool(FakeBackend(), forecast=damaged, store=MemoryStore(b"lear")) as (pool, timers):
        assert damaged.restored == b""
        submit(pool, plan)
        await timers.settle()


async def test_many_functions_are_known_one_in_a_turn_of_the_loop(bundles: Bundles, forecast: FakeForecast) -> None:
    backend = FakeBackend(cpu_of(64_000))
    names = [f"f{number}" for number in range(20)]
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        for name in names:
            forecast.plan(f"default/{name}", (unix_s(timers), unix_s(timers, 100)))
            pool.know_soon(named(bundles, name))
        pool.forget("default", "f7")
        await timers.settle()
        await timers.advance(0.5)
        assert sorted(info.name for info in pool.replicas()) == sorted(set(names) - {"f7"})


async def test_a_deleted_function_is_forgotten(bundles: Bundles, forecast: FakeForecast) -> None:
    async with fake_pool(FakeBackend(), forecast=forecast) as (pool, timers):
        pool.dispatcher(named(bundles))
        pool.expect("default", "f", unix_s(timers, 10), source="job")
        pool.forget("default", "f")
        await timers.advance(60)
        assert forecast.forgotten == [F]
        assert pool.replicas() == []
