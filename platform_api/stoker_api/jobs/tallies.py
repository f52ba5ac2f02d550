"""What became of jobs, counted since the start, in Prometheus' words.

The rule that must not break: counting costs a job an addition; what is in the store is read when somebody scrapes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stoker_api.jobs.records import JobRecord

_LABELS: Final = ["namespace", "function"]
OpenJobs = Mapping[tuple[str, str, str], int]
"""Namespace, function and state of jobs that have not ended, with how many there are."""


class JobTallies(Collector):
    """One per platform, on the loop's thread."""

    def __init__(self) -> None:
        self._submitted: Counter[tuple[str, str]] = Counter()
        self._ended: Counter[tuple[str, str, str]] = Counter()
        self._put_back: Counter[tuple[str, str]] = Counter()
        self.open: OpenJobs = {}
        """As of the last look."""

    def note_submit(self, record: JobRecord) -> None:
        """A new job was accepted."""
        self._submitted[record.namespace, record.function] += 1

    def note_end(self, record: JobRecord) -> None:
        """A job has ended."""
        self._ended[record.namespace, record.function, record.state.value] += 1

    def note_put_back(self, record: JobRecord) -> None:
        """A run came to nothing, and the job waits again."""
        self._put_back[record.namespace, record.function] += 1

    def collect(self) -> Iterator[Metric]:
        submitted = CounterMetricFamily("stoker_jobs_submitted", "Jobs that were accepted.", labels=_LABELS)
        for labels, count in self._submitted.items():
            submitted.add_metric(list(labels), count)
        ended = CounterMetricFamily("stoker_jobs_ended", "Jobs that ended.", labels=[*_LABELS, "state"])
        for ended_labels, count in self._ended.items():
            ended.add_metric(list(ended_labels), count)
        put_back = CounterMetricFamily("stoker_jobs_put_back", "Runs after which a job waits again.", labels=_LABELS)
        for labels, count in self._put_back.items():
            put_back.add_metric(list(labels), count)
        open_now = GaugeMetricFamily("stoker_jobs_open", "Jobs that have not ended.", labels=[*_LABELS, "state"])
        for open_labels, count in self.open.items():
            open_now.add_metric(list(open_labels), count)
        yield from (submitted, ended, put_back, open_now)
