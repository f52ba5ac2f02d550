"""Runs one call, or one batch, and says how it went. The same steps for every kind of worker.

The rule that must not break: whatever a call's body, user code or result does, exactly one result comes out of it,
and an item that cannot be decoded or encoded never fails its batch mates.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from stoker.batch_form import each_alone
from stoker.carried_bytes import has_carried, restored
from stoker.errors import InvalidArguments, UnsupportedContent
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.codec import Body, decode, decode_json
from stoker_runtime.entries import Entries, Entry
from stoker_runtime.frames import CallEncoding, CallHeader, ResultHeader, ResultStatus
from stoker_runtime.remote_error import encode_error
from stoker_runtime.result_codec import PLAIN_TYPES, UnencodableResult, encode, encode_json
from stoker_runtime.signature import Arguments

Result = tuple[ResultHeader, bytes | memoryview]
Call = tuple[CallHeader, memoryview]
_ARGS: Final = int(CallEncoding.ARGS)


class WrongBatchResult(TypeError):
    """A batched function did not return a list as long as its input."""


@dataclass(slots=True)
class Timing:
    """Where a call's time went, in ns."""

    decode_ns: int = 0
    execute_ns: int = 0
    encode_ns: int = 0


def entry_for(entries: Entries, call: CallHeader) -> Entry:
    """The entry that the call names; raises ``InvalidArguments``."""
    entry = entries.named(call.method)
    if entry is not None:
        return entry
    known = ", ".join(sorted(entries.by_name)) or "none"
    detail = f"no method {call.method!r}" if call.method else "the call must name a method"
    raise InvalidArguments(detail, errors=(("method", detail),), hint=f"Methods: {known}.")


def arguments_of(entry: Entry, call: CallHeader, body: Body) -> Arguments:
    """The call's arguments; raises ``InvalidArguments`` or ``UnsupportedContent``."""
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


def failed(
    call: CallHeader, error: BaseException, timing: Timing, batch_size: int = 1, *, batch_failed: bool = False
) -> Result:
    """The result that carries an error of user code."""
    return _error(call, ResultStatus.FUNCTION_ERROR, error, timing, batch_size, batch_failed)


def refused(call: CallHeader, error: BaseException, timing: Timing, batch_size: int = 1) -> Result:
    """The result of a call whose body could not become arguments; user code did not run."""
    unsupported = isinstance(error, UnsupportedContent)
    status = ResultStatus.UNSUPPORTED_CONTENT if unsupported else ResultStatus.INVALID_ARGUMENTS
    return _error(call, status, error, timing, batch_size, False)


def ended(call: CallHeader, status: ResultStatus, timing: Timing) -> Result:
    """The result without a body: a stream's end, or a cancellation."""
    header = ResultHeader(call.call_id, status, "", 0, timing.decode_ns, timing.execute_ns, timing.encode_ns, 1)
    return header, b""


def run_call(entry: Entry, call: CallHeader, body: Body) -> Result:
    """One call of a plain entry, to its end, in this thread."""
    started_ns = monotonic_ns()
    try:
        args, kwargs = arguments_of(entry, call, body)
    except (InvalidArguments, UnsupportedContent) as error:
        return refused(call, error, Timing(monotonic_ns() - started_ns))
    except Exception as error:  # a validator of the user's own
        return failed(call, error, Timing(monotonic_ns() - started_ns))
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


class BatchRun:
    """One batch: decode every item, call once with lists, hand each item its own result."""

    def __init__(self, entry: Entry, calls: Sequence[Call]) -> None:
        self._entry = entry
        self._started_ns = monotonic_ns()
        self.results: list[Result] = []
        self._calls: list[CallHeader] = []
        self._items: list[dict[str, object]] = []
        self._size = len(calls)
        self._decode_ns = 0
        self._execute_ns = 0
        for call, body in calls:
            self._take(call, body)
        self._decode_ns = monotonic_ns() - self._started_ns

    @property
    def has_items(self) -> bool:
        """Any item is left to run."""
        return bool(self._calls)

    def call(self) -> object:
        """Run user code with one list per parameter. For an async entry the result is to be awaited."""
        if self._entry.batch_form.is_for_one:
            return each_alone(self._each())
        columns = self._columns()
        first = [columns.pop(name) for name in self._entry.binder.positional_only if name in columns]
        return self._entry.call(*first, **columns)

    def finish(self, run: Callable[[], object]) -> list[Result]:
        """Run to the end in this thread; a result for every item."""
        started_ns = monotonic_ns()
        try:
            value = run()
        except BaseException as error:
            return self.fail(error, monotonic_ns() - started_ns)
        return self.succeed(value, monotonic_ns() - started_ns)

    def fail(self, error: BaseException, execute_ns: int) -> list[Result]:
        """Every item fails with the batch: which one was bad is not known here."""
        self._execute_ns = execute_ns
        # an item that ran alone because its mates were refused is at fault itself
        is_whole = len(self._calls) > 1 or self._size == 1
        for call in self._calls:
            self.results.append(failed(call, error, self._timing(), self._size, batch_failed=is_whole))
        return self.results

    def succeed(self, value: object, execute_ns: int) -> list[Result]:
        """Each item gets its own value, or the Exception that stands in its place."""
        self._execute_ns = execute_ns
        values = _as_list(value)
        if values is not None and len(values) == len(self._calls):
            self._entry.batch_form.took_lists()
        else:
            error = _wrong_result(value, values, len(self._calls))
            values = self._entry.batch_form.answers_of(self._each())
            if values is None:
                for call in self._calls:
                    self.results.append(failed(call, error, self._timing(), self._size))
                return self.results
            sys.stderr.write(f"called item by item from now on, which gains nothing from batch=: {error}\n")
        for call, item in zip(self._calls, values, strict=True):
            if isinstance(item, BaseException):
                self.results.append(failed(call, item, self._timing(), self._size))
            else:
                self.results.append(succeeded(call, item, self._timing(), self._size))
        return self.results

    def _take(self, call: CallHeader, body: Body) -> None:
        try:
            item = self._entry.binder.by_name(arguments_of(self._entry, call, body))
        except (InvalidArguments, UnsupportedContent) as error:
            self.results.append(refused(call, error, Timing(), self._size))
        except Exception as error:  # a validator of the user's own
            self.results.append(failed(call, error, Timing(), self._size))
        else:
            self._calls.append(call)
            self._items.append(item)

    def _each(self) -> list[Callable[[], object]]:
        return [self._alone(item) for item in self._items]

    def _alone(self, item: dict[str, object]) -> Callable[[], object]:
        names = self._entry.binder.positional_only
        first = [item[name] for name in names if name in item]
        rest = {name: value for name, value in item.items() if name not in names}
        return lambda: self._entry.call(*first, **rest)

    def _columns(self) -> dict[str, list[object]]:
        # a parameter that no item names is a list as well, or it would change its type with who shares the batch
        defaults = self._entry.binder.defaults
        names = dict.fromkeys([*(name for item in self._items for name in item), *defaults])
        return {name: [item.get(name, defaults.get(name)) for item in self._items] for name in names}

    def _timing(self) -> Timing:
        return Timing(self._decode_ns, self._execute_ns)


def _wrong_result(value: object, values: list[object] | None, count: int) -> WrongBatchResult:
    got = f"a {type(value).__name__}" + (f" of {len(values)}" if values is not None else "")
    items = "1 item" if count == 1 else f"{count} items"
    return WrongBatchResult(f"a batched function must return a list of {count} for a list of {items}, got {got}")


def _as_list(value: object) -> list[object] | None:
    if isinstance(value, list):
        return value
    if isinstance(value, tuple):
        return list(value)
    if type(value).__module__.partition(".")[0] in ("numpy", "torch") and bool(getattr(value, "ndim", 0)):
        return list(value)  # type: ignore[call-overload, no-any-return]  # rows of an array
    return None


def _error(
    call: CallHeader,
    status: ResultStatus,
    error: BaseException,
    timing: Timing,
    batch_size: int,
    batch_failed: bool,
) -> Result:
    body = encode_error(error)
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
        batch_failed,
    )
    return header, body
