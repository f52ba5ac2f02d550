"""Prices, contests, chains and histories, each alone."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.options import Scaling
from stoker_pool.forecast.chains import Chains
from stoker_pool.forecast.contest import Contest
from stoker_pool.forecast.features import LONG_GRID, QUICK_GRID, SHORT_GRID, VARYING, ages, features
from stoker_pool.forecast.hazard_net import HazardNet
from stoker_pool.forecast.history import (
    BURST_S,
    HISTOGRAM_BINS,
    HISTOGRAM_PER_OCTAVE,
    REMEMBERED,
    FunctionHistory,
)
from stoker_pool.forecast.pooled import EDGES_S, PooledHazard, class_of
from stoker_pool.forecast.prices import LEAST_PRICE_S, MOST_PRICE_S, PriceSearch, bounded, price_of


@pytest.mark.parametrize("grid", [QUICK_GRID, SHORT_GRID, LONG_GRID], ids=["quick", "short", "long"])
def test_grids_rise_and_reach_beyond_a_week(grid: np.ndarray) -> None:
    assert (np.diff(grid) > 0).all()
    assert grid[0] == 0.0
    assert grid[-1] > 7 * 86_400


def test_money_gives_the_price() -> None:
    costs = Scaling(keep_alive_s="adaptive", gpu_second_cost=0.001, cold_start_cost=2.0)
    assert price_of(costs) == 2000.0
    assert price_of(Scaling(keep_alive_s="adaptive", cold_start_target=0.01)) is None
    assert price_of(Scaling(keep_alive_s="adaptive")) == price_of(Scaling(keep_alive_s="adaptive", warmth="balanced"))


@given(price_s=st.floats())
def test_prices_are_bounded(price_s: float) -> None:
    assert LEAST_PRICE_S <= bounded(price_s) <= MOST_PRICE_S


def test_the_search_finds_the_least_price_that_meets_the_target() -> None:
    search = PriceSearch()
    for _ in range(9000):
        search.note(100.0, 1)
    for _ in range(900):
        search.note(1000.0, 1)
    for _ in range(100):
        search.note(50_000.0, 1)
    assert 100.0 < search.price_s(0.10) < 200.0
    assert 1000.0 < search.price_s(0.01) < 1500.0
    assert 50_000.0 < search.price_s(0.001) < 80_000.0


GAPS = st.lists(st.tuples(st.floats(1.0, 1e7), st.integers(1, 50)), min_size=1, max_size=60)


@given(gaps=GAPS, target=st.floats(1e-4, 1.0))
def test_at_the_price_found_the_target_was_met(gaps: list[tuple[float, int]], target: float) -> None:
    search = PriceSearch()
    for critical_s, calls in gaps:
        search.note(critical_s, calls)
    price_s = search.price_s(target)
    cold = sum(critical_s > price_s for critical_s, _ in gaps)
    calls = sum(count for _, count in gaps)
    assert cold <= target * calls + 1.0 + 1e-9 or price_s == MOST_PRICE_S


@given(gaps=GAPS, target=st.floats(1e-3, 1.0))
def test_the_price_rises_with_misses_and_falls_with_calls_and_swings_no_further(
    gaps: list[tuple[float, int]], target: float
) -> None:
    search = PriceSearch()
    for critical_s, calls in gaps:
        search.note(critical_s, calls)
    before_s = search.price_s(target)
    search.note(None, 100)
    warmer_s = search.price_s(target)
    assert warmer_s <= before_s
    search.note(1e12, 0)
    assert search.price_s(target) >= warmer_s
    assert search.price_s(target) == search.price_s(target)


def test_one_long_gap_among_few_calls_is_no_reason_to_stay_for_days() -> None:
    search = PriceSearch()
    for _ in range(10):
        search.note(100.0, 1)
    search.note(1e9, 1)
    assert search.price_s(0.01) < 200.0


def test_the_stricter_target_has_the_higher_price() -> None:
    search = PriceSearch()
    for step in range(1000):
        search.note(math.exp(step % 13), 2)
    prices = [search.price_s(target) for target in (0.5, 0.1, 0.02, 0.001)]
    assert prices == sorted(prices)


def test_a_contest_needs_proof_and_can_be_won_back() -> None:
    contest = Contest()
    for _ in range(19):
        contest.note(idle_s=100.0, loaded_s=0.0, is_cold=True, price_s=500.0)
    assert not contest.is_lost
    contest.note(idle_s=100.0, loaded_s=0.0, is_cold=True, price_s=500.0)
    assert contest.is_lost
    for _ in range(200):
        contest.note(idle_s=100.0, loaded_s=5.0, is_cold=False, price_s=500.0)
    assert not contest.is_lost


def test_one_unlucky_start_does_not_lose_a_contest() -> None:
    contest = Contest()
    for _ in range(50):
        contest.note(idle_s=300.0, loaded_s=20.0, is_cold=False, price_s=900.0)
    contest.note(idle_s=300.0, loaded_s=20.0, is_cold=True, price_s=900.0)
    assert not contest.is_lost


def _away(follower: str, at_s: float) -> bool:
    return True


def test_chains_stay_bounded() -> None:
    chains = Chains()
    for step in range(3000):
        chains.note_burst(f"f{step * 7919 % 211}", step * 3.0, _away)
    assert max(len(links) for links in chains._links.values()) <= 2
    assert max(len(names) for names in chains._followers.values()) <= 16
    for number in range(211):
        chains.forget(f"f{number}")
    assert not chains._links
    assert not any(chains._followers.values())


def test_what_does_not_follow_is_not_expected() -> None:
    chains = Chains()
    for step in range(40):
        chains.note_burst("a", step * 5000.0, _away)
        if step % 8 == 0:
            chains.note_burst("b", step * 5000.0 + 30.0, _away)
    chains.note_burst("a", 1e6, _away)
    assert chains.window("b", 600.0, 1e6) is None


def test_what_follows_at_any_lag_is_no_chain() -> None:
    chains = Chains()
    for step in range(60):
        chains.note_burst("a", step * 5000.0, _away)
        chains.note_burst("b", step * 5000.0 + (10.0, 110.0, 60.0)[step % 3], _away)
    chains.note_burst("a", 1e6, _away)
    assert chains.window("b", 60.0, 1e6) is None


def test_a_follower_that_is_there_anyway_teaches_no_chain() -> None:
    chains = Chains()
    for step in range(40):
        chains.note_burst("a", step * 5000.0, lambda follower, at_s: False)
        chains.note_burst("b", step * 5000.0 + 30.0, lambda follower, at_s: False)
    assert chains.note_burst("a", 1e6, _away) == []
    assert chains.window("b", 600.0, 1e6) is None


def test_a_history_remembers_the_last_gaps_only() -> None:
    history = FunctionHistory(0.0)
    at_s = 0.0
    for step in range(1000):
        at_s += 20.0 + step
        assert history.note(at_s, 1) == pytest.approx(20.0 + step)
    assert history.gaps.tolist() == [20.0 + step for step in range(1000 - REMEMBERED, 1000)]
    assert history.bursts == 1000


def test_a_history_counts_a_clock_minute_once_an_hour() -> None:
    history = FunctionHistory(0.0)
    for hour in range(10):
        for second in (0.0, 20.0, 40.0):
            history.note(hour * 3600.0 + 300.0 + second, 1)
    assert float(history.minute[5]) == 10.0
    assert float(history.minute.sum()) == 11.0  # and the first call of all


def test_old_minutes_fade() -> None:
    history = FunctionHistory(0.0)
    for hour in range(1, 2000):
        history.note(hour * 3600.0 + 300.0, 1)
    assert float(history.minute[5]) < 80.0


def test_open_gaps_lower_the_pooled_hazard() -> None:
    pooled = PooledHazard()
    before = pooled.hazard(0, np.array([5000.0]))[0]
    for _ in range(1000):
        pooled.note_waiting(0, 0.0, 100_000.0)
    assert pooled.hazard(0, np.array([5000.0]))[0] < 0.2 * before


@given(from_s=st.floats(0.0, 1e9), to_s=st.floats(0.0, 1e9))
def test_each_second_of_waiting_is_counted_in_its_own_bin(from_s: float, to_s: float) -> None:
    pooled, before = PooledHazard(), PooledHazard().exposure_s
    pooled.note_waiting(5, from_s, to_s)
    passed = np.clip(np.diff(np.minimum(EDGES_S, max(to_s, from_s)).clip(from_s)), 0.0, None)
    assert pooled.exposure_s[class_of(5)] - before[class_of(5)] == pytest.approx(passed, abs=1e-3)


@pytest.mark.parametrize(("gaps", "kind"), [(0, 0), (1, 1), (2, 2), (3, 2), (4, 3), (10**9, 11)])
def test_classes_double(gaps: int, kind: int) -> None:
    assert class_of(gaps) == kind


def test_a_gap_is_regular_among_many_of_its_kind() -> None:
    history = FunctionHistory(0.0)
    for step in range(1, 16):
        history.note(step * 300.0, 1)
    assert not history.is_regular(300.0)  # too few to go by
    history.note(16 * 300.0, 1)
    assert history.is_regular(300.0)
    assert history.is_regular(310.0)
    assert not history.is_regular(360.0)


def test_the_long_estimates_go_by_the_histogram_between_the_ends_of_its_bins() -> None:
    history, pooled = FunctionHistory(0.0), PooledHazard()
    for step in range(1, 41):
        history.note(history.last_s + 20.0 * step, 1)
    edges = ages(history)
    bin_ends = BURST_S * 2.0 ** (np.arange(HISTOGRAM_BINS + 1) / HISTOGRAM_PER_OCTAVE)
    below = np.concatenate([[0.0], np.cumsum(history.histogram.astype(np.float64))])
    shorter = np.interp(np.log(0.5 * (edges[1:] + edges[:-1])), np.log(bin_ends), below)
    left = np.exp(features(history, pooled, edges).varying[VARYING.index("long_left")])
    assert left == pytest.approx(below[-1] + 0.1 - shorter, abs=2e-3)


@given(gaps=st.lists(st.floats(15.0, 1e8), max_size=150))
def test_estimates_are_finite_for_any_gaps(gaps: list[float]) -> None:
    history, pooled, at_s = FunctionHistory(0.0), PooledHazard(), 0.0
    for gap_s in gaps:
        at_s += gap_s
        history.note(at_s, 1)
    edges = ages(history)
    estimates = features(history, pooled, edges)
    assert estimates.varying.shape == (len(VARYING), len(edges) - 1)
    assert np.isfinite(estimates.varying).all()
    assert np.isfinite(estimates.constant).all()
    assert np.isfinite(HazardNet.shipped().log_hazard(estimates)).all()
