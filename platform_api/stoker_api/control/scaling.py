"""A function's replicas, changed at run time: scaling, warm-up, retry."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from pydantic import Field

from stoker.options import ADAPTIVE, PRICES, Scaling
from stoker_api.control.documents import Json, scaling_document, scaling_in_force
from stoker_api.control.edge import DeployableFunction, Document, PlatformDep, read_document, takes
from stoker_api.routing import LATEST
from stoker_runtime.clock import monotonic_ns

router = APIRouter(prefix="/v1/functions/{name}", tags=["scaling"])


class ScalingSpec(Document):
    """What to change; what is not named stays."""

    min_replicas: int | None = None
    max_replicas: int | None = None
    buffer_replicas: int | None = None
    target_concurrency: float | None = None
    keep_alive_s: float | str | None = None
    cold_start_target: float | None = None
    warmth: str | None = None
    gpu_second_cost: float | None = None
    cold_start_cost: float | None = None
    prewarm_budget_s: float | None = None
    warm: list[str] | None = None


class WarmUpSpec(Document):
    """How many replicas are wanted ready."""

    replicas: int = Field(default=1, ge=1, le=1000)


def changed_scaling(scaling: Scaling, changes: Mapping[str, Any]) -> Scaling:
    """``scaling`` with what is named changed; null takes an option back. Raises ``InvalidOption``.

    Saying what a cold start is worth turns the forecast on, and replaces what was said of it in other words; a fixed
    keep-alive turns it off.
    """
    defaults: dict[str, Any] = dataclasses.asdict(Scaling())
    wanted = {name: defaults[name] if value is None else value for name, value in changes.items()}
    if any(changes.get(name) is not None for name in PRICES):
        wanted = {"keep_alive_s": ADAPTIVE, **dict.fromkeys(PRICES), **wanted}
    elif wanted.get("keep_alive_s", ADAPTIVE) != ADAPTIVE:
        wanted = {**dict.fromkeys(PRICES), **wanted}
    return dataclasses.replace(scaling, **wanted)


@router.put("/scaling", openapi_extra=takes(ScalingSpec), summary="Change scaling at run time")
async def put_scaling(request: Request, platform: PlatformDep, key: DeployableFunction) -> Json:
    """No new revision; survives a redeploy."""
    spec = await read_document(request, ScalingSpec)
    entry = platform.registry.function(key)
    wanted = changed_scaling(scaling_in_force(entry), spec.model_dump(exclude_unset=True))
    await platform.registry.set_scaling(key, wanted)
    return scaling_document(entry)


@router.delete("/scaling", summary="Take a run-time change back")
async def delete_scaling(platform: PlatformDep, key: DeployableFunction) -> Json:
    """Scaling is again what the revision says."""
    await platform.registry.set_scaling(key, None)
    return scaling_document(platform.registry.function(key))


@router.post("/warmup", openapi_extra=takes(WarmUpSpec), summary="Make replicas ready")
async def warm_up(request: Request, platform: PlatformDep, key: DeployableFunction, reference: str = LATEST) -> Json:
    """Answers when they are; raises what their start raised."""
    spec = await read_document(request, WarmUpSpec)
    began_ns = monotonic_ns()
    phases_ns: dict[str, int] = {}
    for number, _ in platform.registry.weights(key, reference):
        phases_ns |= await platform.pool.warm_up(platform.plan(key, number), spec.replicas)
    ready = [item for item in platform.pool.replicas(key.namespace, key.name) if item.state == "ready"]
    phases_ms = {phase: took_ns / 1e6 for phase, took_ns in phases_ns.items()}
    return {"replicas": len(ready), "took_ms": (monotonic_ns() - began_ns) / 1e6, "phases_ms": phases_ms}


@router.post("/retry", summary="Let a crash-looping function start again")
async def retry(platform: PlatformDep, key: DeployableFunction) -> Json:
    """Closes the breaker."""
    platform.registry.function(key)
    platform.pool.retry(key.namespace, key.name)
    return {"breaker": None}
