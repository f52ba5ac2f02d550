"""What the platform expects of a function, and what foreseeing has come to, as a JSON document.

The rule that must not break: it says why a replica is there, in words, and every time in it is UTC.
"""

from __future__ import annotations

import math
from datetime import datetime, timezone

from fastapi import APIRouter

from stoker.options import Scaling
from stoker_api.control.documents import Json, scaling_in_force
from stoker_api.control.edge import PlatformDep, ReadableFunction
from stoker_api.platform import Platform
from stoker_api.stores.records import FunctionKey
from stoker_pool.forecast_report import ForecastReport

router = APIRouter(prefix="/v1/functions/{name}", tags=["scaling"])


@router.get("/forecast", summary="What is expected of a function, and why it is warm")
async def get_forecast(platform: PlatformDep, key: ReadableFunction) -> Json:
    """The next hours, prewarms used and wasted, the last cold starts, and device time saved."""
    return forecast_document(platform, key, scaling_in_force(platform.registry.function(key)))


def forecast_document(platform: Platform, key: FunctionKey, scaling: Scaling) -> Json:
    """The forecast of one function now."""
    return document_of(platform.pool.forecast(key.namespace, key.name, scaling))


def document_of(report: ForecastReport) -> Json:
    """A report as JSON: spans of time in seconds, instants as text."""
    return {
        "adaptive": report.is_adaptive,
        "status": report.status,
        "off": report.is_off,
        "price_s": report.price_s,
        "price_from": report.price_from,
        "load_s": report.load_s,
        "expected_calls_per_hour": [round(calls, 3) for calls in report.expected_calls],
        "windows": [
            {"source": reason.source, "start": _text(reason.window.start_s), "end": _text(reason.window.end_s)}
            for reason in report.windows
        ],
        "why_warm": list(report.why_warm),
        "cold_starts": [{"at": _text(start.at_s), "took_s": start.took_s} for start in reversed(report.cold_starts)],
        "prewarms": {
            "used": report.prewarms_used,
            "wasted": report.prewarms_wasted,
            "wait_s": report.prewarm_wait_s,
            "wasted_s": report.prewarm_wasted_s,
            "budget_left_s": report.prewarm_budget_left_s,
        },
        "device_time": {
            "since": _text(report.since_s),
            "loaded_s": report.loaded_s,
            "saved_against_always_on_s": report.saved_against_always_on_s,
            "saved_against_10_minutes_s": report.saved_against_timer_s,
        },
    }


def _text(at_s: float) -> str | None:
    """ISO 8601; None where there is no such instant (for ever)."""
    if not math.isfinite(at_s):
        return None
    try:
        return datetime.fromtimestamp(at_s, timezone.utc).isoformat(timespec="seconds")
    except (OverflowError, ValueError, OSError):
        return None
