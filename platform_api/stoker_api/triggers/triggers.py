"""Triggers as the rest of the platform uses them: make, look at, pause, delete; and events that are posted to them.

The rule that must not break: what was accepted is on disk before it is answered and consumes after every restart;
URLs are sealed at rest and shown without credentials.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from datetime import timezone
from types import TracebackType
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from stoker.errors import Conflict, NotFound, PlatformError
from stoker_api.ids import new_id
from stoker_api.internal_calls import CallResult, CallTarget
from stoker_api.stores.sqlite.triggers import SqliteTriggerStore
from stoker_api.triggers.address import redacted, without_secrets
from stoker_api.triggers.cloud_events import read_event
from stoker_api.triggers.consumer import Calls, Consumer
from stoker_api.triggers.letters import call_body, reply_headers
from stoker_api.triggers.new_trigger import NewTrigger, check_bounds, checked, record_of
from stoker_api.triggers.ports import OpenSource, Source, SourceSpec
from stoker_api.triggers.records import Kind, Message, Stats, TriggerRecord
from stoker_runtime.clock import Clock
from stoker_runtime.invocation import Priority

log = logging.getLogger(__name__)
MOST_TRIGGERS: Final = 1000
_NONCE_BYTES: Final = 12
_STOP_S: Final = 10.0
"""How long a trigger's messages in flight may take when it is paused, deleted or the platform ends."""


class Triggers:
    """Async context manager: consumes for as long as its block runs."""

    def __init__(
        self,
        store: SqliteTriggerStore,
        calls: Calls,
        key: bytes,
        clock: Clock,
        open_source: OpenSource,
        check_broker: Callable[[Kind], Awaitable[object]],
        has_function: Callable[[str, str], bool],
    ) -> None:
        self._store = store
        self._calls = calls
        self._cipher = AESGCM(key)
        self._clock = clock
        self._open_source = open_source
        self._check_broker = check_broker
        self._has_function = has_function
        self._records: dict[tuple[str, str], TriggerRecord] = {}
        self._running: dict[str, tuple[Consumer, asyncio.Task[None]]] = {}
        self._stats: dict[str, Stats] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._is_stopping = False

    async def __aenter__(self) -> Triggers:
        for record in await self._store.all():
            self._records[record.namespace, record.name] = record
            self._start(record)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        await asyncio.gather(*(self._halt(trigger_id) for trigger_id in list(self._running)))

    def stop(self) -> None:
        """Fetch nothing more, for the end of the platform; what runs may end."""
        self._is_stopping = True
        for consumer, _ in self._running.values():
            consumer.stop()

    # ---- make and change

    async def create(self, namespace: str, new: NewTrigger) -> TriggerRecord:
        """A new trigger, which consumes from now on. Raises ``InvalidOption``, ``NotFound``, ``Conflict``."""
        kind = checked(new)
        if not self._has_function(namespace, new.function):
            raise NotFound(f"no function {namespace}/{new.function}", hint="`stoker list` shows what there is.")
        if len(self._records) >= MOST_TRIGGERS:
            raise Conflict(f"there are {MOST_TRIGGERS} triggers, and that is the most")
        if kind is not Kind.HTTP:
            await self._check_broker(kind)
        now_s = self._clock.now().timestamp()
        trigger_id = new_id("trig", now_s)
        sealed = self._seal(trigger_id, new.url)
        record = record_of(new, kind, trigger_id=trigger_id, namespace=namespace, sealed=sealed, now_s=now_s)
        await self._store.add(record)
        self._records[namespace, record.name] = record
        self._start(record)
        return record

    async def change(
        self,
        record: TriggerRecord,
        *,
        is_paused: bool | None = None,
        max_in_flight: int | None = None,
        max_attempts: int | None = None,
    ) -> TriggerRecord:
        """Change what is given; what runs ends first, under the old limits."""
        async with self._changing(record):
            before = self.get(record.namespace, record.name)
            changed = dataclasses.replace(
                before,
                is_paused=before.is_paused if is_paused is None else is_paused,
                max_in_flight=before.max_in_flight if max_in_flight is None else max_in_flight,
                max_attempts=before.max_attempts if max_attempts is None else max_attempts,
                updated_s=self._clock.now().timestamp(),
            )
            check_bounds(changed.max_in_flight, changed.max_attempts)
            await self._store.change(changed)
            self._records[record.namespace, record.name] = changed
            is_same = (changed.max_in_flight, changed.max_attempts) == (before.max_in_flight, before.max_attempts)
            if changed.is_paused or not is_same:
                await self._halt(record.id)
            self._start(changed)
        return changed

    async def delete(self, record: TriggerRecord) -> None:
        """Forget it; its group stays at the broker, and a trigger of the same name goes on there."""
        async with self._changing(record):
            await self._store.delete(record)
            self._records.pop((record.namespace, record.name), None)
            await self._halt(record.id)
            self._stats.pop(record.id, None)
        self._locks.pop(record.id, None)

    def _changing(self, record: TriggerRecord) -> asyncio.Lock:
        """One change at a time: a resume that came while a pause lets messages end would find it running still."""
        return self._locks.setdefault(record.id, asyncio.Lock())

    # ---- look

    def all(self, namespace: str) -> list[TriggerRecord]:
        """By name."""
        return [record for (where, _), record in sorted(self._records.items()) if where == namespace]

    def get(self, namespace: str, name: str) -> TriggerRecord:
        """Raises ``NotFound``."""
        found = self._records.get((namespace, name))
        if found is None:
            raise NotFound(
                f"namespace {namespace!r} has no trigger {name!r}", hint="`stoker triggers list` shows what there is."
            )
        return found

    def consumer(self, record: TriggerRecord) -> Consumer | None:
        """What works for it; None while it is paused, and for HTTP."""
        found = self._running.get(record.id)
        return None if found is None else found[0]

    def stats(self, record: TriggerRecord) -> Stats:
        """What it has done since the platform's start, pauses included."""
        return self._stats.setdefault(record.id, Stats())

    def states(self) -> Iterator[tuple[TriggerRecord, Consumer | None, Stats]]:
        """Every trigger, what works for it, and what it has done."""
        for record in list(self._records.values()):
            yield record, self.consumer(record), self.stats(record)

    # ---- CloudEvents over HTTP

    async def post(
        self, record: TriggerRecord, headers: Mapping[str, str], content_type: str, body: bytes, request_id: str
    ) -> tuple[CallResult, dict[str, str]]:
        """Run the function on an event that was posted; its result, and the headers of the answer's own event."""
        if record.kind is not Kind.HTTP:
            raise Conflict(f"trigger {record.name!r} consumes from {record.kind.value}, and takes no events over HTTP")
        if record.is_paused:
            raise Conflict(f"trigger {record.name!r} is paused", hint=f"stoker triggers resume {record.name}")
        event = read_event(headers, content_type, body)
        call = call_body(record, Message(id=event.id, body=body, content_type=content_type, headers=headers))
        target = CallTarget(namespace=record.namespace, name=record.function, ref=record.ref, method=record.method)
        stats = self.stats(record)
        stats.consumed += 1
        stats.in_flight += 1
        try:
            result = await self._calls.call(
                target, call.body, content_type=call.content_type, priority=Priority.BACKGROUND, request_id=request_id
            )
        finally:
            stats.in_flight -= 1
        stats.succeeded += result.problem is None
        stats.failed += result.problem is not None
        if result.problem is not None or not record.reply_type:
            return result, {}
        moment = self._clock.now().astimezone(timezone.utc).isoformat(timespec="milliseconds")
        return result, reply_headers(record, request_id, moment)

    # ---- the consumers

    def _start(self, record: TriggerRecord) -> None:
        if record.is_paused or record.kind is Kind.HTTP or record.id in self._running or self._is_stopping:
            return
        open_source = self._open_source
        try:
            url = self._open_url(record)
        except PlatformError as error:  # the others go on
            url, open_source = "", _refusing(error)
        spec = SourceSpec(
            kind=record.kind,
            url=url,
            topic=record.topic,
            group=record.group,
            consumer=f"stoker-{record.namespace}-{record.name}",
            start=record.start,
            most=record.max_in_flight,
            targets=tuple(topic for topic in (record.results, record.dead_letters) if topic),
        )
        consumer = Consumer(
            record, spec, open_source, self._calls, self._clock, lambda error: _told(error, url), self.stats(record)
        )
        task = asyncio.ensure_future(consumer.run())
        self._running[record.id] = (consumer, task)

    async def _halt(self, trigger_id: str) -> None:
        found = self._running.get(trigger_id)
        if found is None:
            return
        consumer, task = found
        consumer.stop()
        await asyncio.wait({task}, timeout=_STOP_S)
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
        if not task.cancelled() and task.exception() is not None:
            log.error("a trigger ended with a fault", exc_info=task.exception(), extra={"trigger": trigger_id})
        if self._running.get(trigger_id) is found:
            del self._running[trigger_id]

    # ---- the URL

    def _seal(self, trigger_id: str, url: str) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, url.encode(), trigger_id.encode())

    def _open_url(self, record: TriggerRecord) -> str:
        nonce, data = record.url_sealed[:_NONCE_BYTES], record.url_sealed[_NONCE_BYTES:]
        try:
            return self._cipher.decrypt(nonce, data, record.id.encode()).decode()
        except InvalidTag:
            raise Conflict(
                f"the URL of trigger {record.name!r} does not open with this data folder's key",
                hint="Delete the trigger and make it again, or restore triggers.key from a copy.",
            ) from None


def _refusing(error: PlatformError) -> OpenSource:
    """Opens nothing, and says why."""

    @asynccontextmanager
    async def refuse(_: SourceSpec) -> AsyncIterator[Source]:
        raise error
        yield

    return refuse


def _told(error: BaseException, url: str) -> str:
    """A library's error as people may see it."""
    text = error.detail if isinstance(error, PlatformError) else str(error)
    hint = getattr(error, "hint", None)
    said = without_secrets(text or type(error).__name__, url)[:500]
    return f"{said} ({hint})" if hint else f"{redacted(url)}: {said}"
