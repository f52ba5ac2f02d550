"""The HTTP exchange of one call, closer to the wire than the SDK's: any body, any header, the answer's own bytes.

The rule that must not break: a problem is shown as the platform wrote it, never turned into a local exception class.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

from stoker.cli.call_body import CallBody
from stoker.cli.problem import Refusal
from stoker.connection import Connection

if TYPE_CHECKING:
    import httpx

Streamed: TypeAlias = "Iterator[tuple[str, Any]]"
"""Events of a streamed call: its name and its data."""


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """An answer as it came."""

    content: bytes
    content_type: str
    server_timing: str

    def value(self) -> object:
        """JSON and text as such; the bytes of anything else."""
        media_type = self.content_type.partition(";")[0].strip().lower()
        if media_type == "application/json":
            return json.loads(self.content) if self.content else None
        return self.content.decode("utf-8", "replace") if media_type.startswith("text/") else self.content


class Exchange:
    """Calls of one function."""

    def __init__(self, connection: Connection, path: str) -> None:
        self._connection = connection
        self._path = path

    def send(self, body: CallBody) -> RawAnswer:
        """Call and wait; raises ``Refusal`` with the problem that came back."""
        with self._open(body, {}) as response:
            content = response.read()
        headers = response.headers
        return RawAnswer(content, headers.get("content-type", ""), headers.get("server-timing", ""))

    def stream(self, body: CallBody) -> Streamed:
        """Call and yield events as they come; raises ``Refusal`` for an ``error`` event."""
        from stoker.errors import WorkerLost
        from stoker.server_events import EventParser

        parser = EventParser()
        with self._open(body, {"Accept": "text/event-stream"}) as response:
            for piece in response.iter_bytes():
                for event in parser.feed(piece):
                    data = json.loads(event.data) if event.data else None
                    if event.name == "error":
                        raise Refusal(data if isinstance(data, dict) else {"detail": str(data), "status": 500})
                    yield event.name, data
                    if event.name == "end":
                        return
        raise WorkerLost("the stream broke off before its end")

    @contextmanager
    def _open(self, body: CallBody, headers: dict[str, str]) -> Iterator[httpx.Response]:
        import httpx

        from stoker.client import CONNECT_TIMEOUT_S
        from stoker.problem_answers import raise_for_problem, transport_errors

        token = self._connection.token
        access = {"Authorization": f"Bearer {token}"} if token else {}
        with (
            transport_errors(self._connection.url),
            httpx.Client(
                base_url=self._connection.url,
                trust_env=False,
                timeout=httpx.Timeout(None, connect=CONNECT_TIMEOUT_S),
            ) as http,
            http.stream(
                "POST",
                self._path,
                content=body.content,
                data=dict(body.fields) or None,
                files=dict(body.files) or None,
                headers={**access, **headers, **body.headers},
            ) as response,
        ):
            if response.is_error:
                _refuse(response.read(), response.status_code)
                raise_for_problem(response)
            yield response


def _refuse(content: bytes, status: int) -> None:
    try:
        document = json.loads(content)
    except ValueError:
        return
    if isinstance(document, dict) and "code" in document:
        raise Refusal({"status": status, **document})
