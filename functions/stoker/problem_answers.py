"""Answers of the platform that are no success, as exceptions.

The rule that must not break: whatever answered, a proxy's page too, the caller gets an error of our tree with the
status in it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import httpx

from stoker.errors import (
    AccessDenied,
    Conflict,
    DeadlineExceeded,
    Forbidden,
    InvalidInput,
    NotFound,
    NotReady,
    Overloaded,
    PayloadTooLarge,
    PlatformError,
    WorkerLost,
)
from stoker.remote_errors import error_of_problem

_BY_STATUS: Mapping[int, type[PlatformError]] = {
    cls.status: cls
    for cls in (AccessDenied, Forbidden, NotFound, Conflict, PayloadTooLarge, Overloaded, WorkerLost, DeadlineExceeded)
}


class Unreachable(NotReady):
    """Nothing answers at the platform's address."""

    code = "unreachable"


def raise_for_problem(response: httpx.Response) -> None:
    """Raise what an answer of 400 or above stands for."""
    if not response.is_error:
        return
    retry_after_s = _seconds(response.headers.get("retry-after"))
    try:
        problem = json.loads(response.content)
    except ValueError:
        problem = None
    if isinstance(problem, dict) and "code" in problem:
        raise error_of_problem(problem, retry_after_s=retry_after_s)
    cls = _BY_STATUS.get(response.status_code, InvalidInput if response.status_code < 500 else PlatformError)
    text = response.text.strip()[:300] or "no body"
    raise cls(f"{response.request.url} answered {response.status_code}: {text}", retry_after_s=retry_after_s)


@contextmanager
def transport_errors(url: str) -> Iterator[None]:
    """Failures of the connection as errors of our tree."""
    try:
        yield
    except httpx.ConnectError as error:
        raise Unreachable(
            f"nothing answers at {url}: {error}", hint="Is `stoker serve` running? Is STOKER_URL right?"
        ) from error
    except httpx.ConnectTimeout as error:
        raise Unreachable(f"{url} did not answer in time") from error
    except httpx.TimeoutException as error:
        raise DeadlineExceeded(f"no answer from {url} in time", phase="execute") from error
    except httpx.TransportError as error:
        raise WorkerLost(f"the connection to {url} broke: {error or type(error).__name__}") from error


def _seconds(value: str | None) -> float | None:
    try:
        return max(0.0, float(value)) if value is not None else None
    except ValueError:
        return None
