"""Published policies against cases worked by hand."""

from __future__ import annotations

import math

import pytest

from stoker_pool.forecast.policy import Window
from stoker_pool.ledger import DeviceLedger
from stoker_pool.simulation.baselines.eviction_rules import Belady, GreedyDual, LeastFrequentlyUsed, LeastRecentlyUsed
from stoker_pool.simulation.baselines.fixed import FixedKeepAlive, knative
from stoker_pool.simulation.baselines.hybrid_histogram import HybridHistogram
from stoker_pool.simulation.baselines.oracle import KeepAliveOracle, PrewarmingOracle
from stoker_pool.simulation.trace import trace_of


def told(policy, calls_s, function="f"):  # type: ignore[no-untyped-def]
    """Calls of no duration."""
    for at_s in calls_s:
        policy.note_calls(function, at_s)
        policy.note_idle(function, at_s)
    return policy


def test_a_fixed_keep_alive_counts_from_the_last_end() -> None:
    policy = FixedKeepAlive(600.0)
    policy.note_calls("f", 100.0)
    policy.note_idle("f", 130.0)
    assert policy.windows("f", 130.0) == (Window(130.0, 730.0),)
    assert policy.windows("f", 500.0) == (Window(130.0, 730.0),)
    assert policy.windows("f", 730.0) == policy.windows("other", 1.0) == ()


def test_knative_waits_a_stable_window_and_a_grace_period() -> None:
    assert told(knative(), [10.0]).windows("f", 10.0) == (Window(10.0, 100.0),)


def test_a_histogram_of_one_gap_loads_just_before_and_lets_go_just_after() -> None:
    policy = told(HybridHistogram(), [1000.0 + 605.0 * call for call in range(6)])
    last_s = 1000.0 + 605.0 * 5
    # five idle times of 605 s: bin 10, so 10 min - 10 % and 11 min + 10 %
    (window,) = policy.windows("f", last_s)
    assert window.start_s == pytest.approx(last_s + 540.0)
    assert window.end_s == pytest.approx(last_s + 726.0)
    assert policy.windows("f", last_s + 726.0) == ()


def test_a_histogram_from_the_first_minute_on_stays_loaded() -> None:
    policy = told(HybridHistogram(), [0.0, 10.0, 20.0, 140.0])
    # bins 0, 0, 2: the 5th percentile is bin 0, the 99th bin 2
    assert policy.windows("f", 140.0) == (Window(140.0, pytest.approx(140.0 + 3 * 66.0)),)


def test_without_a_representative_histogram_it_keeps_alive_for_the_whole_range() -> None:
    assert told(HybridHistogram(), [50.0]).windows("f", 50.0) == (Window(50.0, 50.0 + 4 * 3600.0),)
    spread = told(HybridHistogram(4), [0.0, 30.0, 120.0, 270.0, 480.0])  # one idle time in each of four bins: CV 0
    assert spread.windows("f", 480.0) == (Window(480.0, 480.0 + 240.0),)


def test_idle_times_out_of_bounds_are_forecast_with_a_margin() -> None:
    day_s = 86_400.0
    (window,) = told(HybridHistogram(), [0.0, day_s, 2 * day_s]).windows("f", 2 * day_s)
    assert window == Window(2 * day_s + 0.85 * day_s, 2 * day_s + 1.15 * day_s)


def test_calls_that_come_together_have_no_idle_time() -> None:
    policy = HybridHistogram()
    policy.note_calls("f", 0.0, 3)
    policy.note_calls("f", 5.0)  # the first are still running
    policy.note_idle("f", 60.0)
    policy.note_calls("f", 180.0)
    histogram = policy._histograms["f"]
    assert (histogram.bins[0], histogram.bins[2], histogram.total) == (3, 1, 4)


TRACE = trace_of([("f", 0.0, 1, 0.0), ("g", 50.0, 1, 0.0), ("f", 100.0, 1, 0.0), ("f", 1000.0, 1, 0.0)])


def test_the_keep_alive_oracle_stays_exactly_through_the_gaps_that_pay() -> None:
    oracle = told(KeepAliveOracle(TRACE, 600.0), [0.0])
    assert oracle.windows("f", 0.001)[0].contains(100.0)
    assert told(oracle, [100.0]).windows("f", 100.001) == ()


def test_the_prewarming_oracle_is_there_when_the_call_is() -> None:
    (window,) = PrewarmingOracle(TRACE).windows("f", 100.001)
    assert window.start_s == 1000.0
    assert PrewarmingOracle(TRACE).windows("g", 50.001) == ()


BOOKS = DeviceLedger(())


def order(rule, owners, now_s):  # type: ignore[no-untyped-def]
    return sorted(owners, key=lambda owner: rule.priority(owner, now_s))


def test_lru_and_lfu_differ_where_the_frequent_one_was_used_longer_ago() -> None:
    lru, lfu = LeastRecentlyUsed(), LeastFrequentlyUsed()
    for rule in (lru, lfu):
        for owner, at_s in ((1, 1.0), (1, 2.0), (2, 3.0)):
            rule.note_calls(owner, at_s, 1)
    assert order(lru, [1, 2], 4.0) == [1, 2]
    assert order(lfu, [1, 2], 4.0) == [2, 1]


def test_greedy_dual_ages_by_its_clock() -> None:
    rule = GreedyDual(cost_s=20.0, size_mib=10.0)  # cost / size = 2
    for owner in (1, 1, 1, 2):
        rule.note_calls(owner, 0.0, 1)
    assert (rule.priority(1, 0.0), rule.priority(2, 0.0)) == ((6.0,), (2.0,))
    rule.note_evicted(2, 0.0)
    assert rule.clock == 2.0
    for owner in (3, 3, 2):
        rule.note_calls(owner, 0.0, 1)
    # clock 2 + 2 x 2, and clock 2 + 1 x 2: who was evicted starts again with one use
    assert (rule.priority(3, 0.0), rule.priority(2, 0.0)) == ((6.0,), (4.0,))


def test_belady_lets_go_of_what_is_called_last() -> None:
    rule = Belady(TRACE)
    assert rule.priority(0, 60.0) == (-100.0,)
    assert rule.priority(1, 60.0) == (-math.inf,)
    assert order(rule, [0, 1], 60.0) == [1, 0]
