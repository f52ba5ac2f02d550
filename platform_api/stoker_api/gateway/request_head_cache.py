"""Readings of heads that a client sends again and again, by their exact bytes.

A keep-alive client repeats its head from call to call; parsing it once per distinct head takes half the cost off a
call. The rule that must not break: only a head that the HTTP parser itself accepted, and that stands alone before a
body of announced length, gets in, so a hit means what parsing would have meant.
"""

from __future__ import annotations

from typing import Final

from stoker_api.gateway.head import RequestHead

HEAD_END: Final = b"\r\n\r\n"
_MAX_HEADS: Final = 1024
_MAX_HEAD_BYTES: Final = 2048


class RequestHeadCache:
    """Bounded; the oldest reading leaves first. Tokens are part of the bytes, and are checked at every call."""

    def __init__(self) -> None:
        self.heads: dict[bytes, RequestHead] = {}

    def offer(self, data: bytes, head: RequestHead, body: bytes) -> None:
        """Keep ``head`` if ``data``, one whole read, was it and its body and nothing else."""
        end = data.find(HEAD_END)
        if not 0 < end <= _MAX_HEAD_BYTES or data[end + len(HEAD_END) :] != body:
            return
        if head.fault or head.request_id or head.idempotency_key or not head.keep_alive or head.wants_100_continue:
            return
        if (head.content_length or 0) != len(body):
            return
        if len(self.heads) >= _MAX_HEADS:
            del self.heads[next(iter(self.heads))]
        self.heads[data[:end]] = head
