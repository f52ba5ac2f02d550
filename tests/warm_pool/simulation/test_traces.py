"""Traces in files: what is sound is read as it is, what is not is refused with the place and what to do."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy
import pytest

from stoker.errors import InvalidInput
from stoker_pool.call_log import csv_head, csv_lines
from stoker_pool.simulation.trace import MONDAY_S, trace_of
from stoker_pool.simulation.trace_files import read_csv, read_trace


def csv(text: str, source: str = "trace.csv"):  # type: ignore[no-untyped-def]
    return read_csv(io.StringIO(text), source)


def test_a_trace_has_its_rows_by_time_and_its_functions_by_name() -> None:
    trace = csv("function,t,n,d\na,10,1,0.5\nb,11,2,0\na,12,1,1\n")
    assert trace.functions == ("a", "b")
    assert (trace.times_s, trace.owners, trace.counts) == ([10.0, 11.0, 12.0], [0, 1, 0], [1, 2, 1])
    assert (trace.start_s, trace.end_s, trace.calls, trace.warnings) == (10.0, 13.0, 4, ())
    assert trace.next_times_s()[0] == 12.0


def test_calls_and_duration_may_be_left_out_and_columns_may_stand_in_any_order() -> None:
    trace = csv("t,function\n5,a\n")
    assert (trace.counts, trace.durations_s) == ([1], [0.0])


def test_rows_out_of_order_are_sorted_and_that_is_said() -> None:
    trace = csv("function,t\na,20\na,10\n")
    assert trace.times_s == [10.0, 20.0]
    assert trace.warnings == ("rows were not in the order of time: sorted",)


def test_duplicate_instants_are_no_fault() -> None:
    assert csv("function,t\na,20\na,20\nb,20\n").warnings == ()


def test_remarks_say_when_recording_began_and_ended() -> None:
    trace = csv("# start=100\n# end=900\n# made by hand\nfunction,t\na,200\n")
    assert (trace.start_s, trace.end_s) == (100.0, 900.0)


def test_a_long_time_without_calls_is_pointed_out() -> None:
    trace = csv("function,t\na,0\na,60\na,86400\n")
    assert "no call of any function for 24.0 h" in trace.warnings[0]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "holds no call"),
        ("function,t,n,d\n", "holds no call"),
        ("name,t\na,1\n", "no column function"),
        ("function,n\na,1\n", "no column t"),
        ("function,t\na,1\na\n", "line 3 is no row"),
        ("function,t\na,soon\n", "line 2 is no row"),
        ("function,t\na,nan\n", "t must be seconds >= 0"),
        ("function,t\na,inf\n", "t must be seconds >= 0"),
        ("function,t\na,-1\n", "t must be seconds >= 0, got -1"),
        ("function,t,n\na,1,0\n", "n must be >= 1"),
        ("function,t,n\na,1,1.5\n", "n must be a whole number"),
        ("function,t,n\na,1,inf\n", "line 2 is no row"),
        ("function,t,d\na,1,-2\n", "d must be seconds >= 0"),
        ("function,t,d\na,1,nan\n", "d must be seconds >= 0"),
        ("function,t,n\na,1,nan\n", "line 2 is no row"),
        ("function,t\n,1\n", "names no function"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_is_no_trace_is_refused_with_the_place_and_a_hint(text: str, said: str) -> None:
    with pytest.raises(InvalidInput, match=said) as refusal:
        csv(text)
    assert refusal.value.hint


def test_what_the_platform_exports_is_read_back() -> None:
    rows = [("default/a", 1000.5, 3, 0.25), ('odd,"name', 1001.0, 1, 0.0)]
    trace = csv(csv_head(990.0, 1100.0) + csv_lines(rows))
    assert trace.functions == ("default/a", 'odd,"name')
    assert (trace.times_s, trace.counts, trace.durations_s) == ([1000.5, 1001.0], [3, 1], [0.25, 0.0])
    assert (trace.start_s, trace.end_s) == (990.0, 1100.0)


def save(path: Path, **arrays: object) -> Path:
    columns: dict[str, object] = {
        "t": [5.0, 7.0, 6.0],
        "n": [1, 1, 4],
        "d": [0.0, 0.0, 2.0],
        "off": [0, 2, 3],
        "names": ["a", "a"],
        "meta": json.dumps({"tod_offset_s": 3600, "horizon_s": 100}),
    }
    numpy.savez(path, **(columns | arrays))  # type: ignore[arg-type]
    return path


def test_an_archive_is_read_with_its_time_of_day_and_twins_by_name_kept_apart(tmp_path: Path) -> None:
    trace = read_trace(save(tmp_path / "t.npz"))
    assert trace.functions == ("a#0", "a#1")
    assert (trace.times_s, trace.owners) == ([MONDAY_S + 3605, MONDAY_S + 3606, MONDAY_S + 3607], [0, 1, 0])
    assert trace.end_s == MONDAY_S + 3700


def test_archives_that_are_none_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="off does not fit"):
        read_trace(save(tmp_path / "a.npz", off=[0, 2, 9]))
    numpy.savez(tmp_path / "b.npz", t=[1.0])
    with pytest.raises(InvalidInput, match="has no array"):
        read_trace(tmp_path / "b.npz")
    whole = save(tmp_path / "c.npz").read_bytes()
    (tmp_path / "c.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InvalidInput, match="no whole"):
        read_trace(tmp_path / "c.npz")
    with pytest.raises(InvalidInput, match="t must be seconds >= 0, got nan"):
        read_trace(save(tmp_path / "d.npz", t=[5.0, float("nan"), 6.0]))
    with pytest.raises(InvalidInput, match="there is no file"):
        read_trace(tmp_path / "none.npz")
    (tmp_path / "e.csv").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_trace(tmp_path / "e.csv")


def test_a_part_keeps_the_first_functions() -> None:
    trace = trace_of([("a", 1.0, 1, 0.0), ("b", 2.0, 1, 0.0), ("a", 3.0, 1, 0.0)])
    assert trace.part(1).times_s == [1.0, 3.0]
