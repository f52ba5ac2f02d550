"""Refusals that only HTTP knows: they join the tree of ``stoker.errors`` as kinds of ``InvalidInput``.

The rule that must not break: no function ran, and the code says what to change in the request.
"""

from __future__ import annotations

from stoker.errors import InvalidInput, PlatformError


class BadRequest(InvalidInput):
    """The bytes are no HTTP request, or a header of ours has no valid value."""

    code = "bad_request"


class MethodNotAllowed(InvalidInput):
    """Invocations are POST."""

    code = "method_not_allowed"
    status = 405
    allow: str = "POST"


class RequestTimeout(InvalidInput):
    """The peer was too slow to send its request."""

    code = "request_timeout"
    status = 408
    retryable = True


class HeadersTooLarge(InvalidInput):
    """Too many headers, or too long."""

    code = "headers_too_large"
    status = 431


class AsyncNotAvailable(InvalidInput):
    """``Prefer: respond-async`` where there are no jobs."""

    code = "async_not_available"


class TooManyConnections(PlatformError):
    """The gateway holds as many connections as it may."""

    code = "too_many_connections"
    status = 503
    retryable = True


class InvalidAnswer(PlatformError):
    """The function answered with a status or header that HTTP cannot carry."""

    code = "invalid_response"
    status = 500
    phase = "encode"
