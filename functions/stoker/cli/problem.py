"""What a user sees when something fails: the message, its hint, the remote traceback, and an exit code.

The rule that must not break: the exit code alone tells a script what to do next (see ``ExitCode``).
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from enum import IntEnum
from typing import IO, Any, Final

import click

from stoker.cli.output import is_json_asked, styled
from stoker.errors import (
    FunctionError,
    InvalidArguments,
    PlatformError,
    PreflightFailed,
    StartFailed,
)


class ExitCode(IntEnum):
    """How `stoker` ends."""

    OK = 0
    FUNCTION_FAILED = 1
    """User code raised, or took its worker down."""
    USAGE = 2
    """The command line or the call's arguments are wrong."""
    NOT_FOUND = 3
    ACCESS_DENIED = 4
    UNREACHABLE = 5
    """No platform answers."""
    NOT_NOW = 6
    """Overloaded or not ready; nothing ran, so trying again is safe."""
    REFUSED = 7
    """Refused at registration, or does not fit the present state."""


UNREACHABLE: Final = "unreachable"

BY_CODE: Final[dict[str, ExitCode]] = {
    "function_error": ExitCode.FUNCTION_FAILED,
    "worker_lost": ExitCode.FUNCTION_FAILED,
    "crash_looping": ExitCode.FUNCTION_FAILED,
    "unauthorized": ExitCode.ACCESS_DENIED,
    "forbidden": ExitCode.ACCESS_DENIED,
    "not_found": ExitCode.NOT_FOUND,
    UNREACHABLE: ExitCode.UNREACHABLE,
    "invalid_option": ExitCode.REFUSED,
    "preflight_failed": ExitCode.REFUSED,
    "environment_build_failed": ExitCode.REFUSED,
    "bundle_tampered": ExitCode.REFUSED,
    "conflict": ExitCode.REFUSED,
}


class Refusal(PlatformError):
    """The platform answered with a problem document, kept as it came."""

    def __init__(self, document: dict[str, Any]) -> None:
        super().__init__(str(document.get("detail") or document.get("title") or "the platform answered with an error"))
        self.document = document


class Failure(click.ClickException):
    """An error as click ends a command with it."""

    def __init__(self, error: PlatformError, ctx: click.Context) -> None:
        super().__init__(error.detail)
        self.document = problem_of(error)
        vars(self)["exit_code"] = int(exit_code_of(self.document))  # click reads it on the instance
        self._as_json = is_json_asked(ctx)

    def show(self, file: IO[Any] | None = None) -> None:
        """Write it to standard error; as one line of JSON where `--json` was asked for."""
        if self._as_json:
            click.echo(json.dumps(self.document), err=True, file=file)
            return
        for line in lines_of(self.document):
            click.echo(line, err=True, file=file)


def remote_refusal(error: Exception) -> Refusal | None:
    """A remote exception that the client raised as its own class, as the document that it came from."""
    trace = getattr(error.__cause__, "text", None)
    if not isinstance(trace, str) or type(error.__cause__).__name__ != "RemoteTraceback":
        return None
    detail = f"{type(error).__name__}: {error}"
    return Refusal({"code": "function_error", "status": 500, "detail": detail, "traceback": trace})


def exit_code_of(document: dict[str, Any]) -> ExitCode:
    """What a script should be told."""
    code, status = document.get("code"), document.get("status")
    if code in BY_CODE:
        return BY_CODE[str(code)]
    if code == "deadline_exceeded" and document.get("phase") == "execute":
        return ExitCode.FUNCTION_FAILED
    if document.get("retryable") or status in (429, 502, 503, 504):
        return ExitCode.NOT_NOW
    by_status = {401: ExitCode.ACCESS_DENIED, 403: ExitCode.ACCESS_DENIED, 404: ExitCode.NOT_FOUND}
    if status in by_status:
        return by_status[status]
    return ExitCode.USAGE if isinstance(status, int) and status < 500 else ExitCode.FUNCTION_FAILED


def problem_of(error: PlatformError) -> dict[str, Any]:
    """The error as a problem document, whether it was made here or came from the platform."""
    if isinstance(error, Refusal):
        return error.document
    document: dict[str, Any] = {
        "detail": error.detail,
        "status": error.status,
        "code": error.code,
        "phase": error.phase,
        "retryable": error.retryable,
        "hint": error.hint,
    }
    if isinstance(error, PreflightFailed):
        document["findings"] = [{"code": code, "message": text, "fix": fix} for code, text, fix in error.findings]
    elif isinstance(error, InvalidArguments):
        document["errors"] = [{"path": path, "message": text} for path, text in error.errors]
    elif isinstance(error, StartFailed):
        document["log_tail"] = error.log_tail
    elif isinstance(error, FunctionError):
        document["error_type"], document["traceback"] = error.error_type, error.remote_traceback
    return document


def lines_of(document: dict[str, Any]) -> Iterator[str]:
    """The problem for a person to read; nothing is said twice."""
    if document.get("traceback"):
        yield styled(str(document["traceback"]).rstrip(), "dim", err=True)
    detail = str(document.get("detail") or document.get("title")).replace("builtins.", "")
    said = [detail]
    yield f"{styled('error:', 'bold red', err=True)} {detail}"
    for finding in document.get("findings") or []:
        message = str(finding.get("message")).replace("builtins.", "")
        if message not in detail:
            yield f"  - {message} [{finding.get('code')}]"
        said.append(str(finding.get("fix")))
        if finding.get("fix") and finding["fix"] not in detail:
            yield f"    fix: {finding['fix']}"
    for item in document.get("errors") or []:
        if f"{item.get('path')}: {item.get('message')}" != detail:
            yield f"  - {item.get('path')}: {item.get('message')}"
    if document.get("log_tail"):
        yield "  its last lines:"
        yield from (f"    {line}" for line in str(document["log_tail"]).splitlines())
    if document.get("hint") and document["hint"] not in said:
        yield f"{styled('hint:', 'bold', err=True)} {document['hint']}"
    if exit_code_of(document) is ExitCode.NOT_NOW:
        yield "Nothing ran; trying again is safe."
