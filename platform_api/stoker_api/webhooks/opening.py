"""Puts the rooms of webhooks together, and takes them apart in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from stoker_api.stores.sqlite.database import Database
from stoker_api.stores.sqlite.webhooks import SqliteWebhookStore
from stoker_api.webhooks.deliverer import Deliverer
from stoker_api.webhooks.sender import Sender
from stoker_api.webhooks.settings import WebhookSettings
from stoker_api.webhooks.webhooks import Webhooks
from stoker_runtime.clock import Clock


@asynccontextmanager
async def open_webhooks(
    database: Database, key: bytes, clock: Clock, settings: WebhookSettings
) -> AsyncIterator[Webhooks]:
    """Webhooks that are delivered inside the block."""
    store = SqliteWebhookStore(database)
    webhooks = Webhooks(store, key, settings, clock)
    async with Sender(settings, clock) as sender:
        async with Deliverer(store, sender, webhooks.secrets_of, settings, clock, webhooks.tallies) as deliverer:
            webhooks.wake = deliverer.wake
            yield webhooks


def from_any_thread(wake: Callable[[], None]) -> Callable[[], None]:
    """``wake`` for the database's thread. What is committed after it is seen all the same: a claim is a write too."""
    loop = asyncio.get_running_loop()

    def wake_there() -> None:
        loop.call_soon_threadsafe(wake)

    return wake_there
