"""The room's front: endpoints, their secrets, and what becomes of deliveries.

The rule that must not break: a secret's text leaves once, in the answer that made it; at rest it is sealed.
"""

from __future__ import annotations

import base64
import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Final
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stoker.errors import Conflict, InvalidInput, NotFound
from stoker.webhook import PREFIX
from stoker_api.ids import new_id
from stoker_api.stores.sqlite.webhooks import SqliteWebhookStore
from stoker_api.webhooks.address import checked_url
from stoker_api.webhooks.records import MOST_TARGETS, Attempt, Delivery, DeliveryState, Endpoint, Event, checked_filter
from stoker_api.webhooks.settings import WebhookSettings
from stoker_api.webhooks.tallies import WebhookTallies
from stoker_runtime.clock import Clock

MOST_ENDPOINTS: Final = 100
"""In one namespace."""
LONGEST_OVERLAP_S: Final = 30 * 86_400.0
_SECRET_BYTES: Final = 32
_NONCE_BYTES: Final = 12


class Webhooks:
    """Create, list, change, rotate, delete; look at deliveries and send them again."""

    def __init__(
        self,
        store: SqliteWebhookStore,
        key: bytes,
        settings: WebhookSettings,
        clock: Clock,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self._cipher = AESGCM(key)
        self._settings = settings
        self._clock = clock
        self.tallies = WebhookTallies()
        """For metrics."""
        self.wake = wake
        """Called when something is to be sent."""

    async def create(
        self, namespace: str, url: str, events: Sequence[str], description: str = ""
    ) -> tuple[Endpoint, str]:
        """A new endpoint and its secret, which is shown now and never again."""
        checked_url(url, self._settings)
        if len(await self._store.endpoints(namespace)) >= MOST_ENDPOINTS:
            raise Conflict(f"namespace {namespace!r} has {MOST_ENDPOINTS} webhooks, and that is the most")
        now_s = self._now_s()
        endpoint_id, secret = new_id("hook", now_s), new_secret()
        endpoint = Endpoint(
            id=endpoint_id,
            namespace=namespace,
            url=url,
            description=description,
            events=checked_filter(events),
            secret_sealed=self._seal(endpoint_id, secret),
            old_sealed=None,
            old_until_s=None,
            is_enabled=True,
            disabled_reason="",
            created_s=now_s,
            updated_s=now_s,
        )
        await self._store.add(endpoint)
        return endpoint, secret

    async def endpoints(self, namespace: str) -> list[Endpoint]:
        """Those of a namespace."""
        return await self._store.endpoints(namespace)

    async def find(self, namespace: str, endpoint_id: str) -> Endpoint:
        """One of a namespace; raises ``NotFound``."""
        found = await self._store.find(endpoint_id)
        if found.namespace != namespace:
            raise self._unknown(endpoint_id)
        return found

    async def change(
        self,
        namespace: str,
        endpoint_id: str,
        *,
        url: str | None = None,
        events: Sequence[str] | None = None,
        description: str | None = None,
        is_enabled: bool | None = None,
    ) -> Endpoint:
        """Change what is given."""
        found = await self.find(namespace, endpoint_id)
        if url is not None:
            checked_url(url, self._settings)
        enabled = found.is_enabled if is_enabled is None else is_enabled
        changed = dataclasses.replace(
            found,
            url=found.url if url is None else url,
            events=found.events if events is None else checked_filter(events),
            description=found.description if description is None else description,
            is_enabled=enabled,
            disabled_reason="" if enabled else found.disabled_reason or "by hand",
            updated_s=self._now_s(),
        )
        await self._store.change(changed, changed.updated_s)
        return changed

    async def rotate(self, namespace: str, endpoint_id: str, overlap_s: float) -> str:
        """A new secret; for ``overlap_s`` both sign, so that receivers can change at their leisure."""
        if not 0 <= overlap_s <= LONGEST_OVERLAP_S:
            raise InvalidInput(f"overlap_s must be from 0 to {LONGEST_OVERLAP_S:g}, got {overlap_s:g}")
        found = await self.find(namespace, endpoint_id)
        secret, now_s = new_secret(), self._now_s()
        await self._store.rotate(found.id, self._seal(found.id, secret), now_s + overlap_s, now_s)
        return secret

    async def delete(self, namespace: str, endpoint_id: str) -> None:
        """With its delivery log."""
        await self._store.delete(endpoint_id, namespace)

    async def test(self, namespace: str, endpoint_id: str) -> str:
        """Send a ``webhook.test`` to it; the id of the delivery."""
        found = await self.find(namespace, endpoint_id)
        if not found.is_enabled:
            raise Conflict(f"{endpoint_id} is disabled: {found.disabled_reason}", hint="Enable it first.")
        now_s = self._now_s()
        event = Event(
            id=new_id("msg", now_s),
            namespace=namespace,
            type="webhook.test",
            subject=endpoint_id,
            data={"id": endpoint_id, "namespace": namespace},
            targets=(endpoint_id,),
        )
        await self._store.tell(event, now_s, 0.0)
        self.wake()
        return event.id

    async def deliveries(
        self, namespace: str, endpoint_id: str, state: DeliveryState | None, before: int | None, limit: int
    ) -> list[Delivery]:
        """Newest first."""
        await self.find(namespace, endpoint_id)
        return await self._store.deliveries(endpoint_id, state, before, limit)

    async def delivery(self, namespace: str, delivery_id: str) -> tuple[Delivery, list[Attempt]]:
        """One with its attempts."""
        found, attempts = await self._store.delivery(delivery_id)
        await self.find(namespace, found.endpoint)
        return found, attempts

    async def redeliver(self, namespace: str, delivery_id: str) -> Delivery:
        """Send it once more, now, and again for as long as a new one."""
        await self.delivery(namespace, delivery_id)
        now_s = self._now_s()
        await self._store.redeliver(delivery_id, now_s, now_s + self._settings.give_up_after_s)
        self.wake()
        return (await self._store.delivery(delivery_id))[0]

    async def checked_targets(self, namespace: str, texts: Sequence[str]) -> tuple[str, ...]:
        """Where a job or a schedule wants to be told, each an endpoint's id or a URL of an endpoint's origin.

        A URL alone would let whoever may call a function send its answers anywhere; so its origin must be known.
        """
        if len(texts) > MOST_TARGETS:
            raise InvalidInput(f"a job tells at most {MOST_TARGETS} webhooks, got {len(texts)}")
        if not texts:
            return ()
        known = await self._store.endpoints(namespace)
        return tuple(self._target(namespace, text.strip(), known) for text in texts)

    async def count_pending(self) -> None:
        """Have the metrics say how many messages wait now."""
        self.tallies.note_pending(await self._store.pending(), self._now_s())

    def secrets_of(self, endpoint: Endpoint, now_s: float) -> list[str]:
        """What signs now: the secret, and the one before while they overlap."""
        secrets = [self._open(endpoint.id, endpoint.secret_sealed)]
        if endpoint.old_sealed is not None and endpoint.old_until_s is not None and now_s < endpoint.old_until_s:
            secrets.append(self._open(endpoint.id, endpoint.old_sealed))
        return secrets

    def _target(self, namespace: str, text: str, known: Sequence[Endpoint]) -> str:
        if text.startswith("hook_"):
            if text not in [endpoint.id for endpoint in known]:
                raise self._unknown(text)
            return text
        parts = checked_url(text, self._settings)
        for endpoint in known:
            if origin_of(endpoint.url) == origin_of(text):
                return f"{endpoint.id} {text}"
        origin = f"{parts.scheme}://{parts.netloc}"
        raise InvalidInput(
            f"namespace {namespace!r} has no webhook at {origin}",
            hint=f"Register it once, then every path of it can be named: stoker webhooks create {origin}/",
        )

    def _unknown(self, endpoint_id: str) -> NotFound:
        return NotFound(f"no webhook {endpoint_id!r}", hint="`stoker webhooks list` shows what there is.")

    def _now_s(self) -> float:
        return self._clock.now().timestamp()

    def _seal(self, endpoint_id: str, secret: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, secret.encode(), endpoint_id.encode())

    def _open(self, endpoint_id: str, sealed: bytes) -> str:
        nonce, data = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        return self._cipher.decrypt(nonce, data, endpoint_id.encode()).decode()


def new_secret() -> str:
    """As Standard Webhooks has it: ``whsec_`` and base64."""
    return PREFIX + base64.b64encode(os.urandom(_SECRET_BYTES)).decode()


def origin_of(url: str) -> tuple[str, str, int]:
    """Scheme, host and port of a URL that was checked."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
