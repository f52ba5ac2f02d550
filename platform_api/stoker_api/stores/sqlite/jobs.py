"""Jobs as rows: what other rooms may do inside a transaction of their own, and what every statement on jobs shares.

The rule that must not break: a job's row and its event are written in one transaction, and a job that is there already
is never written twice.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

from stoker.errors import Conflict
from stoker_api.jobs.records import EventKind, JobEvent, JobRecord, NewJob
from stoker_api.jobs.states import JobPriority, JobState
from stoker_api.stores.sqlite.database import statements

_RECORD: Final = tuple(spec.name for spec in fields(JobRecord))
_COLUMNS: Final = ", ".join("webhook_ids_json" if name == "webhook_ids" else name for name in _RECORD)
_OTHERWISE: Final = {"body_sha256", "priority", "webhook_ids"}
_AS_THEY_ARE: Final = tuple(spec.name for spec in fields(NewJob) if spec.name not in _OTHERWISE)
RECORD_COLUMNS: Final = len(_RECORD)
SQL: Final = {
    name: text.rstrip().rstrip(";").replace("{record}", _COLUMNS) for name, text in statements("jobs").items()
}


class JobExists(Conflict):
    """Another job has this id or idempotency key; nothing was changed."""

    code = "job_exists"
    phase = "job"


def insert_job(connection: sqlite3.Connection, job: NewJob, now_s: float) -> bool:
    """Add a job inside the caller's transaction; False where the same job is there already.

    Raises ``JobExists`` where its id or idempotency key belongs to a job that asks for something else.
    """
    record, is_new = put_job(connection, job, now_s)
    return is_new and record.id == job.id


def put_job(connection: sqlite3.Connection, job: NewJob, now_s: float) -> tuple[JobRecord, bool]:
    """The same; the job that stands for ``job`` now, and whether it is new."""
    digest = job.digest()
    not_before_s = now_s if job.not_before_s is None else job.not_before_s
    row = {
        **{name: getattr(job, name) for name in _AS_THEY_ARE},
        "priority": int(job.priority),
        "webhook_ids_json": json.dumps(job.webhook_ids) if job.webhook_ids else "[]",
        "digest": digest,
        "created_s": now_s,
        "not_before_s": not_before_s,
        "expires_s": max(now_s, not_before_s) + job.max_age_s,
    }
    row["lane"] = _lane(connection, row)
    found = connection.execute(SQL["add_job"], row).fetchall()
    if not found:
        return _same_job(connection, job, digest), False
    record = record_of(found[0])
    add_event_row(connection, record.seq, 1, now_s, EventKind.STATE, {"state": JobState.QUEUED.value})
    return record, True


def add_event_row(
    connection: sqlite3.Connection, seq: int, number: int, at_s: float, kind: EventKind, data: Mapping[str, object]
) -> None:
    """Write one event; its number has been taken from the job's row."""
    row = {"job": seq, "number": number, "at_s": at_s, "kind": kind.value, "data_json": json.dumps(data)}
    connection.execute(SQL["add_event"], row)


def record_of(row: tuple[object, ...]) -> JobRecord:
    """A row that begins with the columns of a record."""
    values = dict(zip(_RECORD, row, strict=False))
    values["state"] = JobState(str(values["state"]))
    values["priority"] = JobPriority(int(str(values["priority"])))
    hooks = str(values["webhook_ids"])
    values["webhook_ids"] = () if hooks == "[]" else tuple(json.loads(hooks))
    return JobRecord(**values)  # type: ignore[arg-type]


def event_of(row: tuple[int, float, str, str]) -> JobEvent:
    """A row of an event."""
    number, at_s, kind, data_json = row
    return JobEvent(number=number, at_s=at_s, kind=EventKind(kind), data=json.loads(data_json))


def _lane(connection: sqlite3.Connection, row: Mapping[str, object]) -> int:
    found = connection.execute(SQL["find_lane"], row).fetchone()
    if found is None:
        connection.execute(SQL["add_lane"], row)
        found = connection.execute(SQL["find_lane"], row).fetchone()
    return int(found[0])


def _same_job(connection: sqlite3.Connection, job: NewJob, digest: str) -> JobRecord:
    row = {"id": job.id, "namespace": job.namespace, "idempotency_key": job.idempotency_key}
    (found,) = connection.execute(SQL["same_job"], row).fetchall()
    record = record_of(found)
    if digest == found[-1] and record.namespace == job.namespace:
        return record
    what = f"id {job.id!r}" if record.id == job.id else f"Idempotency-Key {job.idempotency_key!r}"
    raise JobExists(
        f"a job with the {what} asks for something else",
        hint="Send the same request again to get the same job; take another id or key for another request.",
    )
