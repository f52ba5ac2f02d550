"""The platform over HTTP, for programs: calls and management, blocking and for asyncio.

The rule that must not break: whatever goes wrong comes out as an error of ``stoker.errors`` or as the remote
exception itself, never as an error of the HTTP library.
"""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from types import TracebackType
from typing import Any, NamedTuple

import httpx

from stoker import routes
from stoker.call_request import CallTarget
from stoker.connection import Connection, find_connection
from stoker.payload import decode_answer, encode_call
from stoker.problem_answers import raise_for_problem, transport_errors
from stoker.routes import Json, Route
from stoker.server_events import EventParser
from stoker.streamed_call import StreamedCall, stream_items

CONNECT_TIMEOUT_S = 10.0
ANSWER_TIMEOUT_S = 900.0
"""Longest silence of the platform where the call has no deadline of its own."""
_GRACE_S = 10.0
_LIMITS = httpx.Limits(max_connections=256, max_keepalive_connections=64, keepalive_expiry=4.0)
_NODELAY = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]


class Answer(NamedTuple):
    """A call's result with its receipt."""

    result: Any
    receipt: Mapping[str, object]


class _Requests:
    """What both clients have in common: where to, and how a request is made."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        self.connection = find_connection() if url is None else Connection(url.rstrip("/"), token)

    @property
    def url(self) -> str:
        """The platform's address."""
        return self.connection.url

    def _settings(self) -> dict[str, Any]:
        token = self.connection.token
        return {
            "base_url": self.url,
            "headers": {"Authorization": f"Bearer {token}"} if token else {},
            "timeout": _timeout(ANSWER_TIMEOUT_S),
            "trust_env": False,
            "follow_redirects": False,
        }


class Client(_Requests):
    """Blocking client. Without arguments it finds the platform by itself. Close it, or use ``with``."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        super().__init__(url, token)
        transport = httpx.HTTPTransport(limits=_LIMITS, socket_options=_NODELAY, verify=self.url.startswith("https"))
        self._http = httpx.Client(**self._settings(), transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close its connections."""
        self._http.close()

    def call(self, target: CallTarget, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None) -> Any:
        """Run a function and wait for its answer."""
        response = self._post(target, args, kwargs or {})
        return decode_answer(response.content, response.headers.get("content-type", ""))

    def call_with_receipt(
        self, target: CallTarget, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None
    ) -> Answer:
        """The same, with where its time went."""
        document = self._post(target, args, kwargs or {}, wants_receipt=True).json()
        return Answer(document["result"], document["receipt"])

    def stream(
        self,
        target: CallTarget,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        on_phase: Callable[[str], None] | None = None,
    ) -> StreamedCall:
        """Run a generator; its items come as it yields them. ``on_phase`` hears of a cold start."""
        return StreamedCall(self._open_stream(target, args, kwargs or {}), on_phase)

    def request(self, route: Route) -> Any:
        """Make one management request; its JSON, or text where the answer is no JSON."""
        with transport_errors(self.url):
            response = self._http.request(route.verb, route.path, **_parts(route))
        raise_for_problem(response)
        return decode_answer(response.content, response.headers.get("content-type", ""))

    def exchange(self, route: Route, headers: Mapping[str, str], *, read_s: float) -> httpx.Response:
        """Make one request; its whole answer, of 2xx or 3xx. ``read_s``: how long the platform may be silent."""
        with transport_errors(self.url):
            response = self._http.request(
                route.verb, route.path, headers=dict(headers), timeout=_timeout(read_s), **_parts(route)
            )
        raise_for_problem(response)
        return response

    def pieces(self, route: Route, *, accept: str | None = None, read_s: float | None = None) -> Iterator[bytes]:
        """The answer's body as it comes; raises for a problem before the first piece."""
        headers = {"Accept": accept} if accept else {}
        timeout = _timeout(read_s)
        with (
            transport_errors(self.url),
            self._http.stream(route.verb, route.path, headers=headers, timeout=timeout, **_parts(route)) as response,
        ):
            if response.is_error:
                response.read()
                raise_for_problem(response)
            yield from response.iter_bytes()

    def documents(self, route: Route, *, read_s: float | None = 60.0) -> Iterator[Json]:
        """The data of server-sent events, as they come."""
        parser = EventParser()
        for piece in self.pieces(route, accept="text/event-stream", read_s=read_s):
            for event in parser.feed(piece):
                if event.data:
                    yield json.loads(event.data)

    def follow_logs(
        self, name: str, namespace: str = "default", *, lines: int | None = None, revision: int | None = None
    ) -> Iterator[Json]:
        """Log lines as they are written, of one revision or of all, until closed."""
        route = routes.logs(name, namespace, follow=True, lines=lines, revision=revision)
        parser = EventParser()
        headers = {"Accept": "text/event-stream"}
        timeout = _timeout(None)
        with (
            transport_errors(self.url),
            self._http.stream("GET", route.path, params=route.query, headers=headers, timeout=timeout) as response,
        ):
            if response.is_error:
                response.read()
                raise_for_problem(response)
            for piece in response.iter_bytes():
                for event in parser.feed(piece):
                    if event.data:
                        yield json.loads(event.data)

    def _post(
        self, target: CallTarget, args: Sequence[object], kwargs: Mapping[str, object], *, wants_receipt: bool = False
    ) -> httpx.Response:
        payload = encode_call(args, kwargs)
        with transport_errors(self.url):
            response = self._http.post(
                target.path,
                content=payload.body,
                headers=target.headers(payload, wants_receipt=wants_receipt),
                timeout=_timeout_of(target),
            )
        raise_for_problem(response)
        return response

    @contextmanager
    def _open_stream(
        self, target: CallTarget, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> Iterator[httpx.Response]:
        payload = encode_call(args, kwargs)
        headers = target.headers(payload, is_stream=True)
        with transport_errors(self.url):
            with self._http.stream(
                "POST", target.path, content=payload.body, headers=headers, timeout=_timeout_of(target)
            ) as response:
                yield response


class AsyncClient(_Requests):
    """The same for asyncio. Use ``async with``."""

    def __init__(self, url: str | None = None, token: str | None = None) -> None:
        super().__init__(url, token)
        transport = httpx.AsyncHTTPTransport(
            limits=_LIMITS, socket_options=_NODELAY, verify=self.url.startswith("https")
        )
        self._http = httpx.AsyncClient(**self._settings(), transport=transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close its connections."""
        await self._http.aclose()

    async def call(
        self, target: CallTarget, args: Sequence[object] = (), kwargs: Mapping[str, object] | None = None
    ) -> Any:
        """Run a function and wait for its answer."""
        payload = encode_call(args, kwargs or {})
        with transport_errors(self.url):
            response = await self._http.post(
                target.path, content=payload.body, headers=target.headers(payload), timeout=_timeout_of(target)
            )
        raise_for_problem(response)
        return decode_answer(response.content, response.headers.get("content-type", ""))

    def stream(
        self,
        target: CallTarget,
        args: Sequence[object] = (),
        kwargs: Mapping[str, object] | None = None,
        on_phase: Callable[[str], None] | None = None,
    ) -> AsyncIterator[Any]:
        """Run a generator; its items come as it yields them."""
        return stream_items(self._open_stream(target, args, kwargs or {}), on_phase)

    async def request(self, route: Route) -> Any:
        """Make one management request; its JSON, or text where the answer is no JSON."""
        with transport_errors(self.url):
            response = await self._http.request(route.verb, route.path, **_parts(route))
        raise_for_problem(response)
        return decode_answer(response.content, response.headers.get("content-type", ""))

    async def exchange(self, route: Route, headers: Mapping[str, str], *, read_s: float) -> httpx.Response:
        """Make one request; its whole answer, of 2xx or 3xx. ``read_s``: how long the platform may be silent."""
        with transport_errors(self.url):
            response = await self._http.request(
                route.verb, route.path, headers=dict(headers), timeout=_timeout(read_s), **_parts(route)
            )
        raise_for_problem(response)
        return response

    async def pieces(self, route: Route, headers: Mapping[str, str], *, read_s: float | None) -> AsyncIterator[bytes]:
        """The body of an answer, as it comes."""
        with transport_errors(self.url):
            async with self._http.stream(
                route.verb, route.path, params=dict(route.query), headers=dict(headers), timeout=_timeout(read_s)
            ) as response:
                if response.is_error:
                    await response.aread()
                    raise_for_problem(response)
                async for piece in response.aiter_bytes():
                    yield piece

    @asynccontextmanager
    async def _open_stream(
        self, target: CallTarget, args: Sequence[object], kwargs: Mapping[str, object]
    ) -> AsyncIterator[httpx.Response]:
        payload = encode_call(args, kwargs)
        headers = target.headers(payload, is_stream=True)
        with transport_errors(self.url):
            async with self._http.stream(
                "POST", target.path, content=payload.body, headers=headers, timeout=_timeout_of(target)
            ) as response:
                yield response


def _parts(route: Route) -> dict[str, Any]:
    parts: dict[str, Any] = {"params": dict(route.query)}
    if route.files is not None:
        parts |= {"files": dict(route.files), "data": dict(route.fields or {})}
    elif route.content is not None:
        parts["content"] = route.content
    elif route.body is not None:
        parts["json"] = route.body
    return parts


def _timeout_of(target: CallTarget) -> httpx.Timeout:
    return _timeout(ANSWER_TIMEOUT_S if target.timeout_s is None else target.timeout_s + _GRACE_S)


def _timeout(read_s: float | None) -> httpx.Timeout:
    return httpx.Timeout(read_s, connect=CONNECT_TIMEOUT_S)
