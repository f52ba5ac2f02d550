"""The file that a forecast's state is kept in, and what happens when it was cut short."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.support.fake_backend import FakeBackend
from tests.support.pool_rig import Bundles, fake_pool, submit

from stoker_pool.forecast import state_file
from stoker_pool.forecast.adaptive import AdaptivePolicy
from stoker_pool.forecast.pool_price import PoolGoal
from stoker_pool.forecast.state_file import ForecastFile

MONDAY_S = 1_767_571_200.0
F = "default/f"


def learned() -> AdaptivePolicy:
    policy = AdaptivePolicy(goal=PoolGoal(idle_budget_s=3600.0))
    for step in range(30):
        policy.note_calls(F, MONDAY_S + 900.0 * step)
    return policy


STATE = learned().state()


@settings(max_examples=200, deadline=None)
@given(length=st.integers(0, len(STATE) - 1))
def test_a_state_cut_anywhere_is_refused_and_what_is_known_stays(length: int) -> None:
    policy = AdaptivePolicy()
    policy.note_calls(F, MONDAY_S)
    with pytest.raises(ValueError, match="state"):
        policy.restore(STATE[:length])
    assert policy.status(F) == "learned from 0 gaps between calls"


@pytest.mark.parametrize("kept", [0.0, 0.01, 0.5, 0.999], ids=["empty", "head", "half", "nearly whole"])
async def test_a_platform_starts_anew_on_a_file_cut_short_and_says_so(
    tmp_path: Path, kept: float, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "forecast.state"
    path.write_bytes(STATE[: int(len(STATE) * kept)])
    backend = FakeBackend()
    plan = Bundles().plan("def f(x):\n    return x\n", "f", scaling={"keep_alive_s": "adaptive"})
    with caplog.at_level(logging.WARNING):
        async with fake_pool(backend, store=ForecastFile(path)) as (pool, timers):
            assert "it starts anew" in caplog.text
            assert pool.warmth.forecast.status(F) == ""
            call = submit(pool, plan)
            await timers.settle()
            backend.answer_all()
            await timers.advance(5)
            assert call.done()
    async with fake_pool(FakeBackend(), store=ForecastFile(path)) as (pool, _):
        assert pool.warmth.forecast.status(F) == "learned from 0 gaps between calls"


def test_a_save_that_fails_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = ForecastFile(tmp_path / "deep" / "forecast.state")
    assert file.load() is None
    file.save(b"first")

    def full(source: object, target: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(state_file.os, "replace", full)
    with pytest.raises(OSError, match="no space"):
        file.save(b"second")
    assert file.load() == b"first"


def test_an_absurdly_large_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "forecast.state"
    with open(path, "wb") as file:
        file.truncate(2 * 1024**3)  # sparse: it takes no room
    assert ForecastFile(path).load() is None


def test_the_same_instant_many_times_is_one_burst_and_teaches_no_gap() -> None:
    policy = AdaptivePolicy()
    for _ in range(1000):
        policy.note_calls(F, MONDAY_S)
    policy.note_calls(F, MONDAY_S + 900.0)
    for _ in range(1000):
        policy.note_calls(F, MONDAY_S + 900.0)
    assert policy.status(F) == "learned from 1 gaps between calls"
