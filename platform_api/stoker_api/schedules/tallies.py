"""What became of ticks and of their runs, counted since the start, in Prometheus' words.

The rule that must not break: one run is counted once. Its end is heard of inside the transaction that writes it, and a
transaction that the disk refused is run again; so ends are known by their run.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, OrderedDict
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stoker_api.schedules.records import Counted, Ended, ScheduleRecord

LATE_BUCKETS_S: Final = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 15.0, 60.0, 300.0, 3600.0)
_LABELS: Final = ["namespace", "function"]
_REMEMBERED: Final = 4096
"""Ends that are known; many more than are ever written in one transaction."""


@dataclass(slots=True)
class _Lateness:
    counts: list[int] = field(default_factory=lambda: [0] * (len(LATE_BUCKETS_S) + 1))
    sum_s: float = 0.0


class ScheduleTallies(Collector):
    """One per scheduler, on the loop's thread."""

    def __init__(self, known: Callable[[], Iterable[ScheduleRecord]]) -> None:
        self._known = known
        self._ticks: Counter[tuple[str, str, str]] = Counter()
        self._ended: Counter[tuple[str, str, str]] = Counter()
        self._late: dict[tuple[str, str], _Lateness] = {}
        self._seen: OrderedDict[str, None] = OrderedDict()

    def note(self, counted: Counted) -> None:
        """A step was carried out."""
        labels = (counted.namespace, counted.function)
        found = {"started": len(counted.late_s), "skipped": counted.skipped, "missed": counted.missed}
        for outcome, count in found.items():
            if count:
                self._ticks[(*labels, outcome)] += count
        for late_s in counted.late_s:
            lateness = self._late.setdefault(labels, _Lateness())
            lateness.counts[bisect_left(LATE_BUCKETS_S, late_s)] += 1
            lateness.sum_s += late_s
        if counted.ended is not None:
            self._ended[(*labels, counted.ended.value)] += 1

    def note_end(self, ended: Ended) -> None:
        """A run has ended, and another may have begun with it."""
        if ended.run_id in self._seen:
            return
        self._seen[ended.run_id] = None
        if len(self._seen) > _REMEMBERED:
            self._seen.popitem(last=False)
        self.note(ended.counted)

    def collect(self) -> Iterator[Metric]:
        ticks = CounterMetricFamily(
            "stoker_schedule_ticks", "Ticks of schedules by what became of them.", labels=[*_LABELS, "outcome"]
        )
        for labels, count in self._ticks.items():
            ticks.add_metric(list(labels), count)
        ended = CounterMetricFamily(
            "stoker_schedule_runs_ended", "Scheduled runs that ended.", labels=[*_LABELS, "state"]
        )
        for labels, count in self._ended.items():
            ended.add_metric(list(labels), count)
        late = HistogramMetricFamily(
            "stoker_schedule_lateness_seconds", "From a tick's time to the start of its run.", labels=_LABELS
        )
        for function, lateness in self._late.items():
            late.add_metric(list(function), _buckets(lateness.counts), lateness.sum_s)
        there = GaugeMetricFamily("stoker_schedules", "Schedules that there are.", labels=["namespace", "state"])
        counts = Counter((item.namespace, "paused" if item.is_paused else "active") for item in self._known())
        for state, count in counts.items():
            there.add_metric(list(state), count)
        yield from (ticks, ended, late, there)


def _buckets(counts: list[int]) -> list[tuple[str, float]]:
    found, seen = [], 0
    for bound, count in zip((*map("{:g}".format, LATE_BUCKETS_S), "+Inf"), counts, strict=True):
        seen += count
        found.append((bound, float(seen)))
    return found
