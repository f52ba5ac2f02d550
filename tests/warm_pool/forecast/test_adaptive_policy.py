"""The forecast as a whole: what it learns, and what it stands."""

from __future__ import annotations

import math
import random
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.options import Scaling
from stoker_pool.forecast.adaptive import AdaptivePolicy
from stoker_pool.forecast.curve import MOST_WINDOWS
from stoker_pool.forecast.policy import Windows

MONDAY_S = 1_767_571_200.0  # 2026-01-05 00:00 UTC


def policy(price_s: float = 600.0) -> AdaptivePolicy:
    return AdaptivePolicy(lambda function: price_s)


def loaded_s(windows: Windows) -> float:
    return sum(window.end_s - window.start_s for window in windows)


def is_loaded(windows: Windows, at_s: float) -> bool:
    return any(window.contains(at_s) for window in windows)


def assert_sound(windows: Windows, now_s: float) -> None:
    bounds = [bound for window in windows for bound in (window.start_s, window.end_s)]
    assert all(map(math.isfinite, bounds))
    assert bounds == sorted(bounds)
    assert len(set(bounds)) == len(bounds)
    assert all(bound >= now_s for bound in bounds)
    assert len(windows) <= MOST_WINDOWS + 1


def timer(learner: AdaptivePolicy, function: str, period_s: float, times: int) -> float:
    at_s = MONDAY_S
    for _ in range(times):
        at_s += period_s
        learner.note_calls(function, at_s)
        learner.note_idle(function, at_s)
    return at_s


@pytest.mark.parametrize("period_s", [300.0, 900.0, 3600.0], ids=["5 min", "15 min", "1 h"])
def test_a_timer_is_let_go_and_comes_back_in_time(period_s: float) -> None:
    learner = policy()
    last_s = timer(learner, "default/report", period_s, 40)
    windows = learner.windows("default/report", last_s)
    assert is_loaded(windows, last_s + period_s)
    assert not is_loaded(windows, last_s + 0.5 * period_s)
    first_period = [window for window in windows if window.start_s < last_s + 1.2 * period_s]
    assert loaded_s(tuple(first_period)) < 0.5 * period_s


def test_just_after_a_call_only_what_is_sure_is_said_and_then_the_rest() -> None:
    random.seed(7)
    learner = policy(3000.0)
    at_s, went_on = MONDAY_S, 0
    for _ in range(60):
        at_s += random.expovariate(1 / 100.0) + 16.0
        learner.note_calls("default/chat", at_s)
        near = learner.windows("default/chat", at_s)
        assert is_loaded(near, at_s)
        rest = learner.windows("default/chat", near[0].end_s)
        if rest and rest[0].start_s == near[0].end_s:
            went_on += 1
            whole = learner.windows("default/chat", at_s)
            assert is_loaded(whole, near[0].end_s)  # what went on is what the whole says
    assert went_on > 10


def test_a_function_never_called_has_no_windows() -> None:
    assert policy().windows("default/new", MONDAY_S) == ()
    assert policy().next_use_rate("default/new", MONDAY_S) == 0.0
    assert policy().hazard("default/new", MONDAY_S) == 0.0
    assert policy().status("default/new") == ""


def test_a_function_called_once_is_kept_a_while_and_let_go() -> None:
    learner = policy()
    learner.note_calls("default/once", MONDAY_S)
    windows = learner.windows("default/once", MONDAY_S)
    assert is_loaded(windows, MONDAY_S)
    assert loaded_s(windows) < 3600.0
    assert learner.windows("default/once", MONDAY_S + 30 * 86_400) == ()


def test_a_million_calls_in_a_second_are_one_burst() -> None:
    learner = policy()
    for step in range(1000):
        learner.note_calls("default/hot", MONDAY_S + step / 1000, 1000)
    windows = learner.windows("default/hot", MONDAY_S + 1.0)
    assert_sound(windows, MONDAY_S + 1.0)
    assert loaded_s(windows) < 7200.0


def test_backward_clock_steps_are_taken() -> None:
    learner = policy()
    for at_s in (100.0, 400.0, 50.0, 50.0, 700.0, -3.0, 1000.0):
        learner.note_calls("default/odd", MONDAY_S + at_s)
        assert_sound(learner.windows("default/odd", MONDAY_S + at_s), MONDAY_S + at_s)


@pytest.mark.parametrize("at_s", [math.nan, math.inf, -math.inf, 1e300], ids=str)
def test_what_is_no_time_is_passed_over(at_s: float) -> None:
    learner = policy()
    learner.note_calls("default/odd", at_s)
    assert learner.windows("default/odd", MONDAY_S) == ()
    learner.note_calls("default/odd", MONDAY_S)
    learner.note_calls("default/odd", at_s, 5)
    learner.note_idle("default/odd", at_s)
    assert learner.windows("default/odd", at_s) == ()
    assert_sound(learner.windows("default/odd", MONDAY_S), MONDAY_S)
    learner.restore(learner.state())


CALLS = st.lists(
    st.tuples(st.sampled_from("abc"), st.floats(-1e4, 1e6, allow_nan=False), st.integers(1, 1_000_000)),
    max_size=40,
)


@settings(max_examples=30, deadline=None)
@given(calls=CALLS, price_s=st.floats(1e-3, 1e12))
def test_any_past_gives_sound_windows_and_survives_a_restart(
    calls: list[tuple[str, float, int]], price_s: float
) -> None:
    learner = policy(price_s)
    for function, at_s, count in calls:
        learner.note_calls(function, at_s, count)
        assert_sound(learner.windows(function, at_s), at_s)
        assert math.isfinite(learner.next_use_rate(function, at_s))
        assert math.isfinite(learner.hazard(function, at_s))
    again = policy(price_s)
    again.restore(learner.state())
    assert again.state() == learner.state()


def test_the_past_is_carried_over_a_restart() -> None:
    learner = policy()
    last_s = timer(learner, "default/report", 900.0, 30)
    again = policy()
    again.restore(learner.state())
    assert again.windows("default/report", last_s) == learner.windows("default/report", last_s)
    assert again.state() == learner.state()


def damaged(state: bytes) -> list[tuple[str, bytes]]:
    middle = len(state) // 2
    return [
        ("empty", b""),
        ("text", b"not a state"),
        ("head only", state[:20]),
        ("cut short", state[:-1]),
        ("half", state[:middle]),
        ("one bit", state[:middle] + bytes([state[middle] ^ 1]) + state[middle + 1 :]),
        ("another version", state.replace(b"-1\n", b"-2\n", 1)),
        ("longer", state + b"\0"),
    ]


def test_a_damaged_state_is_refused_and_changes_nothing() -> None:
    learner = policy()
    last_s = timer(learner, "default/report", 900.0, 30)
    state = learner.state()
    before = learner.windows("default/report", last_s)
    for _, bad in damaged(state):
        with pytest.raises(ValueError, match="state"):
            learner.restore(bad)
    assert learner.windows("default/report", last_s) == before


def test_it_turns_itself_off_where_a_plain_timer_is_cheaper_and_says_so() -> None:
    learner = policy(3000.0)
    at_s = MONDAY_S
    for _ in range(40):  # a habit, learned well...
        at_s += 7200.0
        learner.note_calls("default/moody", at_s)
    assert not learner.is_off("default/moody")
    contest = learner._contests["default/moody"]
    for _ in range(60):  # ...and a run of gaps on which it would have lost
        contest.note(idle_s=500.0, loaded_s=0.0, is_cold=True, price_s=3000.0)
    assert learner.is_off("default/moody")
    assert "turned off" in learner.status("default/moody")
    (window,) = learner.windows("default/moody", at_s)
    assert (window.start_s, window.end_s) == (at_s, at_s + 600.0)
    assert learner.windows("default/moody", at_s + 601.0) == ()
    for _ in range(200):
        contest.note(idle_s=500.0, loaded_s=10.0, is_cold=False, price_s=3000.0)
    assert not learner.is_off("default/moody")


def test_calls_may_come_while_its_state_is_read() -> None:
    learner = policy()
    for number in range(300):
        learner.note_calls(f"default/f{number}", MONDAY_S + number)
    steps = learner.state_in_steps()
    turns = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            pack = end.value
            break
        turns += 1
        learner.note_calls(f"default/new{turns}", MONDAY_S + 400.0 + turns)
        learner.forget(f"default/f{299 - turns}")
    assert turns > 5
    state = pack()
    again = policy()
    again.restore(state)
    assert again.status("default/f0")


def test_a_follower_is_due_after_its_leader() -> None:
    learner = policy()
    at_s = MONDAY_S
    random.seed(4)
    for _ in range(20):
        at_s += random.uniform(3000.0, 40_000.0)
        learner.note_calls("default/first", at_s)
        learner.note_calls("default/second", at_s + 40.0)
    at_s += 30_000.0
    learner.take_moved()
    learner.note_calls("default/first", at_s)
    assert "default/second" in learner.take_moved()
    assert is_loaded(learner.windows("default/second", at_s), at_s + 40.0)


def test_words_and_prices_order_the_warmth() -> None:
    learner = AdaptivePolicy()
    random.seed(1)
    at_s = MONDAY_S
    for _ in range(50):
        at_s += random.expovariate(1 / 900.0)
        learner.note_calls("default/page", at_s)
    spans = []
    for scaling in (
        Scaling(keep_alive_s="adaptive", warmth="frugal"),
        Scaling(keep_alive_s="adaptive"),
        Scaling(keep_alive_s="adaptive", warmth="eager"),
        Scaling(keep_alive_s="adaptive", gpu_second_cost=1.0, cold_start_cost=100_000.0),
    ):
        learner.set_scaling("default/page", scaling)
        spans.append(loaded_s(learner.windows("default/page", at_s)))
    assert spans == sorted(spans)
    assert spans[0] < spans[-1]


def test_a_timer_that_stops_is_let_go() -> None:
    learner = policy()
    last_s = timer(learner, "default/report", 300.0, 200)
    windows = learner.windows("default/report", last_s)
    assert is_loaded(windows, last_s + 300.0)
    assert loaded_s(windows) < 7200.0


def test_a_target_is_met_with_less_idle_time_than_staying() -> None:
    learner = AdaptivePolicy()
    learner.set_scaling("default/page", Scaling(keep_alive_s="adaptive", cold_start_target=0.15))
    random.seed(3)
    at_s, cold, idle_s = MONDAY_S, 0, 0.0
    for step in range(400):
        gap_s = random.expovariate(1 / 60.0) if random.random() < 0.9 else random.uniform(1000.0, 20_000.0)
        if step >= 200:
            windows = learner.windows("default/page", at_s)
            cold += not is_loaded(windows, at_s + gap_s)
            idle_s += sum(max(min(window.end_s, at_s + gap_s) - window.start_s, 0.0) for window in windows)
        else:
            start_s = at_s
        at_s += gap_s
        learner.note_calls("default/page", at_s)
    assert cold <= 0.2 * 200
    assert idle_s < 0.5 * (at_s - start_s)


def test_forgetting_leaves_nothing() -> None:
    learner = policy()
    empty = len(learner.state())
    last_s = timer(learner, "default/report", 900.0, 10)
    learner.forget("default/report")
    learner.forget("default/report")
    assert learner.windows("default/report", last_s) == ()
    assert len(learner.state()) == pytest.approx(empty, abs=2000)


def test_load_times_are_told() -> None:
    learner = policy()
    learner.note_load("default/report", 12.5, 10**9)
    learner.note_load("default/report", math.nan, 10**9)
    assert learner.load_s["default/report"] == 12.5


def test_a_function_costs_less_than_4_kib_of_state() -> None:
    learner = policy()
    random.seed(2)
    at_s = MONDAY_S
    for _ in range(2000):
        at_s += random.expovariate(1 / 5.0)
        learner.note_calls(f"default/f{random.randrange(50)}", at_s)
    assert len(learner.state()) / 50 < 4096


def test_calls_seconds_apart_find_it_loaded() -> None:
    learner = policy(3000.0)
    random.seed(5)
    at_s, cold = MONDAY_S, 0
    for _ in range(100):
        at_s += 3600.0
        learner.note_calls("default/chat", at_s)
        for _ in range(3):
            gap_s = random.uniform(1.0, 14.0)
            cold += not is_loaded(learner.windows("default/chat", at_s), at_s + gap_s)
            at_s += gap_s
            learner.note_calls("default/chat", at_s)
    assert cold == 0


def test_a_burst_costs_next_to_nothing() -> None:
    learner = policy()
    began_s = time.process_time()
    for step in range(20_000):
        learner.note_calls("default/hot", MONDAY_S + step * 0.01)
    assert (time.process_time() - began_s) / 20_000 < 1e-3  # far above what it takes: a guard, not a measurement


def test_a_target_counts_calls_within_seconds_of_each_other_too() -> None:
    random.seed(11)
    learner = AdaptivePolicy()
    learner.set_scaling("default/chat", Scaling(keep_alive_s="adaptive", cold_start_target=0.01))
    at_s, calls, cold = MONDAY_S, 0, 0
    for step in range(4000):
        gap_s = random.uniform(8.0, 14.0) if random.random() < 0.2 else 60.0
        windows = learner.windows("default/chat", at_s + 0.001)
        at_s += gap_s
        if step >= 1000:
            calls += 1
            cold += not is_loaded(windows, at_s)
        learner.note_calls("default/chat", at_s)
        learner.note_idle("default/chat", at_s)
    assert cold <= 0.015 * calls
