"""``/v1/jobs``: submit, list, look at, cancel and run again.

The rule that must not break: a token sees the jobs of its namespaces and no others, not even that they are there.
"""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Request, Response

from stoker.errors import Forbidden, NotFound
from stoker_api.control.documents import Json
from stoker_api.control.edge import (
    AdminGrant,
    AnyGrant,
    PlatformDep,
    grant_for,
    platform_of,
    read_document,
    takes,
)
from stoker_api.control.job_requests import (
    JobDocument,
    JobInput,
    checked_job_id,
    idempotency_key_of,
    make_cursor,
    read_cursor,
    read_states,
    read_time,
)
from stoker_api.gateway.ports import JobAnswer
from stoker_api.gateway.problems import PROBLEM_TYPE
from stoker_api.jobs.documents import ended_answer, job_document, pending_answer
from stoker_api.jobs.records import JobFilter, JobRecord, new_input
from stoker_api.jobs.states import ENDED
from stoker_api.stores.records import Scope
from stoker_api.tokens import Grant

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_ACCEPTED: dict[int | str, Json] = {202: {"description": "A job that has not ended"}}


async def visible_job(request: Request, job_id: str) -> JobRecord:
    """The job in the path, for a token of its namespace; raises ``NotFound``."""
    grant = grant_for(request, Scope.INVOKE)
    checked_job_id(job_id)
    record = await platform_of(request).jobs.get(job_id)
    if not covers(grant, record.namespace):
        raise NotFound(f"no job {job_id!r}", phase="job")
    request.state.function = f"{record.namespace}/{record.function}"
    return record


VisibleJob = Annotated[JobRecord, Depends(visible_job)]


@router.post("", status_code=202, summary="Submit a job", openapi_extra=takes(JobDocument))
async def submit(request: Request, platform: PlatformDep, _grant: AnyGrant) -> Response:
    """On disk before the answer. With ``Idempotency-Key``, a repeated submit is one job."""
    return await _submit(request, platform.jobs.new_id(), idempotency_key_of(request))


@router.put("/{job_id}", status_code=202, summary="Submit a job under an id", openapi_extra=takes(JobDocument))
async def put(request: Request, job_id: str, platform: PlatformDep, _grant: AnyGrant) -> Response:
    """The same request again is the same job; another one under this id is a conflict."""
    return await _submit(request, checked_job_id(job_id), None)


@router.get("", summary="List jobs, newest first")
async def find_all(
    platform: PlatformDep,
    grant: AnyGrant,
    namespace: str | None = None,
    function: str | None = None,
    state: Annotated[str | None, Query(description="Several by commas; `dead`: failed, timed_out, expired")] = None,
    source: str | None = None,
    since: Annotated[str | None, Query(description="ISO 8601 with a zone, or Unix seconds")] = None,
    until: str | None = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    cursor: str | None = None,
) -> Json:
    """One page; ``next_cursor`` leads to the next."""
    if namespace is not None and not covers(grant, namespace):
        raise Forbidden(f"this token does not cover namespace {namespace[:64]!r}")
    wanted = JobFilter(
        namespace=namespace,
        namespaces=None if grant.namespaces is None else tuple(sorted(grant.namespaces)),
        function=function,
        states=read_states(state),
        source=source,
        since_s=None if since is None else read_time("since", since),
        until_s=None if until is None else read_time("until", until),
    )
    records = await platform.jobs.find_all(wanted, read_cursor(cursor), limit)
    more = make_cursor(records[-1].seq) if len(records) == limit else None
    is_owner = _is_owner(grant)
    return {"jobs": [job_document(record, is_owner=is_owner) for record in records], "next_cursor": more}


@router.post("/purge", summary="Forget jobs that have ended")
async def purge(
    platform: PlatformDep,
    _grant: AdminGrant,
    before: Annotated[str | None, Query(description="Ended before then; now, if left out")] = None,
    state: str | None = None,
) -> Json:
    """Their results are gone with them."""
    before_s = platform.jobs.now_s() if before is None else read_time("before", before)
    states = (read_states(state) or ENDED) & ENDED
    return {"purged": await platform.jobs.janitor.purge(dict.fromkeys(sorted(states), before_s))}


@router.get("/{job_id}", summary="A job")
async def describe(request: Request, record: VisibleJob) -> Json:
    return job_document(record, is_owner=_is_owner(request.state.grant))


@router.get("/{job_id}/input", summary="What a job was submitted with", response_class=Response)
async def body(platform: PlatformDep, record: VisibleJob) -> Response:
    content = await platform.jobs.body(record.id)
    return Response(content, media_type=record.content_type or "application/json")


@router.get("/{job_id}/result", summary="What a job answered", responses=_ACCEPTED, response_class=Response)
async def result(
    request: Request,
    platform: PlatformDep,
    record: VisibleJob,
    wait: Annotated[float, Query(ge=0, le=600, description="Seconds to wait for its end")] = 0.0,
) -> Response:
    """The function's own answer, or why it failed; 202 while it has not ended."""
    if wait and not record.has_ended:
        record = await _waited(request, record, wait)
    is_owner = _is_owner(request.state.grant)
    if not record.has_ended:
        return as_response(pending_answer(record, is_owner=is_owner), {"retry-after": "1"})
    return as_response(ended_answer(record, await platform.jobs.result(record.id), is_owner=is_owner))


@router.delete("/{job_id}", summary="Cancel a job")
async def cancel(request: Request, platform: PlatformDep, record: VisibleJob) -> Json:
    """Whether it waits or runs; one that has ended is a conflict."""
    canceled = await platform.jobs.cancel(record.id)
    return job_document(canceled, is_owner=_is_owner(request.state.grant))


@router.post("/{job_id}/retry", status_code=202, summary="Run an ended job again", openapi_extra=takes(JobInput))
async def retry(request: Request, platform: PlatformDep, record: VisibleJob) -> Json:
    """With an input in the body, that takes the place of the old one."""
    given = await read_document(request, JobInput)
    edit = None
    if given.is_given:
        content, content_type = given.body()
        edit = new_input(record, content, content_type)
    queued = await platform.jobs.retry(record.id, edit)
    return job_document(queued, is_owner=_is_owner(request.state.grant))


def as_response(answer: JobAnswer, more: dict[str, str] | None = None) -> Response:
    """An answer of the ASGI app."""
    media_type = PROBLEM_TYPE if answer.is_problem else answer.content_type or "application/json"
    headers = dict(answer.headers) | (more or {})
    return Response(answer.body, answer.status, headers, media_type)


def covers(grant: Grant, namespace: str) -> bool:
    """Whether the token may see a namespace."""
    return grant.namespaces is None or namespace in grant.namespaces


def _is_owner(grant: Grant) -> bool:
    return Scope.DEPLOY in grant.scopes


async def _submit(request: Request, job_id: str, idempotency_key: str | None) -> Response:
    jobs = platform_of(request).jobs
    document = await read_document(request, JobDocument)
    grant = grant_for(request, Scope.INVOKE, document.namespace)
    webhook_ids = await platform_of(request).webhooks.checked_targets(document.namespace, document.webhooks)
    record, _ = await jobs.submit(document.job(job_id, jobs.now_s(), idempotency_key, webhook_ids))
    return as_response(pending_answer(record, is_owner=_is_owner(grant)))


async def _waited(request: Request, record: JobRecord, wait_s: float) -> JobRecord:
    """Wait for its end, or until the asker has gone."""
    waiting = asyncio.ensure_future(platform_of(request).jobs.wait(record.id, wait_s))
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({waiting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        return waiting.result() if waiting.done() else record
    finally:
        for task in (waiting, leaving):
            task.cancel()
        await asyncio.wait({waiting, leaving})


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass
