"""Functions as the KServe protocols and the OpenAPI document show them."""

from __future__ import annotations

from collections.abc import Sequence

from stoker_api.gateway.ports import ModelInfo
from stoker_api.registry import FunctionEntry, Registry
from stoker_api.route_table import plan_of
from stoker_api.routing import LATEST
from stoker_api.stores.records import FunctionKey
from stoker_pool.pool import Pool


class Catalog:
    """Implements the gateway's ``ModelCatalog`` over registry and pool."""

    def __init__(self, registry: Registry, pool: Pool) -> None:
        self._registry = registry
        self._pool = pool

    def models(self, namespace: str | None = None) -> Sequence[ModelInfo]:
        return [self._info(entry) for entry in self._registry.functions(namespace)]

    def model(self, namespace: str, name: str) -> ModelInfo:
        return self._info(self._registry.function(FunctionKey(namespace, name)))

    async def load(self, namespace: str, name: str) -> None:
        key = FunctionKey(namespace, name)
        for number, _ in self._registry.weights(key, LATEST):
            await self._pool.warm_up(plan_of(self._registry, key, number))

    async def unload(self, namespace: str, name: str) -> None:
        self._registry.function(FunctionKey(namespace, name))
        await self._pool.unload(namespace, name)

    def _info(self, entry: FunctionEntry) -> ModelInfo:
        key = entry.record.key
        number = max(entry.aliases[LATEST].weights, key=lambda pair: pair[1])[0]
        return ModelInfo(
            namespace=key.namespace,
            name=key.name,
            revisions=tuple(sorted(entry.revisions)),
            is_ready=self._pool.breaker(key.namespace, key.name) is None,
            schema_json=entry.revisions[number].schema_json.encode(),
        )
