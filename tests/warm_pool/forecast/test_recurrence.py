"""What a rate of late says of a function that pauses depends on what came of pauses before."""

from __future__ import annotations

import math

import pytest

from stoker_pool.forecast.history import FunctionHistory
from stoker_pool.forecast.recurrence import Recurrence


def called_often() -> FunctionHistory:
    history = FunctionHistory(0.0)
    for step in range(1, 200):
        history.note(step * 60.0, 1)
    return history


def test_nothing_is_noted_of_gaps_that_are_no_pauses() -> None:
    recurrence = Recurrence()
    recurrence.note(called_often(), 0.0, 1700.0, is_return=True)
    assert recurrence == Recurrence()


def test_pauses_that_end_as_expected_keep_the_rate_in_force() -> None:
    recurrence, history = Recurrence(), called_often()
    for _ in range(50):
        before = recurrence.expected
        recurrence.note(history, 0.0, 2000.0, is_return=True)
        recurrence.expected = before + 1.0  # each return was the one that was due
    assert recurrence.share == pytest.approx(1.0)
    assert recurrence.calls_per_s(history, 0.0) == pytest.approx(0.5 * history.rates[2])


def test_functions_that_never_come_back_make_the_rate_worthless() -> None:
    recurrence, history = Recurrence(), called_often()
    for _ in range(50):
        recurrence.note(history, 0.0, 40_000.0, is_return=False)
    assert recurrence.share < 0.01
    assert recurrence.calls_per_s(history, 3600.0) < 1e-3 * history.rates[2]


def test_waiting_counts_the_same_in_one_piece_or_in_many() -> None:
    whole, parts, history = Recurrence(), Recurrence(), called_often()
    whole.note(history, 0.0, 20_000.0, is_return=False)
    for start in range(0, 20_000, 1000):
        parts.note(history, float(start), start + 1000.0, is_return=False)
    assert parts.expected == pytest.approx(whole.expected)


def test_it_stays_finite_and_bounded() -> None:
    recurrence, history = Recurrence(), called_often()
    for _ in range(10_000):
        recurrence.note(history, 0.0, 1e9, is_return=True)
    assert recurrence.expected <= 600.0
    assert math.isfinite(recurrence.calls_per_s(history, 1e12))
