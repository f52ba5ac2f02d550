"""Arrivals by the second: none is lost, and the log stays small."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stoker_runtime.arrival_log import ArrivalLog


def test_calls_of_one_second_share_its_time() -> None:
    log = ArrivalLog()
    for at_s in (10.0, 10.5, 10.99, 11.0, 12.5):
        log.note(2, at_s)
    assert log.take() == [(10.0, 6), (11.0, 2), (12.5, 2)]
    assert log.take() == []


@given(st.lists(st.tuples(st.floats(0.1, 100.0), st.integers(1, 9)), max_size=3000))
def test_no_call_is_lost_and_times_stay_in_order(steps: list[tuple[float, int]]) -> None:
    log, now_s = ArrivalLog(), 0.0
    for pause_s, count in steps:
        now_s += pause_s
        log.note(count, now_s)
    taken = log.take()
    assert sum(count for _, count in taken) == sum(count for _, count in steps)
    assert taken == sorted(taken)
    assert len(taken) <= 1024


def test_a_long_time_without_a_taker_keeps_the_latest_exact() -> None:
    log = ArrivalLog()
    for second in range(100_000):
        log.note(1, float(second))
    taken = log.take()
    assert len(taken) <= 1024
    assert taken[-300:] == [(float(second), 1) for second in range(99_700, 100_000)]


def test_who_wants_to_know_is_told_once_a_second_also_when_the_log_is_taken_often() -> None:
    log, told = ArrivalLog(), []
    log.on_slot = lambda: told.append(1)
    for step in range(300):
        log.note(1, 100.0 + step / 100)
        if step % 5 == 0:
            log.take()
    assert len(told) == 3
