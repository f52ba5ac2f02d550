"""KServe's v2 protocol (Open Inference Protocol), the part that is no call: health, metadata, the model repository.

The rule that must not break: errors have the member ``error``, where stock clients look for it.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Response
from fastapi.responses import JSONResponse

from stoker.errors import NotFound, PlatformError
from stoker_api.gateway.model_metadata import model_metadata
from stoker_api.gateway.ports import ModelCatalog, ModelInfo
from stoker_api.gateway.target import DEFAULT_NAMESPACE

EXTENSIONS = ["binary_tensor_data", "model_repository"]


def kserve_v2_router(catalog: ModelCatalog, *, version: str, is_ready: Callable[[], bool]) -> APIRouter:
    """Every ``/v2`` route but ``infer``, which is the gateway's."""
    router = APIRouter(prefix="/v2", tags=["kserve v2"])
    _add_server_routes(router, version, is_ready)
    _add_model_routes(router, catalog)
    _add_repository_routes(router, catalog)
    return router


def _add_server_routes(router: APIRouter, version: str, is_ready: Callable[[], bool]) -> None:
    @router.get("", summary="Server metadata")
    async def server_metadata() -> JSONResponse:
        return JSONResponse({"name": "stoker", "version": version, "extensions": EXTENSIONS})

    @router.get("/health/live", summary="Is the server alive?")
    async def live() -> JSONResponse:
        return JSONResponse({"live": True})

    @router.get("/health/ready", summary="Does the server take calls?")
    async def ready() -> JSONResponse:
        return JSONResponse({"ready": is_ready()}, 200 if is_ready() else 503)


def _add_model_routes(router: APIRouter, catalog: ModelCatalog) -> None:
    @router.get("/models", summary="List models")
    async def list_models() -> JSONResponse:
        return JSONResponse({"models": [model.name for model in catalog.models(DEFAULT_NAMESPACE)]})

    @router.get("/models/{name}", summary="Model metadata")
    @router.get("/models/{name}/versions/{version}", summary="Model metadata of one revision")
    async def metadata(name: str, version: str | None = None) -> JSONResponse:
        try:
            return JSONResponse(model_metadata(_model(catalog, name, version)))
        except NotFound as error:
            return _problem(error)

    @router.get("/models/{name}/ready", summary="Does a model take calls?")
    @router.get("/models/{name}/versions/{version}/ready", summary="Does one revision take calls?")
    async def model_ready(name: str, version: str | None = None) -> JSONResponse:
        try:
            model = _model(catalog, name, version)
        except NotFound as error:
            return _problem(error)
        return JSONResponse({"name": model.name, "ready": model.is_ready}, 200 if model.is_ready else 503)


def _add_repository_routes(router: APIRouter, catalog: ModelCatalog) -> None:
    @router.post("/repository/index", summary="All models with their state")
    async def index() -> JSONResponse:
        rows = [
            {
                "name": model.name,
                "version": str(model.revisions[-1]) if model.revisions else "",
                "state": "READY" if model.is_ready else "UNAVAILABLE",
                "reason": "",
            }
            for model in catalog.models(DEFAULT_NAMESPACE)
        ]
        return JSONResponse(rows)

    @router.post("/repository/models/{name}/load", summary="Warm one replica up")
    async def load(name: str) -> Response:
        try:
            await catalog.load(DEFAULT_NAMESPACE, name)
        except PlatformError as error:
            return _problem(error)
        return JSONResponse({"name": name, "load": True})

    @router.post("/repository/models/{name}/unload", summary="Drain every replica")
    async def unload(name: str) -> Response:
        try:
            await catalog.unload(DEFAULT_NAMESPACE, name)
        except PlatformError as error:
            return _problem(error)
        return JSONResponse({"name": name, "unload": True})


def _model(catalog: ModelCatalog, name: str, version: str | None) -> ModelInfo:
    model = catalog.model(DEFAULT_NAMESPACE, name)
    if version is not None and version not in {str(number) for number in model.revisions}:
        raise NotFound(f"model {name!r} has no version {version!r}", hint=f"It has {list(model.revisions)}.")
    return model


def _problem(error: PlatformError) -> JSONResponse:
    return JSONResponse({"error": error.detail, "code": error.code, "hint": error.hint}, error.status)
