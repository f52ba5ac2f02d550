"""Health, metrics, versions, and the OpenAPI document."""

from __future__ import annotations

import asyncio
import importlib.metadata
from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from stoker_api.control.documents import Json
from stoker_api.control.edge import AnyGrant, PlatformDep
from stoker_api.gateway.openapi import invoke_paths
from stoker_api.gateway.ports import ModelInfo

router = APIRouter(tags=["operations"])


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", summary="Does the process live?")
async def healthz() -> Json:
    return {"status": "ok"}


@router.get("/", summary="Does the process live? (where clients of KServe v1 ask)")
async def alive() -> Json:
    return {"status": "alive"}


@router.head("/readyz", include_in_schema=False)
@router.get("/readyz", summary="Are calls taken?")
async def readyz(platform: PlatformDep, response: Response) -> Json:
    if platform.is_ready:
        return {"status": "ready"}
    response.status_code = 503
    return {"status": "draining"}


@router.get("/metrics", summary="Prometheus metrics", response_class=Response)
async def metrics(platform: PlatformDep, _grant: AnyGrant) -> Response:
    await platform.look_for_metrics()
    return Response(generate_latest(platform.metrics), media_type=CONTENT_TYPE_LATEST)


@router.get("/v1/info", summary="Versions and packages of the platform")
async def info(platform: PlatformDep, _grant: AnyGrant) -> Json:
    facts = platform.facts
    return {
        "version": importlib.metadata.version("stoker"),
        "python": facts.python,
        "implementation": facts.implementation,
        "cloudpickle": facts.cloudpickle,
        "platform": facts.platform,
        "packages": dict(facts.packages or {}),
        "modules": sorted(facts.modules or ()),
    }


@router.get("/openapi.json", summary="This document", response_class=JSONResponse)
async def openapi(request: Request, platform: PlatformDep, grant: AnyGrant) -> Response:
    """The control API, and every function that the token covers with its own schema."""
    app = request.app
    assert isinstance(app, FastAPI)
    covered = grant.namespaces
    models = [model for model in platform.catalog.models() if covered is None or model.namespace in covered]
    # in a thread: with a thousand functions it is megabytes, and calls must not wait for it
    content = await asyncio.to_thread(_document, app, models, str(request.base_url).rstrip("/"))
    return Response(content, media_type="application/json")


def _document(app: FastAPI, models: Sequence[ModelInfo], url: str) -> bytes:
    version = importlib.metadata.version("stoker")
    document: dict[str, Any] = get_openapi(title="Stoker", version=version, routes=app.routes)
    document["paths"].update(invoke_paths(models))
    document.setdefault("components", {})["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    document["security"] = [{"token": []}]
    document["servers"] = [{"url": url}]
    return msgspec.json.encode(document)
