"""The ASGI app: every router, behind one id per request and one form of error."""

from __future__ import annotations

import importlib.metadata

from fastapi import Depends, FastAPI, Request
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from stoker_api.control import (
    batches,
    environments,
    forecast,
    functions,
    history,
    job_events,
    jobs,
    logs,
    operations,
    pool,
    rollout,
    scaling,
    schedules,
    secrets,
    tokens,
    triggers,
    webhooks,
)
from stoker_api.control.edge import PROBLEMS, grant_for
from stoker_api.control.problem_handlers import add_problem_handlers
from stoker_api.gateway.kserve_v1 import kserve_v1_router
from stoker_api.gateway.kserve_v2 import kserve_v2_router
from stoker_api.gateway.target import DEFAULT_NAMESPACE
from stoker_api.platform import Platform
from stoker_api.stores.records import Scope as TokenScope

_REPOSITORY_ACTIONS = ("/load", "/unload")


def make_app(platform: Platform) -> FastAPI:
    """The app of one platform."""
    app = FastAPI(
        title="Stoker",
        version=importlib.metadata.version("stoker"),
        openapi_url=None,  # ours: it holds the registered functions too
        docs_url=None,
        redoc_url=None,
        responses=PROBLEMS,
    )
    app.state.platform = platform
    add_problem_handlers(app)
    for room in (
        batches,
        schedules,
        triggers,
        webhooks,
        functions,
        rollout,
        scaling,
        forecast,
        logs,
        pool,
        tokens,
        secrets,
        environments,
        history,
        jobs,
        job_events,
        operations,
    ):
        app.include_router(room.router)
    version = importlib.metadata.version("stoker")
    kserve_v2 = kserve_v2_router(platform.catalog, version=version, is_ready=lambda: platform.is_ready)
    for router in (kserve_v1_router(platform.catalog), kserve_v2):
        app.include_router(router, dependencies=[Depends(_kserve_access)])
    app.add_middleware(RequestId, platform=platform)
    return app


class RequestId:
    """Gives every request an id, which its answer carries."""

    def __init__(self, app: ASGIApp, platform: Platform) -> None:
        self._app = app
        self._gateway = platform.gateway

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = self._gateway.new_request_id()
        scope.setdefault("state", {})["request_id"] = request_id

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)["x-request-id"] = request_id
            await send(message)

        await self._app(scope, receive, send_with_id)


def _kserve_access(request: Request) -> None:
    """Health is for anybody, as KServe has it; what changes replicas needs the deploy scope."""
    path = request.url.path
    if path.startswith("/v2/health/"):
        return
    scope = TokenScope.DEPLOY if path.endswith(_REPOSITORY_ACTIONS) else TokenScope.INVOKE
    grant_for(request, scope, DEFAULT_NAMESPACE)
