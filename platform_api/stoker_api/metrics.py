"""``/metrics``: dispatchers and pool in Prometheus' words.

The rule that must not break: nothing here runs on a call; counters are read when somebody scrapes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from stoker_api.gateway.counters import GatewayCounters
from stoker_api.gateway.metrics import GatewayCollector
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool import Pool
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.dispatcher_stats import BATCH_BUCKETS, LATENCY_BUCKETS_S, DispatcherStats

_LABELS = ["namespace", "function", "revision"]
Found = Sequence[tuple[RevisionPlan, Dispatcher]]


def metrics_registry(pool: Pool, counters: GatewayCounters) -> CollectorRegistry:
    """All metrics of a platform."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(GatewayCollector(counters))
    registry.register(_PlatformCollector(pool))
    return registry


class _PlatformCollector(Collector):
    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        found = self._pool.dispatchers()
        yield from _calls(found)
        yield from _queues(found)
        yield from _histograms(found)
        yield from _pool_metrics(self._pool)
        yield from _prewarm_metrics(self._pool)


def _calls(found: Found) -> Iterator[Metric]:
    counters: dict[str, tuple[str, Callable[[DispatcherStats], float]]] = {
        "calls": ("Calls that ended, with whatever outcome.", lambda stats: stats.calls),
        "cold_starts": ("Starts that calls waited for.", lambda stats: stats.cold_starts),
        "cold_calls": ("Calls that waited for a start.", lambda stats: stats.cold_calls),
        "coalesced_calls": ("Calls that shared another's execution.", lambda stats: stats.coalesced),
        "retried_calls": ("Calls run again after a worker was lost.", lambda stats: stats.retried),
        "workers_lost": ("Workers that died while they ran calls.", lambda stats: stats.workers_lost),
        "batches": ("Executions.", lambda stats: stats.batches),
        "batch_items": ("Calls in those executions.", lambda stats: stats.batch_items),
    }
    for name, (text, read) in counters.items():
        family = CounterMetricFamily(f"stoker_{name}", text, labels=_LABELS)
        for plan, dispatcher in found:
            family.add_metric(_labels(plan), read(dispatcher.stats))
        yield family
    errors = CounterMetricFamily("stoker_errors", "Calls that ended in an error.", labels=[*_LABELS, "code"])
    phases = CounterMetricFamily("stoker_phase_seconds", "Time of calls by phase.", labels=[*_LABELS, "phase"])
    for plan, dispatcher in found:
        for code, count in sorted(dispatcher.stats.errors_by_code.items()):
            errors.add_metric([*_labels(plan), code], count)
        for phase, took_ns in _phases(dispatcher.stats):
            phases.add_metric([*_labels(plan), phase], took_ns / 1e9)
    yield errors
    yield phases


def _queues(found: Found) -> Iterator[Metric]:
    gauges: dict[str, tuple[str, Callable[[Dispatcher], float]]] = {
        "queue_depth": ("Calls that wait.", lambda dispatcher: dispatcher.queue_depth),
        "queue_age_seconds": ("Age of the call that waits longest.", lambda dispatcher: dispatcher.oldest_wait_s),
        "in_flight": ("Calls that replicas hold.", lambda dispatcher: dispatcher.in_flight),
    }
    for name, (text, read) in gauges.items():
        family = GaugeMetricFamily(f"stoker_{name}", text, labels=_LABELS)
        for plan, dispatcher in found:
            family.add_metric(_labels(plan), read(dispatcher))
        yield family


def _histograms(found: Found) -> Iterator[Metric]:
    durations = HistogramMetricFamily("stoker_call_seconds", "Calls from accepted to answered.", labels=_LABELS)
    sizes = HistogramMetricFamily("stoker_batch_size", "Calls in one execution.", labels=_LABELS)
    for plan, dispatcher in found:
        stats = dispatcher.stats
        durations.add_metric(_labels(plan), _buckets(LATENCY_BUCKETS_S, stats.latency_counts), stats.total_ns / 1e9)
        sizes.add_metric(_labels(plan), _buckets(BATCH_BUCKETS, stats.batches_by_size), stats.batch_items)
    yield durations
    yield sizes


def _pool_metrics(pool: Pool) -> Iterator[Metric]:
    replicas = GaugeMetricFamily("stoker_replicas", "Replicas by state.", labels=[*_LABELS, "state"])
    memory = GaugeMetricFamily("stoker_memory_bytes", "Memory of a function's replicas.", labels=_LABELS)
    counts: dict[tuple[str, ...], int] = {}
    bytes_by_function: dict[tuple[str, ...], int] = {}
    for replica in pool.replicas():
        labels = (replica.namespace, replica.name, str(replica.revision))
        counts[(*labels, replica.state)] = counts.get((*labels, replica.state), 0) + 1
        bytes_by_function[labels] = bytes_by_function.get(labels, 0) + replica.memory_bytes
    for state_labels, count in counts.items():
        replicas.add_metric(state_labels, count)
    for function_labels, size_bytes in bytes_by_function.items():
        memory.add_metric(function_labels, size_bytes)
    yield replicas
    yield memory
    stats = pool.stats
    for name, text, value in (
        ("replica_starts", "Replicas that became ready.", stats.starts),
        ("replica_failed_starts", "Starts that failed.", stats.failed_starts),
        ("replica_evictions", "Replicas drained early to make room.", stats.evictions),
        ("replica_drains", "Replicas drained.", stats.drains),
        ("replica_lost", "Ready replicas that ended by themselves.", stats.lost),
        ("replica_out_of_memory", "Replicas ended for their memory.", stats.out_of_memory),
    ):
        yield CounterMetricFamily(f"stoker_{name}", text, value)
    phases = CounterMetricFamily("stoker_start_phase_seconds", "Time of starts by phase.", labels=["phase"])
    for phase, took_ns in stats.cold_phase_ns.items():
        phases.add_metric([phase], took_ns / 1e9)
    yield phases
    for name, text in (("memory", "Memory budget."), ("free", "Memory that no replica has taken.")):
        family = GaugeMetricFamily(f"stoker_device_{name}_bytes", text, labels=["device", "kind"])
        for device in pool.devices():
            family.add_metric(
                [device.name, device.kind], device.memory_bytes if name == "memory" else device.free_bytes
            )
        yield family


def _prewarm_metrics(pool: Pool) -> Iterator[Metric]:
    labels = ["namespace", "function"]
    prewarms = CounterMetricFamily(
        "stoker_prewarms", "Replicas started ahead of calls, by what became of them.", labels=[*labels, "outcome"]
    )
    waits = CounterMetricFamily(
        "stoker_prewarm_wait_seconds",
        "Device time from the start of prewarms to their first call or their end.",
        labels=[*labels, "outcome"],
    )
    loaded = CounterMetricFamily("stoker_loaded_seconds", "Device time of replicas, from start to end.", labels=labels)
    for function, account, loaded_s in pool.accounts():
        names = function.split("/", 1)
        loaded.add_metric(names, loaded_s)
        if account.used or account.wasted:
            prewarms.add_metric([*names, "used"], account.used)
            prewarms.add_metric([*names, "wasted"], account.wasted)
            waits.add_metric([*names, "used"], account.waited_s - account.wasted_s)
            waits.add_metric([*names, "wasted"], account.wasted_s)
    yield prewarms
    yield waits
    yield loaded
    off = GaugeMetricFamily(
        "stoker_forecast_off",
        "1 where the forecast of an adaptive function is turned off, because a plain keep-alive does better.",
        labels=labels,
    )
    for function, is_off in pool.forecasts_off():
        off.add_metric(function.split("/", 1), float(is_off))
    yield off


def _phases(stats: DispatcherStats) -> Iterator[tuple[str, int]]:
    yield "queue", stats.queue_ns
    yield "cold", stats.cold_ns
    yield "decode", stats.decode_ns
    yield "execute", stats.execute_ns
    yield "encode", stats.encode_ns


def _buckets(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    out, seen = [], 0
    for bound, count in zip((*bounds, float("inf")), counts, strict=True):
        seen += count
        out.append(("+Inf" if bound == float("inf") else f"{bound:g}", float(seen)))
    return out


def _labels(plan: RevisionPlan) -> list[str]:
    return [plan.namespace, plan.name, str(plan.number)]
