"""One trigger at work: fetches messages, has them run, takes them off; and connects again whenever it must.

The rule that must not break: a message is taken off after its result (or its dead letter) was accepted and never
before, and no more than ``max_in_flight`` are held at any time.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from datetime import timezone
from typing import Final, Protocol

from stoker.errors import PlatformError
from stoker_api.gateway.problems import problem
from stoker_api.internal_calls import CallResult, CallTarget
from stoker_api.triggers.letters import call_body, dead_letter, result_letter
from stoker_api.triggers.ports import OpenSource, Source, SourceSpec
from stoker_api.triggers.records import Message, Stats, TriggerRecord, TriggerState
from stoker_api.triggers.verdicts import Verdict, backoff_s, verdict
from stoker_runtime.clock import Clock
from stoker_runtime.invocation import Priority

log = logging.getLogger(__name__)
_LAG_S: Final = 3.0


class Calls(Protocol):
    """How functions are called."""

    async def call(
        self, target: CallTarget, body: bytes, *, content_type: str, priority: Priority, request_id: str
    ) -> CallResult: ...


class Consumer:
    """Async: ``run`` until ``stop`` was called and what was in flight has ended, or until canceled."""

    def __init__(
        self,
        record: TriggerRecord,
        spec: SourceSpec,
        open_source: OpenSource,
        calls: Calls,
        clock: Clock,
        told: Callable[[BaseException], str],
        stats: Stats | None = None,
    ) -> None:
        self.record = record
        self.stats = stats or Stats()
        """Those of its trigger, which outlive a pause."""
        self.state = TriggerState.CONNECTING
        self.reason = ""
        """Why it is disconnected or waits."""
        self.on_state: Callable[[TriggerState], None] = lambda _: None
        self._spec = spec
        self._open = open_source
        self._calls = calls
        self._clock = clock
        self._told = told
        self._target = CallTarget(
            namespace=record.namespace, name=record.function, ref=record.ref, method=record.method
        )
        self._stopping = asyncio.Event()
        self._source: Source | None = None
        self._tasks: dict[asyncio.Task[None], Message] = {}
        self._held: dict[str, str] = {}
        """Messages that the function did not take, and why not."""
        self._changed = asyncio.Event()

    def stop(self) -> None:
        """Fetch no more; what runs may end, what waits goes back."""
        self._stopping.set()
        self._changed.set()

    async def lag(self) -> int | None:
        """How many messages wait at the broker; None where that is not known, or not in time."""
        if self._source is None:
            return None
        try:
            return await asyncio.wait_for(self._source.lag(), _LAG_S)
        except Exception as error:  # only shown; the loop itself meets whatever is wrong
            log.debug("a trigger's lag is not known", extra={"trigger": self.record.id, "reason": self._told(error)})
            return None

    async def run(self) -> None:
        """Consume, over lost connections."""
        tries = 0
        while not self._stopping.is_set():
            try:
                async with self._open(self._spec) as source:
                    tries = 0
                    self._source = source
                    self._enter(TriggerState.CONSUMING)
                    await self._consume(source)
            except Exception as error:  # whatever a library raises when its broker is away
                if self._stopping.is_set():
                    return
                tries += 1
                self.stats.reconnects += 1
                self._enter(TriggerState.DISCONNECTED, self._told(error))
                await self._rest(backoff_s(tries))
            finally:
                self._source = None

    # ---- the loop

    async def _consume(self, source: Source) -> None:
        holding = asyncio.ensure_future(self._hold(source)) if source.hold_every_s else None
        try:
            while not self._stopping.is_set():
                self._raise_faults(holding)
                room = self.record.max_in_flight - len(self._tasks)
                if room <= 0 or self._held:
                    await self._until_changed()
                    continue
                await self._receive(source, room)
            while self._tasks:
                self._raise_faults(holding)
                await self._until_changed()
        finally:
            await self._cancel(holding)

    async def _receive(self, source: Source, room: int) -> None:
        """Fetch; the end of a run that failed, or ``stop``, ends the wait for messages."""
        fetching = asyncio.ensure_future(source.receive(room))
        try:
            while not fetching.done() and not self._stopping.is_set() and not self._has_fault():
                self._changed.clear()
                changed = asyncio.ensure_future(self._changed.wait())
                await asyncio.wait({fetching, changed}, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
            if not fetching.done() and self._stopping.is_set():
                await asyncio.wait({fetching})  # ends by itself soon; canceled half way, messages might get lost in it
        finally:
            if not fetching.done():
                fetching.cancel()
                await asyncio.wait({fetching})
        if fetching.cancelled():
            return
        for message in fetching.result():
            self.stats.consumed += 1
            if not self._stopping.is_set():
                self._start(source, message)

    def _start(self, source: Source, message: Message) -> None:
        task = asyncio.ensure_future(self._handle(source, message))
        self._tasks[task] = message
        self.stats.in_flight = len(self._tasks)

        def ended(done: asyncio.Task[None]) -> None:
            if done.cancelled() or done.exception() is None:
                del self._tasks[done]
            self.stats.in_flight = len(self._tasks)
            self._changed.set()

        task.add_done_callback(ended)

    def _has_fault(self) -> bool:
        # done is not enough: a run that went well stays here until its callback was called
        return any(task.done() and not task.cancelled() and task.exception() is not None for task in self._tasks)

    def _raise_faults(self, holding: asyncio.Task[None] | None) -> None:
        """What a run could not tell its broker is the end of this connection."""
        for task in (*self._tasks, *([holding] if holding else [])):
            if task.done():
                task.result()

    async def _hold(self, source: Source) -> None:
        assert source.hold_every_s is not None
        due = asyncio.Event()
        while True:
            due.clear()
            timer = asyncio.get_running_loop().call_later(source.hold_every_s, due.set)
            try:
                await due.wait()
            finally:
                timer.cancel()
            await source.hold(list(self._tasks.values()))

    async def _cancel(self, holding: asyncio.Task[None] | None) -> None:
        tasks = [*self._tasks, *([holding] if holding else [])]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.gather(*tasks, return_exceptions=True)
        self._tasks.clear()
        self._held.clear()
        self.stats.in_flight = 0

    async def _until_changed(self) -> None:
        self._changed.clear()
        await self._changed.wait()

    async def _rest(self, seconds: float) -> bool:
        """Wait, but not over ``stop``; whether the time passed."""
        try:
            await asyncio.wait_for(self._stopping.wait(), seconds)
        except (TimeoutError, asyncio.TimeoutError):
            return True
        return False

    # ---- one message

    async def _handle(self, source: Source, message: Message) -> None:
        attempt, tries = 1, 0
        while True:
            result = await self._call(message)
            found = verdict(result, attempt, self.record.max_attempts)
            if found in (Verdict.DONE, Verdict.DEAD):
                break
            if found is Verdict.AGAIN:
                self.stats.failed += 1
                attempt, tries = attempt + 1, 0
                waits_s = backoff_s(attempt - 1, result.retry_after_s)
            else:
                tries += 1
                waits_s = backoff_s(tries, result.retry_after_s)
                self._set_held(message, str((result.problem or {}).get("detail", "")))
            if not await self._rest(waits_s):
                self._set_held(message, None)
                return  # not taken off: it comes back
        self._set_held(message, None)
        await self._end(source, message, result, attempt)

    async def _call(self, message: Message) -> CallResult:
        record = self.record
        try:
            call = call_body(record, message)
        except PlatformError as error:
            document = problem(error, request_id=message.id, function=f"{record.namespace}/{record.function}")
            return CallResult(status=error.status, problem=document, ran=False)
        return await self._calls.call(
            self._target,
            call.body,
            content_type=call.content_type,
            priority=Priority.BACKGROUND,
            request_id=f"{record.id}/{message.id}",
        )

    async def _end(self, source: Source, message: Message, result: CallResult, attempts: int) -> None:
        record, moment = self.record, self._moment()
        if result.problem is not None:
            letter = dead_letter(record, message, result.problem, attempts, moment)
            await source.publish(record.dead_letters, letter)
            await source.done(message)
            self.stats.failed += 1
            self.stats.dead_lettered += 1
            fields = {"trigger": record.id, "message_id": message.id, "attempts": attempts}
            log.warning("dead letter", extra={**fields, "code": result.problem.get("code")})
            return
        if record.results:
            await source.publish(record.results, result_letter(record, message, result, moment))
        await source.done(message)
        self.stats.succeeded += 1

    def _set_held(self, message: Message, reason: str | None) -> None:
        if reason is not None:
            self._held[message.id] = reason
            self._enter(TriggerState.WAITING, reason)
            return
        if self._held.pop(message.id, None) is not None and not self._held:
            self._enter(TriggerState.CONSUMING)
        self._changed.set()

    def _enter(self, state: TriggerState, reason: str = "") -> None:
        if (state, reason) != (self.state, self.reason):
            fields = {"trigger": self.record.id, "state": state.value, "reason": reason}
            level = logging.WARNING if state is TriggerState.DISCONNECTED else logging.INFO
            log.log(level, "trigger state", extra=fields)
        self.state, self.reason = state, reason
        self.on_state(state)

    def _moment(self) -> str:
        return self._clock.now().astimezone(timezone.utc).isoformat(timespec="milliseconds")
