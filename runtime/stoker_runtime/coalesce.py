"""Identical calls in flight share one execution.

The rule that must not break: a caller that leaves (cancelled, past its deadline) takes nobody with it; the shared
execution is cancelled only when its last caller has left.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

from stoker.errors import Canceled, DeadlineExceeded
from stoker_runtime.invocation import Invocation, Outcome

_Key: TypeAlias = tuple[str, str, str, int, int, bytes]
End: TypeAlias = Callable[[Invocation, Outcome], None]


class Carrier(Invocation):
    """The execution that several callers share; the dispatcher queues it in their place."""

    __slots__ = ("callers", "key")

    def __init__(self, key: _Key, first: Invocation, on_done: Callable[[Invocation], None]) -> None:
        super().__init__(
            first.body,
            first.content_type,
            on_done,
            request_id=first.request_id,
            method=first.method,
            accept=first.accept,
            encoding=first.encoding,
            priority=first.priority,
            accepted_ns=first.accepted_ns,
        )
        self.key = key
        self.callers: dict[int, Invocation] = {}
        self.on_phase = self._tell_phase

    def _tell_phase(self, name: str) -> None:
        for caller in list(self.callers.values()):
            if caller.on_phase is not None:
                caller.on_phase(name)


class Coalescer:
    """Who shares what. ``end`` ends one caller."""

    __slots__ = ("_carriers", "_end", "callers")

    def __init__(self, end: End) -> None:
        self._carriers: dict[_Key, Carrier] = {}
        self._end = end
        self.callers = 0

    def join(self, caller: Invocation) -> Carrier | None:
        """Let ``caller`` share an execution; the new one to queue if it is the first of its kind."""
        key = (
            caller.method,
            caller.content_type,
            caller.accept,
            caller.encoding,
            int(caller.priority),
            bytes(caller.body),
        )
        carrier = self._carriers.get(key)
        is_first = carrier is None
        if carrier is None:
            carrier = self._carriers[key] = Carrier(key, caller, self._fan_out)
        carrier.callers[id(caller)] = caller
        caller.cancel = partial(self._leave, carrier, caller)
        self.callers += 1
        return carrier if is_first else None

    def expire(self, now_ns: int) -> None:
        """Callers past their own deadline leave with ``DeadlineExceeded``."""
        for carrier in list(self._carriers.values()):
            for caller in list(carrier.callers.values()):
                if 0 < caller.deadline_ns <= now_ns:
                    phase = "execute" if carrier.sent_ns else "queue"
                    self._remove(carrier, caller, Outcome(error=DeadlineExceeded("the deadline passed", phase=phase)))

    def next_deadline_ns(self) -> int:
        """The earliest deadline of a caller; 0 if none has one."""
        deadlines = (
            caller.deadline_ns
            for carrier in self._carriers.values()
            for caller in carrier.callers.values()
            if caller.deadline_ns
        )
        return min(deadlines, default=0)

    def _leave(self, carrier: Carrier, caller: Invocation) -> None:
        self._remove(carrier, caller, Outcome(error=Canceled("the caller went away")))

    def _remove(self, carrier: Carrier, caller: Invocation, outcome: Outcome) -> None:
        if carrier.callers.pop(id(caller), None) is None:
            return
        self.callers -= 1
        self._end(caller, outcome)
        if not carrier.callers and carrier.cancel is not None:
            self._forget(carrier)
            carrier.cancel()

    def _forget(self, carrier: Carrier) -> None:
        if self._carriers.get(carrier.key) is carrier:
            del self._carriers[carrier.key]

    def _fan_out(self, carried: Invocation) -> None:
        assert isinstance(carried, Carrier)
        assert carried.outcome is not None
        self._forget(carried)
        carried.on_phase = None  # it refers back to the carrier
        callers, carried.callers = list(carried.callers.values()), {}
        self.callers -= len(callers)
        for caller in callers:
            caller.sent_ns = max(carried.sent_ns, caller.accepted_ns) if carried.sent_ns else 0
            caller.started_ns = carried.started_ns
            caller.decode_ns, caller.execute_ns = carried.decode_ns, carried.execute_ns
            caller.encode_ns = carried.encode_ns
            caller.batch_size, caller.replica_id = carried.batch_size, carried.replica_id
            caller.attempt = carried.attempt
            caller.is_cold, caller.cold_phases_ns = carried.is_cold, carried.cold_phases_ns
            self._end(caller, carried.outcome)
