"""Routes of schedules and webhooks, as ``routes`` has those of functions."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from stoker.routes import Json, Route

SCHEDULES = "/v1/schedules"
WEBHOOKS = "/v1/webhooks"


def schedules(namespace: str) -> Route:
    """All of a namespace."""
    return Route("GET", SCHEDULES, query={"namespace": namespace})


def create_schedule(namespace: str, spec: Mapping[str, object]) -> Route:
    """A new one."""
    return Route("POST", SCHEDULES, query={"namespace": namespace}, body=dict(spec))


def schedule(name: str, namespace: str) -> Route:
    """One, with its next ticks and last runs."""
    return Route("GET", _schedule(name), query={"namespace": namespace})


def change_schedule(name: str, namespace: str, change: Mapping[str, object]) -> Route:
    """Change what is named."""
    return Route("PATCH", _schedule(name), query={"namespace": namespace}, body=dict(change))


def delete_schedule(name: str, namespace: str) -> Route:
    """With its history."""
    return Route("DELETE", _schedule(name), query={"namespace": namespace})


def schedule_action(name: str, namespace: str, action: str, body: Json | None = None) -> Route:
    """``pause``, ``resume``, ``run`` or ``backfill``."""
    return Route("POST", f"{_schedule(name)}/{action}", query={"namespace": namespace}, body=body)


def schedule_runs(name: str, namespace: str, limit: int) -> Route:
    """Its history, newest first."""
    return Route("GET", f"{_schedule(name)}/runs", query={"namespace": namespace, "limit": str(limit)})


def webhooks(namespace: str) -> Route:
    """All of a namespace."""
    return Route("GET", WEBHOOKS, query={"namespace": namespace})


def create_webhook(namespace: str, url: str, events: list[str], description: str) -> Route:
    """A new one; its secret is in the answer, this once."""
    body: Json = {"url": url, "events": events, "description": description}
    return Route("POST", WEBHOOKS, query={"namespace": namespace}, body=body)


def change_webhook(webhook_id: str, namespace: str, change: Mapping[str, object]) -> Route:
    """Change what is named."""
    return Route("PATCH", _webhook(webhook_id), query={"namespace": namespace}, body=dict(change))


def delete_webhook(webhook_id: str, namespace: str) -> Route:
    """With its delivery log."""
    return Route("DELETE", _webhook(webhook_id), query={"namespace": namespace})


def rotate_webhook(webhook_id: str, namespace: str, overlap_s: float) -> Route:
    """A new secret, in the answer, this once."""
    return Route(
        "POST", f"{_webhook(webhook_id)}/rotate", query={"namespace": namespace}, body={"overlap_s": overlap_s}
    )


def test_webhook(webhook_id: str, namespace: str) -> Route:
    """Send it a ``webhook.test``."""
    return Route("POST", f"{_webhook(webhook_id)}/test", query={"namespace": namespace})


def deliveries(webhook_id: str, namespace: str, state: str | None, limit: int) -> Route:
    """What was sent to it, newest first."""
    query = {"namespace": namespace, "limit": str(limit)}
    return Route("GET", f"{_webhook(webhook_id)}/deliveries", query=query | ({"state": state} if state else {}))


def delivery(delivery_id: str, namespace: str) -> Route:
    """One, with every attempt."""
    return Route("GET", f"{WEBHOOKS}/deliveries/{quote(delivery_id, safe='')}", query={"namespace": namespace})


def redeliver(delivery_id: str, namespace: str) -> Route:
    """Send it again."""
    path = f"{WEBHOOKS}/deliveries/{quote(delivery_id, safe='')}/redeliver"
    return Route("POST", path, query={"namespace": namespace})


def _schedule(name: str) -> str:
    return f"{SCHEDULES}/{quote(name, safe='')}"


def _webhook(webhook_id: str) -> str:
    return f"{WEBHOOKS}/{quote(webhook_id, safe='')}"
