"""The gateway's counters in Prometheus' words.

The rule that must not break: the hot path only adds to integers; they become metrics when somebody scrapes.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stoker_api.gateway.counters import GatewayCounters


class GatewayCollector(Collector):
    """Register it with the registry that ``/metrics`` writes out."""

    def __init__(self, counters: GatewayCounters) -> None:
        self._counters = counters

    def collect(self) -> Iterator[Metric]:
        counters = self._counters
        answers = CounterMetricFamily(
            "stoker_gateway_requests", "Requests answered on the invocation path.", labels=["status"]
        )
        for status, count in sorted(counters.by_status().items()):
            answers.add_metric([str(status)], count)
        yield answers
        yield CounterMetricFamily("stoker_gateway_received_bytes", "Bytes of call bodies.", counters.bytes_in)
        yield CounterMetricFamily("stoker_gateway_sent_bytes", "Bytes of answers' bodies.", counters.bytes_out)
        yield CounterMetricFamily(
            "stoker_gateway_disconnects", "Callers that left before their answer.", counters.disconnects
        )
        yield CounterMetricFamily(
            "stoker_gateway_connections_refused", "Connections over the limit.", counters.connections_refused
        )
        yield GaugeMetricFamily("stoker_gateway_connections", "Open connections.", counters.connections)
        yield GaugeMetricFamily("stoker_gateway_in_flight", "Calls accepted and not yet ended.", counters.in_flight)
