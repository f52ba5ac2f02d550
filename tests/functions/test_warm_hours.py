"""Hours that people write: what they mean in their zone, and what a wrong one is told."""

from __future__ import annotations

from datetime import datetime, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InvalidOption
from stoker.warm_hours import WarmHours

WEEK_S = 7 * 86_400.0
MONDAY_S = datetime(2026, 3, 2, tzinfo=timezone.utc).timestamp()


def local_spans(text: str, from_s: float = MONDAY_S, length_s: float = WEEK_S) -> list[str]:
    hours = WarmHours.parse(text)
    zone = ZoneInfo(hours.zone)
    return [
        f"{datetime.fromtimestamp(start_s, zone):%a %H:%M}-{datetime.fromtimestamp(end_s, zone):%a %H:%M}"
        for start_s, end_s in hours.spans(from_s, from_s + length_s)
    ]


def test_working_days_are_those_of_the_zone() -> None:
    spans = local_spans("Mon-Fri 09:00-18:00 Asia/Kolkata")
    assert spans == [f"{day} 09:00-{day} 18:00" for day in ("Mon", "Tue", "Wed", "Thu", "Fri")]
    first_s, _ = next(iter(WarmHours.parse("Mon-Fri 09:00-18:00 Asia/Kolkata").spans(MONDAY_S, MONDAY_S + WEEK_S)))
    assert first_s == MONDAY_S + 3.5 * 3600


@pytest.mark.parametrize(
    ("text", "first", "count"),
    [
        pytest.param("22:00-06:00", "Sun 22:00-Mon 06:00", 8, id="over midnight, every day"),
        pytest.param("sat,sunday 10:00-11:30 UTC", "Sat 10:00-Sat 11:30", 2, id="a list of days"),
        pytest.param("Fri-Mon 00:00-24:00 UTC", "Mon 00:00-Tue 00:00", 4, id="over the week's end, whole days"),
        pytest.param("daily 8:05-09:00 UTC", "Mon 08:05-Mon 09:00", 7, id="a word for every day"),
    ],
)
def test_forms(text: str, first: str, count: int) -> None:
    spans = local_spans(text)
    assert spans[0] == first
    assert len(spans) == count


def test_local_hours_stay_over_a_change_to_summer_time() -> None:
    spans = list(WarmHours.parse("Sun 00:00-24:00 Europe/Berlin").spans(MONDAY_S, MONDAY_S + 5 * WEEK_S))
    lengths = [(end_s - start_s) / 3600 for start_s, end_s in spans]
    assert lengths == [24, 24, 24, 23, 24]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        pytest.param("", "must be a short text", id="empty"),
        pytest.param(None, "must be a short text", id="no text"),
        pytest.param("Mon-Fri", "names no hours", id="no hours"),
        pytest.param("Mo 09:00-10:00", "'Mo' is no day", id="day too short"),
        pytest.param("Mon- 09:00-10:00", "'' is no day", id="open range"),
        pytest.param("25:00-26:00", "no span of hours", id="hour 25"),
        pytest.param("09:00-24:30", "no span of hours", id="past midnight"),
        pytest.param("09:00-09:00", "has no length", id="no length"),
        pytest.param("09:00-10:00 Mars/Olympus", "'Mars/Olympus' is no time zone", id="zone"),
        pytest.param("09:00-10:00 ../../etc/passwd", "is no time zone", id="path as a zone"),
        pytest.param("09:00-10:00 UTC Mon", "'Mon' follows the time zone", id="too many words"),
        pytest.param("x" * 1000, "must be a short text", id="too long"),
    ],
)
def test_a_wrong_text_is_refused_with_what_was_not_understood(text: str, message: str) -> None:
    with pytest.raises(InvalidOption, match=r"scaling\.warm cannot be read") as refused:
        WarmHours.parse(text)
    assert message in str(refused.value)
    assert "Asia/Kolkata" in (refused.value.hint or "")


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        hours = WarmHours.parse(text)
    except InvalidOption:
        return
    assert hours.days


@given(st.floats(0, 4e9))
def test_spans_are_in_order_and_touch_the_time_asked_for(from_s: float) -> None:
    spans = list(WarmHours.parse("22:00-06:00 America/New_York").spans(from_s, from_s + WEEK_S))
    assert spans == sorted(spans)
    assert all(end_s > from_s and start_s < from_s + WEEK_S and end_s > start_s for start_s, end_s in spans)
