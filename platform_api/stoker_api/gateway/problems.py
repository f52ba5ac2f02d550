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
    DeadlineExceeded,
    Forbidden,
    FunctionError,
    InvalidArguments,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    PlatformError,
    PreflightFailed,
    StartFailed,
    WorkerLost,
)
from stoker_api.gateway.refusals import MethodNotAllowed

PROBLEM_TYPE: Final = "application/problem+json"
INTERNAL: Final = PlatformError(
    "the platform failed to handle the request", hint="Its log has the reason under this request_id."
)
"""What a caller is told of a fault of ours: that it was ours, and nothing of its inside."""
_DEFAULT_RETRY_AFTER_S: Final = 1.0

_USUAL_HINTS: Final[dict[type[PlatformError], str]] = {
    InvalidArguments: "`errors` names what is wrong; GET /v1/functions/{name} has the schema that the input must fit.",
    InvalidInput: "Correct the request: sent again as it is, it is refused again.",
    NotFound: "GET /v1/functions lists what there is.",
    AccessDenied: "Ask an admin for a token that covers this: `stoker token create`.",
    Overloaded: "Nothing ran: retry after the time in Retry-After.",
    NotReady: "Nothing ran: retry after the time in Retry-After.",
    DeadlineExceeded: "Allow more time with Stoker-Timeout-Ms, or raise the function's timeout_s.",
    WorkerLost: "It may have run: retry only what may run twice, and declare such a function idempotent=True.",
    FunctionError: "The function raised this: `stoker logs` and the owner's `traceback` show where.",
}
"""What to do where the error itself does not say it, by its class or the nearest one above."""

_encode = msgspec.json.Encoder().encode


def usual_hint(error: PlatformError) -> str | None:
    """What one does about errors of this kind."""
    return next((_USUAL_HINTS[each] for each in type(error).__mro__ if each in _USUAL_HINTS), None)


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
        "hint": error.hint or usual_hint(error),
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
