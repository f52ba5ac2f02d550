"""Mapping: ordered, bounded, patient with a full queue, and over when its caller leaves."""

from __future__ import annotations

import itertools
import threading

import pytest

from stoker.errors import InvalidOption, Overloaded
from stoker.map_progress import ordered_map


def test_calls_run_at_once_and_answers_stay_in_order() -> None:
    all_there = threading.Barrier(4)

    def call(item: int) -> int:
        all_there.wait(timeout=30)  # passes only when four run at once
        return item

    assert list(ordered_map(call, range(8), concurrency=4)) == list(range(8))


def test_an_endless_iterable_is_taken_as_needed() -> None:
    taken = itertools.count()
    answers = ordered_map(lambda item: item, taken, concurrency=2)
    assert list(itertools.islice(answers, 5)) == [0, 1, 2, 3, 4]
    answers.close()  # type: ignore[attr-defined]
    assert next(taken) < 20


def test_an_error_is_raised_or_returned() -> None:
    def call(item: int) -> int:
        return 1 // item

    with pytest.raises(ZeroDivisionError):
        list(ordered_map(call, [1, 0, 1], concurrency=2))
    answers = list(ordered_map(call, [1, 0, 1], concurrency=2, return_exceptions=True))
    assert [type(item) for item in answers] == [int, ZeroDivisionError, int]


def test_a_full_queue_is_waited_for() -> None:
    tries: list[int] = []

    def call(item: int) -> int:
        tries.append(item)
        if len(tries) < 3:
            raise Overloaded("full", retry_after_s=0.0)
        return item

    assert list(ordered_map(call, [7], concurrency=1)) == [7]
    assert tries == [7, 7, 7]


def test_a_queue_that_stays_full_is_told() -> None:
    def call(item: int) -> int:
        raise Overloaded("full", retry_after_s=0.0)

    with pytest.raises(Overloaded):
        list(ordered_map(call, [1], concurrency=1))


def test_a_bar_is_shown_when_asked_for(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(ordered_map(lambda item: item, [1, 2], concurrency=1, title="double", progress=True)) == [1, 2]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("concurrency", [0, -1, 257, 1.5, True, None])
def test_concurrency_is_checked_at_once(concurrency: int) -> None:
    with pytest.raises(InvalidOption, match="concurrency must be"):
        ordered_map(lambda item: item, [1], concurrency=concurrency)
