"""What people are told about a function's warmth."""

from __future__ import annotations

import pytest
from prometheus_client import generate_latest
from tests.support.fake_backend import FakeBackend
from tests.support.fake_forecast import FakeForecast
from tests.support.pool_rig import Bundles, fake_pool, submit

from stoker.options import Scaling
from stoker_api.control.forecast import document_of
from stoker_api.gateway.counters import GatewayCounters
from stoker_api.metrics import metrics_registry
from stoker_pool.forecast.account import WarmthAccount

F = "default/f"
ADAPTIVE = Scaling(keep_alive_s="adaptive")


async def test_a_report_says_what_is_expected_and_why_it_is_warm() -> None:
    forecast, backend = FakeForecast(), FakeBackend()
    plan = Bundles().plan("def f(x):\n    return x\n", "f", scaling={"keep_alive_s": "adaptive"})
    async with fake_pool(backend, forecast=forecast) as (pool, timers):
        now_s = pool.warmth.now_s()
        forecast.plan(F, (now_s, now_s + 600), (now_s + 5000, now_s + 5100))
        forecast.rates[F] = 0.01
        submit(pool, plan)
        await timers.settle()
        backend.answer_all()
        await timers.advance(100)
        pool.expect("default", "f", now_s + 50, source="job 7", until_s=now_s + 300)
        told = pool.forecast("default", "f", ADAPTIVE)
        assert told.why_warm == ("job 7", "the forecast, for 500 s more")
        assert [reason.source for reason in told.windows] == ["forecast", "job 7", "forecast"]
        assert told.expected_calls[0] == pytest.approx(36.0)
        assert len(told.cold_starts) == 1
        assert told.loaded_s == pytest.approx(100, abs=1)
        assert told.saved_against_always_on_s == pytest.approx(0, abs=1)
        await timers.advance(1100)
        told = pool.forecast("default", "f", ADAPTIVE)
        assert told.why_warm == ()
        assert told.saved_against_always_on_s == pytest.approx(600, abs=2)
        assert told.saved_against_timer_s == pytest.approx(0, abs=2)
        assert pool.accounts()[0][0] == F


async def test_a_fixed_keep_alive_says_how_long_it_has_to_go() -> None:
    backend = FakeBackend()
    plan = Bundles().plan("def f(x):\n    return x\n", "f", scaling={"keep_alive_s": 60})
    async with fake_pool(backend) as (pool, timers):
        call = submit(pool, plan)
        await timers.settle()
        assert pool.forecast("default", "f", plan.options.scaling).why_warm[0] == "calls are queued or in flight"
        backend.answer_all()
        await timers.advance(20)
        assert call.done()
        assert pool.forecast("default", "f", plan.options.scaling).why_warm == ("keep_alive_s has 40 s to go",)


async def test_a_function_never_seen_has_an_empty_report() -> None:
    async with fake_pool(FakeBackend(), forecast=FakeForecast()) as (pool, _):
        told = pool.forecast("default", "unknown", Scaling())
        assert (told.why_warm, told.windows, told.cold_starts, told.loaded_s) == ((), (), (), 0.0)


def test_savings_are_against_ten_minutes_after_each_call() -> None:
    account = WarmthAccount(0.0)
    for at_s in (0.0, 100.0, 50.0, 5000.0):  # one of them late
        account.note_call(at_s)
    assert account.timer_s(5100.0) == 100.0 + 0.0 + 600.0 + 100.0
    assert account.timer_s(9000.0) == 100.0 + 0.0 + 600.0 + 600.0


async def test_a_forecast_that_is_turned_off_says_so_in_the_report_the_document_and_the_metrics() -> None:
    forecast = FakeForecast()
    forecast.off = {F, "default/fixed"}
    async with fake_pool(FakeBackend(), forecast=forecast) as (pool, _):
        for name, keep_alive_s in (("f", "adaptive"), ("good", "adaptive"), ("fixed", 60)):
            pool.dispatcher(
                Bundles().plan(f"def {name}(x):\n    return x\n", name, scaling={"keep_alive_s": keep_alive_s})
            )
        assert pool.forecast("default", "f", ADAPTIVE).is_off
        assert document_of(pool.forecast("default", "f", ADAPTIVE))["off"] is True
        assert not pool.forecast("default", "good", ADAPTIVE).is_off
        scraped = generate_latest(metrics_registry(pool, GatewayCounters())).decode()
        told = {line for line in scraped.splitlines() if line.startswith("stoker_forecast_off{")}
        assert told == {
            'stoker_forecast_off{function="f",namespace="default"} 1.0',
            'stoker_forecast_off{function="good",namespace="default"} 0.0',
        }
        pool.retire("default", "f", set())
        assert [function for function, _ in pool.forecasts_off()] == ["default/good"]


async def test_the_platform_s_goal_is_the_price_of_functions_that_state_none() -> None:
    async with fake_pool(FakeBackend(), cold_start_target=0.01, idle_budget_s=3600.0) as (pool, _):
        own = {"keep_alive_s": "adaptive", "warmth": "frugal"}
        for name, scaling in (("f", {"keep_alive_s": "adaptive"}), ("own", own)):
            pool.dispatcher(Bundles().plan(f"def {name}(x):\n    return x\n", name, scaling=scaling))
        told = document_of(pool.forecast("default", "f", ADAPTIVE))
        assert told["price_from"] == "one price for all, at most 1 % of calls cold, at most 3600 idle seconds per hour"
        assert told["price_s"] == 1800.0
        told = document_of(pool.forecast("default", "own", Scaling(keep_alive_s="adaptive", warmth="frugal")))
        assert (told["price_from"], told["price_s"]) == ("", 300.0)
