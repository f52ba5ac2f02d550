"""Messages from the transaction that made them to the receiver, over failures, rotation and the sender's death."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest
from tests.support.webhook_receiver import receiver, says

from stoker.errors import AccessDenied, InvalidInput, NotFound
from stoker.webhook import verify_webhook
from stoker_api.ids import new_id
from stoker_api.stores.sqlite.database import WORK, Database
from stoker_api.stores.sqlite.webhooks import SqliteWebhookStore, tell
from stoker_api.webhooks.deliverer import PER_ENDPOINT, Deliverer
from stoker_api.webhooks.records import DeliveryState, Event
from stoker_api.webhooks.sender import Sender
from stoker_api.webhooks.settings import WebhookSettings
from stoker_api.webhooks.webhooks import Webhooks
from stoker_runtime.clock import SystemClock

SETTINGS = WebhookSettings(allowed_networks="127.0.0.0/8", timeout_s=10)


class ShiftedClock(SystemClock):
    """The machine's clock, put forward by a test."""

    shift_s = 0.0

    def now(self) -> datetime:
        return datetime.now(timezone.utc) + timedelta(seconds=self.shift_s)


@dataclass
class Rig:
    database: Database
    store: SqliteWebhookStore
    webhooks: Webhooks
    deliverer: Deliverer
    clock: ShiftedClock

    def event(self, kind: str = "job.succeeded", *targets: str) -> Event:
        now_s = self.clock.now().timestamp()
        return Event(
            id=new_id("msg", now_s), namespace="default", type=kind, subject="job_1", data={"n": 1}, targets=targets
        )

    async def tell(self, event: Event) -> int:
        told = await self.store.tell(event, self.clock.now().timestamp(), SETTINGS.give_up_after_s)
        self.deliverer.wake()
        return told

    async def settled(self, endpoint_id: str, state: DeliveryState, attempts: int = 1) -> None:
        """Until the newest delivery is so; bounded by the attempts of the loop's own events."""

        async def look() -> None:
            while True:
                found = await self.store.deliveries(endpoint_id, None, None, 1)
                if found and found[0].state is state and found[0].attempts >= attempts:
                    return

        await asyncio.wait_for(look(), 20)

    async def forward(self, seconds: float) -> None:
        self.clock.shift_s += seconds
        self.deliverer.wake()


@contextlib.asynccontextmanager
async def rig(path: Path, clock: ShiftedClock | None = None) -> AsyncIterator[Rig]:
    clock = clock or ShiftedClock()
    async with Database(path, WORK) as database, Sender(SETTINGS, clock) as sender:
        store = SqliteWebhookStore(database)
        webhooks = Webhooks(store, b"k" * 32, SETTINGS, clock, lambda: deliverer.wake())
        deliverer = Deliverer(store, sender, webhooks.secrets_of, SETTINGS, clock, webhooks.tallies)
        async with deliverer:
            yield Rig(database, store, webhooks, deliverer, clock)


async def test_an_event_reaches_those_who_want_it_signed(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at, receiver() as found:
        endpoint, secret = await at.webhooks.create("default", found.url, ["job.*"])
        other, _ = await at.webhooks.create("default", f"{found.url}/other", ["batch.*"])
        await at.webhooks.create("elsewhere", f"{found.url}/elsewhere", ["*"])
        assert await at.tell(at.event()) == 1
        (message,) = await found.wait_for(1)
        await at.settled(endpoint.id, DeliveryState.DELIVERED)
        assert await at.store.deliveries(other.id, None, None, 9) == []
    document = verify_webhook(message.headers, message.body, secret)
    assert (document["type"], document["data"]) == ("job.succeeded", {"n": 1})


async def test_what_was_undone_is_not_told(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at, receiver() as found:
        endpoint, _ = await at.webhooks.create("default", found.url, ["*"])

        def work(connection: sqlite3.Connection) -> None:
            tell(connection, at.event(), 0.0, 10.0)
            raise ValueError("undone")

        with pytest.raises(ValueError, match="undone"):
            await at.database.write(work)
        assert await at.store.deliveries(endpoint.id, None, None, 9) == []


async def test_a_failure_is_tried_again_under_the_same_id(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at, receiver(says(500), says(302), says(200)) as found:
        endpoint, _ = await at.webhooks.create("default", found.url, ["*"])
        await at.tell(at.event())
        for attempts in (1, 2):
            await at.settled(endpoint.id, DeliveryState.PENDING, attempts)
            await at.forward(3600)
        await at.settled(endpoint.id, DeliveryState.DELIVERED, 3)
        (delivery,) = await at.store.deliveries(endpoint.id, None, None, 9)
        _, attempts_made = await at.store.delivery(delivery.id)
    assert len({message.headers["webhook-id"] for message in found.messages}) == 1
    assert [attempt.status for attempt in attempts_made] == [500, 302, 200]


async def test_after_its_day_it_is_given_up_and_can_be_sent_by_hand(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at, receiver(says(500), says(500), says(200)) as found:
        endpoint, _ = await at.webhooks.create("default", found.url, ["*"])
        await at.tell(at.event())
        await at.settled(endpoint.id, DeliveryState.PENDING)
        await at.forward(90_000)
        await at.settled(endpoint.id, DeliveryState.FAILED, 2)
        (delivery,) = await at.store.deliveries(endpoint.id, DeliveryState.FAILED, None, 9)
        await at.webhooks.redeliver("default", delivery.id)
        await at.settled(endpoint.id, DeliveryState.DELIVERED, 3)


async def test_rotation_signs_with_both_secrets_until_the_overlap_ends(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at, receiver() as found:
        endpoint, old = await at.webhooks.create("default", found.url, ["*"])
        new = await at.webhooks.rotate("default", endpoint.id, 3600)
        await at.tell(at.event())
        (during,) = await found.wait_for(1)
        await at.settled(endpoint.id, DeliveryState.DELIVERED)
        await at.forward(3700)
        await at.tell(at.event())
        after = (await found.wait_for(2))[1]
        now_s = at.clock.now().timestamp()
    for secret in (old, new):
        assert verify_webhook(during.headers, during.body, secret)
    assert verify_webhook(after.headers, after.body, new, now_s=now_s)
    with pytest.raises(AccessDenied):
        verify_webhook(after.headers, after.body, old, now_s=now_s)


async def test_410_ends_it_and_disables_the_endpoint(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at, receiver(says(410)) as found:
        endpoint, _ = await at.webhooks.create("default", found.url, ["*"])
        await at.tell(at.event())
        await at.settled(endpoint.id, DeliveryState.FAILED)

        async def disabled() -> None:
            while (await at.webhooks.find("default", endpoint.id)).is_enabled:
                pass

        await asyncio.wait_for(disabled(), 20)
        assert await at.tell(at.event()) == 0


async def test_an_endpoint_that_hangs_does_not_hold_up_another(tmp_path: Path) -> None:
    async def hangs(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with rig(tmp_path / "work.db") as at, receiver(hangs) as bad, receiver() as good:
        slow, _ = await at.webhooks.create("default", bad.url, ["job.failed"])
        await at.webhooks.create("default", good.url, ["job.succeeded"])
        for _ in range(20):
            await at.tell(at.event("job.failed"))
        await bad.wait_for(PER_ENDPOINT)
        await at.tell(at.event())
        await good.wait_for(1)
        assert len(bad.messages) == PER_ENDPOINT
        assert len(await at.store.deliveries(slow.id, DeliveryState.PENDING, None, 99)) == 20


async def test_a_sender_that_dies_is_followed_by_the_next(tmp_path: Path) -> None:
    """The first one is ended in the midst of its attempt: nothing of it is written; the next one sends again."""

    async def hangs(writer: asyncio.StreamWriter) -> None:
        await asyncio.Event().wait()

    async with receiver(hangs, says(200)) as found:
        async with rig(tmp_path / "work.db") as at:
            endpoint, _ = await at.webhooks.create("default", found.url, ["*"])
            await at.tell(at.event())
            await found.wait_for(1)
        async with rig(tmp_path / "work.db") as at:
            await found.wait_for(2)
            await at.settled(endpoint.id, DeliveryState.DELIVERED)
    assert len({message.headers["webhook-id"] for message in found.messages}) == 1


async def test_a_job_names_an_endpoint_or_a_url_of_a_known_origin(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at, receiver() as found:
        endpoint, secret = await at.webhooks.create("default", f"{found.url}/", [])
        targets = await at.webhooks.checked_targets("default", [f"{found.url}/for/this?job=1"])
        assert await at.tell(at.event("job.failed", *targets)) == 1
        (message,) = await found.wait_for(1)
        assert message.path == "/for/this?job=1"
        assert verify_webhook(message.headers, message.body, secret)["type"] == "job.failed"
        assert await at.webhooks.checked_targets("default", [endpoint.id]) == (endpoint.id,)
        with pytest.raises(InvalidInput, match="no webhook at"):
            await at.webhooks.checked_targets("default", ["https://evil.example/collect"])
        with pytest.raises(NotFound):
            await at.webhooks.checked_targets("elsewhere", [endpoint.id])


async def test_secrets_are_sealed_on_disk(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at, receiver() as found:
        _, secret = await at.webhooks.create("default", found.url, ["*"])
    raw = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert secret.encode() not in raw
    assert secret.removeprefix("whsec_").encode() not in raw


async def test_ended_deliveries_are_forgotten_in_time(tmp_path: Path) -> None:
    async with rig(tmp_path / "work.db") as at, receiver() as found:
        endpoint, _ = await at.webhooks.create("default", found.url, ["*"])
        await at.tell(at.event())
        await at.settled(endpoint.id, DeliveryState.DELIVERED)
        assert await at.store.purge(at.clock.now().timestamp() + 1) is False
        assert await at.store.deliveries(endpoint.id, None, None, 9) == []
