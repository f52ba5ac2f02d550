"""Jobs as JSON documents, and their ends as answers.

The rule that must not break: the members named in ``docs/jobs.md`` are always there; tracebacks and log lines are for
those who may deploy the function.
"""

from __future__ import annotations

import json
from datetime import datetime, timezone
from typing import Any

import msgspec

from stoker.errors import Canceled, PlatformError
from stoker_api.gateway.ports import JobAnswer
from stoker_api.gateway.problems import encode_problem, problem
from stoker_api.jobs.records import JobEvent, JobRecord, JobResult
from stoker_api.jobs.rooms import lost
from stoker_api.jobs.states import JobState

Json = dict[str, Any]
_FOR_OWNERS = ("traceback", "log_tail")


def url_of(job_id: str) -> str:
    """Where a job is found."""
    return f"/v1/jobs/{job_id}"


def job_document(record: JobRecord, *, is_owner: bool) -> Json:
    """A job."""
    url = url_of(record.id)
    has_result = record.state is JobState.SUCCEEDED
    return {
        "id": record.id,
        "state": record.state.value,
        "url": url,
        "namespace": record.namespace,
        "function": record.function,
        "ref": record.ref,
        "method": record.method or None,
        "priority": record.priority.name.lower(),
        "source": record.source,
        "attempts": record.attempts,
        "max_attempts": record.max_attempts,
        "max_age_s": record.max_age_s,
        "timeout_s": record.timeout_s,
        "created_at": _time(record.created_s),
        "not_before": _time(record.not_before_s),
        "expires_at": _time(record.expires_s),
        "started_at": _time(record.started_s),
        "finished_at": _time(record.finished_s),
        "progress": None
        if record.progress is None
        else {"fraction": record.progress, "message": record.progress_message},
        "result": {
            "url": f"{url}/result",
            "content_type": record.result_type or "application/json",
            "size_bytes": record.result_bytes,
            "status": record.result_status,
        }
        if has_result
        else None,
        "problem": problem_document(record, is_owner=is_owner),
        "receipt": None if record.receipt_json is None else json.loads(record.receipt_json),
        "webhooks": list(record.webhook_ids),
        "idempotency_key": record.idempotency_key,
        "links": {"result": f"{url}/result", "events": f"{url}/events", "retry": f"{url}/retry"},
    }


def problem_document(record: JobRecord, *, is_owner: bool) -> Json | None:
    """Why it failed, or was put back the last time."""
    if record.problem_json is None or record.state is JobState.SUCCEEDED:
        return None
    members = json.loads(record.problem_json)
    return members if is_owner else {key: value for key, value in members.items() if key not in _FOR_OWNERS}


def event_document(event: JobEvent) -> Json:
    """An event, flat."""
    return {"id": event.number, "at": _time(event.at_s), "kind": event.kind.value, **event.data}


def pending_answer(record: JobRecord, *, is_owner: bool) -> JobAnswer:
    """It has not ended: where to look."""
    headers = [("location", url_of(record.id)), ("stoker-job", record.id), ("preference-applied", "respond-async")]
    body = msgspec.json.encode(job_document(record, is_owner=is_owner))
    return JobAnswer(status=202, body=body, content_type="application/json", headers=headers)


def ended_answer(record: JobRecord, result: JobResult | None, *, is_owner: bool) -> JobAnswer:
    """It has ended: the function's own answer, or the problem."""
    headers = [("location", url_of(record.id)), ("stoker-job", record.id)]
    if result is not None:
        return JobAnswer(
            status=result.status or 200, body=result.body, content_type=result.content_type, headers=headers
        )
    members = problem_document(record, is_owner=is_owner)
    if record.state is JobState.CANCELED or members is None:
        error: PlatformError = (
            Canceled(f"job {record.id} was canceled", hint="`stoker jobs retry` queues it again.", phase="job")
            if record.state is JobState.CANCELED
            else lost(f"job {record.id} ended without a result")
        )
        members = problem(error, request_id=record.id, function=f"{record.namespace}/{record.function}")
    status = int(str(members.get("status") or 500))
    body = encode_problem({**members, "job": record.id})
    return JobAnswer(status=status, body=body, content_type="", headers=headers, is_problem=True)


def _time(at_s: float | None) -> str | None:
    if at_s is None:
        return None
    return datetime.fromtimestamp(at_s, tz=timezone.utc).isoformat(timespec="milliseconds").replace("+00:00", "Z")
