"""Turns what a worker answers into an ``Outcome``.

The rule that must not break: an error in user code travels as data; nothing of it is executed or unpickled here.
"""

from __future__ import annotations

import msgspec

from stoker.errors import (
    Canceled,
    FunctionError,
    InvalidArguments,
    PlatformError,
    UnsupportedContent,
    WorkerLost,
)
from stoker_runtime.frames import ErrorBody, ResultHeader, ResultStatus
from stoker_runtime.invocation import Outcome

_decode_error = msgspec.msgpack.Decoder(ErrorBody).decode


def failed_outcome(result: ResultHeader, body: bytes | memoryview) -> Outcome:
    """The outcome of a result that is not OK."""
    return Outcome(error=_error(result, body))


def _error(result: ResultHeader, body: bytes | memoryview) -> PlatformError:
    if result.status == ResultStatus.CANCELED:
        return Canceled("the call was cancelled while it ran", phase="execute")
    try:
        said = _decode_error(body)
    except msgspec.MsgspecError as error:
        return WorkerLost(f"the worker answered call {result.call_id} with an error that cannot be read: {error}")
    if result.status == ResultStatus.FUNCTION_ERROR:
        return function_error(said)
    if result.status == ResultStatus.INVALID_ARGUMENTS:
        return InvalidArguments(said.message, errors=tuple(said.errors), hint=said.hint or None)
    if result.status == ResultStatus.UNSUPPORTED_CONTENT:
        return UnsupportedContent(said.message, hint=said.hint or None)
    return WorkerLost(f"the worker answered call {result.call_id} with the unknown status {result.status}")


def function_error(said: ErrorBody) -> FunctionError:
    """The remote exception as our error."""
    return FunctionError(
        f"{said.error_type}: {said.message}" if said.message else said.error_type,
        error_type=said.error_type,
        error_message=said.message,
        error_args=_plain_args(said.args_json),
        remote_traceback=said.traceback,
    )


def _plain_args(args_json: bytes) -> tuple[object, ...]:
    if not args_json:
        return ()
    try:
        return tuple(msgspec.json.decode(args_json, type=list[object]))
    except msgspec.MsgspecError:
        return ()
