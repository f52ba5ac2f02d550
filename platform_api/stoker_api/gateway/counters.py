"""What the gateway counts: plain integers that the hot path adds to, read by ``/metrics``."""

from __future__ import annotations


class GatewayCounters:
    """Totals since the start, and what is open now."""

    __slots__ = (
        "answers",
        "bytes_in",
        "bytes_out",
        "connections",
        "connections_refused",
        "disconnects",
        "in_flight",
        "plain_answers",
    )

    def __init__(self) -> None:
        self.answers: dict[int, int] = {}
        """Answers of the invocation path by HTTP status."""
        self.plain_answers = 0
        """Those that were a plain 200, which ``answers`` leaves out: the hot path adds to no dict."""
        self.bytes_in = 0
        self.bytes_out = 0
        self.connections = 0
        self.connections_refused = 0
        self.disconnects = 0
        """Callers that left before their answer."""
        self.in_flight = 0

    def answered(self, status: int, body_bytes: int) -> None:
        """One more answer went out."""
        self.answers[status] = self.answers.get(status, 0) + 1
        self.bytes_out += body_bytes

    def by_status(self) -> dict[int, int]:
        """All answers by status."""
        return self.answers | {200: self.answers.get(200, 0) + self.plain_answers}
