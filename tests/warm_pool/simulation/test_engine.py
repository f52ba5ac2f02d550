"""Replays against cases worked by hand, and what must hold for any trace."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import InvalidInput
from stoker_pool.forecast.policy import Window, Windows
from stoker_pool.simulation.capacity import Capacity
from stoker_pool.simulation.engine import Engine, Replay
from stoker_pool.simulation.policies import parse_policy
from stoker_pool.simulation.results import percentile, results_of
from stoker_pool.simulation.runs import Conditions, compare, replay
from stoker_pool.simulation.tally import Tally
from stoker_pool.simulation.trace import Row, Trace, trace_of

ALL = Conditions(warm_up_share=0.0)


def run(trace: Trace, policy: str, conditions: Conditions = ALL) -> Tally:
    return replay(trace, parse_policy(policy), conditions)


def test_a_call_inside_the_keep_alive_is_warm_and_the_time_between_is_waste() -> None:
    trace = trace_of([("f", 0.0, 1, 5.0), ("f", 65.0, 1, 5.0), ("f", 200.0, 3, 0.0)], end_s=1000.0)
    tally = run(trace, "fixed:100")
    # cold at 0; idle 5 to 65; warm at 65; idle 70 to 170; cold at 200, one of three calls; idle 200 to 300
    assert (tally.calls, tally.cold_starts, tally.loads) == ([5], [2], [2])
    assert tally.idle_s == [60.0 + 100.0 + 100.0]
    assert tally.busy_s == [10.0]


def test_a_call_at_the_very_end_of_the_window_is_cold() -> None:
    trace = trace_of([("f", 0.0, 1, 0.0), ("f", 60.0, 1, 0.0)], end_s=60.0)
    assert run(trace, "fixed:60").cold_starts == [2]
    assert run(trace, "fixed:60.001").cold_starts == [1]


def test_calls_that_overlap_are_served_by_the_same_replica() -> None:
    trace = trace_of([("f", 0.0, 1, 50.0), ("f", 10.0, 1, 10.0), ("f", 45.0, 1, 20.0)], end_s=100.0)
    tally = run(trace, "fixed:1")
    assert (tally.cold_starts, tally.busy_s, tally.idle_s) == ([1], [65.0], [1.0])


def test_with_a_load_time_calls_during_the_load_wait_for_its_end() -> None:
    trace = trace_of([("f", 100.0, 1, 1.0), ("f", 104.0, 2, 1.0), ("f", 120.0, 1, 0.0)], start_s=0.0, end_s=200.0)
    tally = run(trace, "fixed:60", Conditions(load_s=10.0, warm_up_share=0.0))
    assert tally.cold_starts == [2]  # one of the first row, one of the second
    assert sorted(tally.waits) == [(6.0, 2), (10.0, 1)]
    assert tally.loading_s == [10.0]
    assert tally.busy_s == [1.0]  # from 110 to 111, together
    assert results_of("p", tally, 1.0).p99_start_s == 10.0


def test_only_what_comes_after_the_warm_up_is_scored() -> None:
    trace = trace_of([("f", 0.0, 1, 0.0), ("f", 90.0, 1, 0.0)], end_s=100.0)
    tally = run(trace, "fixed:60", Conditions(warm_up_share=0.4))
    assert (tally.calls, tally.cold_starts) == ([1], [1])
    assert tally.idle_s == [20.0 + 10.0]  # 40 to 60, and 90 to 100


class Timetable:
    """The same windows, whatever comes."""

    def __init__(self, *windows: Window) -> None:
        self.all = windows

    def note_calls(self, function: str, at_s: float, count: int = 1) -> None:
        pass

    def note_idle(self, function: str, at_s: float) -> None:
        pass

    def windows(self, function: str, now_s: float) -> Windows:
        return tuple(window for window in self.all if window.end_s > now_s)


def test_a_window_ahead_starts_a_replica_early_and_a_prewarm_ends_used_or_wasted() -> None:
    trace = trace_of([("f", 0.0, 1, 0.0), ("f", 1000.0, 1, 0.0)], end_s=4000.0)
    moves: list[tuple[str, float]] = []
    policy = Timetable(Window(990.0, 1010.0), Window(3000.0, 3050.0))
    engine = Engine(
        trace,
        policy,
        Replay(load_s=10.0, warm_up_share=0.0, is_forecast=False),
        on_move=lambda function, what, at_s: moves.append((what, at_s)),
    )
    tally = engine.run()
    # the scaler starts a tenth earlier than the load takes: half of all starts take longer than usual
    assert moves == [
        ("start", 0.0),
        ("ready", 10.0),
        ("stop", 11.0),  # the pool looks a second after the last call has ended
        ("start", pytest.approx(979.0)),
        ("ready", pytest.approx(989.0)),
        ("stop", 1010.0),
        ("start", pytest.approx(2989.0)),
        ("ready", pytest.approx(2999.0)),
        ("stop", 3050.0),
    ]
    assert (tally.cold_starts, tally.prewarms, tally.prewarms_used, tally.prewarms_wasted) == ([1], [2], [1], [1])
    assert tally.idle_s == [pytest.approx(1.0 + 21.0 + 51.0)]


def test_a_window_without_end_stays_to_the_end_of_the_trace() -> None:
    trace = trace_of([("f", 0.0, 1, 0.0)], end_s=5000.0)
    tally = Engine(trace, Timetable(Window(0.0, float("inf"))), Replay(warm_up_share=0.0)).run()
    assert tally.idle_s == [5000.0]


def test_waste_is_measured_against_ten_minutes_on_the_same_trace() -> None:
    trace = trace_of([("f", 0.0, 1, 0.0), ("g", 10.0, 1, 0.0)], end_s=100_000.0)
    half, whole = compare(trace, [parse_policy("fixed:300"), parse_policy("fixed:600")], ALL)
    assert (half.waste, whole.waste, whole.cold_share) == (0.5, 1.0, 1.0)


def test_percentiles_are_values_that_occur() -> None:
    assert [percentile([0.0, 0.1, 0.2, 0.4], share) for share in (0.5, 0.75, 0.99)] == [0.1, 0.2, 0.4]
    assert percentile([], 0.5) == 0.0


@pytest.mark.parametrize(
    "text", ["nothing", "fixed", "fixed:-1", "fixed:soon", "fixed:nan", "knative:3", "adaptive:0"], ids=str
)
def test_a_policy_that_is_none_is_refused_with_what_there_is(text: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        parse_policy(text)
    assert refusal.value.hint


def test_a_rule_for_full_devices_needs_one() -> None:
    with pytest.raises(InvalidInput, match="nothing is full"):
        run(trace_of([("f", 0.0, 1, 0.0)]), "lru")


rows = st.lists(
    st.tuples(
        st.sampled_from("abc"),
        st.integers(0, 4000).map(float),
        st.integers(1, 3),
        st.sampled_from([0.0, 0.5, 30.0, 900.0]),
    ),
    min_size=1,
    max_size=40,
)
POLICIES = st.sampled_from(["fixed:0", "fixed:60", "fixed:600", "hybrid-histogram", "knative", "oracle-keep-alive:300"])


@settings(deadline=None, max_examples=60)
@given(rows=rows, policy=POLICIES, load_s=st.sampled_from([0.0, 7.0]))
def test_looking_ahead_in_the_trace_changes_no_decision(rows: list[Row], policy: str, load_s: float) -> None:
    trace, spec = trace_of(rows, start_s=0.0, end_s=6000.0), parse_policy(policy)
    found = []
    for skips_ahead in (True, False):
        moves: list[tuple[str, str, float]] = []
        replayed = Replay(load_s=load_s, warm_up_share=0.0, skips_ahead=skips_ahead)
        engine = Engine(trace, spec.make(trace), replayed, on_move=lambda *move: moves.append(move))  # noqa: B023
        found.append((sorted(moves, key=lambda move: (move[2], move)), engine.run().idle_s))
    assert found[0][0] == found[1][0]
    assert found[0][1] == pytest.approx(found[1][1])


@settings(deadline=None, max_examples=60)
@given(rows=rows, policy=POLICIES, slots=st.sampled_from([None, 1, 2]))
def test_every_call_is_counted_once_and_no_time_twice(rows: list[Row], policy: str, slots: int | None) -> None:
    trace = trace_of(rows, start_s=0.0, end_s=6000.0)
    room = None if slots is None else Capacity.of_slots(slots, load_s=5.0, host_slots=1, host_load_s=1.0)
    tally = run(trace, policy, Conditions(load_s=5.0, warm_up_share=0.0, capacity=room))
    assert sum(tally.calls) == trace.calls
    for calls, cold, idle_s, busy_s in zip(tally.calls, tally.cold_starts, tally.idle_s, tally.busy_s, strict=True):
        assert cold <= calls
        assert 0.0 <= idle_s + busy_s <= 6000.0 + 1e-6
    if slots is not None:
        held_s = sum(tally.idle_s) + sum(tally.busy_s) + sum(tally.loading_s)
        assert held_s <= slots * 6000.0 + 1e-6
    assert all(
        used + wasted <= started
        for started, used, wasted in zip(tally.prewarms, tally.prewarms_used, tally.prewarms_wasted, strict=True)
    )


@settings(deadline=None, max_examples=30)
@given(rows=rows)
def test_no_timer_beats_the_oracle_that_may_not_come_back(rows: list[Row]) -> None:
    trace = trace_of(rows, start_s=0.0, end_s=6000.0)
    for price_s in (60.0, 300.0):
        best = run(trace, f"oracle-keep-alive:{price_s}")
        timer = run(trace, f"fixed:{price_s}")
        assert sum(best.idle_s) <= sum(timer.idle_s) + 0.001 * len(rows)
        assert sum(best.cold_starts) <= sum(timer.cold_starts)


def test_progress_is_told_and_ends_whole() -> None:
    shares: list[float] = []
    trace = trace_of([("f", float(second), 1, 0.0) for second in range(100)])
    compare(trace, [parse_policy("fixed:600")], dataclasses.replace(ALL), lambda label, share: shares.append(share))
    assert shares[-1] == 1.0
