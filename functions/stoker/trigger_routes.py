"""Routes of triggers, as ``routes`` has those of functions."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from stoker.routes import Route

TRIGGERS = "/v1/triggers"


def triggers(namespace: str) -> Route:
    """All of a namespace."""
    return Route("GET", TRIGGERS, query={"namespace": namespace})


def create_trigger(namespace: str, spec: Mapping[str, object]) -> Route:
    """A new one."""
    return Route("POST", TRIGGERS, query={"namespace": namespace}, body=dict(spec))


def trigger(name: str, namespace: str) -> Route:
    """One, with what waits for it."""
    return Route("GET", _trigger(name), query={"namespace": namespace})


def change_trigger(name: str, namespace: str, change: Mapping[str, object]) -> Route:
    """Change what is named."""
    return Route("PATCH", _trigger(name), query={"namespace": namespace}, body=dict(change))


def trigger_action(name: str, namespace: str, action: str) -> Route:
    """``pause`` or ``resume``."""
    return Route("POST", f"{_trigger(name)}/{action}", query={"namespace": namespace})


def delete_trigger(name: str, namespace: str) -> Route:
    """Forget it."""
    return Route("DELETE", _trigger(name), query={"namespace": namespace})


def _trigger(name: str) -> str:
    return f"{TRIGGERS}/{quote(name, safe='')}"
