"""What every connection of the invocation path shares.

The rule that must not break: it holds no state of a call; a call lives in its connection's cycle alone.
"""

from __future__ import annotations

import os
from typing import Final

from stoker_api.gateway.counters import GatewayCounters
from stoker_api.gateway.limits import GatewayLimits
from stoker_api.gateway.ports import Access, Authenticator, JobDesk, Route, Router
from stoker_api.gateway.refusals import TooManyConnections
from stoker_api.gateway.request_head_cache import RequestHeadCache

_ID_PREFIX_BYTES: Final = 6


class Gateway:
    """Authenticates and routes, and knows whether it still may."""

    def __init__(self, router: Router, authenticator: Authenticator, limits: GatewayLimits | None = None) -> None:
        self.router = router
        self.authenticator = authenticator
        self.limits = limits or GatewayLimits()
        self.counters = GatewayCounters()
        self.heads = RequestHeadCache()
        self.jobs: JobDesk | None = None
        """None: this platform keeps no jobs."""
        self.is_draining = False
        self._id_prefix = os.urandom(_ID_PREFIX_BYTES).hex()
        self._last_id = 0
        self._rendered_of: list[tuple[bytes, bytes]] | None = None
        self._rendered = b""

    def drain(self) -> None:
        """Refuse new invocations from now on; those in flight go on."""
        self.is_draining = True

    def find(self, token: bytes | None, namespace: str, path: bytes, sticky: bytes | None) -> tuple[Access, Route]:
        """Who calls and where it leads; raises ``AccessDenied``, ``NotFound`` and the like."""
        return self.authenticator.authenticate(token, namespace), self.router.resolve(path, sticky)

    def new_request_id(self) -> str:
        """Unique across restarts, and cheap."""
        self._last_id += 1
        return f"{self._id_prefix}-{self._last_id:x}"

    def admit_connection(self) -> None:
        """Count a new connection in; raises ``TooManyConnections``."""
        if self.counters.connections >= self.limits.max_connections:
            self.counters.connections_refused += 1
            raise TooManyConnections(f"the gateway holds {self.counters.connections} connections already")
        self.counters.connections += 1

    def common_headers(self, default_headers: list[tuple[bytes, bytes]]) -> bytes:
        """The server's own headers (date, server) as bytes; uvicorn replaces the list once a second."""
        if default_headers is not self._rendered_of:
            self._rendered_of = default_headers
            self._rendered = b"".join(name + b": " + value + b"\r\n" for name, value in default_headers)
        return self._rendered
