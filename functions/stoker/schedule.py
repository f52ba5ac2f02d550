"""When a function runs without a caller: ``stoker.Cron`` and ``stoker.Every``, with their policies.

The rule that must not break: a message names the option and the value it got. What needs a cron parser or a calendar
(a cron line that never fires, an unknown zone) is checked by the platform, so that ``import stoker`` stays light.
"""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Final, Literal, get_args

from stoker.errors import InvalidOption

Overlap = Literal["skip", "queue", "cancel_running", "allow"]
Misfire = Literal["skip", "run_once", "run_all"]
FORMS: Final = ("@yearly", "@annually", "@monthly", "@weekly", "@daily", "@midnight", "@hourly")
_ZONE: Final = re.compile(r"[A-Za-z][A-Za-z0-9_+/-]{0,63}")
_LONGEST_CRON: Final = 200
_LONGEST_PERIOD_S: Final = 366 * 86_400.0
_LONGEST_ARGUMENTS: Final = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class Policies:
    """What both kinds of schedule have."""

    arguments: object = None
    """What a call's JSON body would be; texts may hold ``{{ scheduled_time:%Y-%m-%d }}``. None calls without any."""
    method: str | None = None
    """Of a class: which method is called."""
    start: str | None = None
    """ISO 8601 time from which on it ticks; without an offset it is meant in the schedule's zone."""
    end: str | None = None
    """ISO 8601 time up to which it ticks."""
    jitter_s: float = 0.0
    """Each tick is put off by up to this; the same tick always by the same time."""
    overlap: Overlap = "skip"
    """At a tick while the run before still runs."""
    misfire: Misfire = "run_once"
    """What becomes of ticks that passed while the platform was down, or that wait too long."""
    misfire_grace_s: float = 60.0
    """How late a tick may begin before it counts as missed."""
    late_after_s: float = 60.0
    """How late a run may begin before it is told as ``schedule.run_late``."""


@dataclass(frozen=True, slots=True)
class Cron(Policies):
    """``Cron("0 2 * * *", timezone="Asia/Kolkata")``: five fields, six with seconds first, or ``@daily`` forms."""

    expression: str = dataclasses.field(kw_only=False)
    timezone: str = dataclasses.field(default="UTC", kw_only=True)

    def __post_init__(self) -> None:
        text = self.expression
        if not isinstance(text, str) or len(text) > _LONGEST_CRON:
            raise InvalidOption(f"schedule must be a cron line of at most {_LONGEST_CRON} characters, got {text!r}")
        if text.startswith("@"):
            if text.lower() not in FORMS:
                raise InvalidOption(f"schedule {text!r} is no known form", hint=f"Known: {', '.join(FORMS)}.")
        elif len(text.split()) not in (5, 6):
            raise InvalidOption(
                f"schedule must have 5 fields, or 6 with seconds first, got {text!r}",
                hint="minute hour day-of-month month day-of-week, e.g. '0 2 * * *' for two o'clock every night.",
            )
        if not isinstance(self.timezone, str) or not _ZONE.fullmatch(self.timezone):
            raise InvalidOption(
                f"timezone must be a name such as 'Asia/Kolkata', got {self.timezone!r}", hint="UTC is the default."
            )
        check_policies(self)


@dataclass(frozen=True, slots=True, kw_only=True)
class Every(Policies):
    """``Every(hours=1)``: at equal distances, counted from ``start``, or from midnight UTC of 1970-01-01."""

    days: float = 0
    hours: float = 0
    minutes: float = 0
    seconds: float = 0

    def __post_init__(self) -> None:
        for unit in ("days", "hours", "minutes", "seconds"):
            check_seconds(f"schedule.{unit}", getattr(self, unit), most=_LONGEST_PERIOD_S)
        if not 1 <= self.period_s <= _LONGEST_PERIOD_S:
            raise InvalidOption(
                f"schedule must repeat every 1 second to 366 days, got {self.period_s:g} s",
                hint="Write stoker.Every(minutes=15).",
            )
        if self.period_s != int(self.period_s):
            raise InvalidOption(f"schedule must repeat after a whole number of seconds, got {self.period_s!r}")
        object.__setattr__(self, "seconds", self.period_s)  # one form, so that equal periods are equal
        for unit in ("days", "hours", "minutes"):
            object.__setattr__(self, unit, 0)
        check_policies(self)

    @property
    def period_s(self) -> float:
        """Seconds from tick to tick."""
        return self.days * 86_400.0 + self.hours * 3600.0 + self.minutes * 60.0 + self.seconds


Schedule = Cron | Every


def check_policies(schedule: Policies) -> None:
    """Raise ``InvalidOption`` for what cannot be meant."""
    for option, known in (("overlap", get_args(Overlap)), ("misfire", get_args(Misfire))):
        if getattr(schedule, option) not in known:
            raise InvalidOption(
                f"schedule.{option} must be one of {', '.join(known)}, got {getattr(schedule, option)!r}"
            )
    check_seconds("schedule.jitter_s", schedule.jitter_s, most=86_400.0)
    check_seconds("schedule.misfire_grace_s", schedule.misfire_grace_s, most=30 * 86_400.0)
    check_seconds("schedule.late_after_s", schedule.late_after_s, most=30 * 86_400.0)
    if schedule.method is not None and not (isinstance(schedule.method, str) and schedule.method.isidentifier()):
        raise InvalidOption(f"schedule.method must be a method's name, got {schedule.method!r}")
    for option in ("start", "end"):
        _moment(option, getattr(schedule, option))
    try:
        text = json.dumps(schedule.arguments, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidOption(f"schedule.arguments must be a JSON value: {error}") from error
    if len(text) > _LONGEST_ARGUMENTS:
        raise InvalidOption(
            f"schedule.arguments must be at most {_LONGEST_ARGUMENTS} bytes of JSON, got {len(text)}",
            hint="Pass a path or a URL, and read what is there in the function.",
        )


def check_seconds(option: str, value: object, *, most: float) -> None:
    """Raise ``InvalidOption`` for what is no finite number from 0 to ``most``."""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if not is_number or not 0 <= value <= most:  # type: ignore[operator]
        raise InvalidOption(f"{option} must be a number from 0 to {most:g}, got {value!r}")


def schedule_to_json(schedule: Schedule | None) -> dict[str, object] | None:
    """As ``POST /v1/schedules`` takes it: ``{"cron": "0 2 * * *", "timezone": …}`` or ``{"every_s": 3600, …}``."""
    if schedule is None:
        return None
    policies = {spec.name: getattr(schedule, spec.name) for spec in dataclasses.fields(Policies)}
    if isinstance(schedule, Cron):
        return {"cron": schedule.expression, "timezone": schedule.timezone, **policies}
    return {"every_s": schedule.period_s, **policies}


def schedule_from_json(data: object) -> Schedule:
    """Read one; raises ``InvalidOption`` naming the key and the value."""
    if isinstance(data, (Cron, Every)):
        return data
    if not isinstance(data, Mapping):
        raise InvalidOption(
            f"schedule must be stoker.Cron(...) or stoker.Every(...), got {data!r}",
            hint='Write schedule=stoker.Cron("0 2 * * *", timezone="Asia/Kolkata").',
        )
    known = {"cron", "timezone", "every_s"} | {spec.name for spec in dataclasses.fields(Policies)}
    unknown = [str(key) for key in data if key not in known]
    if unknown:
        raise InvalidOption(f"schedule has no option {unknown[0]!r}", hint=f"Known: {', '.join(sorted(known))}.")
    policies = {key: value for key, value in data.items() if key not in ("cron", "timezone", "every_s")}
    if (data.get("cron") is None) == (data.get("every_s") is None):
        raise InvalidOption("schedule needs either `cron` or `every_s`", hint="e.g. {'cron': '0 2 * * *'}.")
    if data.get("cron") is not None:
        return Cron(data["cron"], timezone=data.get("timezone") or "UTC", **policies)
    if data.get("timezone") not in (None, "UTC"):
        raise InvalidOption(f"schedule.timezone goes with a cron line, got {data['timezone']!r} beside every_s")
    check_seconds("schedule.every_s", data["every_s"], most=_LONGEST_PERIOD_S)
    return Every(seconds=data["every_s"], **policies)


def _moment(option: str, value: object) -> None:
    if value is None:
        return
    try:
        if not isinstance(value, str):
            raise ValueError(value)
        parse_moment(value)
    except ValueError:
        raise InvalidOption(
            f"schedule.{option} must be an ISO 8601 time such as '2026-03-01T02:00', got {value!r}"
        ) from None


def parse_moment(text: str) -> datetime:
    """An ISO 8601 time; ``Z`` is UTC on every Python. Raises ``ValueError``."""
    moment = datetime.fromisoformat(f"{text[:-1]}+00:00" if text.endswith(("Z", "z")) else text)
    if not 1970 <= moment.year <= 9000:
        raise ValueError(text)
    return moment.astimezone(timezone.utc) if text.endswith(("Z", "z")) else moment
