"""The forecast in ``stoker describe``: why a function is warm, what is expected, and what foreseeing came to.

The rule that must not break: what is not known is left out, and a loss is shown like a gain.
"""

from __future__ import annotations

from typing import Any, Final

import click

from stoker.cli.output import print_fields
from stoker.cli.platform import Document

_WINDOWS_SHOWN: Final = 4
_COLD_STARTS_SHOWN: Final = 3


def print_forecast(forecast: Any) -> None:
    """As fields below an empty line; nothing where the platform tells nothing."""
    if not isinstance(forecast, dict):
        return
    click.echo()
    print_fields(_fields(forecast))


def _fields(forecast: Document) -> dict[str, object]:
    fields: dict[str, object] = {"warm because": "; ".join(forecast.get("why_warm") or []) or "it is not"}
    if forecast.get("adaptive"):
        fields["forecast"] = _status(forecast)
        fields["expected calls per hour"] = " ".join(f"{calls:g}" for calls in forecast["expected_calls_per_hour"])
    windows = forecast.get("windows") or []
    if windows:
        more = f" and {len(windows) - _WINDOWS_SHOWN} more" if len(windows) > _WINDOWS_SHOWN else ""
        fields["loaded in"] = ", ".join(map(_window, windows[:_WINDOWS_SHOWN])) + more
    starts = forecast.get("cold_starts") or []
    if starts:
        shown = (f"{start['at']} {start['took_s']:.2f} s" for start in starts[:_COLD_STARTS_SHOWN])
        fields["last cold starts"] = ", ".join(shown)
    prewarms = forecast.get("prewarms") or {}
    if prewarms.get("used") or prewarms.get("wasted"):
        fields["prewarms"] = (
            f"{prewarms['used']} used, {prewarms['wasted']} wasted ({duration(prewarms['wasted_s'])} of device time)"
        )
    times = forecast.get("device_time") or {}
    if times.get("loaded_s"):
        fields["device time"] = (
            f"{duration(times['loaded_s'])} loaded since {times['since']}; saved "
            f"{duration(times['saved_against_always_on_s'])} against always on, "
            f"{duration(times['saved_against_10_minutes_s'])} against a keep-alive of 10 minutes"
        )
    return fields


def duration(seconds: float) -> str:
    """``3 d 4 h``, ``2 h 5 min``, ``40 s``; a loss has a minus."""
    sign, left = ("-", -seconds) if seconds < 0 else ("", seconds)
    if left < 120:
        return f"{sign}{left:.0f} s"
    minutes = round(left / 60)
    if minutes < 120:
        return f"{sign}{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{sign}{hours} h {minutes} min"
    return f"{sign}{hours // 24} d {hours % 24} h"


def _status(forecast: Document) -> str:
    price_s = forecast.get("price_s")
    parts = [str(forecast.get("status") or "nothing is known yet")]
    if forecast.get("off") and not parts[0].startswith("turned off"):
        parts.append("turned off: a plain keep-alive does better")
    if isinstance(price_s, (int, float)):
        whose = f" ({forecast['price_from']})" if forecast.get("price_from") else ""
        parts.append(f"a cold start is worth {duration(price_s)} of idle time{whose}")
    return "; ".join(parts)


def _window(window: Document) -> str:
    return f"{window.get('start')} to {window.get('end') or 'no end'} ({window.get('source')})"
