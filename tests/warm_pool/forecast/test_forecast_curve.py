"""Windows from hazards, hand-worked and in general."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker_pool.forecast.curve import MOST_WINDOWS, Curve
from stoker_pool.forecast.levels import HostTier, parking_threshold
from stoker_pool.forecast.policy import Window

EDGES = np.array([0.0, 10.0, 20.0, 50.0, 100.0])
HAZARDS = np.array([0.1, 0.001, 0.02, 0.0001])


def curve() -> Curve:
    return Curve(1000.0, EDGES, np.log(HAZARDS))


def test_loaded_where_the_hazard_is_worth_the_price() -> None:
    assert curve().windows(100.0, 1000.0) == (Window(1000.0, 1010.0), Window(1020.0, 1050.0))


def test_windows_begin_now_at_the_earliest() -> None:
    assert curve().windows(100.0, 1030.0) == (Window(1030.0, 1050.0),)
    assert curve().windows(100.0, 1050.0) == ()


def test_a_high_price_keeps_it_loaded_and_a_low_one_lets_go() -> None:
    assert curve().windows(20_000.0, 1000.0) == (Window(1000.0, 1100.0),)
    assert curve().windows(5.0, 1000.0) == ()


def test_loaded_seconds_are_those_of_the_windows() -> None:
    assert curve().loaded_s(100.0, 5.0, 30.0) == pytest.approx(5.0 + 10.0)
    assert curve().loaded_s(100.0, 30.0, 5.0) == 0.0


@given(
    logs=st.lists(st.floats(-18, 3), min_size=1, max_size=100),
    price_s=st.floats(1.0, 1e7),
    from_age_s=st.floats(0, 5000, width=32),
    to_age_s=st.floats(0, 5000, width=32),
)
def test_what_is_worth_it_and_for_how_long_is_what_the_windows_say(
    logs: list[float], price_s: float, from_age_s: float, to_age_s: float
) -> None:
    given_curve = Curve(0.0, np.arange(len(logs) + 1) * 60.0, np.array(logs))
    windows = [window for window in given_curve.windows(price_s, 0.0) if window.start_s < to_age_s]
    inside = [min(window.end_s, to_age_s) - max(window.start_s, from_age_s) for window in windows]
    assert given_curve.loaded_s(price_s, from_age_s, to_age_s) == pytest.approx(sum(max(each, 0.0) for each in inside))
    assert given_curve.is_worth(price_s, from_age_s) == any(
        window.contains(from_age_s) for window in given_curve.windows(price_s, 0.0)
    )


def test_another_price_is_answered_anew() -> None:
    one = curve()
    assert one.is_worth(100.0, 5.0)
    assert not one.is_worth(5.0, 5.0)
    assert one.is_worth(100.0, 5.0)
    assert one.after(2000.0).windows(100.0, 0.0)[0] == Window(2000.0, 2010.0)


def test_expected_calls_sum_the_hazard() -> None:
    assert curve().expected_calls(0.0, 20.0) == pytest.approx(1.0 + 0.01, rel=0.01)


@given(
    logs=st.lists(st.floats(-18, 3), min_size=1, max_size=300),
    price_s=st.floats(1.0, 1e7),
    now_s=st.floats(-1e9, 1e10),
    from_s=st.floats(0, 4e9),
)
def test_windows_are_sorted_disjoint_finite_and_few(
    logs: list[float], price_s: float, now_s: float, from_s: float
) -> None:
    edges = np.arange(len(logs) + 1) * 60.0
    windows = Curve(from_s, edges, np.array(logs)).windows(price_s, now_s)
    assert len(windows) <= MOST_WINDOWS
    bounds = [bound for window in windows for bound in (window.start_s, window.end_s)]
    assert bounds == sorted(bounds)
    assert len(set(bounds)) == len(bounds)
    assert all(map(math.isfinite, bounds))
    assert all(window.start_s >= now_s for window in windows)


@given(logs=st.lists(st.floats(-18, 3), min_size=1, max_size=40), price_s=st.floats(1.0, 1e6))
def test_a_higher_price_is_never_loaded_for_less(logs: list[float], price_s: float) -> None:
    lasting = Curve(0.0, np.arange(len(logs) + 1) * 60.0, np.array(logs))
    assert lasting.loaded_s(price_s, 0.0, 1e9) <= lasting.loaded_s(2 * price_s, 0.0, 1e9)


def test_condensing_keeps_what_the_hazards_say() -> None:
    edges = np.arange(7) * 10.0
    condensed = Curve.condensed(0.0, edges, np.array([-3.0, -3.01, -3.02, -8.0, -8.04, -5.0]))
    assert condensed.edges.tolist() == [0.0, 30.0, 50.0, 60.0]
    assert condensed.log_hazard.tolist() == [-3.0, -8.0, -5.0]
    assert condensed.log_hazard_at(1e9) == -5.0


def test_parking_pays_from_a_twentieth_of_the_hazard_on() -> None:
    tier = HostTier(second_share=0.05, reload_share=0.15)
    assert parking_threshold(1000.0, tier) == pytest.approx(0.05 / 0.85 / 1000.0)
    assert parking_threshold(1000.0, HostTier(second_share=0.05, reload_share=1.0)) == math.inf


@given(
    hazard=st.floats(0, 10), price_s=st.floats(1, 1e6), second_share=st.floats(0, 2), reload_share=st.floats(0.01, 0.99)
)
def test_parked_is_what_saves_more_than_it_costs(
    hazard: float, price_s: float, second_share: float, reload_share: float
) -> None:
    threshold = parking_threshold(price_s, HostTier(second_share=second_share, reload_share=reload_share))
    gain = hazard * price_s * (1.0 - reload_share) - second_share
    if hazard > threshold * (1 + 1e-9):
        assert gain > 0
    elif hazard < threshold * (1 - 1e-9):
        assert gain < 0
