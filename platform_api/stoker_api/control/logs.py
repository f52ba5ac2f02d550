"""``/v1/functions/{name}/logs``: what a function printed, and what it prints now."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import aclosing
from typing import Annotated

import msgspec
from fastapi import APIRouter, Query, Request, Response
from starlette.responses import StreamingResponse

from stoker_api.control.edge import DeployableFunction, PlatformDep
from stoker_api.function_logs import MAX_LINES, FunctionLogs
from stoker_api.platform import Platform
from stoker_api.stores.records import FunctionKey
from stoker_runtime.rotating_log import LogLine

router = APIRouter(prefix="/v1/functions/{name}", tags=["logs"])
_EVENTS = "text/event-stream"
Encode = Callable[[LogLine], bytes]


@router.get("/logs", summary="Log lines", response_class=Response)
async def logs(
    request: Request,
    platform: PlatformDep,
    key: DeployableFunction,
    follow: bool = False,
    lines: Annotated[int, Query(ge=0, le=MAX_LINES)] = 100,
    revision: int | None = None,
) -> Response:
    """One JSON object per line; as server-sent events with ``Accept: text/event-stream``."""
    platform.registry.function(key)
    is_events = _EVENTS in request.headers.get("accept", "")
    if follow:
        encode = _event if is_events else _line
        media_type = _EVENTS if is_events else "text/plain"
        stream = _followed(platform, key, lines, revision)
        return StreamingResponse(_encoded(stream, encode), media_type=media_type, headers={"cache-control": "no-store"})
    found = await platform.logs.tail(key, lines, revision)
    if is_events:
        return Response(b"".join(map(_event, found)), media_type=_EVENTS)
    return Response(b"".join(map(_line, found)), media_type="text/plain; charset=utf-8")


async def _followed(
    platform: Platform, key: FunctionKey, lines: int, revision: int | None
) -> AsyncGenerator[LogLine, None]:
    logs: FunctionLogs = platform.logs
    async with logs.following(key, revision) as follower:  # first, so that no line falls between
        for line in await logs.tail(key, lines, revision):
            yield line
        async with aclosing(follower.lines()) as new:
            async for line in new:
                yield line


async def _encoded(stream: AsyncGenerator[LogLine, None], encode: Encode) -> AsyncIterator[bytes]:
    yield b""  # the head goes out now, not with the first line
    async for line in stream:
        yield encode(line)


def _line(line: LogLine) -> bytes:
    return msgspec.json.encode(line) + b"\n"


def _event(line: LogLine) -> bytes:
    return b"data: " + msgspec.json.encode(line) + b"\n\n"
