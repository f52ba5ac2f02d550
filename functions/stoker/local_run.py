"""Runs a function here, the way a replica would: one item in, one answer out, hooks run once.

The rule that must not break: a call that works locally means the same remotely, so a batched function gets lists
here too.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import cast

from stoker.batch_form import BatchForm
from stoker.errors import InvalidArguments, PreflightFailed
from stoker.shapes import ClassShape, shape_of


class LocalRun:
    """A target's entries; the instance of a class is made on first use."""

    def __init__(self, target: object, *, is_batched: bool) -> None:
        self._target = target
        self._is_batched = is_batched
        self._instance: object | None = None

    def call(self, method: str, args: Sequence[object], kwargs: Mapping[str, object]) -> object:
        """Run it. An async function's answer is awaited by the caller, a generator is returned as it is."""
        entry = self._entry(method)
        if not self._is_batched:
            return entry(*args, **kwargs)
        lists = {name: [value] for name, value in _with_defaults(entry, args, kwargs).items()}
        result = entry(*([value] for value in args), **lists)
        if inspect.isawaitable(result):
            return _one_later(result)
        try:
            return one_of_batch(result)
        except PreflightFailed:
            alone = BatchForm(entry).answers_of([lambda: entry(*args, **kwargs)])
            if alone is None:
                raise
            return alone[0]

    def _entry(self, method: str) -> Callable[..., object]:
        if not isinstance(self._target, type):
            if method:
                raise InvalidArguments(f"a plain function has no method {method!r}")
            return cast(Callable[..., object], self._target)
        shape = cast(ClassShape, shape_of(self._target))
        name = method or (shape.default.name if shape.default else "")
        if name not in {entry.name for entry in shape.entries}:
            names = ", ".join(entry.name for entry in shape.entries) or "none: mark one with @stoker.method"
            raise InvalidArguments(f"{shape.name} has no entry {name or '(default)'!r}", hint=f"Entries: {names}.")
        if self._instance is None:
            self._instance = self._start(shape)
        return cast(Callable[..., object], getattr(self._instance, name))

    def _start(self, shape: ClassShape) -> object:
        instance = cast(type, self._target)()
        for hook in shape.enters:
            result = getattr(instance, hook.name)()
            if inspect.isawaitable(result):
                _run_now(result)
        return instance


def one_of_batch(result: object) -> object:
    """The answer for the only item of a batch; raises it when it is an exception."""
    if not isinstance(result, Sequence) and not hasattr(result, "__len__"):
        raise PreflightFailed(f"a batched function must return a list, got {type(result).__name__}")
    results = cast(Sequence[object], result)
    if isinstance(result, (str, bytes, Mapping)) or len(results) != 1:
        raise PreflightFailed(f"a batched function must return one result per item, got {result!r} for 1 item")
    if isinstance(results[0], Exception):
        raise results[0]
    return results[0]


def _with_defaults(
    entry: Callable[..., object], args: Sequence[object], kwargs: Mapping[str, object]
) -> Mapping[str, object]:
    """What is given by name, and each default that stands for what is not given."""
    try:
        parameters = list(inspect.signature(entry).parameters.values())
    except (TypeError, ValueError):  # a builtin without a signature
        return kwargs
    unfilled = [p for p in parameters[len(args) :] if p.default is not p.empty and p.kind is not p.POSITIONAL_ONLY]
    return {**{p.name: p.default for p in unfilled}, **kwargs}


async def _one_later(result: Awaitable[object]) -> object:
    return one_of_batch(await result)


def _run_now(result: Awaitable[object]) -> None:
    import asyncio

    async def wait() -> None:
        await result

    try:
        asyncio.get_running_loop()
    except RuntimeError:
        asyncio.run(wait())
        return
    if inspect.iscoroutine(result):
        result.close()
    raise PreflightFailed("an async enter hook cannot run from inside a running event loop", hint="Use .remote().")
