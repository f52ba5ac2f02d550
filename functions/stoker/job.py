"""A job as its owner holds it: an id, and what can be asked about it.

The rule that must not break: holding one costs nothing and losing it loses nothing: the job is on the platform, and
its id is enough to find it again, from any machine.
"""

from __future__ import annotations

import json
import math
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from stoker import routes
from stoker.call_request import CallTarget
from stoker.client import AsyncClient, Client
from stoker.errors import DeadlineExceeded, WorkerLost
from stoker.payload import decode_answer, encode_call
from stoker.server_events import EventParser

if TYPE_CHECKING:
    import httpx

Json = dict[str, Any]
_LONGEST_POLL_S: Final = 50.0
_GRACE_S: Final = 15.0
_SILENCE_S: Final = 60.0
"""The platform says something on a stream of events more often than that."""
_ACCEPTED: Final = 202
_ENDED: Final = frozenset({"succeeded", "failed", "canceled", "timed_out", "expired"})


class Job:
    """A durable call. ``Job.from_id(id)`` finds one that was spawned before."""

    def __init__(self, client: Client, job_id: str) -> None:
        self._client = client
        self.id = job_id

    @classmethod
    def from_id(cls, job_id: str) -> Job:
        """A job on the platform that this process is connected to."""
        from stoker.connection import find_connection
        from stoker.remote import shared_client

        return cls(shared_client(find_connection()), job_id)

    def result(self, timeout: float | None = None) -> Any:
        """What it answered, once it has; raises what its function raised.

        After ``timeout`` seconds ``DeadlineExceeded`` is raised, and the job goes on.
        """
        left_s = math.inf if timeout is None else max(timeout, 0.0)
        while True:
            wait_s = min(left_s, _LONGEST_POLL_S)
            response = self._client.exchange(routes.job_result(self.id, wait_s), {}, read_s=wait_s + _GRACE_S)
            if not _is_pending(response):
                return _answer(response)
            left_s -= wait_s
            if left_s <= 0:
                raise _too_soon(self.id, timeout)

    def status(self) -> str:
        """queued, starting, running, succeeded, failed, canceled, timed_out or expired."""
        return str(self.describe()["state"])

    def describe(self) -> Json:
        """All that is known of it."""
        return _document(self._client.request(routes.job(self.id)))

    def cancel(self) -> Json:
        """End it, whether it waits or runs; raises ``Conflict`` where it has ended."""
        return _document(self._client.request(routes.cancel_job(self.id)))

    def retry(self) -> Json:
        """Queue it again after its end."""
        return _document(self._client.request(routes.retry_job(self.id)))

    def events(self, after: int = 0, *, follow: bool = True) -> Iterator[Json]:
        """What happened to it and what happens, until its end; goes on by itself after a lost connection."""
        while True:
            parser = EventParser()
            try:
                for piece in self._client.pieces(
                    routes.job_events(self.id, after=after, follow=follow),
                    accept="text/event-stream",
                    read_s=_SILENCE_S,
                ):
                    for event in parser.feed(piece):
                        found = _document(json.loads(event.data))
                        after = max(after, int(found["id"]))
                        yield found
            except WorkerLost:
                if not follow:
                    raise
            if not follow or self.status() in _ENDED:
                return

    def __repr__(self) -> str:
        return f"Job({self.id!r})"


class AsyncJob:
    """The same for asyncio."""

    def __init__(self, client: AsyncClient, job_id: str) -> None:
        self._client = client
        self.id = job_id

    @classmethod
    async def from_id(cls, job_id: str) -> AsyncJob:
        """A job on the platform that this process is connected to."""
        from stoker.connection import find_connection
        from stoker.remote import shared_async_client

        return cls(await shared_async_client(find_connection()), job_id)

    async def result(self, timeout: float | None = None) -> Any:
        """What it answered, once it has; raises what its function raised."""
        left_s = math.inf if timeout is None else max(timeout, 0.0)
        while True:
            wait_s = min(left_s, _LONGEST_POLL_S)
            response = await self._client.exchange(routes.job_result(self.id, wait_s), {}, read_s=wait_s + _GRACE_S)
            if not _is_pending(response):
                return _answer(response)
            left_s -= wait_s
            if left_s <= 0:
                raise _too_soon(self.id, timeout)

    async def status(self) -> str:
        """Where it is."""
        return str((await self.describe())["state"])

    async def describe(self) -> Json:
        """All that is known of it."""
        return _document(await self._client.request(routes.job(self.id)))

    async def cancel(self) -> Json:
        """End it, whether it waits or runs."""
        return _document(await self._client.request(routes.cancel_job(self.id)))

    async def retry(self) -> Json:
        """Queue it again after its end."""
        return _document(await self._client.request(routes.retry_job(self.id)))

    async def events(self, after: int = 0, *, follow: bool = True) -> AsyncIterator[Json]:
        """What happened to it and what happens, until its end; goes on by itself after a lost connection."""
        while True:
            parser = EventParser()
            route = routes.job_events(self.id, after=after, follow=follow)
            try:
                async for piece in self._client.pieces(route, {"Accept": "text/event-stream"}, read_s=_SILENCE_S):
                    for event in parser.feed(piece):
                        found = _document(json.loads(event.data))
                        after = max(after, int(found["id"]))
                        yield found
            except WorkerLost:
                if not follow:
                    raise
            if not follow or await self.status() in _ENDED:
                return

    def __repr__(self) -> str:
        return f"AsyncJob({self.id!r})"


def spawn(client: Client, target: CallTarget, args: Sequence[object], kwargs: Mapping[str, object]) -> Job:
    """Submit a call as a job."""
    route, headers = _submission(target, args, kwargs)
    try:
        response = client.exchange(route, headers, read_s=_SILENCE_S)
    except WorkerLost:  # the connection broke: the key makes a second submit the same job
        response = client.exchange(route, headers, read_s=_SILENCE_S)
    return Job(client, str(response.json()["id"]))


async def spawn_async(
    client: AsyncClient, target: CallTarget, args: Sequence[object], kwargs: Mapping[str, object]
) -> AsyncJob:
    """The same for asyncio."""
    route, headers = _submission(target, args, kwargs)
    try:
        response = await client.exchange(route, headers, read_s=_SILENCE_S)
    except WorkerLost:
        response = await client.exchange(route, headers, read_s=_SILENCE_S)
    return AsyncJob(client, str(response.json()["id"]))


def _submission(
    target: CallTarget, args: Sequence[object], kwargs: Mapping[str, object]
) -> tuple[routes.Route, dict[str, str]]:
    payload = encode_call(args, kwargs)
    headers = target.headers(payload) | {"Prefer": "respond-async", "Idempotency-Key": secrets.token_hex(16)}
    return routes.submit_job(target.path, payload.body), headers


def _is_pending(response: httpx.Response) -> bool:
    return response.status_code == _ACCEPTED and response.headers.get("preference-applied") == "respond-async"


def _answer(response: httpx.Response) -> Any:
    return decode_answer(response.content, response.headers.get("content-type", ""))


def _document(value: object) -> Json:
    assert isinstance(value, dict)
    return value


def _too_soon(job_id: str, timeout: float | None) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"job {job_id} has not ended within {timeout:g} s", hint="It goes on: ask again with .result()."
    )
