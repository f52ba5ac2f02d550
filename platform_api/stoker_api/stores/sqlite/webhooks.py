"""Webhooks as rows, and how other rooms tell of an event inside a transaction of their own.

The rule that must not break: an event is on its way if and only if what it tells of is committed; and a delivery that
was taken comes back by itself when its sender died.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping
from datetime import datetime, timezone
from typing import Any, Final

from stoker.errors import NotFound
from stoker_api.ids import new_id
from stoker_api.stores.sqlite.database import Database, statements
from stoker_api.webhooks.backoff import next_attempt_s
from stoker_api.webhooks.records import Attempt, Delivery, DeliveryState, Endpoint, Event, Heard, Outgoing, wants

_SQL: Final = {name: text.rstrip().rstrip(";") for name, text in statements("webhooks").items()}
_PURGED_AT_ONCE: Final = 500
_NEWEST: Final = 2**62


def tell(connection: sqlite3.Connection, event: Event, now_s: float, give_up_after_s: float) -> int:
    """Put an event on its way to everyone who wants it, inside the caller's transaction; how many those are."""
    wanted: dict[tuple[str, str | None], None] = {}
    for endpoint in _endpoints(connection, event.namespace):
        if endpoint.is_enabled and wants(endpoint.events, event.type):
            wanted[endpoint.id, None] = None
    for target in event.targets:
        named, _, other_url = target.partition(" ")
        found = _find(connection, named)
        if found is not None and found.is_enabled and found.namespace == event.namespace:
            wanted[named, other_url or None] = None
    if not wanted:
        return 0
    moment = datetime.fromtimestamp(now_s, timezone.utc).isoformat(timespec="milliseconds")
    data = event.data() if callable(event.data) else event.data
    document = {"type": event.type, "timestamp": moment, "data": data}
    body = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    for number, (endpoint_id, url) in enumerate(wanted):
        row = {
            "id": event.id if number == 0 else new_id("msg", now_s),
            "endpoint": endpoint_id,
            "url": url,
            "event": event.type,
            "subject": event.subject,
            "body": body,
            "now_s": now_s,
            "give_up_s": now_s + give_up_after_s,
        }
        connection.execute(_SQL["add_delivery"], row)
    return len(wanted)


class SqliteWebhookStore:
    """Endpoints, deliveries and attempts."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # ---- endpoints

    async def add(self, endpoint: Endpoint) -> None:
        """Keep a new endpoint."""
        row = {**_row_of(endpoint), "now_s": endpoint.created_s}
        await self._database.write(lambda connection: connection.execute(_SQL["add_endpoint"], row) and None)

    async def endpoints(self, namespace: str) -> list[Endpoint]:
        """Those of a namespace."""
        return await self._database.read(lambda connection: _endpoints(connection, namespace))

    async def find(self, endpoint_id: str) -> Endpoint:
        """Raises ``NotFound``."""
        found = await self._database.read(lambda connection: _find(connection, endpoint_id))
        if found is None:
            raise NotFound(f"no webhook {endpoint_id!r}", hint="`stoker webhooks list` shows what there is.")
        return found

    async def change(self, endpoint: Endpoint, now_s: float) -> None:
        """Write what may change of an endpoint."""
        row = {**_row_of(endpoint), "now_s": now_s}
        await self._changing_one("change_endpoint", row, endpoint.id)

    async def rotate(self, endpoint_id: str, sealed: bytes, old_until_s: float, now_s: float) -> None:
        """A new secret; the one before signs too until ``old_until_s``."""
        row = {"id": endpoint_id, "secret_sealed": sealed, "old_until_s": old_until_s, "now_s": now_s}
        await self._changing_one("rotate", row, endpoint_id)

    async def delete(self, endpoint_id: str, namespace: str) -> None:
        """With all its deliveries."""
        await self._changing_one("delete_endpoint", {"id": endpoint_id, "namespace": namespace}, endpoint_id)

    async def tell(self, event: Event, now_s: float, give_up_after_s: float) -> int:
        """Put an event on its way, in a transaction of its own."""
        return await self._database.write(lambda connection: tell(connection, event, now_s, give_up_after_s))

    # ---- deliveries

    async def claim(
        self, free: Mapping[str, int], room: int, per_endpoint: int, now_s: float, until_s: float
    ) -> list[Outgoing]:
        """Take what is due: at most ``room``, and of an endpoint what ``free`` (else ``per_endpoint``) leaves."""

        def work(connection: sqlite3.Connection) -> list[Outgoing]:
            taken: list[Outgoing] = []
            for (endpoint_id,) in connection.execute(_SQL["due_endpoints"], {"now_s": now_s}).fetchall():
                limit = min(free.get(endpoint_id, per_endpoint), room - len(taken))
                endpoint = _find(connection, endpoint_id)
                if limit <= 0 or endpoint is None:
                    continue
                row = {"endpoint": endpoint_id, "now_s": now_s, "limit": limit}
                for found in connection.execute(_SQL["due"], row).fetchall():
                    connection.execute(_SQL["lease"], {"seq": found[0], "until_s": until_s})
                    taken.append(Outgoing(delivery=_delivery(found), endpoint=endpoint, body=found[14]))
            return taken

        return await self._database.write(work)

    async def next_due_s(self) -> float | None:
        """When the next attempt is due."""
        (found,) = await self._database.read(lambda connection: connection.execute(_SQL["next_due"]).fetchone())
        return None if found is None else float(found)

    async def pending(self) -> dict[str, tuple[int, float]]:
        """Namespace → how many messages wait, and when the oldest was made."""
        return await self._database.read(
            lambda connection: {name: (count, at_s) for name, count, at_s in connection.execute(_SQL["pending"])}
        )

    async def take_over(self, now_s: float) -> None:
        """After a start: what a sender that died had taken is due again."""
        await self._database.write(lambda connection: connection.execute(_SQL["unlease"], {"now_s": now_s}) and None)

    async def end_attempt(self, delivery: Delivery, heard: Heard, at_s: float, now_s: float) -> DeliveryState:
        """Write one attempt, and what comes after it."""
        attempts = delivery.attempts + 1
        next_s = next_attempt_s(delivery.id, attempts, now_s, delivery.give_up_s, heard.retry_after_s)
        if heard.is_delivered:
            state, next_s = DeliveryState.DELIVERED, None
        elif next_s is None or heard.is_gone:
            state, next_s = DeliveryState.FAILED, None
        else:
            state = DeliveryState.PENDING
        row = {
            "seq": delivery.seq,
            "state": state.value,
            "next_s": next_s,
            "ended_s": None if state is DeliveryState.PENDING else now_s,
            "at_s": at_s,
            "took_s": heard.took_s,
            "status": heard.status,
            "error": heard.error,
            "excerpt": heard.excerpt,
        }

        def work(connection: sqlite3.Connection) -> None:
            found = connection.execute(_SQL["end_attempt"], row).fetchone()
            if found is not None:  # None: the endpoint was deleted meanwhile
                connection.execute(_SQL["add_attempt"], {**row, "number": found[0]})

        await self._database.write(work)
        return state

    async def deliveries(
        self, endpoint_id: str, state: DeliveryState | None, before: int | None, limit: int
    ) -> list[Delivery]:
        """Newest first."""
        row = {
            "endpoint": endpoint_id,
            "state": None if state is None else state.value,
            "before": _NEWEST if before is None else before,
            "limit": limit,
        }
        return await self._database.read(
            lambda connection: [_delivery(found) for found in connection.execute(_SQL["deliveries"], row)]
        )

    async def delivery(self, delivery_id: str) -> tuple[Delivery, list[Attempt]]:
        """One with its attempts; raises ``NotFound``."""

        def work(connection: sqlite3.Connection) -> tuple[Delivery, list[Attempt]]:
            found = connection.execute(_SQL["delivery"], {"id": delivery_id}).fetchone()
            if found is None:
                raise NotFound(f"no delivery {delivery_id!r}", hint="`stoker webhooks deliveries ID` lists them.")
            tried = [
                Attempt(number=number, at_s=at_s, took_s=took_s, status=status, error=error, excerpt=excerpt)
                for number, at_s, took_s, status, error, excerpt in connection.execute(
                    _SQL["attempts"], {"seq": found[0]}
                )
            ]
            return _delivery(found), tried

        return await self._database.read(work)

    async def redeliver(self, delivery_id: str, now_s: float, give_up_s: float) -> None:
        """Send it once more, whatever became of it, under the same id."""
        row = {"id": delivery_id, "now_s": now_s, "give_up_s": give_up_s}
        await self._changing_one("redeliver", row, delivery_id)

    async def purge(self, before_s: float) -> bool:
        """Forget some deliveries that ended before then; whether there may be more."""
        row = {"before_s": before_s, "limit": _PURGED_AT_ONCE}
        done = await self._database.write(lambda connection: connection.execute(_SQL["purge"], row).rowcount)
        return done == _PURGED_AT_ONCE

    async def _changing_one(self, statement: str, row: Mapping[str, object], what: str) -> None:
        def work(connection: sqlite3.Connection) -> None:
            if connection.execute(_SQL[statement], row).rowcount != 1:
                raise NotFound(f"no webhook {what!r}", hint="`stoker webhooks list` shows what there is.")

        await self._database.write(work)


def _endpoints(connection: sqlite3.Connection, namespace: str) -> list[Endpoint]:
    return [_endpoint(row) for row in connection.execute(_SQL["endpoints"], {"namespace": namespace})]


def _find(connection: sqlite3.Connection, endpoint_id: str) -> Endpoint | None:
    found = connection.execute(_SQL["endpoint"], {"id": endpoint_id}).fetchone()
    return None if found is None else _endpoint(found)


def _row_of(endpoint: Endpoint) -> dict[str, object]:
    return {
        "id": endpoint.id,
        "namespace": endpoint.namespace,
        "url": endpoint.url,
        "description": endpoint.description,
        "events_json": json.dumps(endpoint.events),
        "secret_sealed": endpoint.secret_sealed,
        "is_enabled": int(endpoint.is_enabled),
        "disabled_reason": endpoint.disabled_reason,
    }


def _endpoint(row: tuple[Any, ...]) -> Endpoint:
    return Endpoint(
        id=row[0],
        namespace=row[1],
        url=row[2],
        description=row[3],
        events=tuple(json.loads(row[4])),
        secret_sealed=row[5],
        old_sealed=row[6],
        old_until_s=row[7],
        is_enabled=bool(row[8]),
        disabled_reason=row[9],
        created_s=row[10],
        updated_s=row[11],
    )


def _delivery(row: tuple[Any, ...]) -> Delivery:
    return Delivery(
        seq=row[0],
        id=row[1],
        endpoint=row[2],
        url=row[3],
        event=row[4],
        subject=row[5],
        state=DeliveryState(row[6]),
        created_s=row[7],
        give_up_s=row[8],
        next_s=row[9],
        attempts=row[10],
        ended_s=row[11],
        last_status=row[12],
        last_error=row[13],
    )
