"""Hours in which a function is wanted ready, as people write them: ``"Mon-Fri 09:00-18:00 Asia/Kolkata"``.

The rule that must not break: what is refused is refused when it is written, with the part that was not understood; what
is accepted means local time, also over changes to and from summer time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Final
from zoneinfo import ZoneInfo

from stoker.errors import InvalidOption

_EVERY_DAY: Final = frozenset(range(7))
_EVERY_DAY_WORDS: Final = frozenset({"daily", "*"})
_HOURS: Final = re.compile(r"(\d{1,2}):(\d{2})-(\d{1,2}):(\d{2})")
_DAY_NAMES: Final = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_MOST_CHARACTERS: Final = 200
_MOST_TEXTS: Final = 50
_HINT: Final = (
    'Write days, hours and a time zone: "Mon-Fri 09:00-18:00 Asia/Kolkata", "Sat,Sun 22:00-06:00 UTC" '
    'or "00:00-24:00". Without days it is every day, without a zone UTC.'
)


@dataclass(frozen=True, slots=True)
class WarmHours:
    """The same hours on some days of every week."""

    days: frozenset[int]
    """0 is Monday; the day on which the hours begin."""
    start: timedelta
    """After midnight."""
    length: timedelta
    zone: str

    @classmethod
    def parse(cls, text: str) -> WarmHours:
        """Read ``[DAYS] HH:MM-HH:MM [ZONE]``; raises ``InvalidOption``."""
        if not isinstance(text, str) or not text.strip() or len(text) > _MOST_CHARACTERS:
            raise _refused(text, "it must be a short text")
        words = text.split()
        at = next((index for index, word in enumerate(words) if _HOURS.fullmatch(word)), None)
        if at is None:
            raise _refused(text, "it names no hours such as 09:00-18:00")
        if len(words) > at + 2:
            raise _refused(text, f"{' '.join(words[at + 2 :])!r} follows the time zone")
        zone = words[at + 1] if len(words) > at + 1 else "UTC"
        _check_zone(text, zone)
        start, length = _hours(text, words[at])
        return cls(_days(text, "".join(words[:at])), start, length, zone)

    def spans(self, from_s: float, until_s: float) -> Iterator[tuple[float, float]]:
        """Beginnings and ends (Unix seconds) of all that touch the time from ``from_s`` to ``until_s``."""
        zone = ZoneInfo(self.zone)
        day = datetime.fromtimestamp(from_s, timezone.utc).astimezone(zone).date() - timedelta(days=2)
        last = datetime.fromtimestamp(until_s, timezone.utc).astimezone(zone).date()
        while day <= last:
            if day.weekday() in self.days:
                start_s, end_s = (
                    self._instant(day, self.start, zone),
                    self._instant(day, self.start + self.length, zone),
                )
                if start_s < end_s and end_s > from_s and start_s < until_s:
                    yield start_s, end_s
            day += timedelta(days=1)

    @staticmethod
    def _instant(day: date, after_midnight: timedelta, zone: ZoneInfo) -> float:
        # within one zone this is wall-clock arithmetic: 09:00 is 09:00 also on the day that lacks an hour
        return (datetime(day.year, day.month, day.day, tzinfo=zone) + after_midnight).timestamp()


def checked_warm_hours(option: str, value: object) -> tuple[str, ...]:
    """Texts that ``WarmHours`` reads, as a tuple; raises ``InvalidOption``."""
    if not isinstance(value, (tuple, list)) or len(value) > _MOST_TEXTS:
        raise InvalidOption(f"{option} must be a list of at most {_MOST_TEXTS} texts, got {value!r}", hint=_HINT)
    for text in value:
        WarmHours.parse(text)
    return tuple(value)


def _refused(text: object, why: str) -> InvalidOption:
    return InvalidOption(f"scaling.warm cannot be read: {str(text)[:_MOST_CHARACTERS]!r}: {why}", hint=_HINT)


def _hours(text: str, word: str) -> tuple[timedelta, timedelta]:
    match = _HOURS.fullmatch(word)
    assert match is not None
    hour, minute, end_hour, end_minute = map(int, match.groups())
    if hour > 23 or minute > 59 or end_minute > 59 or end_hour * 60 + end_minute > 24 * 60:
        raise _refused(text, f"{word} is no span of hours from 00:00 to 24:00")
    start, end = hour * 60 + minute, end_hour * 60 + end_minute
    if start == end:
        raise _refused(text, f"{word} has no length; all day is 00:00-24:00")
    return timedelta(minutes=start), timedelta(minutes=end - start if end > start else end + 24 * 60 - start)


def _days(text: str, words: str) -> frozenset[int]:
    if not words or words.lower() in _EVERY_DAY_WORDS:
        return _EVERY_DAY
    days: set[int] = set()
    for part in words.split(","):
        first, dash, last = part.partition("-")
        start = _day(text, first)
        end = _day(text, last) if dash else start
        days.update((start + step) % 7 for step in range((end - start) % 7 + 1))
    return frozenset(days)


def _day(text: str, word: str) -> int:
    for number, name in enumerate(_DAY_NAMES):
        if len(word) >= 3 and name.startswith(word.lower()):
            return number
    raise _refused(text, f"{word!r} is no day; days are Mon, Tue, Wed, Thu, Fri, Sat, Sun")


def _check_zone(text: str, zone: str) -> None:
    try:
        ZoneInfo(zone)
    except (ValueError, OSError, LookupError):  # ZoneInfoNotFoundError is a KeyError
        why = f"{zone!r} is no time zone known here, such as UTC or Asia/Kolkata (minimal systems lack tzdata)"
        raise _refused(text, why) from None
