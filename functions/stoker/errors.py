"""Every error that Stoker raises on purpose, in one tree.

The rule that must not break: a class says by itself (``code``, ``status``, ``retryable``, ``phase``) what the caller
needs to decide what to do next, so that no layer above has to guess. ``status`` is advice to whoever speaks HTTP.
"""

from __future__ import annotations

from typing import ClassVar


class PlatformError(Exception):
    """Root of all that we raise on purpose.

    * InvalidInput          the request or option is wrong; fix it, do not retry
        * InvalidOption     an option of ``@stoker.function``
        * InvalidArguments  arguments do not fit the function's signature or schema
        * PreflightFailed   the function would break at run time
        * EnvironmentBuildFailed  the resolver or installer refused the environment
        * PayloadTooLarge   a body over the limit
        * UnsupportedContent  a content type that the function cannot take
    * AccessDenied          no valid token, or its scopes do not cover the request
        * Forbidden
    * NotFound              no such function, revision, alias, token, secret
    * Conflict              the request does not fit the present state
    * Overloaded            queue full; nothing ran, so retry is safe
    * NotReady              cold past the hold limit; nothing ran, so retry is safe
        * StartFailed       a replica could not be started
        * CrashLooping      three failed starts; closed until `stoker retry`
        * NoCapacity        no device has room
        * ShuttingDown      the platform drains
    * DeadlineExceeded      the deadline passed, in the queue or while running
    * Canceled              the caller went away
    * WorkerLost            it may have run; retry only what is idempotent
    * FunctionError         user code raised; carries the remote error as data
    * BundleTampered        hash or signature does not fit; nothing was unpickled
    """

    code: ClassVar[str] = "internal"
    status: ClassVar[int] = 500
    retryable: ClassVar[bool] = False
    phase: str = "gateway"

    def __init__(
        self,
        detail: str,
        *,
        hint: str | None = None,
        phase: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.hint = hint
        self.retry_after_s = retry_after_s
        if phase is not None:
            self.phase = phase

    def __str__(self) -> str:
        return f"{self.detail}\n  hint: {self.hint}" if self.hint else self.detail


class InvalidInput(PlatformError):
    """The request or an option is wrong; fix it, do not retry."""

    code = "invalid_input"
    status = 400


class InvalidOption(InvalidInput, ValueError):
    """An option of ``@stoker.function`` is wrong; the message names it and its value."""

    code = "invalid_option"
    status = 422
    phase = "register"


class InvalidArguments(InvalidInput):
    """Arguments do not fit the function's signature or schema; ``errors`` holds path and message of each."""

    code = "invalid_arguments"
    status = 422
    phase = "decode"

    def __init__(self, detail: str, *, errors: tuple[tuple[str, str], ...] = (), hint: str | None = None) -> None:
        super().__init__(detail, hint=hint)
        self.errors = errors


class PreflightFailed(InvalidInput):
    """The function would break at run time; ``findings`` lists every reason with its fix."""

    code = "preflight_failed"
    status = 422
    phase = "register"

    def __init__(
        self, detail: str, *, findings: tuple[tuple[str, str, str], ...] = (), hint: str | None = None
    ) -> None:
        super().__init__(detail, hint=hint)
        self.findings = findings
        """(code, message, fix) of each finding."""


class EnvironmentBuildFailed(InvalidInput):
    """The resolver or installer refused the environment; the message is its own output."""

    code = "environment_build_failed"
    status = 422
    phase = "environment"


class PayloadTooLarge(InvalidInput):
    """A body over the limit."""

    code = "payload_too_large"
    status = 413


class UnsupportedContent(InvalidInput):
    """A content type that cannot be decoded here."""

    code = "unsupported_content_type"
    status = 415
    phase = "decode"


class AccessDenied(PlatformError):
    """No valid token."""

    code = "unauthorized"
    status = 401
    phase = "auth"


class Forbidden(AccessDenied):
    """The token is valid, and its scopes or namespace do not cover the request."""

    code = "forbidden"
    status = 403


class NotFound(PlatformError):
    """No such function, revision, alias, token or secret."""

    code = "not_found"
    status = 404
    phase = "route"


class Conflict(PlatformError):
    """The request does not fit the present state."""

    code = "conflict"
    status = 409
    phase = "register"


class Overloaded(PlatformError):
    """The queue is full; nothing ran, so a retry is safe."""

    code = "overloaded"
    status = 429
    retryable = True
    phase = "queue"


class NotReady(PlatformError):
    """Cold past the hold limit; nothing ran, so a retry is safe."""

    code = "not_ready"
    status = 503
    retryable = True
    phase = "cold"


class StartFailed(NotReady):
    """A replica could not be started; ``log_tail`` holds its last lines, ``start_phase`` where it failed."""

    code = "start_failed"

    def __init__(
        self,
        detail: str,
        *,
        start_phase: str = "fork",
        log_tail: str = "",
        hint: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(detail, hint=hint, retry_after_s=retry_after_s)
        self.start_phase = start_phase
        self.log_tail = log_tail


class CrashLooping(StartFailed):
    """Three failed starts in a row; closed until ``stoker retry`` or a new revision."""

    code = "crash_looping"
    retryable = False


class NoCapacity(NotReady):
    """No device has room for the function, and nothing could be evicted."""

    code = "no_capacity"


class ShuttingDown(NotReady):
    """The platform drains and takes nothing new."""

    code = "shutting_down"


class DeadlineExceeded(PlatformError):
    """The deadline passed; ``phase`` says whether queued (nothing ran) or running (the worker was replaced)."""

    code = "deadline_exceeded"
    status = 504
    retryable = True
    phase = "queue"


class Canceled(PlatformError):
    """The caller went away before the end."""

    code = "canceled"
    status = 499
    phase = "queue"


class WorkerLost(PlatformError):
    """The worker died while the call ran; it may have run, so retry only what is idempotent."""

    code = "worker_lost"
    status = 502
    phase = "execute"


class FunctionError(PlatformError):
    """User code raised. The remote error travels as data: type, message, traceback text."""

    code = "function_error"
    status = 500
    phase = "execute"

    def __init__(
        self,
        detail: str,
        *,
        error_type: str = "builtins.Exception",
        error_message: str = "",
        error_args: tuple[object, ...] = (),
        remote_traceback: str = "",
        phase: str | None = None,
    ) -> None:
        super().__init__(detail, phase=phase)
        self.error_type = error_type
        """Dotted path of the class, e.g. ``builtins.ValueError``."""
        self.error_message = error_message
        self.error_args = error_args
        """``exception.args`` where they are plain JSON values, else empty."""
        self.remote_traceback = remote_traceback


class BundleTampered(PlatformError):
    """Hash or signature does not fit; nothing was unpickled."""

    code = "bundle_tampered"
    status = 500
    phase = "verify"
