"""What the routes of jobs take: bodies and queries, checked.

The rule that must not break: a job that comes out of here can be stored and run; whatever is wrong is told by its name.
"""

from __future__ import annotations

import base64
import re
from datetime import datetime, timezone
from typing import Any, Final, Literal

import msgspec
from fastapi import Request
from pydantic import Field

from stoker.errors import InvalidInput, InvalidOption
from stoker.options import check_name
from stoker_api.control.edge import Document
from stoker_api.gateway.async_request import read_idempotency_key
from stoker_api.gateway.head import ARGS_TYPE
from stoker_api.gateway.refusals import BadRequest
from stoker_api.gateway.target import DEFAULT_NAMESPACE
from stoker_api.jobs.records import DAY_S, NewJob
from stoker_api.jobs.states import DEAD, JobPriority, JobState

JOB_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}")
_METHOD: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_MAX_AGE_S: Final = 365 * DAY_S
_MISSING: Final = object()
_STATES: Final = {**{state.value: frozenset({state}) for state in JobState}, "dead": DEAD}


class JobInput(Document):
    """The input of a job: one of ``input``, ``args`` and ``kwargs``, or ``base64``."""

    input: Any = None
    """What the body of a plain call would be."""
    args: list[Any] | None = None
    kwargs: dict[str, Any] | None = None
    base64: str | None = None
    """A body that is no JSON; ``content_type`` says what it is."""
    content_type: str = Field(default="", max_length=255, pattern=r"^[\x20-\x7e]*$")

    def body(self) -> tuple[bytes, str]:
        """The body and its content type; raises ``InvalidInput``."""
        has_args = self.args is not None or self.kwargs is not None
        given = [has_args, self.base64 is not None, "input" in self.model_fields_set]
        if sum(given) > 1:
            raise InvalidInput(
                "give one of input, args with kwargs, and base64", hint="They say the same in three ways."
            )
        if has_args:
            return msgspec.json.encode([self.args or [], self.kwargs or {}]), ARGS_TYPE
        if self.base64 is not None:
            try:
                return base64.b64decode(self.base64, validate=True), self.content_type or "application/octet-stream"
            except ValueError as error:
                raise InvalidInput(f"base64 cannot be decoded: {error}") from error
        return msgspec.json.encode(self.input if given[2] else {}), ""

    @property
    def is_given(self) -> bool:
        """There is one."""
        return bool({"input", "args", "kwargs", "base64"} & self.model_fields_set)


class JobDocument(JobInput):
    """``POST /v1/jobs`` and ``PUT /v1/jobs/{id}``."""

    function: str
    namespace: str = DEFAULT_NAMESPACE
    ref: str | int | None = None
    method: str = ""
    accept: str = Field(default="", max_length=255, pattern=r"^[\x20-\x7e]*$")
    priority: Literal["interactive", "background", "batch"] = "background"
    not_before: str | None = None
    """ISO 8601 with its zone."""
    delay_s: float | None = Field(default=None, ge=0, le=_MAX_AGE_S, strict=False)
    max_age_s: float = Field(default=DAY_S, gt=0, le=_MAX_AGE_S, strict=False)
    max_attempts: int | None = Field(default=None, ge=1, le=100)
    timeout_s: float | None = Field(default=None, gt=0, le=DAY_S, strict=False)
    webhooks: list[str] = Field(default_factory=list, max_length=8)
    """Ids or URLs of webhooks that are told of its end."""

    def job(self, job_id: str, now_s: float, idempotency_key: str | None, webhook_ids: tuple[str, ...] = ()) -> NewJob:
        """The job that it asks for; raises ``InvalidInput``."""
        _checked("function", self.function)
        _checked("namespace", self.namespace)
        ref = None if self.ref is None else str(self.ref)
        if ref is not None:
            _checked("ref", ref)
        if self.method and not _METHOD.fullmatch(self.method):
            raise InvalidInput(f"method must be the name of a method, got {self.method!r}")
        body, content_type = self.body()
        return NewJob(
            id=job_id,
            namespace=self.namespace,
            function=self.function,
            ref=ref,
            method=self.method,
            body=body,
            content_type=content_type,
            accept=self.accept,
            priority=JobPriority[self.priority.upper()],
            not_before_s=self._not_before_s(now_s),
            max_age_s=self.max_age_s,
            max_attempts=self.max_attempts,
            timeout_s=self.timeout_s,
            webhook_ids=webhook_ids,
            idempotency_key=idempotency_key,
        )

    def _not_before_s(self, now_s: float) -> float | None:
        if self.delay_s is not None and self.not_before is not None:
            raise InvalidInput("give delay_s or not_before, not both")
        if self.delay_s is not None:
            return now_s + self.delay_s
        if self.not_before is None:
            return None
        not_before_s = read_time("not_before", self.not_before)
        if not_before_s > now_s + _MAX_AGE_S:
            raise InvalidInput(f"not_before must be within a year from now, got {self.not_before!r}")
        return not_before_s


def read_time(name: str, text: str) -> float:
    """ISO 8601 with a zone, or Unix seconds; raises ``InvalidInput``."""
    try:
        if re.fullmatch(r"\d{1,11}(\.\d{1,6})?", text):
            return float(text)
        found = datetime.fromisoformat(text.replace("Z", "+00:00").replace("z", "+00:00"))
        if found.tzinfo is not None:
            return found.astimezone(timezone.utc).timestamp()
    except (ValueError, OverflowError):
        pass
    raise InvalidInput(f"{name} must be a time with its zone, such as 2026-01-31T12:00:00Z, got {text[:64]!r}")


def read_states(text: str | None) -> frozenset[JobState]:
    """States by name, separated by commas; ``dead`` stands for all that end a job against its will."""
    states: frozenset[JobState] = frozenset()
    for name in (text or "").split(","):
        if name and name not in _STATES:
            raise InvalidInput(f"state must be one of {', '.join(_STATES)}, got {name[:64]!r}")
        states |= _STATES.get(name, frozenset())
    return states


def checked_job_id(job_id: str) -> str:
    """An id that a caller may choose; raises ``InvalidInput``."""
    if not JOB_ID.fullmatch(job_id):
        raise InvalidInput("a job's id is 1 to 128 of A-Z, a-z, 0-9, '.', '_', '-', beginning with a letter or digit")
    return job_id


def idempotency_key_of(request: Request) -> str | None:
    """The header; raises ``BadRequest``."""
    value = request.headers.get("idempotency-key")
    return None if value is None else read_idempotency_key(value.encode("latin-1"))


def make_cursor(seq: int) -> str:
    """A place in the list, for the next page."""
    return base64.urlsafe_b64encode(f"j{seq}".encode()).decode().rstrip("=")


def read_cursor(text: str | None) -> int | None:
    """The place; raises ``BadRequest``."""
    if text is None:
        return None
    try:
        found = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4)).decode("ascii")
        if re.fullmatch(r"j\d{1,18}", found):
            return int(found[1:])
    except ValueError:
        pass
    raise BadRequest(f"cursor is none that a page gave, got {text[:64]!r}", hint="Take next_cursor of the page before.")


def _checked(name: str, value: str) -> None:
    try:
        check_name(name, value)
    except InvalidOption as error:
        raise InvalidInput(error.detail) from error
