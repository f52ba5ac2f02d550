"""What is told of a job or batch run that ended, in the transaction that ends it.

The rule that must not break: a message holds what its receiver needs to go on by itself, and never more than a bounded
number of bytes; larger results are fetched by their path.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from datetime import datetime, timezone
from typing import Final

from stoker_api.batches.records import BatchRecord
from stoker_api.ids import new_id
from stoker_api.jobs.records import JobRecord
from stoker_api.stores.sqlite.webhooks import tell
from stoker_api.webhooks.records import Event

INLINE_RESULT_BYTES: Final = 32 * 1024
_RESULT: Final = "SELECT result FROM jobs WHERE seq = ? AND result_blob IS NULL AND result_bytes <= ?"


def job_teller(give_up_after_s: float, wake: Callable[[], None]) -> Callable[[sqlite3.Connection, JobRecord], None]:
    """The hook that jobs call inside the transaction that ends one. ``wake`` is called on the database's thread."""

    def on_terminal(connection: sqlite3.Connection, record: JobRecord) -> None:
        now_s = record.finished_s or record.created_s
        event = Event(
            id=new_id("msg", now_s),
            namespace=record.namespace,
            type=f"job.{record.state.value}",
            subject=record.id,
            data=lambda: job_data(connection, record),
            targets=record.webhook_ids,
        )
        if tell(connection, event, now_s, give_up_after_s):
            wake()

    return on_terminal


def batch_teller(give_up_after_s: float, wake: Callable[[], None]) -> Callable[[sqlite3.Connection, BatchRecord], None]:
    """The same for batch runs."""

    def on_terminal(connection: sqlite3.Connection, record: BatchRecord) -> None:
        now_s = record.ended_at_s or record.updated_at_s
        data = {
            "id": record.id,
            "namespace": record.spec.namespace,
            "function": record.spec.function,
            "state": record.state.value,
            "source": record.spec.source,
            "created_at": _moment(record.created_at_s),
            "started_at": _moment(record.started_at_s),
            "finished_at": _moment(record.ended_at_s),
            "rows": record.rows_total,
            "output": record.spec.output,
            "problem": record.problem,
            "path": f"/v1/batches/{record.id}",
        }
        event = Event(
            id=new_id("msg", now_s),
            namespace=record.spec.namespace,
            type=f"batch.{record.state.value}",
            subject=record.id,
            data=data,
        )
        if tell(connection, event, now_s, give_up_after_s):
            wake()

    return on_terminal


def job_data(connection: sqlite3.Connection, record: JobRecord) -> Mapping[str, object]:
    """The ``data`` of a ``job.…`` event."""
    data: dict[str, object] = {
        "id": record.id,
        "namespace": record.namespace,
        "function": record.function,
        "ref": record.ref,
        "method": record.method or None,
        "state": record.state.value,
        "source": record.source,
        "attempts": record.attempts,
        "created_at": _moment(record.created_s),
        "started_at": _moment(record.started_s),
        "finished_at": _moment(record.finished_s),
        "result_path": f"/v1/jobs/{record.id}/result",
        "result_type": record.result_type or None,
        "result_bytes": record.result_bytes,
    }
    if record.problem_json is not None:
        data["problem"] = json.loads(record.problem_json)
    if record.result_bytes and record.result_type.startswith("application/json"):
        found = connection.execute(_RESULT, (record.seq, INLINE_RESULT_BYTES)).fetchone()
        if found is not None and found[0] is not None:
            data["result"] = json.loads(found[0])
    return data


def _moment(at_s: float | None) -> str | None:
    if at_s is None:
        return None
    return datetime.fromtimestamp(at_s, timezone.utc).isoformat(timespec="milliseconds")
