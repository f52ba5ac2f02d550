"""The scaler holds its limits at any instant."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from stoker.options import FunctionOptions, Scaling
from stoker_pool.forecast.policy import Window
from stoker_pool.scaler import Limits, Peaks, ScalerView, decide, limits_of, needed_replicas
from stoker_runtime.demand import DemandView

QUIET = DemandView(
    queue_depth=0,
    in_flight=0,
    links=0,
    capacity=0,
    oldest_wait_s=0.0,
    arrival_rate_per_s=0.0,
    mean_duration_s=0.0,
    model_a_s=0.0,
    model_b_s=0.0,
    idle_since_s=0.0,
)
LIMITS = Limits(
    min_replicas=0,
    max_replicas=10,
    buffer_replicas=0,
    keep_alive_s=60.0,
    calls_each=1.0,
    is_target_explicit=False,
    is_batched=False,
)
BUSY = replace(QUIET, idle_since_s=None)
WINDOW_S = 30.0


def view(demand: DemandView, *, ready: int = 0, starting: int = 0, **fields: float) -> ScalerView:
    known: dict[str, float | None] = {"idle_s": None, "load_s": 1.0, "ready_for_s": 100.0 if ready else 0.0, **fields}
    return ScalerView(demand=demand, ready=ready, starting=starting, **known)  # type: ignore[arg-type]


def desired(seen: ScalerView, limits: Limits = LIMITS, peaks: Peaks | None = None, now_s: float = 0.0) -> int:
    return decide(seen, limits, peaks or Peaks(), WINDOW_S, now_s).desired


seconds = st.floats(0, 1e5)
demands = st.builds(
    DemandView,
    queue_depth=st.integers(0, 5000),
    in_flight=st.integers(0, 5000),
    links=st.integers(0, 50),
    capacity=st.integers(0, 5000),
    oldest_wait_s=seconds,
    arrival_rate_per_s=seconds,
    mean_duration_s=seconds,
    model_a_s=seconds,
    model_b_s=st.floats(0, 10),
    idle_since_s=st.none(),
)
any_limits = st.builds(
    lambda least, more, **fields: Limits(min_replicas=least, max_replicas=max(least + more, 1), **fields),
    st.integers(0, 20),
    st.integers(0, 20),
    buffer_replicas=st.integers(0, 5),
    keep_alive_s=st.floats(0, 1000),
    calls_each=st.floats(0.5, 512),
    is_target_explicit=st.booleans(),
    is_batched=st.booleans(),
)
any_peaks = st.lists(st.integers(0, 50), max_size=5).map(
    lambda needs: Peaks(tuple((0.0, need) for need in sorted(set(needs), reverse=True)))
)


@given(demands, any_limits, any_peaks, st.integers(0, 60), st.integers(0, 60), st.none() | seconds, st.integers(0, 100))
def test_replicas_stay_within_limits(
    demand: DemandView, limits: Limits, peaks: Peaks, ready: int, starting: int, idle_s: float | None, warm_up: int
) -> None:
    seen = view(demand, ready=ready, starting=starting, idle_s=idle_s, warm_up=warm_up)  # type: ignore[arg-type]
    seen = replace(seen, windows=(Window(0.0, 10.0),), now_unix_s=1.0)
    assert limits.min_replicas <= desired(seen, limits, peaks, 1.0) <= limits.max_replicas


@given(any_limits, any_peaks, st.integers(0, 60), st.integers(0, 60), seconds)
def test_no_traffic_never_scales_up(limits: Limits, peaks: Peaks, ready: int, starting: int, idle_s: float) -> None:
    seen = view(QUIET, ready=ready, starting=starting, idle_s=idle_s)
    assert desired(seen, limits, peaks, 1.0) <= max(ready + starting, limits.min_replicas)


@given(demands, st.integers(1, 5000))
def test_from_zero_one_start_serves_any_number_of_callers(demand: DemandView, queue_depth: int) -> None:
    waiting = replace(demand, queue_depth=queue_depth)
    assert desired(view(waiting)) == 1
    assert desired(view(waiting, starting=1)) == 1


@given(demands, any_limits, st.integers(0, 60), st.integers(0, 60))
def test_every_decision_with_calls_names_its_next_look(
    demand: DemandView, limits: Limits, ready: int, starting: int
) -> None:
    look_again_s = decide(view(demand, ready=ready, starting=starting), limits, Peaks(), WINDOW_S, 0.0).look_again_s
    assert look_again_s is not None
    assert look_again_s > 0


@given(st.integers(1, 4), st.integers(0, 400), st.floats(0.001, 0.1))
def test_a_queue_that_is_gone_before_a_start_ends_starts_nothing(ready: int, depth: int, duration_s: float) -> None:
    drains_in_s = depth * duration_s / ready
    load_s = drains_in_s + 0.1
    burst = replace(BUSY, queue_depth=depth, in_flight=ready, mean_duration_s=duration_s)
    assert desired(view(burst, ready=ready, load_s=load_s)) <= ready


def test_a_long_queue_starts_as_many_as_pay() -> None:
    burst = replace(BUSY, queue_depth=100, in_flight=1, mean_duration_s=1.0)
    assert desired(view(burst, ready=1, load_s=19.9)) == 5
    assert desired(view(burst, ready=1, load_s=0.1)) == LIMITS.max_replicas


def test_a_lasting_overload_starts_what_carries_the_arrivals() -> None:
    steady = replace(BUSY, queue_depth=4, in_flight=1, mean_duration_s=0.1, arrival_rate_per_s=23.0, oldest_wait_s=1.0)
    assert desired(view(steady, ready=1, load_s=1.0)) == 3


def test_a_first_call_that_lasts_is_not_mistaken_for_its_cold_start() -> None:
    held = replace(BUSY, queue_depth=50, in_flight=1, oldest_wait_s=5.0)
    assert desired(view(held, ready=1, ready_for_s=0.001)) == 1
    assert desired(view(held, ready=1, ready_for_s=5.0)) > 1


def test_a_batched_function_is_sized_by_its_cost_curve() -> None:
    limits = replace(LIMITS, calls_each=32.0, is_batched=True)
    queue = replace(BUSY, queue_depth=320, in_flight=32, model_a_s=0.5, model_b_s=0.5 / 32, mean_duration_s=1.0)
    assert needed_replicas(view(queue, ready=1, load_s=4.9), limits) == 2


def test_an_explicit_target_is_kept() -> None:
    limits = replace(LIMITS, calls_each=2.0, is_target_explicit=True)
    assert desired(view(replace(BUSY, in_flight=7), ready=1), limits) == 4


def test_a_buffer_stands_above_demand_and_leaves_with_it() -> None:
    limits = replace(LIMITS, buffer_replicas=2)
    assert desired(view(replace(BUSY, in_flight=1), ready=1), limits) == 3
    assert desired(view(QUIET, ready=0, idle_s=1.0), limits) == 0
    assert desired(view(QUIET, ready=3, idle_s=61.0), limits) == 0


def test_the_last_replica_stays_for_the_keep_alive_and_no_longer() -> None:
    idle = decide(view(QUIET, ready=1, idle_s=20.0), LIMITS, Peaks(), WINDOW_S, 0.0)
    assert (idle.desired, idle.look_again_s) == (1, 40.0)
    assert desired(view(QUIET, ready=1, idle_s=60.0)) == 0


@given(st.lists(st.integers(0, 12), min_size=2, max_size=40))
def test_a_need_that_swings_within_the_window_never_flaps(needs: list[int]) -> None:
    limits = replace(LIMITS, calls_each=1.0, is_target_explicit=True, max_replicas=20)
    peaks, current, series = Peaks(), 0, []
    for step, need in enumerate(needs):
        busy = replace(BUSY, in_flight=need, queue_depth=0 if need else 1)
        made = decide(view(busy, ready=current), limits, peaks, WINDOW_S, step * (WINDOW_S / len(needs)))
        peaks, current = made.peaks, made.desired
        series.append(current)
    assert series == sorted(series)


def test_a_lower_need_that_lasts_scales_down() -> None:
    limits = replace(LIMITS, is_target_explicit=True)
    high = decide(view(replace(BUSY, in_flight=8), ready=8), limits, Peaks(), WINDOW_S, 0.0)
    low = decide(view(replace(BUSY, in_flight=2), ready=8), limits, high.peaks, WINDOW_S, 10.0)
    later = decide(view(replace(BUSY, in_flight=2), ready=8), limits, low.peaks, WINDOW_S, 31.0)
    assert (high.desired, low.desired, later.desired) == (8, 8, 2)


def test_a_retired_revision_keeps_nothing_warm() -> None:
    options = FunctionOptions(name="f", scaling=Scaling(min_replicas=2, buffer_replicas=1))
    limits = limits_of(options, options.scaling, 60.0, is_retired=True)
    assert desired(view(QUIET, ready=2, idle_s=0.0), limits) == 0
    assert desired(view(replace(BUSY, queue_depth=1)), limits) == 1
