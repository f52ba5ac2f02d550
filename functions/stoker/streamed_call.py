"""A running generator, seen from its caller: iterate over it, or leave it and the call is cancelled.

The rule that must not break: a stream that ends without its ``end`` event is an error, never a short answer.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from types import TracebackType
from typing import Any

import httpx

from stoker.errors import WorkerLost
from stoker.problem_answers import raise_for_problem
from stoker.remote_errors import error_of_problem
from stoker.server_events import EventParser, ServerEvent


class EventReader:
    """What the events of one call say, whoever reads them."""

    def __init__(self, on_phase: Callable[[str], None] | None = None) -> None:
        self.receipt: Mapping[str, object] | None = None
        self.is_ended = False
        self._on_phase = on_phase

    def items(self, event: ServerEvent) -> list[Any]:
        """The item in this event, if it holds one; raises what an ``error`` event stands for."""
        if event.name == "item":
            return [json.loads(event.data)]
        if event.name == "error":
            raise error_of_problem(json.loads(event.data))
        if event.name == "end":
            self.is_ended = True
            self.receipt = json.loads(event.data or "{}").get("receipt")
        if event.name == "phase" and self._on_phase is not None:
            self._on_phase(json.loads(event.data)["phase"])
        return []

    def check_end(self) -> None:
        """Raise where the stream broke off."""
        if not self.is_ended:
            raise WorkerLost("the stream broke off before its end", hint="Call again if the function is idempotent.")


class StreamedCall:
    """Iterate over the items; ``close`` or leave the ``with`` block to cancel the call."""

    def __init__(
        self, request: AbstractContextManager[httpx.Response], on_phase: Callable[[str], None] | None = None
    ) -> None:
        self._request = request
        self._reader = EventReader(on_phase)
        self._items = self._read()

    @property
    def receipt(self) -> Mapping[str, object] | None:
        """Where the call's time went; known after the last item."""
        return self._reader.receipt

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        return next(self._items)

    def __enter__(self) -> StreamedCall:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop listening; the platform cancels the call."""
        self._items.close()

    def _read(self) -> Generator[Any, None, None]:
        parser = EventParser()
        with self._request as response:
            if response.is_error:
                response.read()
                raise_for_problem(response)
            for piece in response.iter_bytes():
                for event in parser.feed(piece):
                    yield from self._reader.items(event)
                if self._reader.is_ended:
                    return
        self._reader.check_end()


async def stream_items(
    request: AbstractAsyncContextManager[httpx.Response], on_phase: Callable[[str], None] | None = None
) -> AsyncIterator[Any]:
    """The items of a call as they come; ``aclose`` cancels it."""
    parser, reader = EventParser(), EventReader(on_phase)
    async with request as response:
        if response.is_error:
            await response.aread()
            raise_for_problem(response)
        async for piece in response.aiter_bytes():
            for event in parser.feed(piece):
                for item in reader.items(event):
                    yield item
            if reader.is_ended:
                return
    reader.check_end()
