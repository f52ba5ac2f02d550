"""What a run starts: a job or a batch run, made of a schedule and a tick.

The rule that must not break: pure, and it depends on the schedule and the tick alone.
"""

from __future__ import annotations

import json
from datetime import datetime, tzinfo
from functools import lru_cache
from typing import Any, Final

from stoker.schedule import Schedule, schedule_from_json
from stoker_api.batches.record_json import spec_from_json
from stoker_api.batches.records import NewBatch
from stoker_api.ids import new_id
from stoker_api.jobs.records import NewJob
from stoker_api.schedules.records import ScheduleRecord
from stoker_api.schedules.templates import filled_in
from stoker_api.schedules.ticks import Ticks

_KEPT: Final = 4096


@lru_cache(maxsize=_KEPT)
def schedule_from(schedule_json: str) -> Schedule:
    """A schedule as it is kept, read once."""
    return schedule_from_json(json.loads(schedule_json))


@lru_cache(maxsize=_KEPT)
def ticks_of(schedule_json: str) -> tuple[Schedule, Ticks]:
    """The same with its ticks; raises ``InvalidOption`` where this machine does not know its zone."""
    schedule = schedule_from(schedule_json)
    return schedule, Ticks(schedule)


def new_job(record: ScheduleRecord, zone: tzinfo, tick_s: float, now_s: float) -> NewJob:
    """The call of one tick."""
    moment = datetime.fromtimestamp(tick_s, zone)
    arguments = record.schedule.arguments
    body = b"{}" if arguments is None else json.dumps(filled_in(arguments, moment), ensure_ascii=False).encode()
    return NewJob(
        id=new_id("job", now_s),
        namespace=record.namespace,
        function=record.function,
        ref=record.target.ref,
        method=record.schedule.method or "",
        content_type="application/json",
        body=body,
        source=record.id,
    )


def new_batch(record: ScheduleRecord, zone: tzinfo, tick_s: float, now_s: float) -> NewBatch:
    """The batch run of one tick."""
    moment = datetime.fromtimestamp(tick_s, zone)
    asked: dict[str, Any] = filled_in(dict(record.target.batch or {}), moment)
    if isinstance(asked.get("input"), str):
        asked["input"] = [asked["input"]]
    within_s = record.target.finish_within_s
    fixed = {
        "id": new_id("batch", now_s),
        "namespace": record.namespace,
        "function": record.function,
        "ref": record.target.ref,
        "method": record.schedule.method,
        "source": f"schedule:{record.id}",
        "deadline_s": None if within_s is None else tick_s + within_s,
    }
    given = {key: value for key, value in asked.items() if value is not None}
    return spec_from_json(json.dumps({**given, **fixed}))
