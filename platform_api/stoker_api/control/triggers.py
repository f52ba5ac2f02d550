"""``/v1/triggers``: topics of brokers that start functions, and events that are posted here."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import Field
from starlette.responses import Response

from stoker_api.control.documents import Json
from stoker_api.control.edge import (
    DeployNamespace,
    Document,
    PlatformDep,
    checked_namespace,
    grant_for,
    read_document,
    takes,
)
from stoker_api.control.webhooks import moment
from stoker_api.gateway.problems import PROBLEM_TYPE, encode_problem
from stoker_api.platform import Platform
from stoker_api.stores.records import Scope
from stoker_api.triggers.new_trigger import NewTrigger
from stoker_api.triggers.records import Passed, Start, TriggerRecord, TriggerState

router = APIRouter(prefix="/v1/triggers", tags=["triggers"])


class TriggerSpec(Document):
    """A trigger to be made. ``url`` may hold credentials; it is sealed, and never shown with them again."""

    name: str
    function: str
    url: str
    topic: str = ""
    ref: str | None = None
    method: str | None = None
    group: str = ""
    results: str = ""
    dead_letters: str = ""
    passed: Annotated[Passed, Field(strict=False)] = Passed.DATA
    start: Annotated[Start, Field(strict=False)] = Start.EARLIEST
    max_in_flight: int = 64
    max_attempts: int = 3
    reply_type: Annotated[str, Field(max_length=200)] = ""
    paused: bool = False


class TriggerChange(Document):
    """What to change; what is not named stays."""

    max_in_flight: int | None = None
    max_attempts: int | None = None
    paused: bool | None = None


@router.get("", summary="List triggers")
async def list_triggers(platform: PlatformDep, namespace: DeployNamespace) -> Json:
    """By name, with what each does now."""
    return {"triggers": [_document(platform, record) for record in platform.triggers.all(namespace)]}


@router.post("", status_code=201, openapi_extra=takes(TriggerSpec), summary="Create a trigger")
async def create_trigger(request: Request, platform: PlatformDep, namespace: DeployNamespace) -> Json:
    """It consumes from now on; a broker that is not there is tried again for ever, and ``state`` says so."""
    spec = await read_document(request, TriggerSpec)
    fields = spec.model_dump(exclude={"paused"})
    return _document(platform, await platform.triggers.create(namespace, NewTrigger(**fields, is_paused=spec.paused)))


@router.get("/{name}", summary="Show a trigger")
async def get_trigger(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """``lag`` is the number of messages that wait at the broker, where it tells."""
    record = platform.triggers.get(namespace, name)
    consumer = platform.triggers.consumer(record)
    return {**_document(platform, record), "lag": None if consumer is None else await consumer.lag()}


@router.patch("/{name}", openapi_extra=takes(TriggerChange), summary="Change a trigger")
async def change_trigger(request: Request, platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """Its limits, or whether it is paused; its messages in flight end first."""
    change = await read_document(request, TriggerChange)
    changed = await platform.triggers.change(
        platform.triggers.get(namespace, name),
        is_paused=change.paused,
        max_in_flight=change.max_in_flight,
        max_attempts=change.max_attempts,
    )
    return _document(platform, changed)


@router.delete("/{name}", summary="Delete a trigger")
async def delete_trigger(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """Its messages in flight end first; its group stays at the broker."""
    record = platform.triggers.get(namespace, name)
    await platform.triggers.delete(record)
    return {"deleted": True, "id": record.id}


@router.post("/{name}/pause", summary="Pause a trigger")
async def pause_trigger(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """Its messages in flight end first."""
    record = platform.triggers.get(namespace, name)
    return _document(platform, await platform.triggers.change(record, is_paused=True))


@router.post("/{name}/resume", summary="Resume a trigger")
async def resume_trigger(platform: PlatformDep, namespace: DeployNamespace, name: str) -> Json:
    """It goes on where it was."""
    record = platform.triggers.get(namespace, name)
    return _document(platform, await platform.triggers.change(record, is_paused=False))


@router.post("/{name}/events", summary="Post a CloudEvent")
async def post_event(
    request: Request, platform: PlatformDep, name: str, namespace: Annotated[str, Depends(checked_namespace)]
) -> Response:
    """In binary mode (``ce-*`` headers) or structured mode. A 2xx says that the function has succeeded."""
    grant_for(request, Scope.INVOKE, namespace)
    record = platform.triggers.get(namespace, name)
    headers = {key.lower(): value for key, value in request.headers.items()}
    content_type = headers.get("content-type", "")
    body = await request.body()
    result, event = await platform.triggers.post(record, headers, content_type, body, request.state.request_id)
    if result.problem is not None:
        retry = {} if result.retry_after_s is None else {"retry-after": str(max(1, round(result.retry_after_s)))}
        return Response(encode_problem(result.problem), result.status, retry, PROBLEM_TYPE)
    return Response(result.body, result.status, event, result.content_type)


def _document(platform: Platform, record: TriggerRecord) -> Json:
    consumer = platform.triggers.consumer(record)
    if record.is_paused:
        state, reason = TriggerState.PAUSED, ""
    elif consumer is None:
        state, reason = TriggerState.CONSUMING, ""
    else:
        state, reason = consumer.state, consumer.reason
    stats = platform.triggers.stats(record)
    return {
        "id": record.id,
        "name": record.name,
        "namespace": record.namespace,
        "kind": record.kind.value,
        "function": record.function,
        "ref": record.ref,
        "method": record.method,
        "url": record.shown_url,
        "topic": record.topic or None,
        "group": record.group or None,
        "results": record.results or None,
        "dead_letters": record.dead_letters or None,
        "passed": record.passed.value,
        "start": record.start.value,
        "max_in_flight": record.max_in_flight,
        "max_attempts": record.max_attempts,
        "reply_type": record.reply_type or None,
        "state": state.value,
        "reason": reason or None,
        "consumed": stats.consumed,
        "succeeded": stats.succeeded,
        "failed": stats.failed,
        "dead_lettered": stats.dead_lettered,
        "in_flight": stats.in_flight,
        "reconnects": stats.reconnects,
        "created_at": moment(record.created_s),
        "updated_at": moment(record.updated_s),
    }
