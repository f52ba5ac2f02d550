"""``stoker.progress``: what it refuses, and that it costs nothing where nobody listens."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import stoker
from stoker import call_progress
from stoker.context import running_call
from stoker.errors import InvalidInput


@pytest.fixture
def reported() -> Iterator[list[tuple[str, str]]]:
    found: list[tuple[str, str]] = []
    before = list(call_progress._reports)
    call_progress.report_to(lambda request, line: found.append((request, line)))
    yield found
    call_progress._reports[:] = before


def test_progress_is_reported_for_the_call_that_runs(reported: list[tuple[str, str]]) -> None:
    running = running_call.set(("job_1", None))
    stoker.progress(0.4, "page 3\nof 8")
    stoker.progress(1)
    running_call.reset(running)
    assert reported == [("job_1", "0.4 page 3 of 8"), ("job_1", "1 ")]


def test_outside_of_a_call_it_does_nothing(reported: list[tuple[str, str]]) -> None:
    stoker.progress(0.4, "nobody")
    assert reported == []


def test_a_long_message_is_cut(reported: list[tuple[str, str]]) -> None:
    running = running_call.set(("job_1", None))
    stoker.progress(0.4, "x" * 10_000)
    running_call.reset(running)
    assert len(reported[0][1]) < 600


@pytest.mark.parametrize("fraction", [-0.1, 1.1, float("nan"), float("inf"), "half", None, True])
def test_what_is_no_fraction_is_refused(fraction: object) -> None:
    with pytest.raises(InvalidInput, match="progress must be"):
        stoker.progress(fraction)  # type: ignore[arg-type]
