"""What triggers ask of a broker. One contract suite (``tests/contracts``) holds every adapter to it.

The rule that must not break: a message that was received comes back, here or elsewhere, unless it was taken off; so
``done`` is called after success and never before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol

from stoker_api.triggers.records import Kind, Message, Outgoing, Start


class Source(Protocol):
    """An open connection; any method raises what its library raises when that is lost, and is then of no more use."""

    hold_every_s: float | None
    """How often ``hold`` must be called; None: never."""

    async def receive(self, most: int) -> list[Message]:
        """Up to ``most`` messages (>= 1); waits a while for the first, and may come back with none."""
        ...

    async def done(self, message: Message) -> None:
        """Take it off for good."""
        ...

    async def hold(self, messages: Sequence[Message]) -> None:
        """These are still being worked on: do not hand them out again."""
        ...

    async def publish(self, topic: str, outgoing: Outgoing) -> None:
        """Put a message on a topic; the broker has it when this returns."""
        ...

    async def lag(self) -> int | None:
        """How many messages wait that were never handed out; None where that is not known."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """What is to be opened."""

    kind: Kind
    url: str
    topic: str
    group: str
    consumer: str
    """The same after a restart, so that what it had not finished is its own."""
    start: Start
    most: int
    """Messages that are received and not done, at most."""
    targets: tuple[str, ...]
    """Topics that will be published to."""


OpenSource = Callable[[SourceSpec], AbstractAsyncContextManager[Source]]
