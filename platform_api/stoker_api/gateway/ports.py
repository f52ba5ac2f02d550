"""What the gateway needs from the rooms beside it: who may call, where a name leads, and who takes the call.

The rule that must not break: ``authenticate`` and ``resolve`` are called once per invocation on the loop's thread, so
they answer from memory (a bounded cache over the store) and never wait.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from stoker_runtime.invocation import Invocation


@dataclass(frozen=True, slots=True, kw_only=True)
class Access:
    """What a token may do in one namespace, beyond invoking."""

    is_owner: bool = False
    """It has the deploy or admin scope: errors show it the traceback."""
    token_id: str = ""


class Authenticator(Protocol):
    """Says whether a token may invoke in a namespace."""

    def authenticate(self, token: bytes | None, namespace: str) -> Access:
        """``token`` is what followed ``Bearer``; None without one. Raises ``AccessDenied`` or ``Forbidden``."""
        ...


class CallSink(Protocol):
    """The part of a ``Dispatcher`` that the gateway uses."""

    def submit(self, invocation: Invocation) -> None:
        """Take the call; a refusal ends the invocation, maybe before this returns."""
        ...

    def consumed(self, invocation: Invocation, chunks: int) -> None:
        """The caller has taken that many streamed items: the worker may send as many more."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """Where a call goes: one revision's dispatcher, and who wants to hear of its end."""

    namespace: str
    name: str
    revision: int
    dispatcher: CallSink
    on_done: Callable[[Invocation], None] | None = None
    """Told of each ended invocation (statistics); must be cheap and must not raise."""


class Router(Protocol):
    """Function names to routes, through aliases."""

    def resolve(self, path: bytes, sticky: bytes | None) -> Route:
        """The route of ``/f/{name}[@{revision or alias}]`` or ``/n/{namespace}/f/{name}[@…]``.

        ``path`` is ASCII and its names are well formed (see ``target.py``). ``sticky`` is the value of
        ``Stoker-Session``: equal values take the same side of a split alias. Raises ``NotFound``; may raise
        ``CrashLooping`` and the like where the function is closed.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRequest:
    """An invocation whose caller takes a job for an answer."""

    namespace: str
    function: str
    ref: str | None
    method: str
    body: bytes
    content_type: str
    is_args: bool
    """The body is ``[args, kwargs]``."""
    accept: str
    priority: int | None
    """0 to 2, lower first; None: whatever suits."""
    timeout_s: float | None
    idempotency_key: str | None
    wait_s: float
    is_owner: bool
    webhooks: tuple[str, ...] = ()
    """Ids or URLs of webhooks that are told of its end."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAnswer:
    """What such a caller is told: the job, or how it ended."""

    status: int
    body: bytes
    content_type: str
    headers: list[tuple[str, str]]
    is_problem: bool = False


class JobDesk(Protocol):
    """Takes invocations as jobs."""

    async def answer(self, request: JobRequest) -> JobAnswer:
        """Submit it, wait for its end as long as the caller wants; raises an error of the tree."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelInfo:
    """A function as the KServe protocols show it."""

    namespace: str
    name: str
    revisions: tuple[int, ...]
    is_ready: bool
    """A replica is ready, or a call would start one."""
    schema_json: bytes = b""
    """``{"input": …, "output": …}`` as JSON schema; empty where unknown."""


class ModelCatalog(Protocol):
    """Functions for the KServe metadata and repository routes (the control side implements it)."""

    def models(self, namespace: str) -> Sequence[ModelInfo]: ...

    def model(self, namespace: str, name: str) -> ModelInfo:
        """Raises ``NotFound``."""
        ...

    async def load(self, namespace: str, name: str) -> None:
        """Warm one replica up and return when it is ready; raises the start's error."""
        ...

    async def unload(self, namespace: str, name: str) -> None:
        """Drain every replica; a later call starts one again."""
        ...
