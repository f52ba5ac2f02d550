"""Errors as RFC 9457 problem documents: the one mapping from our tree to HTTP.

The rule that must not break: a document tells the caller what to do next, and shows a traceback to nobody but the
function's owner.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
from starlette.responses import Response

from stoker.errors import (
    AccessDenied,
    Forbidden,
    FunctionError,
    InvalidArguments,
    PlatformError,
    PreflightFailed,
    StartFailed,
)
from stoker_api.gateway.refusals import MethodNotAllowed

PROBLEM_TYPE: Final = "application/problem+json"
INTERNAL: Final = PlatformError(
    "the platform failed to handle the request", hint="Its log has the reason under this request_id."
)
"""What a caller is told of a fault of ours: that it was ours, and nothing of its inside."""
_DEFAULT_RETRY_AFTER_S: Final = 1.0

_encode = msgspec.json.Encoder().encode


def problem(
    error: PlatformError, *, request_id: str, function: str | None = None, is_owner: bool = False
) -> dict[str, object]:
    """The document's members."""
    members: dict[str, object] = {
        "type": f"urn:stoker:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.detail,
        "code": error.code,
        "phase": error.phase,
        "retryable": error.retryable,
        "hint": error.hint,
        "function": function,
        "request_id": request_id,
    }
    if isinstance(error, FunctionError):
        members["error_type"] = error.error_type
        members["error_message"] = error.error_message
        members["error_args"] = list(error.error_args)
        if is_owner and error.remote_traceback:
            members["traceback"] = error.remote_traceback
    elif isinstance(error, InvalidArguments):
        members["errors"] = [{"path": path, "message": message} for path, message in error.errors]
    elif isinstance(error, PreflightFailed):
        members["findings"] = [{"code": code, "message": text, "fix": fix} for code, text, fix in error.findings]
    elif isinstance(error, StartFailed):
        members["start_phase"] = error.start_phase
        if is_owner:
            members["log_tail"] = error.log_tail
    return members


def problem_headers(error: PlatformError) -> list[tuple[str, str]]:
    """Headers that belong to the error's status."""
    if isinstance(error, MethodNotAllowed):
        return [("allow", error.allow)]
    if isinstance(error, AccessDenied) and not isinstance(error, Forbidden):
        return [("www-authenticate", 'Bearer realm="stoker"')]
    retry_after_s = error.retry_after_s
    if retry_after_s is None and error.retryable and error.status in (429, 503):
        retry_after_s = _DEFAULT_RETRY_AFTER_S
    return [] if retry_after_s is None else [("retry-after", str(max(1, math.ceil(retry_after_s))))]


def encode_problem(members: dict[str, object]) -> bytes:
    """The document as JSON."""
    return _encode(members)


def problem_response(
    error: PlatformError, *, request_id: str = "", function: str | None = None, is_owner: bool = False
) -> Response:
    """The document as an answer of the ASGI app, for its exception handlers."""
    members = problem(error, request_id=request_id, function=function, is_owner=is_owner)
    headers = dict(problem_headers(error))
    if request_id:
        headers["x-request-id"] = request_id
    return Response(encode_problem(members), error.status, headers, PROBLEM_TYPE)
