"""Runs one batch, and says how it went for each item.

The rule that must not break: exactly one result for each item comes out, and an item that cannot be decoded or encoded,
or that makes user code raise, never fails its mates where they may be told apart.

A batch that raises at once, as code does that checks its items before the work, is narrowed down right here: asking the
platform what to run next would take longer than to run it. What is then still unknown goes back: see ``Verdict``.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Final

from stoker.batch_form import each_alone
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.codec import Body
from stoker_runtime.entries import Entry
from stoker_runtime.execution import Call, Result, Timing, arguments_of, ended, error_result, failed, refused, succeeded
from stoker_runtime.frames import CallHeader, ResultStatus, Verdict
from stoker_runtime.narrowing import first_of_cheap_suspects
from stoker_runtime.remote_error import encode_error

_AT_ONCE_NS: Final = 1_000_000
_FUNCTION_ERROR: Final = ResultStatus.FUNCTION_ERROR


class WrongBatchResult(TypeError):
    """A batched function did not return a list as long as its input."""


class BatchRun:
    """One batch: decode every item, call with lists, hand each item its own result.

    While ``has_items``: run what ``call`` gives, and tell ``succeed`` or ``fail``; then all ``results`` are there.
    """

    def __init__(self, entry: Entry, calls: Sequence[Call], *, narrows: bool = False, suspects_below: int = 0) -> None:
        self._entry = entry
        self._narrows = narrows
        self._started_ns = monotonic_ns()
        self.results: list[Result] = []
        self._calls: list[CallHeader] = []
        self._items: list[dict[str, object]] = []
        self._aside: list[tuple[list[CallHeader], list[dict[str, object]]]] = []
        """Mates that did not run when the others ran again; the last of them are at fault if those were good."""
        self._size = len(calls)
        self._decode_ns = 0
        self._execute_ns = 0
        for call, body in calls:
            self._take(call, body)
        self._had_items = len(self._calls)
        self._suspects = sum(call.call_id < suspects_below for call in self._calls)
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

    def run(self) -> list[Result]:
        """Run to the end in this thread; a result for every item."""
        while self._calls:
            started_ns = monotonic_ns()
            try:
                value = self.call()
            except BaseException as error:
                self.fail(error, monotonic_ns() - started_ns)
            else:
                self.succeed(value, monotonic_ns() - started_ns)
        return self.results

    def fail(self, error: BaseException, execute_ns: int) -> None:
        """What ran raised. Which item was bad is known only if it was alone."""
        self._execute_ns = execute_ns
        count = len(self._calls)
        if self._narrows and execute_ns < _AT_ONCE_NS and count > 1:
            first = self._suspects if 0 < self._suspects < count else first_of_cheap_suspects(count)
            self._suspects = 0
            self._aside.append((self._calls[first:], self._items[first:]))
            del self._calls[first:], self._items[first:]
            return
        body = encode_error(error)  # once: what it takes would be a good part of a batch that fails at once
        if count > 1:
            self._end_failed(self._calls, Verdict.SUSPECT, body)
        elif self._had_items > 1:
            self._end_failed(self._calls, Verdict.BAD, body)
        else:  # alone, or its mates were refused: then it is answered like any other call
            verdict = Verdict.BAD if self._size == 1 else None
            self.results.append(
                error_result(self._calls[0], _FUNCTION_ERROR, body, self._timing(), self._size, verdict)
            )
        self._end_aside()

    def succeed(self, value: object, execute_ns: int) -> None:
        """Each item gets its own value, or the Exception that stands in its place."""
        self._execute_ns = execute_ns
        self._hand_out(value)
        self._calls, self._items = [], []
        if self._aside and len(self._aside[-1][0]) == 1:
            self._calls, self._items = self._aside.pop()
        elif self._aside:
            self._end_failed(self._aside.pop()[0], Verdict.SUSPECT)
        if not self._calls:
            self._end_aside()

    def cancel(self) -> list[Result]:
        """Nobody waits for what has no result yet; a result for every item."""
        waiting = [self._calls, *(calls for calls, _ in self._aside)]
        self.results += [ended(call, ResultStatus.CANCELED, Timing()) for calls in waiting for call in calls]
        self._calls, self._items, self._aside = [], [], []
        return self.results

    def _hand_out(self, value: object) -> None:
        values = _as_list(value)
        if values is not None and len(values) == len(self._calls):
            self._entry.batch_form.took_lists()
        else:
            error = _wrong_result(value, values, len(self._calls))
            values = self._entry.batch_form.answers_of(self._each())
            if values is None:
                self.results += [failed(call, error, self._timing(), self._size) for call in self._calls]
                return
            sys.stderr.write(f"called item by item from now on, which gains nothing from batch=: {error}\n")
        for call, item in zip(self._calls, values, strict=True):
            if isinstance(item, BaseException):
                self.results.append(failed(call, item, self._timing(), self._size))
            else:
                self.results.append(succeeded(call, item, self._timing(), self._size))

    def _end_aside(self) -> None:
        for calls, _ in self._aside:
            self._end_failed(calls, Verdict.UNKNOWN)
        self._calls, self._items, self._aside = [], [], []

    def _end_failed(self, calls: Sequence[CallHeader], verdict: Verdict, body: bytes = b"") -> None:
        for call in calls:
            self.results.append(error_result(call, _FUNCTION_ERROR, body, self._timing(), self._size, verdict))

    def _take(self, call: CallHeader, body: Body) -> None:
        try:
            item = self._entry.binder.by_name(arguments_of(self._entry, call, body))
        except Exception as error:
            self.results.append(refused(call, error, Timing(), self._size))
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
