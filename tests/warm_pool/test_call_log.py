"""The record of real traffic: every call is in it once, in few rows, within bounds, whatever the disk does."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from stoker_pool.call_log import FileCallLog, csv_lines


async def test_calls_within_ten_seconds_are_one_row_that_spans_them(tmp_path: Path) -> None:
    async with FileCallLog(tmp_path / "history" / "calls.csv") as log:
        log.note("default/a", 1000.0, 2, 0.5)
        log.note("default/b", 1003.0, 1, 9.0)
        log.note("default/a", 1004.0, 1, 1.5)
        log.note("default/a", 1010.0, 1, 0.5)
    assert list(log.rows()) == [
        ("default/a", 1000.0, 3, 5.5),
        ("default/b", 1003.0, 1, 9.0),
        ("default/a", 1010.0, 1, 0.5),
    ]


async def test_a_million_calls_in_one_second_are_one_row(tmp_path: Path) -> None:
    async with FileCallLog(tmp_path / "calls.csv") as log:
        for step in range(1000):
            log.note("default/a", 5.0 + step / 1000, 1000, 0.0)
    assert [row[:3] for row in log.rows()] == [("default/a", 5.0, 1_000_000)]


async def test_a_clock_that_steps_back_and_nonsense_are_taken_as_they_come(tmp_path: Path) -> None:
    async with FileCallLog(tmp_path / "calls.csv") as log:
        log.note("default/a", 500.0, 1, 0.0)
        log.note("default/a", 100.0, 1, 0.0)
        log.note("default/a", math.nan, 1, 0.0)
        log.note("default/a", 600.0, 1, math.inf)
        log.note("default/a", 600.0, 0, 0.0)
    assert [row[1] for row in log.rows()] == [100.0, 500.0]


async def test_rows_are_read_by_time_of_the_functions_that_are_asked_for(tmp_path: Path) -> None:
    async with FileCallLog(tmp_path / "calls.csv") as log:
        for function, at_s in (("x/slow", 100.0), ("x/a", 300.0), ("x/a", 200.0), ("y/a", 150.0)):
            log.note(function, at_s, 1, 0.0)
    assert [row[1] for row in log.rows(150.0, lambda function: function.startswith("x/"))] == [200.0, 300.0]


async def test_the_record_goes_on_after_a_restart_and_survives_a_line_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "calls.csv"
    async with FileCallLog(path) as log:
        log.note("default/a", 1.0, 1, 0.0)
    path.write_text(path.read_text() + "default/a,77")
    async with FileCallLog(path) as again:
        again.note("default/a", 100.0, 1, 0.0)
        again.note("default/a", 200.0, 1, 0.0)
    # the line that a crash cut short costs itself and what was written behind it on the same line, no more
    assert [row[1] for row in again.rows()] == [1.0, 200.0]


async def test_files_rotate_and_the_oldest_go(tmp_path: Path) -> None:
    log = FileCallLog(tmp_path / "calls.csv", file_bytes=100, files_kept=3)
    for step in range(20):
        log.note("default/a", 100.0 * step, 1, 0.0)
        await log.flush()
    rows = [row[1] for row in log.rows()]
    assert rows[-1] == 1900.0
    assert rows == sorted(rows)
    assert len(list(tmp_path.iterdir())) == 3
    assert sum(path.stat().st_size for path in tmp_path.iterdir()) < 500


async def test_a_disk_that_takes_nothing_costs_rows_and_nothing_else(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("")
    async with FileCallLog(tmp_path / "file" / "calls.csv") as log:
        log.note("default/a", 1.0, 1, 0.0)
    assert log.dropped == 1
    assert "could not be recorded" in caplog.text
    assert list(log.rows()) == []


def test_a_name_with_a_comma_keeps_its_row_whole() -> None:
    assert csv_lines([("a,b", 1.0, 1, 0.5)]) == '"a,b",1.000,1,0.5\n'
