"""``/v1/jobs/{id}/events``: what happens to a job, as server-sent events and over a WebSocket.

The rule that must not break: a watcher that comes back with the last id it saw misses nothing and sees nothing twice.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response, WebSocket
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from stoker.errors import NotFound, PlatformError
from stoker_api.control.edge import PlatformDep, token_of
from stoker_api.control.job_requests import checked_job_id
from stoker_api.control.jobs import VisibleJob, covers
from stoker_api.gateway.refusals import BadRequest
from stoker_api.jobs.documents import event_document
from stoker_api.jobs.records import JobEvent
from stoker_api.platform import Platform
from stoker_api.stores.records import Scope

router = APIRouter(prefix="/v1/jobs", tags=["jobs"])
_EVENTS = "text/event-stream"
_KEEP_ALIVE = b": still here\n\n"
_POLICY_VIOLATION = 1008
_GOING_AWAY = 1001
Follow = AsyncGenerator[JobEvent | None, None]


@router.get("/{job_id}/events", summary="What happens to a job", response_class=Response)
async def events(
    request: Request,
    platform: PlatformDep,
    record: VisibleJob,
    after: Annotated[int, Query(ge=0, description="Only events behind this id; Last-Event-ID says the same")] = 0,
    follow: bool = True,
) -> Response:
    """Server-sent events until the job has ended, those of the past first; over a WebSocket too, on the same path."""
    last = max(after, read_last_event_id(request.headers.get("last-event-id")))
    stream = _as_events(platform.jobs.follow(record.id, last, waits=follow))
    return StreamingResponse(stream, media_type=_EVENTS, headers={"cache-control": "no-store"})


@router.websocket("/{job_id}/events")
async def socket(socket: WebSocket, job_id: str, after: int = 0) -> None:
    """One JSON document per event; closes with 1000 behind the last one."""
    platform = socket.app.state.platform
    assert isinstance(platform, Platform)
    try:
        grant = platform.tokens.require(token_of(socket.headers.get("authorization", "")), Scope.INVOKE)
        record = await platform.jobs.get(checked_job_id(job_id))
        if not covers(grant, record.namespace):
            raise NotFound(f"no job {job_id!r}", phase="job")
    except PlatformError as error:
        await socket.close(_POLICY_VIOLATION, error.code)  # before it is accepted: the peer is answered 403
        return
    await socket.accept()
    try:
        async with aclosing(platform.jobs.follow(record.id, max(after, 0))) as found:
            async for event in found:
                if event is not None:
                    await socket.send_text(msgspec.json.encode(event_document(event)).decode())
        await socket.close(_GOING_AWAY if platform.jobs.events.is_closed else 1000)
    except (WebSocketDisconnect, RuntimeError):
        return  # the peer left


def read_last_event_id(value: str | None) -> int:
    """The header that a browser sends when it comes back; raises ``BadRequest``."""
    if not value:
        return 0
    if not re.fullmatch(r"[0-9]{1,18}", value):
        raise BadRequest(f"Last-Event-ID must be the id of an event, got {value[:64]!r}")
    return int(value)


async def _as_events(found: Follow) -> AsyncIterator[bytes]:
    yield b": job events\n\n"  # the head goes out now, not with the first event
    async with aclosing(found) as following:
        async for event in following:
            yield _KEEP_ALIVE if event is None else _event(event)


def _event(event: JobEvent) -> bytes:
    data = msgspec.json.encode(event_document(event))
    return b"id: %d\nevent: %b\ndata: %b\n\n" % (event.number, event.kind.value.encode(), data)
