"""What jobs must know of the functions that they call.

The rule that must not break: an answer is of this moment, and a function that is gone is told by None, not by an error.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Protocol

from stoker.errors import NotFound
from stoker.options import FunctionOptions
from stoker_api.registry import Registry
from stoker_api.routing import LATEST
from stoker_api.stores.records import FunctionKey

_LEAST_PLACES: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class CalledFunction:
    """A function as a job sees it."""

    options: FunctionOptions
    places: int
    """How many jobs of it may be handed out at once: enough to keep every replica busy, and to ask for more."""


class FunctionLookup(Protocol):
    """Finds functions by what a job says."""

    def find(self, namespace: str, function: str, ref: str | None) -> CalledFunction | None: ...


class RegisteredFunctions:
    """Implements it over the registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def find(self, namespace: str, function: str, ref: str | None) -> CalledFunction | None:
        key = FunctionKey(namespace, function)
        try:
            number = self._registry.weights(key, ref or LATEST)[0][0]
            entry = self._registry.function(key)
        except NotFound:
            return None
        options = entry.options(number)
        scaling = entry.scaling or options.scaling
        return CalledFunction(options=options, places=places_of(options, scaling.max_replicas))


def places_of(options: FunctionOptions, max_replicas: int) -> int:
    """Twice what all replicas can hold, within half of the function's queue and its own limit on jobs."""
    per_replica = options.batch.max_batch_size if options.batch else options.concurrency
    places = max(_LEAST_PLACES, 2 * per_replica * max_replicas)
    most = options.max_concurrent_jobs or places
    return max(1, min(places, most, options.max_queue_depth // 2))
