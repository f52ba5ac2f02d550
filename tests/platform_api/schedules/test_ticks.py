"""Ticks: daylight saving in several zones, seconds, forms, ends; and that resuming changes nothing."""

from __future__ import annotations

from datetime import datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from cronsim import CronSim
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import InvalidOption
from stoker.schedule import Cron, Every
from stoker_api.schedules.ticks import Ticks, check_fires, jitter_of, moment_s, shown, zone_of

ZONES = ("UTC", "Asia/Kolkata", "Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "America/Santiago")
LINES = ("30 2 * * *", "*/20 * * * *", "0 */3 * * *", "15 0,1,2,3 * * *", "5 1 * * SUN", "0 0 1 * *", "10 2-4 * * *")
SPAN_S = 5 * 365 * 86_400


def ticks_from(line: str, zone: str, begin: str, count: int, **options: object) -> list[str]:
    ticks = Ticks(Cron(line, timezone=zone, **options))  # type: ignore[arg-type]
    begin_s = moment_s(begin, ticks.zone)
    assert begin_s is not None
    return [shown(tick_s, ticks.zone) for tick_s in islice(ticks.after(begin_s), count)]


@pytest.mark.parametrize(
    ("line", "zone", "begin", "expected"),
    [
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T03:00",
            ["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"],
            id="berlin-skipped-hour-runs-once-as-soon-as-it-has-passed",
        ),
        pytest.param(
            "30 2 * * *",
            "Europe/Berlin",
            "2026-10-24T03:00",
            ["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"],
            id="berlin-doubled-hour-runs-once",
        ),
        pytest.param(
            "30 1 * * *",
            "America/New_York",
            "2026-10-31T12:00",
            ["2026-11-01T01:30:00-04:00", "2026-11-02T01:30:00-05:00"],
            id="new-york-doubled-hour-runs-once",
        ),
        pytest.param(
            "*/30 * * * *",
            "America/New_York",
            "2026-11-01T00:30",
            ["2026-11-01T01:00:00-04:00", "2026-11-01T01:30:00-04:00", "2026-11-01T01:00:00-05:00"],
            id="new-york-half-hours-follow-the-time-that-passes",
        ),
        pytest.param(
            "15 2 * * *",
            "Australia/Lord_Howe",
            "2026-10-03T03:00",
            ["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
            id="lord-howe-skips-half-an-hour",
        ),
        pytest.param(
            "0 0 * * *",
            "America/Santiago",
            "2026-09-05T12:00",
            ["2026-09-06T01:00:00-03:00", "2026-09-07T00:00:00-03:00"],
            id="santiago-skips-midnight",
        ),
        pytest.param(
            "0 2 * * *",
            "Asia/Kolkata",
            "2026-03-28T03:00",
            ["2026-03-29T02:00:00+05:30", "2026-03-30T02:00:00+05:30"],
            id="kolkata-never-changes",
        ),
        pytest.param(
            "5,35 30 2 * * *",
            "Europe/Berlin",
            "2026-03-28T03:00",
            ["2026-03-29T03:00:05+02:00", "2026-03-29T03:00:35+02:00", "2026-03-30T02:30:05+02:00"],
            id="seconds-keep-the-same-rules",
        ),
        pytest.param(
            "*/20 * * * * *",
            "UTC",
            "2026-01-01T00:00:01",
            ["2026-01-01T00:00:20+00:00", "2026-01-01T00:00:40+00:00"],
            id="every-twenty-seconds",
        ),
        pytest.param(
            "@daily",
            "Asia/Kolkata",
            "2026-01-01T12:00",
            ["2026-01-02T00:00:00+05:30", "2026-01-03T00:00:00+05:30"],
            id="daily-is-midnight-in-the-zone",
        ),
    ],
)
def test_lines_tick_when_they_should(line: str, zone: str, begin: str, expected: list[str]) -> None:
    assert ticks_from(line, zone, begin, len(expected)) == expected


def test_a_schedule_ticks_from_its_start_to_its_end_both_included() -> None:
    found = ticks_from(
        "0 * * * *", "UTC", "2025-12-01T00:00", 9, start="2026-01-01T02:00", end="2026-01-01T04:00:00+00:00"
    )
    assert found == [f"2026-01-01T0{hour}:00:00+00:00" for hour in (2, 3, 4)]


def test_a_start_without_offset_is_meant_in_the_zone() -> None:
    assert ticks_from("0 0 * * *", "Asia/Kolkata", "2025-12-01T00:00", 1, start="2026-01-01T00:00") == [
        "2026-01-01T00:00:00+05:30"
    ]


def test_periods_keep_their_beat_whenever_one_looks() -> None:
    ticks = Ticks(Every(minutes=7))
    assert list(islice(ticks.after(1000.0), 3)) == [1260.0, 1680.0, 2100.0]
    assert ticks.next_after(1260.0) == 1680.0
    anchored = Ticks(Every(hours=1, start="2026-01-01T00:10:00Z"))
    assert shown(anchored.next_after(1767225600.0 + 3600) or 0) == "2026-01-01T01:10:00+00:00"


@settings(max_examples=60, deadline=None)
@given(
    line=st.sampled_from(LINES),
    zone=st.sampled_from(ZONES),
    begin_s=st.integers(1_767_225_600, 1_767_225_600 + SPAN_S),
    cuts=st.lists(st.floats(0.0, 3 * 86_400.0), max_size=5),
)
def test_resuming_anywhere_gives_the_same_ticks(line: str, zone: str, begin_s: int, cuts: list[float]) -> None:
    ticks = Ticks(Cron(line, timezone=zone))
    end_s = begin_s + 4 * 86_400
    whole = [tick_s for tick_s in islice(ticks.after(begin_s), 400) if tick_s <= end_s]
    parts: list[float] = []
    bounds = sorted({float(begin_s), *(begin_s + cut for cut in cuts), float(end_s)})
    for low, high in pairwise(bounds):
        for tick_s in ticks.after(low):
            if tick_s > high:
                break
            parts.append(tick_s)
    assert parts == whole[: len(parts)]
    assert len(parts) >= min(len(whole), 288)
    assert all(low < high for low, high in pairwise(whole))


@pytest.mark.parametrize("zone", ZONES[2:])
@pytest.mark.parametrize("line", LINES)
def test_a_year_of_ticks_is_what_the_library_says(line: str, zone: str) -> None:
    begin = datetime(2026, 1, 1, tzinfo=ZoneInfo(zone))
    end = begin + timedelta(days=366)
    expected = [moment.timestamp() for moment in islice(CronSim(line, begin), 9_000) if moment <= end]
    found = list(islice(Ticks(Cron(line, timezone=zone)).after(begin.timestamp()), len(expected)))
    assert found == expected


@given(tick_s=st.integers(0, 2**33), jitter_s=st.floats(0.0, 3600.0))
def test_jitter_is_the_same_for_the_same_tick_and_within_its_bound(tick_s: int, jitter_s: float) -> None:
    drawn = jitter_of("sched_1", float(tick_s), jitter_s)
    assert 0.0 <= drawn <= jitter_s
    assert drawn == jitter_of("sched_1", float(tick_s), jitter_s)


def test_schedules_of_one_line_are_spread_by_jitter() -> None:
    assert len({round(jitter_of(f"sched_{number}", 0.0, 600.0)) for number in range(50)}) > 30


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("0 0 30 2 *", "never ticks"),
        ("0 0 31 6,9 *", "never ticks"),
        ("* * */20 * 1L", "never ticks"),
        ("61 * * * *", "Bad minute"),
        ("* * * * MOON", "Bad day-of-week"),
        ("a b c d e", "not understood"),
    ],
)
def test_a_line_that_never_fires_or_is_none_is_refused(line: str, message: str) -> None:
    with pytest.raises(InvalidOption, match=message):
        check_fires(Ticks(Cron(line)), 0.0)


@pytest.mark.parametrize(
    ("name", "meant"), [("Asia/Kolkatta", "Asia/Kolkata"), ("europe/berln", "Europe/Berlin"), ("tokyo", "Asia/Tokyo")]
)
def test_an_unknown_zone_is_answered_with_what_it_resembles(name: str, meant: str) -> None:
    with pytest.raises(InvalidOption) as caught:
        zone_of(name)
    assert meant in (caught.value.hint or "")


def test_start_after_end_and_an_end_that_has_passed_are_refused() -> None:
    with pytest.raises(InvalidOption, match="start must be before end"):
        Ticks(Cron("@daily", start="2026-02-01T00:00", end="2026-01-01T00:00"))
    with pytest.raises(InvalidOption, match="has passed"):
        check_fires(Ticks(Cron("@daily", end="2026-01-01T00:00")), 1_800_000_000.0)
