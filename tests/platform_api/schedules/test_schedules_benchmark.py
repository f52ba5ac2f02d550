"""The benchmark's comparison with the cron library, in a short form: ten kinds of lines, six zones, half a year."""

from __future__ import annotations

import pytest
from benchmarks.schedules import FORMS, compare


@pytest.mark.parametrize("number", range(len(FORMS)))
def test_what_the_planner_runs_is_what_the_library_says(number: int) -> None:
    zone, line, _, is_same = compare(number, 0.5)
    assert is_same, f"{line} in {zone}"
