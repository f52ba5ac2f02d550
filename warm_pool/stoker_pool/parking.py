"""Moves a loaded replica between its device and host memory: one call to its worker, outside of any queue.

The rule that must not break: it is asked only of a replica that holds no call, and ends within its limit: with the
worker's yes, or with the reason why not.
"""

from __future__ import annotations

import asyncio
from typing import Final

from stoker.errors import PlatformError, StartFailed
from stoker_runtime.frames import CallEncoding, ChunkHeader, ResultHeader, ResultStatus
from stoker_runtime.invocation import Invocation
from stoker_runtime.parking import SLEEP, WAKE
from stoker_runtime.replica_link import ReplicaLink
from stoker_runtime.sent_frame import SentFrame

__all__ = ["SLEEP", "WAKE", "move"]

_DONE: Final = (ResultStatus.OK,)


async def move(link: ReplicaLink, hook: str, *, now_ns: int, limit_s: float) -> None:
    """Run ``SLEEP`` or ``WAKE``; raises ``StartFailed`` with what the worker said."""
    owner = _Mover(hook)
    former, link.owner = link.owner, owner
    try:
        call = Invocation(b"", "", _ignore, method=hook, encoding=int(CallEncoding.PARKING))
        link.send_each([call], now_ns=now_ns)
        await asyncio.wait_for(owner.moved, limit_s)
    except asyncio.TimeoutError:
        raise StartFailed(f"the {hook} hook ran longer than {limit_s:g} s", start_phase=hook.lstrip("@")) from None
    finally:
        link.owner = former


class _Mover:
    """Owns a link while its replica moves."""

    def __init__(self, hook: str) -> None:
        self.moved: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._hook = hook

    def on_readable(self, link: ReplicaLink) -> int:
        return link.last_used_ns

    def on_result(
        self, link: ReplicaLink, invocation: Invocation, result: ResultHeader, body: bytes | memoryview, now_ns: int
    ) -> None:
        if result.status in _DONE:
            self._end(None)
        else:
            said = bytes(body).decode("utf-8", "replace")[:2000]
            self._end(StartFailed(f"the {self._hook} hook raised: {said}", start_phase=self._hook.lstrip("@")))

    def on_chunk(self, link: ReplicaLink, invocation: Invocation, chunk: ChunkHeader, body: bytes | memoryview) -> None:
        pass

    def on_frame_answered(self, link: ReplicaLink, frame: SentFrame, now_ns: int) -> None:
        pass

    def on_settled(self, link: ReplicaLink) -> None:
        pass

    def on_lost(self, link: ReplicaLink, reason: str) -> None:
        link.take_in_flight(link.last_used_ns)
        self._end(StartFailed(f"the worker was lost in its {self._hook} hook: {reason}", start_phase="wake"))

    def _end(self, error: PlatformError | None) -> None:
        if self.moved.done():
            return
        if error is None:
            self.moved.set_result(None)
        else:
            self.moved.set_exception(error)


def _ignore(invocation: Invocation) -> None:
    """The worker's answer is told by the link's owner."""
