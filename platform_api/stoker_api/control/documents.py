"""What the control API says about functions, as JSON documents.

The rule that must not break: the members named in ``docs/http.md`` are always there, also for a function that has
never run.
"""

from __future__ import annotations

import dataclasses
import json
from bisect import bisect_left
from collections.abc import Iterable
from typing import Any

from stoker.errors import NotFound
from stoker.options import Scaling
from stoker_api.gateway.target import DEFAULT_NAMESPACE
from stoker_api.platform import Platform
from stoker_api.registry import FunctionEntry
from stoker_api.routing import LATEST
from stoker_api.stores.records import AliasRecord, FunctionKey, RevisionRecord
from stoker_pool.crash_loop import BreakerInfo
from stoker_pool.plan import RevisionPlan
from stoker_pool.replica import ReplicaInfo
from stoker_runtime.dispatcher import Dispatcher
from stoker_runtime.dispatcher_stats import LATENCY_BUCKETS_S

Json = dict[str, Any]
HIDDEN = "***"


def url_of(base_url: str, key: FunctionKey) -> str:
    """Where a function is called."""
    prefix = "" if key.namespace == DEFAULT_NAMESPACE else f"/n/{key.namespace}"
    return f"{base_url.rstrip('/')}{prefix}/f/{key.name}"


def function_rows(platform: Platform, entries: Iterable[FunctionEntry], base_url: str) -> list[Json]:
    """Functions as a list shows them."""
    replicas: dict[FunctionKey, list[ReplicaInfo]] = {}
    for replica in platform.pool.replicas():
        replicas.setdefault(FunctionKey(replica.namespace, replica.name), []).append(replica)
    return [_row(platform, entry, replicas.get(entry.record.key, []), base_url) for entry in entries]


def _row(platform: Platform, entry: FunctionEntry, replicas: list[ReplicaInfo], base_url: str) -> Json:
    key = entry.record.key
    return {
        "name": key.name,
        "namespace": key.namespace,
        "revision": entry.newest.number,
        "aliases": {name: alias_weights(alias) for name, alias in entry.aliases.items()},
        "url": url_of(base_url, key),
        "replicas": len(replicas),
        "state": _state(platform.pool.breaker(key.namespace, key.name), replicas),
        "created_at": entry.record.created_at,
    }


def function_document(platform: Platform, entry: FunctionEntry, base_url: str, *, is_owner: bool) -> Json:
    """A function, whole; environment variables and log lines for those who may deploy it."""
    key = entry.record.key
    live = _live_revision(entry)
    breaker = platform.pool.breaker(key.namespace, key.name)
    replicas = platform.pool.replicas(key.namespace, key.name)
    return {
        "name": key.name,
        "namespace": key.namespace,
        "url": url_of(base_url, key),
        "created_at": entry.record.created_at,
        "state": _state(breaker, replicas),
        "revisions": [revision_document(revision, is_owner=is_owner) for revision in entry.revisions.values()],
        "aliases": {name: alias_weights(alias) for name, alias in entry.aliases.items()},
        "replicas": [replica_document(replica) for replica in replicas],
        "stats": stats_document(platform.pool.dispatchers(key.namespace, key.name)),
        "schema": json.loads(live.schema_json) if live.schema_json else None,
        "environment": {"digest": live.environment_digest},
        "scaling": scaling_document(entry),
        "breaker": None if breaker is None else _breaker(breaker, is_owner=is_owner),
    }


def revision_document(revision: RevisionRecord, *, is_owner: bool) -> Json:
    """A revision."""
    options = json.loads(revision.options_json)
    if not is_owner:
        options["env"] = dict.fromkeys(options["env"], HIDDEN)
        options["environment"]["env"] = dict.fromkeys(options["environment"]["env"], HIDDEN)
    return {
        "revision": revision.number,
        "created_at": revision.created_at,
        "bundle_sha256": revision.bundle_sha256,
        "handler": revision.handler,
        "options": options,
        "manifest": json.loads(revision.manifest_json),
        "environment_digest": revision.environment_digest,
    }


def alias_document(record: AliasRecord) -> Json:
    """An alias after a change."""
    weights = alias_weights(record)
    document: Json = {"name": record.key.name, "namespace": record.key.namespace, "alias": record.alias}
    document["weights"] = weights
    if len(weights) == 1:
        document["revision"] = record.weights[0][0]
    return document


def alias_weights(record: AliasRecord) -> dict[str, int]:
    """Revision to weight."""
    return {str(number): weight for number, weight in record.weights}


def replica_document(replica: ReplicaInfo) -> Json:
    """A replica."""
    return dataclasses.asdict(replica)


def scaling_document(entry: FunctionEntry) -> Json:
    """The scaling in force, as JSON."""
    return {**dataclasses.asdict(scaling_in_force(entry)), "is_override": entry.scaling is not None}


def scaling_in_force(entry: FunctionEntry) -> Scaling:
    """What was set at run time, or what the live revision says."""
    return entry.scaling or entry.options(_live_revision(entry).number).scaling


def stats_document(dispatchers: Iterable[tuple[RevisionPlan, Dispatcher]]) -> Json:
    """Figures over all revisions since the start."""
    found = [dispatcher for _, dispatcher in dispatchers]
    stats = [dispatcher.stats for dispatcher in found]
    batches = sum(item.batches for item in stats)
    counts = [sum(column) for column in zip(*(item.latency_counts for item in stats), strict=True)]
    errors: dict[str, int] = {}
    for item in stats:
        for code, count in item.errors_by_code.items():
            errors[code] = errors.get(code, 0) + count
    return {
        "calls": sum(item.calls for item in stats),
        "errors": sum(errors.values()),
        "errors_by_code": errors,
        "cold_starts": sum(item.cold_starts for item in stats),
        "cold_calls": sum(item.cold_calls for item in stats),
        "coalesced": sum(item.coalesced for item in stats),
        "retried": sum(item.retried for item in stats),
        "queue_depth": sum(dispatcher.queue_depth for dispatcher in found),
        "in_flight": sum(dispatcher.in_flight for dispatcher in found),
        "oldest_wait_s": max((dispatcher.oldest_wait_s for dispatcher in found), default=0.0),
        "batch": {
            "mean": sum(item.batch_items for item in stats) / batches if batches else 0.0,
            "max": max((item.largest_batch for item in stats), default=0),
        },
        "p50_ms": quantile_s(counts, 0.5) * 1000,
        "p99_ms": quantile_s(counts, 0.99) * 1000,
    }


def quantile_s(counts: list[int], quantile: float) -> float:
    """Interpolated within its bucket; 0 where nothing was counted."""
    total = sum(counts)
    if not total:
        return 0.0
    sums = [sum(counts[: index + 1]) for index in range(len(counts))]
    index = bisect_left(sums, quantile * total)
    if index >= len(LATENCY_BUCKETS_S):
        return LATENCY_BUCKETS_S[-1]
    below = sums[index - 1] if index else 0
    lower = LATENCY_BUCKETS_S[index - 1] if index else 0.0
    share = (quantile * total - below) / counts[index] if counts[index] else 1.0
    return lower + (LATENCY_BUCKETS_S[index] - lower) * share


def _breaker(breaker: BreakerInfo, *, is_owner: bool) -> Json:
    document = dataclasses.asdict(breaker)
    return document if is_owner else {**document, "log_tail": ""}


def _live_revision(entry: FunctionEntry) -> RevisionRecord:
    latest = entry.aliases.get(LATEST)
    if latest is None:
        raise NotFound(f"{entry.record.key} has no live revision")
    return entry.revisions[max(latest.weights, key=lambda pair: pair[1])[0]]


def _state(breaker: BreakerInfo | None, replicas: list[ReplicaInfo]) -> str:
    if breaker is not None:
        return "crash_looping"
    states = {replica.state for replica in replicas}
    for state in ("ready", "starting", "waking", "parking", "parked", "draining"):
        if state in states:
            return state
    return "idle"
