"""The ticks of a schedule, as Unix seconds: cron lines by ``cronsim``, periods by arithmetic.

The rule that must not break: ticks come in strictly rising order and depend on the schedule alone, never on when they
are asked for; so whoever resumes after a tick gets the same next one.

Daylight saving (as Debian's cron has it): a line with fixed hours and minutes runs once when its hour is skipped (as
soon as the clock has jumped) and once when its hour comes twice (the first time); a line with ``*`` in hours or minutes
follows the hours that really pass.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone, tzinfo
from difflib import get_close_matches
from functools import lru_cache
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from cronsim import CronSim, CronSimError

from stoker.errors import InvalidOption
from stoker.schedule import Cron, Schedule, parse_moment

UTC: Final = timezone.utc
_FORMS: Final = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_NEVER: Final = "Look at day and month: the 30th of February and the 31st of June do not come."
_LONGEST_FALLBACK: Final = timedelta(hours=4)
"""Clocks are never put back further than this, save by moves of the date line."""


class Ticks:
    """When one schedule ticks. Made once per schedule: it parses, and raises ``InvalidOption``."""

    def __init__(self, schedule: Schedule) -> None:
        self.zone: tzinfo = zone_of(schedule.timezone) if isinstance(schedule, Cron) else UTC
        self._schedule = schedule
        self.start_s = moment_s(schedule.start, self.zone)
        self.end_s = moment_s(schedule.end, self.zone)
        if self.start_s is not None and self.end_s is not None and self.start_s >= self.end_s:
            raise InvalidOption(f"schedule.start must be before end, got {schedule.start} and {schedule.end}")
        if isinstance(schedule, Cron):
            self._line, self._seconds = _parsed(schedule.expression)
            self._is_fixed = _is_fixed(self._line)

    def after(self, at_s: float) -> Iterator[float]:
        """The ticks later than ``at_s``, rising, for ever or to the schedule's end."""
        if self.start_s is not None and at_s < self.start_s:
            at_s = self.start_s - 1e-6  # a tick at the start itself counts
        found = self._cron(at_s) if isinstance(self._schedule, Cron) else self._periods(at_s, self._schedule.period_s)
        for tick_s in found:
            if self.end_s is not None and tick_s > self.end_s:
                return
            yield tick_s

    def next_after(self, at_s: float) -> float | None:
        """The first tick later than ``at_s``; None when there is none any more."""
        return next(self.after(at_s), None)

    def _periods(self, at_s: float, period_s: float) -> Iterator[float]:
        anchor_s = self.start_s or 0.0
        number = math.floor((at_s - anchor_s) / period_s) + 1
        while True:
            tick_s = anchor_s + number * period_s
            if tick_s > at_s:
                yield tick_s
            number += 1

    def _cron(self, at_s: float) -> Iterator[float]:
        last_s = at_s
        begin = datetime.fromtimestamp(math.floor(at_s), UTC)
        if self.zone is not UTC and self._is_fixed:
            # The library looks at wall time, which comes twice when clocks are put back; begin before that, and skip.
            begin -= _LONGEST_FALLBACK
        if self.zone is not UTC:
            begin = begin.astimezone(self.zone)
        for moment in CronSim(self._line, begin):
            whole_s = moment.timestamp()
            for second in self._seconds:
                if whole_s + second > last_s:
                    last_s = whole_s + second
                    yield last_s


def check_fires(ticks: Ticks, now_s: float) -> None:
    """Raise ``InvalidOption`` for a schedule that will never tick."""
    if ticks.next_after(now_s) is not None:
        return
    if ticks.end_s is not None and ticks.end_s <= now_s:
        raise InvalidOption(
            f"the schedule's end {shown(ticks.end_s, ticks.zone)} has passed", hint="Leave `end` out, or move it."
        )
    raise InvalidOption(
        "the schedule never ticks" + (" between its start and its end" if ticks.end_s is not None else ""),
        hint=_NEVER,
    )


def jitter_of(schedule_id: str, tick_s: float, jitter_s: float) -> float:
    """By how much a tick is put off: always the same for the same tick, spread evenly over ``jitter_s``."""
    if jitter_s <= 0:
        return 0.0
    drawn = hashlib.blake2b(f"{schedule_id}@{tick_s:.0f}".encode(), digest_size=8).digest()
    return jitter_s * int.from_bytes(drawn, "big") / 2**64


def zone_of(name: str) -> ZoneInfo:
    """A time zone; raises ``InvalidOption`` with what the name resembles."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        known = _zones()
        by_folded = {zone.casefold(): zone for zone in known}
        cities = {zone.rpartition("/")[2].casefold(): zone for zone in known}
        folded = name.casefold().replace(" ", "_")
        close = [by_folded[found] for found in get_close_matches(folded, by_folded, n=3, cutoff=0.75)]
        city = get_close_matches(folded.rpartition("/")[2], cities, n=2, cutoff=0.8)
        close = list(dict.fromkeys([*close, *(cities[found] for found in city)]))[:3]
        hint = f"Did you mean {' or '.join(close)}?" if close else "Names are as in 'Asia/Kolkata'; UTC always works."
        raise InvalidOption(f"there is no time zone {name!r}", hint=hint) from None


def moment_s(text: str | None, zone: tzinfo) -> float | None:
    """An ISO 8601 time as Unix seconds; without an offset it is meant in ``zone``."""
    if text is None:
        return None
    moment = parse_moment(text)
    return (moment if moment.tzinfo is not None else moment.replace(tzinfo=zone)).timestamp()


def shown(at_s: float, zone: tzinfo = UTC) -> str:
    """Unix seconds as ISO 8601 with the zone's offset."""
    return datetime.fromtimestamp(at_s, zone).isoformat(timespec="seconds")


def _parsed(expression: str) -> tuple[str, tuple[int, ...]]:
    """The line that the library gets, and the seconds of each of its minutes.

    Its daylight saving rules hold for five fields alone; so where hours and minutes are fixed, seconds are kept apart.
    """
    line = _FORMS.get(expression.lower(), expression)
    fields = line.split()
    try:
        parsed = CronSim(line, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        if _is_understood(" ".join([*fields[:-2], "*", fields[-1]])):
            raise InvalidOption(f"the cron line {expression!r} never ticks", hint=_NEVER) from error
        raise InvalidOption(
            f"the cron line {expression!r} is not understood: {error}",
            hint="[second] minute hour day-of-month month day-of-week, e.g. '*/15 8-18 * * MON-FRI'.",
        ) from error
    if len(fields) == 6 and _is_fixed(" ".join(fields[1:])):
        return " ".join(fields[1:]), tuple(sorted(parsed.seconds))
    return line, (0,)


def _is_fixed(line: str) -> bool:
    """Five fields with neither ``*`` for minutes nor for hours."""
    fields = line.split()
    return len(fields) == 5 and not fields[0].startswith("*") and not fields[1].startswith("*")


def _is_understood(line: str) -> bool:
    try:
        CronSim(line, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError:
        return False
    return True


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    return frozenset(available_timezones())
