"""One price for all functions that state nothing of their own."""

from __future__ import annotations

import itertools
import json
import math
import random
import struct
import zlib

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from stoker.options import Scaling
from stoker_pool.forecast.adaptive import AdaptivePolicy
from stoker_pool.forecast.curve import Curve
from stoker_pool.forecast.idle_search import IdleSearch, idle_by_step
from stoker_pool.forecast.policy import Windows
from stoker_pool.forecast.pool_price import RESTS_S, PoolGoal, PoolPrice, is_of_pool
from stoker_pool.forecast.prices import LEAST_PRICE_S, MOST_PRICE_S, STEPS, WARMTH_PRICES_S, price_of_step

MONDAY_S = 1_767_571_200.0
UNSTATED = Scaling(keep_alive_s="adaptive")
BALANCED_S = WARMTH_PRICES_S["balanced"]
HOUR_S = 3600.0

curves = st.lists(st.tuples(st.floats(1.0, 5000.0), st.floats(-16.0, 1.0)), min_size=1, max_size=30).map(
    lambda cells: Curve.condensed(
        0.0,
        np.concatenate([[0.0], np.cumsum([width_s for width_s, _ in cells])]),
        np.array([log_hazard for _, log_hazard in cells]),
    )
)
gaps = st.lists(
    st.tuples(curves, st.floats(0.0, 4000.0), st.floats(1.0, 30_000.0), st.floats(1.0, 9000.0)), min_size=1, max_size=12
)


@given(curve=curves, from_s=st.floats(0.0, 6000.0), to_s=st.floats(0.0, 90_000.0))
def test_each_price_step_has_the_idle_seconds_of_its_windows(curve: Curve, from_s: float, to_s: float) -> None:
    spent_s = np.cumsum(idle_by_step(curve, from_s, to_s))
    for step in range(STEPS):
        assert spent_s[step] == pytest.approx(curve.loaded_s(price_of_step(step), from_s, to_s), rel=1e-5, abs=1e-3)


def watched(noted: list[tuple[Curve, float, float, float]]) -> IdleSearch:
    search, at_s = IdleSearch(), MONDAY_S
    for curve, from_s, to_s, pause_s in noted:
        at_s += pause_s
        search.watch(at_s)
        search.note(curve, from_s, to_s)
    return search


@given(noted=gaps, budgets=st.lists(st.floats(0.0, 1e6), min_size=2, max_size=6))
def test_a_larger_budget_never_has_a_lower_price(
    noted: list[tuple[Curve, float, float, float]], budgets: list[float]
) -> None:
    search = watched(noted)
    prices = [search.price_s(budget_s) for budget_s in sorted(budgets)]
    assert prices == sorted(prices)
    assert all(LEAST_PRICE_S <= price_s <= MOST_PRICE_S for price_s in prices)


@given(noted=gaps, budget_s=st.floats(0.0, 1e5))
def test_the_price_keeps_within_the_budget_and_the_next_one_does_not(
    noted: list[tuple[Curve, float, float, float]], budget_s: float
) -> None:
    search = watched(noted)
    price_s, hours = search.price_s(budget_s), max(search.span_s / HOUR_S, 1.0)
    spent_s = np.cumsum(search.idle_s)[:STEPS] / hours
    steps = [price_of_step(step) for step in range(STEPS)]
    assert price_s == LEAST_PRICE_S or spent_s[steps.index(price_s)] <= budget_s
    above = [spent for step_s, spent in zip(steps, spent_s, strict=True) if step_s > price_s]
    assert not above or above[0] > budget_s


def test_what_is_long_past_no_longer_counts() -> None:
    search = IdleSearch()
    search.watch(MONDAY_S)
    search.note(Curve.condensed(0.0, np.array([0.0, 1e5]), np.array([math.log(1 / 100.0)])), 0.0, 1e5)
    search.watch(MONDAY_S + 2 * HOUR_S)
    assert search.price_s(1000.0) < 100.0
    for day in range(1, 12):
        search.watch(MONDAY_S + day * 86_400.0)
    assert search.price_s(1000.0) == pytest.approx(MOST_PRICE_S)


@pytest.mark.parametrize("step_s", [-10.0, -300_000.0, 3e8], ids=["a little back", "back", "far ahead"])
def test_steps_of_the_clock_leave_it_going(step_s: float) -> None:
    search, curve = IdleSearch(), Curve.condensed(0.0, np.array([0.0, 1e5]), np.array([math.log(1 / 100.0)]))
    at_s = MONDAY_S
    for minute in range(4 * 1440):
        at_s = MONDAY_S + 60.0 * minute + (step_s if minute >= 300 else 0.0)
        search.watch(at_s)
        search.note(curve, 0.0, 30.0)
    assert 0.0 < search.span_s <= 86_400.0
    assert search.price_s(1000.0) < 100.0 < search.price_s(2500.0)


def learner(**goal: float) -> AdaptivePolicy:
    made = AdaptivePolicy(goal=PoolGoal(**goal))
    for function in "abcdef":
        made.set_scaling(function, UNSTATED)
    return made


def live(policy: AdaptivePolicy, hours: float, seed: int = 1, from_s: float = 0.0) -> tuple[int, int, float]:
    """Calls at rates that differ; cold ones, all, and idle seconds at the windows that were said."""
    chance = random.Random(seed)
    means = {"a": 60.0, "b": 200.0, "c": 700.0, "d": 1500.0, "e": 5000.0, "f": 20_000.0}
    nexts = {function: MONDAY_S + from_s + chance.expovariate(1 / mean_s) for function, mean_s in means.items()}
    since: dict[str, float] = {}
    cold = calls = 0
    idle_s = 0.0
    while min(nexts.values()) < MONDAY_S + from_s + hours * HOUR_S:
        function = min(nexts, key=lambda name: nexts[name])
        at_s = nexts[function]
        if function in since:
            windows = said(policy, function, since[function], at_s)
            calls += 1
            cold += not any(window.contains(at_s) for window in windows)
            idle_s += sum(max(min(window.end_s, at_s) - window.start_s, 0.0) for window in windows)
        policy.note_calls(function, at_s)
        policy.note_idle(function, at_s)
        since[function] = at_s
        nexts[function] = at_s + chance.expovariate(1 / means[function])
    return cold, calls, idle_s


def said(policy: AdaptivePolicy, function: str, from_s: float, to_s: float) -> Windows:
    """As the pool asks: just after a call, and again where what was said has come to its end."""
    windows = policy.windows(function, from_s)
    while windows and windows[-1].end_s < to_s and (more := policy.windows(function, windows[-1].end_s)):
        windows += more
    return windows


def test_all_functions_have_the_one_price_and_those_with_words_keep_theirs() -> None:
    policy = learner(cold_start_target=0.05)
    policy.set_scaling("e", Scaling(keep_alive_s="adaptive", warmth="eager"))
    policy.set_scaling("f", Scaling(keep_alive_s=60.0))
    live(policy, 30)
    assert len({policy.price_s(function) for function in "abcd"}) == 1
    assert policy.price_s("a") != BALANCED_S
    assert policy.price_s("e") == WARMTH_PRICES_S["eager"]
    assert policy.price_s("f") == BALANCED_S
    assert "5 % of calls" in policy.price_from("a")
    assert policy.price_from("e") == policy.price_from("f") == ""
    policy.set_scaling("a", Scaling(keep_alive_s="adaptive", warmth="frugal"))
    assert policy.price_s("a") == WARMTH_PRICES_S["frugal"]
    assert policy.price_from("a") == ""


def test_without_a_goal_nothing_changes() -> None:
    assert not PoolGoal()
    policy = AdaptivePolicy(goal=PoolGoal())
    policy.set_scaling("a", UNSTATED)
    live(policy, 5)
    assert policy.price_s("a") == BALANCED_S
    assert policy.price_from("a") == ""


@pytest.mark.parametrize("words", [{"warmth": "balanced"}, {"cold_start_target": 0.1}], ids=["warmth", "target"])
def test_whoever_says_something_is_not_of_the_pool(words: dict[str, object]) -> None:
    assert is_of_pool(UNSTATED)
    assert not is_of_pool(Scaling(keep_alive_s="adaptive", **words))  # type: ignore[arg-type]
    assert not is_of_pool(Scaling())


def test_the_target_is_met_over_all_functions_together() -> None:
    policy = learner(cold_start_target=0.03)
    live(policy, 48)
    cold, calls, _ = live(policy, 48, seed=2, from_s=49 * HOUR_S)
    assert cold <= 1.2 * 0.03 * calls


@pytest.mark.parametrize("budget_s", [4000.0, 8000.0, 12_000.0])
def test_the_budget_is_kept_and_used(budget_s: float) -> None:
    policy = learner(idle_budget_s=budget_s)
    live(policy, 48)
    _, _, idle_s = live(policy, 48, seed=2, from_s=49 * HOUR_S)
    assert 0.5 * budget_s <= idle_s / 48 <= 1.15 * budget_s


def test_a_budget_caps_what_a_target_asks_for() -> None:
    prices = {}
    for name, goal in (
        ("target", {"cold_start_target": 0.001}),
        ("budget", {"idle_budget_s": 2000.0}),
        ("both", {"cold_start_target": 0.001, "idle_budget_s": 2000.0}),
        ("ample", {"cold_start_target": 0.03, "idle_budget_s": 1e7}),
        ("loose", {"cold_start_target": 0.03}),
    ):
        policy = learner(**goal)
        live(policy, 48)
        prices[name] = policy.price_s("a")
    assert prices["both"] == pytest.approx(prices["budget"])
    assert prices["both"] < prices["target"]
    assert prices["ample"] == prices["loose"]


def test_functions_that_never_come_back_count_too_unless_their_call_still_runs() -> None:
    prices = {}
    for kind in ("none", "idle", "in flight"):
        policy = learner(idle_budget_s=12_000.0)
        for number in range(0 if kind == "none" else 300):
            policy.set_scaling(f"once{number}", UNSTATED)
            policy.note_calls(f"once{number}", MONDAY_S + number)
            if kind == "idle":
                policy.note_idle(f"once{number}", MONDAY_S + number)
        live(policy, 4)
        assert policy._pool_price is not None
        counted = sum(name.startswith("once") for name in policy._pool_price.counted_s)
        prices[kind] = policy.price_s("a"), counted
    assert prices["idle"][0] < 0.2 * prices["none"][0]
    assert prices["idle"][1] > 200
    assert prices["in flight"][1] == 0


critical = st.lists(st.tuples(st.floats(1.0, 1e7), st.integers(1, 50), st.floats(0.0, 2000.0)), min_size=1, max_size=60)


@given(calls=critical, target=st.floats(1e-3, 1.0))
def test_the_price_rests_between_looks(calls: list[tuple[float, int, float]], target: float) -> None:
    price, at_s = PoolPrice(PoolGoal(cold_start_target=target)), MONDAY_S
    changes = []
    for critical_s, count, pause_s in calls:
        at_s += pause_s
        before_s = price.price_s
        price.note(at_s, critical_s, count)
        if price.price_s != before_s:
            changes.append(at_s)
    assert all(later - earlier >= RESTS_S for earlier, later in itertools.pairwise(changes))


@settings(max_examples=10, deadline=None)
@example(first_s=208.0, seed=19)
@given(first_s=st.floats(LEAST_PRICE_S, MOST_PRICE_S), seed=st.integers(0, 100))
def test_the_price_in_force_does_not_feed_the_search(first_s: float, seed: int) -> None:
    found = []
    for start_s in (BALANCED_S, first_s):
        policy = learner(cold_start_target=0.05, idle_budget_s=3000.0)
        assert policy._pool_price is not None
        policy._pool_price.price_s = start_s
        live(policy, 8, seed)
        found.append((policy.price_s("a"), policy._pool_price.numbers()))
    assert found[0] == found[1]


def test_little_is_dared_while_little_is_known() -> None:
    policy = learner(idle_budget_s=1e9)
    live(policy, 0.5)
    assert policy.price_s("a") <= BALANCED_S
    live(policy, 40, from_s=HOUR_S)
    assert policy.price_s("a") > BALANCED_S


def test_what_was_learned_outlives_a_restart_also_with_another_goal() -> None:
    policy = learner(cold_start_target=0.05, idle_budget_s=3000.0)
    live(policy, 40)
    again = learner(cold_start_target=0.05, idle_budget_s=3000.0)
    again.restore(policy.state())
    assert again.state() == policy.state()
    assert again.price_s("a") == policy._pool_price._found_s()  # type: ignore[union-attr]
    richer = learner(idle_budget_s=1e9)
    richer.restore(policy.state())
    assert richer.price_s("a") == pytest.approx(MOST_PRICE_S)
    indifferent = AdaptivePolicy()
    indifferent.restore(policy.state())
    assert b"pool_price" not in indifferent.state()


def test_a_state_from_before_there_was_one_price_is_taken() -> None:
    older = AdaptivePolicy()
    older.note_calls("a", MONDAY_S)
    older.note_calls("a", MONDAY_S + 500.0)
    assert b"pool_price" not in older.state()
    policy = learner(cold_start_target=0.05)
    policy.restore(older.state())
    assert policy.status("a") == "learned from 1 gaps between calls"
    assert policy.price_s("a") == BALANCED_S


@pytest.mark.parametrize(
    "bad",
    [[], {}, {"search": [1.0], "idle": [0.0], "counted": {}}, {"search": 3, "idle": [], "counted": {}}],
    ids=["a list", "empty", "too short", "no rows"],
)
def test_a_damaged_price_is_refused(bad: object) -> None:
    policy = learner(cold_start_target=0.05)
    live(policy, 1)
    state = policy.state()
    head = struct.Struct("<IQI")
    start = state.index(b"\n") + 1
    _, _, text_length = head.unpack_from(state, start)
    described = json.loads(state[start + head.size :][:text_length])
    described["pool_price"] = bad
    text = json.dumps(described).encode()
    body = text + state[start + head.size + text_length :]
    with pytest.raises(ValueError, match="state"):
        policy.restore(state[:start] + head.pack(zlib.crc32(body), len(body), len(text)) + body)


def test_forgetting_forgets_the_price_s_part() -> None:
    policy = learner(idle_budget_s=1000.0)
    live(policy, 20)
    for function in "abcdef":
        policy.forget(function)
    assert policy._pool_price is not None
    assert policy._pool_price.counted_s == {}
    assert policy.price_from("a") == ""
