"""From the path of a call to the dispatcher of one revision: the registry's aliases, looked up once and remembered.

The rule that must not break: an answer from memory is what the registry would say now, since every change of a
function drops what is remembered of it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from stoker.errors import NotFound
from stoker_api.gateway.ports import Route
from stoker_api.gateway.target import DEFAULT_NAMESPACE
from stoker_api.registry import Registry
from stoker_api.routing import LATEST, choose, spread_point, sticky_point
from stoker_api.stores.records import FunctionKey, Weights
from stoker_pool.plan import RevisionPlan
from stoker_pool.pool import Pool

_MAX_PATHS: Final = 65_536


@dataclass(slots=True)
class _Split:
    weights: Weights
    routes: dict[int, Route]
    salt: str
    turn: int = 0

    def choose(self, sticky: bytes | None) -> Route:
        if sticky:
            return self.routes[choose(self.weights, sticky_point(sticky, self.salt))]
        self.turn += 1
        return self.routes[choose(self.weights, spread_point(self.turn))]


class RouteTable:
    """Implements the gateway's ``Router``."""

    def __init__(self, registry: Registry, pool: Pool) -> None:
        self._registry = registry
        self._pool = pool
        self._routes: dict[bytes, Route] = {}
        self._splits: dict[bytes, _Split] = {}
        self._paths: dict[FunctionKey, set[bytes]] = {}

    def resolve(self, path: bytes, sticky: bytes | None) -> Route:
        route = self._routes.get(path)
        if route is not None:
            return route
        split = self._splits.get(path)
        return (self._find(path) if split is None else split).choose(sticky)

    def forget(self, key: FunctionKey) -> None:
        """The function changed: look it up again."""
        for path in self._paths.pop(key, ()):
            self._routes.pop(path, None)
            self._splits.pop(path, None)

    def _find(self, path: bytes) -> _Split:
        key, reference = _parse(path)
        weights = self._registry.weights(key, reference)
        routes = {number: self._route(key, number) for number, _ in weights}
        split = _Split(weights, routes, f"{key}@{reference}")
        if len(self._routes) + len(self._splits) >= _MAX_PATHS:
            for known in list(self._paths):
                self.forget(known)
        self._paths.setdefault(key, set()).add(path)
        if len(weights) == 1:
            self._routes[path] = routes[weights[0][0]]
        else:
            self._splits[path] = split
        return split

    def _route(self, key: FunctionKey, number: int) -> Route:
        dispatcher = self._pool.dispatcher(plan_of(self._registry, key, number))
        return Route(namespace=key.namespace, name=key.name, revision=number, dispatcher=dispatcher)


def plan_of(registry: Registry, key: FunctionKey, number: int) -> RevisionPlan:
    """A revision as the pool knows it."""
    record = registry.revision(key, number)
    return RevisionPlan(
        key=f"{key}@{number}",
        namespace=key.namespace,
        name=key.name,
        number=number,
        handler=record.handler,
        options=registry.function(key).options(number),
        bundle_sha256=record.bundle_sha256,
        signature=record.signature,
        public_key=record.public_key,
    )


def schema_of(schema_json: str) -> object:
    """The schema as JSON; None where no worker has told it."""
    return json.loads(schema_json) if schema_json else None


def _parse(path: bytes) -> tuple[FunctionKey, str]:
    parts = path.decode("ascii").split("/")
    if len(parts) == 3 and parts[1] == "f":
        namespace, last = DEFAULT_NAMESPACE, parts[2]
    elif len(parts) == 5 and (parts[1], parts[3]) == ("n", "f"):
        namespace, last = parts[2], parts[4]
    else:
        raise NotFound(f"{path.decode('ascii')} is no function's path", hint="POST /f/{name}")
    name, _, reference = last.partition("@")
    return FunctionKey(namespace, name), reference or LATEST
