"""``/v1/webhooks``: who wants to hear of what, and how telling them went."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from stoker_api.control.documents import Json
from stoker_api.control.edge import DeployNamespace, Document, PlatformDep, read_document, takes
from stoker_api.webhooks.records import Attempt, Delivery, DeliveryState, Endpoint

router = APIRouter(prefix="/v1/webhooks", tags=["webhooks"])
_DAY_S = 86_400.0


class WebhookSpec(Document):
    """An endpoint to be made."""

    url: str
    events: list[str] = Field(default_factory=lambda: ["*"], max_length=50)
    description: str = Field(default="", max_length=500)


class WebhookChange(Document):
    """What to change; what is not named stays."""

    url: str | None = None
    events: list[str] | None = Field(default=None, max_length=50)
    description: str | None = Field(default=None, max_length=500)
    enabled: bool | None = None


class RotationSpec(Document):
    """For how long the secret before still signs."""

    overlap_s: float = _DAY_S


@router.get("", summary="List webhooks")
async def list_webhooks(platform: PlatformDep, namespace: DeployNamespace) -> Json:
    """Without their secrets."""
    return {"webhooks": [_document(item) for item in await platform.webhooks.endpoints(namespace)]}


@router.post("", status_code=201, openapi_extra=takes(WebhookSpec), summary="Create a webhook")
async def create_webhook(request: Request, platform: PlatformDep, namespace: DeployNamespace) -> Json:
    """``secret`` is shown in this answer and never again."""
    spec = await read_document(request, WebhookSpec)
    endpoint, secret = await platform.webhooks.create(namespace, spec.url, spec.events, spec.description)
    return {**_document(endpoint), "secret": secret}


@router.get("/deliveries/{delivery_id}", summary="Show a delivery")
async def get_delivery(platform: PlatformDep, namespace: DeployNamespace, delivery_id: str) -> Json:
    """With every attempt."""
    delivery, attempts = await platform.webhooks.delivery(namespace, delivery_id)
    return {**_delivery(delivery), "attempts_made": [_attempt(item) for item in attempts]}


@router.post("/deliveries/{delivery_id}/redeliver", status_code=202, summary="Send a delivery again")
async def redeliver(platform: PlatformDep, namespace: DeployNamespace, delivery_id: str) -> Json:
    """Under the same id, whatever became of it."""
    return _delivery(await platform.webhooks.redeliver(namespace, delivery_id))


@router.get("/{webhook_id}", summary="Show a webhook")
async def get_webhook(platform: PlatformDep, namespace: DeployNamespace, webhook_id: str) -> Json:
    """Without its secret."""
    return _document(await platform.webhooks.find(namespace, webhook_id))


@router.patch("/{webhook_id}", openapi_extra=takes(WebhookChange), summary="Change a webhook")
async def change_webhook(request: Request, platform: PlatformDep, namespace: DeployNamespace, webhook_id: str) -> Json:
    """``enabled: false`` stops it from hearing of anything new."""
    change = await read_document(request, WebhookChange)
    changed = await platform.webhooks.change(
        namespace,
        webhook_id,
        url=change.url,
        events=change.events,
        description=change.description,
        is_enabled=change.enabled,
    )
    return _document(changed)


@router.delete("/{webhook_id}", summary="Delete a webhook")
async def delete_webhook(platform: PlatformDep, namespace: DeployNamespace, webhook_id: str) -> Json:
    """With its delivery log."""
    await platform.webhooks.delete(namespace, webhook_id)
    return {"deleted": True, "id": webhook_id}


@router.post("/{webhook_id}/rotate", openapi_extra=takes(RotationSpec), summary="Rotate a webhook's secret")
async def rotate_webhook(request: Request, platform: PlatformDep, namespace: DeployNamespace, webhook_id: str) -> Json:
    """Both secrets sign during the overlap, a day unless said otherwise."""
    spec = await read_document(request, RotationSpec)
    secret = await platform.webhooks.rotate(namespace, webhook_id, spec.overlap_s)
    return {**_document(await platform.webhooks.find(namespace, webhook_id)), "secret": secret}


@router.post("/{webhook_id}/test", status_code=202, summary="Send a test event")
async def test_webhook(platform: PlatformDep, namespace: DeployNamespace, webhook_id: str) -> Json:
    """``webhook.test``, tried once."""
    delivery_id = await platform.webhooks.test(namespace, webhook_id)
    return {"delivery": delivery_id}


@router.get("/{webhook_id}/deliveries", summary="List a webhook's deliveries")
async def list_deliveries(
    platform: PlatformDep,
    namespace: DeployNamespace,
    webhook_id: str,
    state: DeliveryState | None = None,
    before: Annotated[int | None, Query(ge=1, le=2**62)] = None,
    limit: Annotated[int, Query(ge=1, le=500)] = 50,
) -> Json:
    """Newest first; ``next`` is the ``before`` of the page after this one."""
    found = await platform.webhooks.deliveries(namespace, webhook_id, state, before, limit)
    return {
        "deliveries": [_delivery(item) for item in found],
        "next": found[-1].seq if len(found) == limit else None,
    }


def moment(at_s: float | None) -> str | None:
    """Unix seconds as documents show them."""
    return None if at_s is None else datetime.fromtimestamp(at_s, timezone.utc).isoformat(timespec="milliseconds")


def _document(endpoint: Endpoint) -> Json:
    return {
        "id": endpoint.id,
        "namespace": endpoint.namespace,
        "url": endpoint.url,
        "events": list(endpoint.events),
        "description": endpoint.description,
        "enabled": endpoint.is_enabled,
        "disabled_reason": endpoint.disabled_reason or None,
        "old_secret_until": moment(endpoint.old_until_s),
        "created_at": moment(endpoint.created_s),
        "updated_at": moment(endpoint.updated_s),
    }


def _delivery(delivery: Delivery) -> Json:
    return {
        "id": delivery.id,
        "webhook": delivery.endpoint,
        "url": delivery.url,
        "event": delivery.event,
        "subject": delivery.subject,
        "state": delivery.state.value,
        "attempts": delivery.attempts,
        "status": delivery.last_status,
        "error": delivery.last_error or None,
        "created_at": moment(delivery.created_s),
        "next_attempt_at": moment(delivery.next_s),
        "ended_at": moment(delivery.ended_s),
    }


def _attempt(attempt: Attempt) -> Json:
    return {
        "number": attempt.number,
        "at": moment(attempt.at_s),
        "took_ms": attempt.took_s * 1000,
        "status": attempt.status,
        "error": attempt.error or None,
        "answer": attempt.excerpt or None,
    }
