from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_runtime.arrival_rate import ArrivalRate
from stoker_runtime.cost_model import CostModel


def feed(model: CostModel, a_s: float, b_s: float, times: int) -> None:
    for turn in range(times):
        cost = float(1 + (turn * 7) % 32)
        model.observe(cost, a_s + b_s * cost)


def test_it_finds_the_line() -> None:
    model = CostModel()
    feed(model, 0.01, 0.002, 50)
    assert model.a_s == pytest.approx(0.01, rel=0.01)
    assert model.b_s == pytest.approx(0.002, rel=0.01)


def test_one_outlier_moves_it_little() -> None:
    model = CostModel()
    feed(model, 0.01, 0.002, 50)
    model.observe(16.0, 5.0)
    assert model.predict_s(16.0) == pytest.approx(0.042, rel=0.2)


def test_a_lasting_change_is_learned() -> None:
    model = CostModel()
    feed(model, 0.01, 0.002, 50)
    feed(model, 0.02, 0.006, 150)
    assert model.predict_s(16.0) == pytest.approx(0.116, rel=0.1)


def test_one_size_alone_promises_no_gain() -> None:
    model = CostModel()
    for _ in range(20):
        model.observe(8.0, 0.08)
    assert model.a_s == 0
    assert model.predict_s(16.0) == pytest.approx(0.16)


@given(st.lists(st.tuples(st.floats(0.01, 1e6), st.floats(0, 1e4)), min_size=1, max_size=60))
def test_it_stays_sane(observations: list[tuple[float, float]]) -> None:
    model = CostModel()
    for cost, duration_s in observations:
        model.observe(cost, duration_s)
        assert math.isfinite(model.a_s)
        assert math.isfinite(model.b_s)
        assert model.a_s >= 0
        assert model.b_s >= 0


def test_the_arrival_rate_follows_the_load_and_falls_in_silence() -> None:
    rate = ArrivalRate(0.0)
    for step in range(1, 300):
        rate.note(1, step * 0.01)
    assert rate.per_s(2.99) == pytest.approx(100, rel=0.1)
    assert rate.per_s(12.99) == pytest.approx(0.1)


def test_after_a_pause_the_rate_is_right_at_once() -> None:
    rate = ArrivalRate(0.0)
    rate.note(1, 100.0)
    for step in range(1, 10):
        rate.note(1, 100.0 + step * 0.01)
    assert rate.per_s(100.09) == pytest.approx(100, rel=0.5)
