"""Every error of the control API as a problem document.

The rule that must not break: no error leaves in another form, and one that we did not raise on purpose says nothing of
its inside to the caller and everything to the log.
"""

from __future__ import annotations

import logging

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from stoker.errors import Canceled, InvalidInput, NotFound, PayloadTooLarge, PlatformError
from stoker_api.gateway.problems import INTERNAL, encode_problem, problem, problem_headers, problem_response
from stoker_api.gateway.refusals import BadRequest, MethodNotAllowed
from stoker_api.refusals import InvalidDocument
from stoker_api.stores.records import Scope

log = logging.getLogger(__name__)

_PROBLEM_TYPE = "application/problem+json"


def add_problem_handlers(app: FastAPI) -> None:
    """Have ``app`` answer every error as a problem document."""

    @app.exception_handler(PlatformError)
    async def on_platform_error(request: Request, error: PlatformError) -> Response:
        return _answer(request, error)

    @app.exception_handler(RequestValidationError)
    async def on_invalid_request(request: Request, error: RequestValidationError) -> Response:
        errors = tuple((".".join(map(str, item["loc"])), str(item["msg"])) for item in error.errors())
        return _answer(request, InvalidDocument(_first(errors), errors=errors))

    @app.exception_handler(ClientDisconnect)
    async def on_disconnect(request: Request, error: ClientDisconnect) -> Response:
        return _answer(request, Canceled("the caller went away before its request was whole", phase="gateway"))

    @app.exception_handler(HTTPException)
    async def on_http_error(request: Request, error: HTTPException) -> Response:
        return _answer(request, _of_http(request, error))

    @app.exception_handler(Exception)
    async def on_fault(request: Request, error: Exception) -> Response:
        log.error(
            "request failed",
            extra={"method": request.method, "path": request.url.path, "request_id": _id(request)},
            exc_info=error,
        )
        return problem_response(INTERNAL, request_id=_id(request))


def _answer(request: Request, error: PlatformError) -> Response:
    grant = getattr(request.state, "grant", None)
    is_owner = grant is not None and Scope.DEPLOY in grant.scopes
    function = getattr(request.state, "function", None)
    members = problem(error, request_id=_id(request), function=function, is_owner=is_owner)
    if isinstance(error, InvalidDocument):
        members["errors"] = [{"path": path, "message": message} for path, message in error.errors]
    headers = dict(problem_headers(error)) | {"x-request-id": _id(request)}
    return Response(encode_problem(_speakable(members)), error.status, headers, _PROBLEM_TYPE)


def _of_http(request: Request, error: HTTPException) -> PlatformError:
    path = request.url.path
    if error.status_code == 404:
        return NotFound(f"no route {path}", hint="GET /openapi.json lists all of them.")
    if error.status_code == 405:
        refusal = MethodNotAllowed(f"{request.method} is not allowed on {path}")
        refusal.allow = (error.headers or {}).get("Allow", "GET")
        return refusal
    if error.status_code == 413:
        return PayloadTooLarge(str(error.detail))
    if 400 <= error.status_code < 500:
        return BadRequest(str(error.detail))
    log.error("request failed", extra={"path": path, "detail": str(error.detail)})
    return INTERNAL


def _speakable(members: dict[str, object]) -> dict[str, object]:
    """Texts that quote what a caller sent may hold what UTF-8 cannot carry."""
    return {
        key: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for key, value in members.items()
    }


def _id(request: Request) -> str:
    return str(getattr(request.state, "request_id", ""))


def _first(errors: tuple[tuple[str, str], ...]) -> str:
    return f"{errors[0][0]}: {errors[0][1]}" if errors else InvalidInput.code
