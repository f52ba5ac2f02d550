"""What became of messages, counted since the start, in Prometheus' words.

The rule that must not break: counting costs an attempt an addition; what waits is read when somebody scrapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stoker_api.webhooks.records import DeliveryState, Heard

_LABELS: Final = ["namespace"]
Pending = Mapping[str, tuple[int, float]]
"""Namespace → how many messages wait, and since when the oldest does (Unix seconds)."""


class WebhookTallies(Collector):
    """One per platform, on the loop's thread."""

    def __init__(self) -> None:
        self._attempts: Counter[tuple[str, str]] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._pending: Pending = {}
        self._looked_s = 0.0

    def note_attempt(self, namespace: str, heard: Heard, state: DeliveryState) -> None:
        """An attempt was made and written down."""
        outcome = "delivered" if heard.is_delivered else "refused" if heard.status is not None else "unreachable"
        self._attempts[namespace, outcome] += 1
        if state is not DeliveryState.PENDING:
            self._ended[namespace, state.value] += 1

    def note_pending(self, pending: Pending, now_s: float) -> None:
        """What waits now."""
        self._pending, self._looked_s = pending, now_s

    def collect(self) -> Iterator[Metric]:
        attempts = CounterMetricFamily(
            "stoker_webhook_attempts", "Attempts to deliver a message.", labels=[*_LABELS, "outcome"]
        )
        for labels, count in self._attempts.items():
            attempts.add_metric(list(labels), count)
        ended = CounterMetricFamily(
            "stoker_webhook_deliveries", "Messages that were delivered or given up.", labels=[*_LABELS, "state"]
        )
        for labels, count in self._ended.items():
            ended.add_metric(list(labels), count)
        pending = GaugeMetricFamily("stoker_webhook_pending", "Messages that are on their way.", labels=_LABELS)
        oldest = GaugeMetricFamily(
            "stoker_webhook_oldest_pending_seconds", "Age of the message that waits longest.", labels=_LABELS
        )
        for namespace, (count, since_s) in self._pending.items():
            pending.add_metric([namespace], count)
            oldest.add_metric([namespace], max(0.0, self._looked_s - since_s))
        yield from (attempts, ended, pending, oldest)
