"""Batch runs in Prometheus' words.

The rule that must not break: counters never go back while the platform lives.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stoker_api.batches.runner import BatchRunner


class BatchCollector(Collector):
    """Reads the runner when somebody scrapes."""

    def __init__(self, runner: BatchRunner) -> None:
        self._runner = runner

    def collect(self) -> Iterator[Metric]:
        runner = self._runner
        at_work = list(runner.progress.values())
        yield CounterMetricFamily(
            "stoker_batch_rows",
            "Rows of batch runs that ended.",
            value=runner.rows_done + sum(p.fresh for p in at_work),
        )
        yield CounterMetricFamily(
            "stoker_batch_rows_failed",
            "Rows of batch runs that failed.",
            value=runner.rows_failed + sum(p.fresh_failed for p in at_work),
        )
        yield GaugeMetricFamily("stoker_batch_runs", "Batch runs at work.", value=len(at_work))
        yield GaugeMetricFamily(
            "stoker_batch_rows_in_flight", "Their rows in the platform.", value=sum(p.in_flight for p in at_work)
        )
