"""Triggers in Prometheus' words.

The rule that must not break: a scrape asks brokers for what waits there at most once in ``LAG_KEPT_S``, all of them at
once, and one that does not answer costs a scrape no more than the limit of one question.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Final

from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from stoker_api.triggers.consumer import Consumer
from stoker_api.triggers.records import Kind, Stats, TriggerRecord, TriggerState
from stoker_api.triggers.triggers import Triggers
from stoker_runtime.clock import Clock

LAG_KEPT_S: Final = 5.0
_LABELS: Final = ["namespace", "trigger"]
_CONNECTED: Final = (TriggerState.CONSUMING, TriggerState.WAITING)
_COUNTERS: Final[dict[str, tuple[str, Callable[[Stats], int]]]] = {
    "consumed": ("Messages and events that came in; those handed out again count again.", lambda stats: stats.consumed),
    "failed_runs": ("Runs that failed; those of one message count each.", lambda stats: stats.failed),
    "reconnects": ("Connections to a broker that were lost or not made.", lambda stats: stats.reconnects),
}


class TriggerCollector(Collector):
    """Reads the triggers when somebody scrapes; ``look`` comes first, for what only the brokers know."""

    def __init__(self, triggers: Triggers, clock: Clock) -> None:
        self._triggers = triggers
        self._clock = clock
        self._lags: dict[str, int] = {}
        self._looked_s: float | None = None
        self._looking = asyncio.Lock()

    async def look(self) -> None:
        """Ask the brokers how many messages wait, unless that was done just now."""
        async with self._looking:
            now_s = self._clock.monotonic_s()
            if self._looked_s is not None and now_s - self._looked_s < LAG_KEPT_S:
                return
            found = [(record, consumer) for record, consumer, _ in self._triggers.states() if consumer is not None]
            lags = await asyncio.gather(*(consumer.lag() for _, consumer in found))
            self._lags = {record.id: lag for (record, _), lag in zip(found, lags, strict=True) if lag is not None}
            self._looked_s = self._clock.monotonic_s()

    def collect(self) -> Iterator[Metric]:
        found = list(self._triggers.states())
        messages = CounterMetricFamily(
            "stoker_trigger_messages", "Messages and events that were done with.", labels=[*_LABELS, "outcome"]
        )
        for record, _, stats in found:
            messages.add_metric([*_names(record), "succeeded"], stats.succeeded)
            if record.kind is not Kind.HTTP:
                messages.add_metric([*_names(record), "dead_lettered"], stats.dead_lettered)
        yield messages
        for name, (text, read) in _COUNTERS.items():
            family = CounterMetricFamily(f"stoker_trigger_{name}", text, labels=_LABELS)
            for record, _, stats in found:
                family.add_metric(_names(record), read(stats))
            yield family
        in_flight = GaugeMetricFamily("stoker_trigger_in_flight", "Messages and events that are held.", labels=_LABELS)
        for record, _, stats in found:
            in_flight.add_metric(_names(record), stats.in_flight)
        yield in_flight
        yield from self._connections([(record, at) for record, at, _ in found if at is not None])

    def _connections(self, found: list[tuple[TriggerRecord, Consumer]]) -> Iterator[Metric]:
        connected = GaugeMetricFamily("stoker_trigger_connected", "1 while its broker is there.", labels=_LABELS)
        waiting = GaugeMetricFamily(
            "stoker_trigger_waiting", "1 while nothing is fetched because the function takes nothing.", labels=_LABELS
        )
        lag = GaugeMetricFamily(
            "stoker_trigger_lag", "Messages that wait at the broker, where it tells.", labels=_LABELS
        )
        for record, consumer in found:
            connected.add_metric(_names(record), consumer.state in _CONNECTED)
            waiting.add_metric(_names(record), consumer.state is TriggerState.WAITING)
            if record.id in self._lags:
                lag.add_metric(_names(record), self._lags[record.id])
        yield from (connected, waiting, lag)


def _names(record: TriggerRecord) -> list[str]:
    return [record.namespace, record.name]
