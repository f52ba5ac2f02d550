"""``/v1/batches``: batch runs, their inputs and their outputs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Annotated, Any, Final

import msgspec
from fastapi import APIRouter, Depends, Query, Request
from pydantic import Field
from starlette.responses import FileResponse, Response, StreamingResponse

from stoker.errors import InvalidInput, NotFound
from stoker_api.batches.locations import UPLOAD_SCHEME
from stoker_api.batches.records import (
    MAX_FAILED_FRACTION,
    MOST_ROWS_PER_PART,
    ROWS_PER_PART,
    BatchRecord,
    NewBatch,
    RowFormat,
)
from stoker_api.batches.states import ENDED, BatchState
from stoker_api.control.edge import (
    AnyGrant,
    Document,
    PlatformDep,
    checked_namespace,
    grant_for,
    platform_of,
    read_document,
    takes,
)
from stoker_api.gateway.target import DEFAULT_NAMESPACE
from stoker_api.platform import Platform
from stoker_api.stores.records import Scope

router = APIRouter(prefix="/v1/batches", tags=["batches"])
Json = dict[str, Any]
_MOST_ITEMS: Final = 10_000
_MOST_FILES: Final = 1000


class BatchSpec(Document):
    """A run to be made."""

    function: str
    namespace: str = DEFAULT_NAMESPACE
    ref: str | None = None
    method: str | None = None
    input: str | list[str] | None = None
    items: Annotated[list[Any] | None, Field(max_length=_MOST_ITEMS)] = None
    input_format: str | None = None
    output: str | None = None
    output_format: str = RowFormat.JSONL.value
    mapping: dict[str, str] = Field(default_factory=dict)
    key: str | None = None
    rows_per_part: Annotated[int, Field(ge=1, le=MOST_ROWS_PER_PART)] = ROWS_PER_PART
    max_concurrency: Annotated[int | None, Field(ge=1, le=100_000)] = None
    deadline: str | None = None
    max_failed_fraction: Annotated[float, Field(ge=0, le=1, strict=False)] = MAX_FAILED_FRACTION
    overwrite: bool = False


class ResumeSpec(Document):
    """What may change when a run goes on."""

    max_failed_fraction: Annotated[float | None, Field(ge=0, le=1, strict=False)] = None
    max_concurrency: Annotated[int | None, Field(ge=1, le=100_000)] = None
    deadline: str | None = None


@router.post(
    "",
    status_code=202,
    responses={200: {"description": "A dry run: nothing was started"}},
    openapi_extra=takes(BatchSpec),
    summary="Start a batch run",
)
async def create(request: Request, response: Response, platform: PlatformDep, dry_run: bool = False) -> Json:
    """Checked, written down, answered; it runs behind interactive calls."""
    grant_for(request, Scope.INVOKE)  # before a byte of the body is read
    asked = await read_document(request, BatchSpec)
    grant_for(request, Scope.INVOKE, checked_namespace(asked.namespace))
    request.state.function = f"{asked.namespace}/{asked.function}"
    spec = _spec(asked)
    if dry_run:
        response.status_code = 200
        return await platform.batches.dry_run(spec)
    document = await platform.batches.create(spec)
    response.headers["location"] = f"/v1/batches/{document['id']}"
    return document


@router.get("", summary="List batch runs")
async def list_batches(
    request: Request,
    platform: PlatformDep,
    grant: AnyGrant,
    namespace: str | None = None,
    function: str | None = None,
    state: BatchState | None = None,
    before: str | None = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Json:
    """The newest first; ``next`` of the answer is the ``before`` of the next page."""
    if namespace is not None:
        grant_for(request, Scope.INVOKE, checked_namespace(namespace))
    found = await platform.batches.documents(
        namespace=namespace, function=function, state=state, before=before, limit=limit
    )
    shown = [each for each in found if grant.namespaces is None or each["namespace"] in grant.namespaces]
    return {"batches": shown, "next": found[-1]["id"] if len(found) == limit else None}


@router.post("/uploads", status_code=201, summary="Send an input file", openapi_extra={"requestBody": {"content": {}}})
async def upload(request: Request, platform: PlatformDep, grant: AnyGrant, name: str) -> Json:
    """The body is the file, or its first piece; ``url`` of the answer is what ``input`` takes."""
    upload_id = platform.batches.uploads.new(name)
    size_bytes = await platform.batches.uploads.add(upload_id, 0, request.stream())
    return {"id": upload_id, "url": f"{UPLOAD_SCHEME}{upload_id}", "size_bytes": size_bytes}


@router.patch("/uploads/{upload_id}", summary="Send the next piece", openapi_extra={"requestBody": {"content": {}}})
async def upload_more(
    request: Request, platform: PlatformDep, grant: AnyGrant, upload_id: str, offset: Annotated[int, Query(ge=1)]
) -> Json:
    """409 where ``offset`` is not the end of what has come."""
    size_bytes = await platform.batches.uploads.add(upload_id, offset, request.stream())
    return {"id": upload_id, "url": f"{UPLOAD_SCHEME}{upload_id}", "size_bytes": size_bytes}


async def _record(request: Request, batch_id: str) -> BatchRecord:
    grant_for(request, Scope.INVOKE)
    record = await platform_of(request).batches.record(batch_id)
    grant_for(request, Scope.INVOKE, record.spec.namespace)
    request.state.function = f"{record.spec.namespace}/{record.spec.function}"
    return record


Batch = Annotated[BatchRecord, Depends(_record)]
"""The run in the path, for a token of its namespace."""


@router.get("/{batch_id}", summary="Describe a batch run")
async def describe(platform: PlatformDep, record: Batch) -> Json:
    """Where it is, and how far."""
    return await platform.batches.document(record.id)


@router.post("/{batch_id}/pause", summary="Pause a batch run")
async def pause(platform: PlatformDep, record: Batch) -> Json:
    """What is in flight ends; nothing more is taken."""
    await platform.batches.runner.pause(record.id)
    return await platform.batches.document(record.id)


@router.post("/{batch_id}/resume", summary="Resume a batch run", openapi_extra=takes(ResumeSpec))
async def resume(request: Request, platform: PlatformDep, record: Batch) -> Json:
    """Goes on behind what is done, also after a failure."""
    asked = await read_document(request, ResumeSpec)
    changes: dict[str, object] = {
        name: value
        for name, value in (
            ("max_failed_fraction", asked.max_failed_fraction),
            ("max_concurrency", asked.max_concurrency),
            ("deadline_s", _deadline(asked.deadline)),
        )
        if value is not None
    }
    await platform.batches.runner.resume(record.id, **changes)
    return await platform.batches.document(record.id)


@router.post("/{batch_id}/cancel", summary="Cancel a batch run")
async def cancel(platform: PlatformDep, record: Batch) -> Json:
    """Stops at once and for good."""
    await platform.batches.runner.cancel(record.id)
    return await platform.batches.document(record.id)


@router.get("/{batch_id}/events", summary="Watch a batch run", response_class=Response)
async def events(platform: PlatformDep, record: Batch) -> Response:
    """Server-sent events: ``state`` with the run's document at each change, until it has ended or is paused."""
    stream = _events(platform, record.id)
    return StreamingResponse(stream, media_type="text/event-stream", headers={"cache-control": "no-store"})


@router.get("/{batch_id}/output", summary="List a kept output's files")
async def output(platform: PlatformDep, record: Batch) -> Json:
    """Of a run without ``output``, once it has succeeded."""
    return {"files": list(await platform.batches.output_files(record.id))}


@router.get("/{batch_id}/output/{name}", summary="Read a file of a kept output", response_class=Response)
async def output_file(platform: PlatformDep, record: Batch, name: str) -> Response:
    """One file, as it is."""
    if name not in await platform.batches.output_files(record.id):
        raise NotFound(f"the output of {record.id} has no file {name!r}")
    path = platform.batches.output_path(record.id, name)
    if not path.exists():
        raise NotFound(f"the output of {record.id} has been purged", hint="STOKER_BATCH_KEEP_S says how long it stays.")
    return FileResponse(path, media_type="application/octet-stream")


async def _events(platform: Platform, batch_id: str) -> AsyncIterator[bytes]:
    with platform.batches.runner.changes.watching(batch_id) as changed:
        while True:
            changed.clear()
            document = await platform.batches.document(batch_id)
            yield b"event: state\ndata: " + msgspec.json.encode(document) + b"\n\n"
            state = BatchState(document["state"])
            if state in ENDED or state is BatchState.PAUSED or platform.batches.runner.is_closing:
                return
            try:
                await asyncio.wait_for(changed.wait(), 15.0)
            except asyncio.TimeoutError:
                yield b": still here\n\n"


def _spec(asked: BatchSpec) -> NewBatch:
    if (asked.input is None) == (asked.items is None):
        raise InvalidInput("give `input` (a URL or several) or `items` (the rows themselves)")
    urls = [asked.input] if isinstance(asked.input, str) else asked.input or []
    if len(urls) > _MOST_FILES:
        raise InvalidInput(f"{len(urls)} inputs are more than {_MOST_FILES}", hint="Name them by a glob.")
    return NewBatch(
        id="",
        namespace=asked.namespace,
        function=asked.function,
        ref=asked.ref,
        method=asked.method,
        input=tuple(urls),
        items=None if asked.items is None else tuple(asked.items),
        input_format=None if asked.input_format is None else _format(asked.input_format),
        output=asked.output,
        output_format=_output_format(asked.output_format),
        mapping=asked.mapping,
        key=asked.key,
        rows_per_part=asked.rows_per_part,
        max_concurrency=asked.max_concurrency,
        deadline_s=_deadline(asked.deadline),
        max_failed_fraction=asked.max_failed_fraction,
        overwrite=asked.overwrite,
    )


def _format(text: str) -> RowFormat:
    try:
        return RowFormat(text)
    except ValueError:
        raise InvalidInput(f"the format must be jsonl, csv, parquet or text, got {text[:40]!r}") from None


def _output_format(text: str) -> RowFormat:
    found = _format(text)
    if found not in (RowFormat.JSONL, RowFormat.PARQUET):
        raise InvalidInput(f"the output is JSONL or Parquet, not {text}", hint="A result may be a list or an object.")
    return found


def _deadline(text: str | None) -> float | None:
    if text is None:
        return None
    try:
        found = datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise InvalidInput(f"the deadline must be an ISO 8601 time, got {text[:40]!r}") from None
    if found.tzinfo is None:
        raise InvalidInput(f"the deadline must name its time zone, got {text!r}", hint="Write 2027-01-31T06:00:00Z.")
    return found.timestamp()
