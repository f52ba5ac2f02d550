"""The loop that sends what is due, and the order in which it does so.

The rule that must not break: a message is tried until it is heard or given up, whatever happens to this process; one
endpoint that hangs takes four of the places and no more.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from collections import Counter
from collections.abc import Callable
from types import TracebackType
from typing import Final

from stoker.errors import PlatformError
from stoker.webhook import ID_HEADER, SIGNATURE_HEADER, TIMESTAMP_HEADER, sign_webhook
from stoker_api.stores.sqlite.webhooks import SqliteWebhookStore
from stoker_api.webhooks.records import DeliveryState, Endpoint, Outgoing
from stoker_api.webhooks.sender import Sender
from stoker_api.webhooks.settings import WebhookSettings
from stoker_api.webhooks.tallies import WebhookTallies
from stoker_runtime.clock import Clock

log = logging.getLogger(__name__)
PER_ENDPOINT: Final = 4
_LEASE_MARGIN_S: Final = 30.0
_LONGEST_SLEEP_S: Final = 300.0
_AFTER_FAULT_S: Final = 5.0


class Deliverer:
    """Async context manager; sends for as long as its block runs."""

    def __init__(
        self,
        store: SqliteWebhookStore,
        sender: Sender,
        secrets_of: Callable[[Endpoint, float], list[str]],
        settings: WebhookSettings,
        clock: Clock,
        tallies: WebhookTallies,
    ) -> None:
        self._store = store
        self._sender = sender
        self._secrets_of = secrets_of
        self._settings = settings
        self._clock = clock
        self._tallies = tallies
        self._awake = asyncio.Event()
        self._in_flight: Counter[str] = Counter()
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop_task: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Deliverer:
        await self._store.take_over(self._now_s())
        self._loop_task = asyncio.ensure_future(self._run())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        tasks = {task for task in (self._loop_task, *self._tasks) if task is not None}
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    def wake(self) -> None:
        """Something is due; cheap, from the loop's thread."""
        self._awake.set()

    async def _run(self) -> None:
        while True:
            try:
                sleep_s = await self._step()
            except PlatformError as error:  # the disk is full, say: what is due stays due
                log.error("webhooks wait", extra={"reason": error.detail})
                sleep_s = _AFTER_FAULT_S
            except Exception:  # a fault of ours: deliveries must not stop with it
                log.exception("webhooks wait after a fault")
                sleep_s = _AFTER_FAULT_S
            timer = asyncio.get_running_loop().call_later(sleep_s, self._awake.set)
            try:
                await self._awake.wait()  # not by wait_for, which may swallow a cancellation that comes with the event
            finally:
                timer.cancel()
            self._awake.clear()

    async def _step(self) -> float:
        """Start what is due and has room; how long until there is more to do."""
        now_s = self._now_s()
        room = self._settings.concurrency - len(self._tasks)
        if room > 0:
            free = {endpoint: PER_ENDPOINT - count for endpoint, count in self._in_flight.items()}
            until_s = now_s + self._settings.timeout_s + _LEASE_MARGIN_S
            for outgoing in await self._store.claim(free, room, PER_ENDPOINT, now_s, until_s):
                self._start(outgoing)
        await self._store.purge(now_s - self._settings.keep_s)
        next_s = await self._store.next_due_s()
        if next_s is None:
            return _LONGEST_SLEEP_S
        if next_s <= self._now_s():  # due, and no place is free: the end of an attempt wakes this
            return _LONGEST_SLEEP_S if self._tasks else _AFTER_FAULT_S
        return min(next_s - self._now_s(), _LONGEST_SLEEP_S)

    def _start(self, outgoing: Outgoing) -> None:
        endpoint_id = outgoing.endpoint.id
        self._in_flight[endpoint_id] += 1
        task = asyncio.ensure_future(self._attempt(outgoing))
        self._tasks.add(task)

        def ended(done: asyncio.Task[None]) -> None:
            self._tasks.discard(done)
            self._in_flight[endpoint_id] -= 1
            if not self._in_flight[endpoint_id]:
                del self._in_flight[endpoint_id]
            self._awake.set()
            if not done.cancelled() and done.exception() is not None:
                log.error("webhook attempt failed", exc_info=done.exception(), extra={"endpoint": endpoint_id})

        task.add_done_callback(ended)

    async def _attempt(self, outgoing: Outgoing) -> None:
        delivery, endpoint = outgoing.delivery, outgoing.endpoint
        at_s = self._now_s()
        timestamp_s = int(at_s)
        signatures = [
            sign_webhook(secret, delivery.id, timestamp_s, outgoing.body) for secret in self._secrets_of(endpoint, at_s)
        ]
        headers = {
            "content-type": "application/json",
            "user-agent": "stoker-webhooks/1",
            ID_HEADER: delivery.id,
            TIMESTAMP_HEADER: str(timestamp_s),
            SIGNATURE_HEADER: " ".join(signatures),
        }
        heard = await self._sender.send(delivery.url or endpoint.url, headers, outgoing.body)
        state = await self._store.end_attempt(delivery, heard, at_s, self._now_s())
        self._tallies.note_attempt(endpoint.namespace, heard, state)
        fields = {"delivery": delivery.id, "endpoint": endpoint.id, "status": heard.status, "error": heard.error}
        if state is DeliveryState.FAILED:
            log.warning("webhook given up", extra=fields)
        if heard.is_gone:
            gone = dataclasses.replace(endpoint, is_enabled=False, disabled_reason="it answered 410 Gone")
            await self._store.change(gone, self._now_s())

    def _now_s(self) -> float:
        return self._clock.now().timestamp()
