"""The planner at chosen instants, and under a virtual clock: every tick is decided once, whatever the clock does."""

from __future__ import annotations

from itertools import takewhile

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.schedule import Cron, Every, Misfire, Overlap, Schedule
from stoker_api.schedules.planner import MOST_AT_ONCE, MOST_WAITING, Action, Plan, ScheduleView, plan
from stoker_api.schedules.ticks import Ticks

HOUR_S = 3600.0


def planned(schedule: Schedule, now_s: float, *, cursor_s: float = 0.0, running: int = 0, waiting: int = 0) -> Plan:
    view = ScheduleView(schedule_id="sched_1", schedule=schedule, cursor_s=cursor_s, running=running, waiting=waiting)
    return plan(view, Ticks(schedule), now_s)


def actions(done: Plan) -> list[tuple[float, Action]]:
    return [(decision.tick_s, decision.action) for decision in done.decisions]


def test_nothing_is_due_before_the_tick_and_the_next_look_is_at_it() -> None:
    done = planned(Every(hours=1), HOUR_S - 0.001)
    assert (done.decisions, done.cursor_s, done.wake_s) == ((), 0.0, HOUR_S)


def test_a_tick_starts_at_its_second() -> None:
    done = planned(Every(hours=1), HOUR_S)
    assert actions(done) == [(HOUR_S, Action.START)]
    assert (done.cursor_s, done.wake_s) == (HOUR_S, 2 * HOUR_S)


@pytest.mark.parametrize(
    ("overlap", "action"),
    [
        ("skip", Action.SKIP),
        ("queue", Action.WAIT),
        ("cancel_running", Action.REPLACE),
        ("allow", Action.START),
    ],
)
def test_a_tick_that_meets_a_run_follows_the_overlap(overlap: Overlap, action: Action) -> None:
    assert actions(planned(Every(hours=1, overlap=overlap), HOUR_S, running=1)) == [(HOUR_S, action)]


@pytest.mark.parametrize(
    ("misfire", "expected"),
    [
        ("skip", [(HOUR_S, Action.SKIP)]),
        ("run_once", [(HOUR_S, Action.SKIP), (5 * HOUR_S, Action.START)]),
        ("run_all", [(HOUR_S, Action.START), *((hour * HOUR_S, Action.WAIT) for hour in (2, 3, 4, 5))]),
    ],
)
def test_missed_ticks_follow_the_misfire_policy(misfire: Misfire, expected: list[tuple[float, Action]]) -> None:
    done = planned(Every(hours=1, misfire=misfire), 5 * HOUR_S + 300)
    assert actions(done) == expected
    assert sum(decision.count for decision in done.decisions) == 5


def test_within_its_grace_a_late_tick_is_not_missed() -> None:
    late = planned(Every(hours=1, misfire="skip", misfire_grace_s=600), HOUR_S + 600)
    assert actions(late) == [(HOUR_S, Action.START)]


def test_a_tick_on_time_stands_for_those_missed_before_it() -> None:
    done = planned(Every(hours=1, misfire="run_once", overlap="allow"), 3 * HOUR_S)
    assert actions(done) == [(HOUR_S, Action.SKIP), (3 * HOUR_S, Action.START)]


def test_a_queue_that_is_full_holds_the_ticks_where_they_are() -> None:
    done = planned(Every(hours=1, overlap="queue"), HOUR_S, running=1, waiting=MOST_WAITING)
    assert (done.decisions, done.cursor_s, done.wake_s) == ((), 0.0, None)


def test_a_clock_that_goes_back_repeats_nothing() -> None:
    done = planned(Every(hours=1), HOUR_S, cursor_s=5 * HOUR_S)
    assert (done.decisions, done.cursor_s, done.wake_s) == ((), 5 * HOUR_S, 6 * HOUR_S)


def test_years_of_missed_seconds_are_decided_in_bounded_steps() -> None:
    done = planned(Every(seconds=1, misfire="skip"), 3 * 365 * 86_400.0)
    (decision,) = done.decisions
    assert (decision.count, decision.last_s) == (MOST_AT_ONCE, float(MOST_AT_ONCE))
    assert done.wake_s == 3 * 365 * 86_400.0


def test_jitter_puts_a_tick_off_and_keeps_its_name() -> None:
    schedule = Every(hours=1, jitter_s=600)
    wake_s = planned(schedule, HOUR_S - 1).wake_s
    assert wake_s is not None
    assert HOUR_S < wake_s < HOUR_S + 600
    assert planned(schedule, wake_s - 0.01).decisions == ()
    assert actions(planned(schedule, wake_s)) == [(HOUR_S, Action.START)]


def test_a_schedule_that_ended_is_never_looked_at_again() -> None:
    done = planned(Cron("@hourly", end="1970-01-01T02:00"), 3 * HOUR_S)
    assert (done.cursor_s, done.next_s, done.wake_s) == (2 * HOUR_S, None, None)


schedules = st.builds(
    lambda line, zone, overlap, misfire, jitter: Cron(
        line, timezone=zone, overlap=overlap, misfire=misfire, jitter_s=jitter
    ),
    st.sampled_from(["*/30 * * * *", "15 2 * * *", "0 */6 * * *", "30 1,2,3 * * MON"]),
    st.sampled_from(["UTC", "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe"]),
    st.sampled_from(["skip", "queue", "cancel_running", "allow"]),
    st.sampled_from(["skip", "run_once", "run_all"]),
    st.sampled_from([0.0, 45.0]),
)


@settings(max_examples=150, deadline=None)
@given(
    schedule=schedules,
    begin_s=st.integers(1_767_225_600, 1_924_992_000),
    moves=st.lists(st.tuples(st.floats(-7200.0, 40_000.0), st.booleans()), min_size=1, max_size=40),
)
def test_every_tick_is_decided_once_and_in_order(schedule: Cron, begin_s: int, moves: list[tuple[float, bool]]) -> None:
    """The clock steps forward and back, runs end or do not, and each plan starts from what was recorded alone."""
    ticks = Ticks(schedule)
    now_s = cursor_s = float(begin_s)
    running = waiting = 0
    decided: list[float] = []
    for step_s, ends in moves:
        now_s += step_s
        if ends and running:
            running -= 1
            if waiting and not running:
                running, waiting = 1, waiting - 1
        view = ScheduleView(
            schedule_id="sched_1", schedule=schedule, cursor_s=cursor_s, running=running, waiting=waiting
        )
        done = plan(view, Ticks(schedule), now_s)
        for decision in done.decisions:
            assert decision.tick_s <= now_s
            span = takewhile(lambda at_s: at_s <= decision.last_s, ticks.after(decision.tick_s - 1))  # noqa: B023
            decided += span
            if decision.action is Action.START:
                running += 1
            elif decision.action is Action.WAIT:
                waiting += 1
            elif decision.action is Action.REPLACE:
                running, waiting = 1, 0
        assert schedule.overlap == "allow" or running <= 1
        assert waiting <= MOST_WAITING
        cursor_s = done.cursor_s
    expected = list(takewhile(lambda at_s: at_s <= cursor_s, ticks.after(begin_s)))
    assert decided == expected
    assert len(decided) == len(set(decided))
