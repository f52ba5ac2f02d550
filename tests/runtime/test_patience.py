"""Callers that leave teach patience only while many of them do."""

from __future__ import annotations

from stoker_runtime.admission import Patience


def test_clients_that_stop_together_do_not_teach_impatience() -> None:
    patience = Patience()
    for _ in range(1000):
        patience.note_served(0.4)
    for _ in range(64):
        patience.note_left(0.3)
    assert patience.seconds == 0.0


def test_a_round_of_slow_calls_that_ends_is_forgotten_soon() -> None:
    patience = Patience()
    for _ in range(64):
        patience.note_left(5.0)
    for _ in range(100):
        patience.note_served(4.0)
    assert patience.seconds == 0.0


def test_under_overload_it_is_what_callers_wait() -> None:
    patience = Patience()
    for _ in range(200):
        patience.note_left(5.0)
        patience.note_served(3.0)
    assert 4.5 <= patience.seconds <= 5.0
