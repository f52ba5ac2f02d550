"""What one connection may cost. Parsed and checked once at start, then handed down.

The rule that must not break: every wait for a peer has an end, and every buffer a peer can fill has a bound.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayLimits:
    """Bounds of the HTTP front, for invocations and for everything else on the port."""

    max_header_bytes: int = 32 * 1024
    """Request line and headers together; one more is answered 431."""
    max_headers: int = 100
    max_body_bytes: int = 100 * 1024 * 1024
    """Body of an invocation; one more is answered 413, before it is read where its length was announced."""
    max_upload_bytes: int = 512 * 1024 * 1024
    """Body of every other request (a bundle, say)."""
    max_connections: int = 10_000
    max_instances: int = 4096
    """Instances in one KServe v1 request: each becomes an invocation."""
    header_timeout_s: float = 15.0
    """From a request's first byte to the end of its headers."""
    body_timeout_s: float = 30.0
    """To receive a body, on top of one second for each ``min_body_bytes_per_s``."""
    min_body_bytes_per_s: int = 16 * 1024
    keep_alive_timeout_s: float = 75.0
    """How long an idle connection stays."""
    send_timeout_s: float = 60.0
    """How long a peer may take nothing of what is ready for it."""
    linger_s: float = 2.0
    """How long a refused peer may go on sending, so that it gets to read the refusal."""

    def __post_init__(self) -> None:
        for spec in dataclasses.fields(self):
            value = getattr(self, spec.name)
            if value <= 0:
                raise ValueError(f"{spec.name} must be > 0, got {value!r}")
