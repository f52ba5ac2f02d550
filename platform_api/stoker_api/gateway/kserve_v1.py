"""KServe's v1 protocol, the part that is no call: which models there are, and whether one is ready."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import JSONResponse

from stoker.errors import NotFound
from stoker_api.gateway.ports import ModelCatalog
from stoker_api.gateway.target import DEFAULT_NAMESPACE


def kserve_v1_router(catalog: ModelCatalog) -> APIRouter:
    """``GET /v1/models`` and ``GET /v1/models/{name}``; ``:predict`` is the gateway's."""
    router = APIRouter(prefix="/v1/models", tags=["kserve v1"])

    @router.get("", summary="List models")
    async def list_models() -> JSONResponse:
        return JSONResponse({"models": [model.name for model in catalog.models(DEFAULT_NAMESPACE)]})

    @router.get("/{name}", summary="Is a model ready?")
    async def model_ready(name: str) -> JSONResponse:
        try:
            model = catalog.model(DEFAULT_NAMESPACE, name.partition("@")[0])
        except NotFound as error:
            return JSONResponse({"error": error.detail}, 404)
        return JSONResponse({"name": model.name, "ready": model.is_ready}, 200 if model.is_ready else 503)

    return router
