"""Runs one call and says how it went. The same steps for every kind of worker; ``batch_run.py`` has those of batches.

The rule that must not break: whatever a call's body, user code or result does, exactly one result comes out of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from stoker.carried_bytes import has_carried, restored
from stoker.errors import InvalidArguments, UnsupportedContent
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.codec import Body, decode, decode_json
from stoker_runtime.entries import Entries, Entry
from stoker_runtime.frames import CallEncoding, CallHeader, ResultHeader, ResultStatus, Verdict
from stoker_runtime.remote_error import encode_error
from stoker_runtime.result_codec import PLAIN_TYPES, UnencodableResult, encode, encode_json
from stoker_runtime.signature import Arguments

Result = tuple[ResultHeader, bytes | memoryview]
Call = tuple[CallHeader, memoryview]
_ARGS: Final = int(CallEncoding.ARGS)
_PARKING: Final = int(CallEncoding.PARKING)
_FUNCTION_ERROR: Final = ResultStatus.FUNCTION_ERROR


@dataclass(slots=True)
class Timing:
    """Where a call's time went, in ns."""

    decode_ns: int = 0
    execute_ns: int = 0
    encode_ns: int = 0


def entry_for(entries: Entries, call: CallHeader) -> Entry:
    """The entry that the call names; raises ``InvalidArguments``."""
    entry = entries.parking.get(call.method) if call.encoding == _PARKING else entries.named(call.method)
    if entry is not None:
        return entry
    known = ", ".join(sorted(entries.by_name)) or "none"
    detail = f"no method {call.method!r}" if call.method else "the call must name a method"
    raise InvalidArguments(detail, errors=(("method", detail),), hint=f"Methods: {known}.")


def arguments_of(entry: Entry, call: CallHeader, body: Body) -> Arguments:
    """The call's arguments; raises ``InvalidArguments`` or ``UnsupportedContent``."""
    if call.encoding == _PARKING:
        return (), {}
    if call.encoding == _ARGS:
        value = decode_json(body).value
        return entry.binder.bind_call(_with_bytes(value) if has_carried(body) else value)
    if not call.content_type:
        return entry.binder.bind_json(body)
    return entry.binder.bind(decode(body, call.content_type))


def _with_bytes(value: object) -> object:
    try:
        return restored(value)
    except ValueError as error:
        raise InvalidArguments(f"bytes are not base64: {error}", errors=(("", str(error)),)) from error


def succeeded(call: CallHeader, value: object, timing: Timing, batch_size: int = 1) -> Result:
    """The result that carries ``value``; one that cannot be sent is the function's error."""
    started_ns = monotonic_ns()
    try:
        encoded = encode(value, call.accept)
    except UnencodableResult as error:
        return failed(call, error, timing, batch_size)
    except Exception as error:  # user code again: a property or a model_dump of the result
        return failed(call, error, timing, batch_size)
    body = encoded.body
    timing.encode_ns += monotonic_ns() - started_ns
    header = ResultHeader(
        call.call_id,
        0,
        encoded.content_type,
        len(body),
        timing.decode_ns,
        timing.execute_ns,
        timing.encode_ns,
        batch_size,
        encoded.http_status,
        list(encoded.headers),
    )
    return header, body


def failed(call: CallHeader, error: BaseException, timing: Timing, batch_size: int = 1) -> Result:
    """The result that carries an error of user code."""
    return error_result(call, _FUNCTION_ERROR, encode_error(error), timing, batch_size)


def refused(call: CallHeader, error: Exception, timing: Timing, batch_size: int = 1) -> Result:
    """The result of a call whose body could not become arguments; the function did not run."""
    if isinstance(error, UnsupportedContent):
        status = ResultStatus.UNSUPPORTED_CONTENT
    elif isinstance(error, InvalidArguments):
        status = ResultStatus.INVALID_ARGUMENTS
    else:  # a validator of the user's own raised
        status = _FUNCTION_ERROR
    return error_result(call, status, encode_error(error), timing, batch_size)


def ended(call: CallHeader, status: ResultStatus, timing: Timing) -> Result:
    """The result without a body: a stream's end, or a cancellation."""
    header = ResultHeader(call.call_id, status, "", 0, timing.decode_ns, timing.execute_ns, timing.encode_ns, 1)
    return header, b""


def run_call(entry: Entry, call: CallHeader, body: Body) -> Result:
    """One call of a plain entry, to its end, in this thread."""
    started_ns = monotonic_ns()
    try:
        args, kwargs = arguments_of(entry, call, body)
    except Exception as error:
        return refused(call, error, Timing(monotonic_ns() - started_ns))
    decoded_ns = monotonic_ns()
    try:
        value = entry.call(*args, **kwargs)
    except BaseException as error:  # sys.exit() in user code ends the call, not the worker
        return failed(call, error, Timing(decoded_ns - started_ns, monotonic_ns() - decoded_ns))
    executed_ns = monotonic_ns()
    if not call.accept and type(value) in PLAIN_TYPES:  # what most functions return: no object but the header is made
        try:
            encoded = encode_json(value)
        except Exception as error:  # user code again: a property or a model_dump of the result
            return failed(call, error, Timing(decoded_ns - started_ns, executed_ns - decoded_ns))
        spent = decoded_ns - started_ns, executed_ns - decoded_ns, monotonic_ns() - executed_ns
        return ResultHeader(call.call_id, 0, "", len(encoded), *spent, 1), encoded
    return succeeded(call, value, Timing(decoded_ns - started_ns, executed_ns - decoded_ns))


def error_result(
    call: CallHeader,
    status: ResultStatus,
    body: bytes,
    timing: Timing,
    batch_size: int,
    verdict: Verdict | None = None,
) -> Result:
    """A result whose body is an encoded error; ``verdict`` where its whole batch failed."""
    header = ResultHeader(
        call.call_id,
        status,
        "application/vnd.stoker.error+msgpack",
        len(body),
        timing.decode_ns,
        timing.execute_ns,
        timing.encode_ns,
        batch_size,
        0,
        [],
        verdict is not None,
        verdict or 0,
    )
    return header, body
