"""Windows in the scaler: one is ready when a window opens, leaves when it closes, and nothing flaps."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.warm_pool.test_scaler import LIMITS, QUIET, WINDOW_S, view

from stoker.options import FunctionOptions, Scaling
from stoker_pool.forecast.policy import Window, Windows
from stoker_pool.forecast.windows import merged, warmth_at
from stoker_pool.scaler import Decision, Limits, Peaks, ScalerView, decide, limits_of

NOW_S = 1_700_000_000.0
FORECAST = replace(LIMITS, keep_alive_s=0.0, is_forecast=True)
LOAD_S = 10.0
LEAD_S = view(QUIET, load_s=LOAD_S).lead_s

instants = st.floats(0, 1000, allow_nan=False)
any_windows = st.lists(st.tuples(instants, instants), max_size=6).map(
    lambda pairs: merged(Window(NOW_S + start, NOW_S + end) for start, end in pairs)
)


def idle(windows: Windows, at_s: float = 0.0, ready: int = 0, starting: int = 0, load_s: float = LOAD_S) -> ScalerView:
    seen = view(QUIET, ready=ready, starting=starting, idle_s=1000.0, load_s=load_s)
    return replace(seen, windows=windows, now_unix_s=NOW_S + at_s)


def step(seen: ScalerView, limits: Limits = FORECAST, peaks: Peaks | None = None, now_s: float = 0.0) -> Decision:
    return decide(seen, limits, peaks or Peaks(), WINDOW_S, now_s)


def test_a_start_begins_early_enough_to_be_ready_when_the_window_opens() -> None:
    windows = (Window(NOW_S + 100, NOW_S + 200),)
    before = step(idle(windows))
    assert before.desired == 0
    assert before.look_again_s == pytest.approx(100 - LEAD_S)
    assert LEAD_S > LOAD_S
    assert step(idle(windows, at_s=100 - LEAD_S)).desired == 1


def test_what_was_loaded_leaves_when_the_window_closes_and_comes_back_for_the_next() -> None:
    windows = (Window(NOW_S, NOW_S + 100), Window(NOW_S + 500, NOW_S + 600))
    inside = step(idle(windows, at_s=50, ready=1))
    assert (inside.desired, inside.look_again_s) == (1, pytest.approx(50))
    after = step(idle(windows, at_s=100, ready=1))
    assert (after.desired, after.look_again_s) == (0, pytest.approx(400 - LEAD_S))


def test_letting_go_for_less_than_a_start_takes_never_pays() -> None:
    windows = (Window(NOW_S, NOW_S + 100), Window(NOW_S + 100 + LEAD_S, NOW_S + 200))
    assert step(idle(windows, at_s=105, ready=1)).desired == 1


def test_letting_go_for_a_moment_pays_only_where_starts_cost_nothing() -> None:
    windows = (Window(NOW_S, NOW_S + 15), Window(NOW_S + 40, NOW_S + 60))
    seen = idle(windows, at_s=16, ready=1, load_s=0.1)
    assert step(seen).desired == 0
    assert step(replace(seen, least_away_s=30.0)).desired == 1
    assert step(replace(seen, least_away_s=30.0, windows=windows[1:])).desired == 1
    assert step(replace(seen, least_away_s=30.0, windows=windows[1:], ready=0)).desired == 0


def test_a_fixed_keep_alive_is_longer_of_the_two() -> None:
    seen = replace(idle((Window(NOW_S, NOW_S + 5),), ready=1), idle_s=20.0)
    assert step(seen, LIMITS).look_again_s == 40.0
    assert step(replace(seen, windows=(Window(NOW_S, NOW_S + 500),)), LIMITS).look_again_s == 500.0


def test_windows_are_asked_again_now_and_then_since_forecasts_and_wall_clocks_change() -> None:
    assert step(idle((Window(NOW_S, math.inf),), ready=1), LIMITS).look_again_s == 900.0
    assert step(idle((Window(NOW_S + 9e5, NOW_S + 1e6),)), LIMITS).look_again_s == 900.0
    assert step(idle(()), FORECAST).look_again_s == 900.0
    assert step(idle(()), LIMITS).look_again_s is None


def test_a_retired_revision_is_not_kept_by_the_limits() -> None:
    options = FunctionOptions(name="f", scaling=Scaling(keep_alive_s="adaptive"))
    limits = limits_of(options, options.scaling, 0.0, is_retired=True, is_forecast=True)
    assert step(idle((), ready=1), limits).desired == 0


@given(any_windows, st.integers(0, 3), st.integers(0, 3), st.integers(1, 3))
def test_a_window_raises_to_one_and_no_further(windows: Windows, ready: int, starting: int, most: int) -> None:
    limits = replace(FORECAST, max_replicas=most)
    assert step(idle(windows, ready=ready, starting=starting), limits).desired <= min(max(ready + starting, 1), most)


@given(any_windows, st.integers(0, 3))
def test_without_an_open_window_nothing_is_started(windows: Windows, current: int) -> None:
    far = tuple(Window(window.start_s + 5000, window.end_s + 5000) for window in windows)
    assert step(idle(far, ready=current)).desired <= current


@given(st.lists(st.tuples(any_windows, st.floats(0.01, 8.0)), min_size=2, max_size=60), st.floats(0.0, 20.0))
def test_windows_that_change_at_every_look_never_make_it_flap(
    looks: list[tuple[Windows, float]], load_s: float
) -> None:
    peaks, at_s, current = Peaks(), 0.0, 0
    changes: list[float] = []
    for windows, pause_s in looks:
        made = step(idle(windows, at_s, ready=current, load_s=load_s), FORECAST, peaks, at_s)
        if made.desired != current:
            changes.append(at_s)
        peaks, current = made.peaks, made.desired
        at_s += pause_s
    assert all(later - earlier >= load_s for earlier, later in itertools.pairwise(changes))


def test_what_has_just_left_is_not_started_again_before_a_start_s_time_has_passed() -> None:
    closed, opened = (Window(NOW_S, NOW_S + 100),), (Window(NOW_S, NOW_S + 900),)
    left = step(idle(closed, at_s=100, ready=1), now_s=100.0)
    assert left.desired == 0
    for wait_s, desired in ((0.5, 0), (LOAD_S - 0.1, 0), (LOAD_S, 1)):
        again = step(idle(opened, at_s=100 + wait_s), peaks=left.peaks, now_s=100.0 + wait_s)
        assert again.desired == desired
        assert again.look_again_s is not None
        assert again.look_again_s <= max(LOAD_S - wait_s, 0.05) or again.desired


@given(any_windows, st.floats(0.0, 20.0))
def test_looking_only_when_told_to_is_enough(windows: Windows, load_s: float) -> None:
    at_s, peaks, current, starts = 0.0, Peaks(), 0, []
    while True:
        seen = idle(windows, at_s, ready=current, load_s=load_s)
        made = step(seen, replace(FORECAST, is_forecast=False), peaks, at_s)
        if made.desired > current:
            starts.append(at_s + seen.lead_s)
        peaks, current = made.peaks, made.desired
        if made.look_again_s is None:
            break
        at_s += made.look_again_s
    assert current == 0
    wanted = [window.start_s - NOW_S for window in merged(windows, 2 * seen.lead_s)]
    assert len(starts) <= len(wanted)
    for start_s in starts:
        assert any(start_s <= max(want, seen.lead_s) + 0.05 for want in wanted)


@given(st.lists(st.tuples(st.floats(), st.floats()), max_size=8), st.floats(0, 10))
def test_merging_gives_sorted_disjoint_windows_whatever_goes_in(pairs: list[tuple[float, float]], gap_s: float) -> None:
    whole = merged((Window(start, end) for start, end in pairs), gap_s)
    assert all(window.start_s < window.end_s for window in whole)
    assert all(left.end_s < right.start_s for left, right in itertools.pairwise(whole))


def test_the_end_of_a_window_is_outside_of_it() -> None:
    assert warmth_at((Window(0.0, 10.0),), 10.0, 1.0).left_s == 0.0
    assert warmth_at((Window(0.0, 10.0),), 9.0, 1.0).left_s == 1.0
