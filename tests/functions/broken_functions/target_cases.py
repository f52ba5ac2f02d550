"""Broken functions as live objects, as a client would deploy them. Each maker is a context that cleans up after it."""

from __future__ import annotations

import abc
import asyncio
import contextvars
import queue
import socket
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import NamedTuple

import stoker
from stoker.options import Batch, FunctionOptions


class TargetCase(NamedTuple):
    """One object that would break at run time, and the code under which it must be found."""

    name: str
    code: str
    make: Callable[[], AbstractContextManager[object]]
    options: FunctionOptions = FunctionOptions(name="f")


BATCHED = FunctionOptions(name="f", batch=Batch(max_batch_size=8))


def capturing(value: object) -> Callable[[], AbstractContextManager[object]]:
    """A function whose closure holds ``value``."""

    def f(x: object) -> object:
        return value, x

    return lambda: nullcontext(f)


def closing_capture(make: Callable[[], object], close: str = "close") -> Callable[[], AbstractContextManager[object]]:
    """The same for a value that is made for the test and closed after it."""

    @contextmanager
    def maker() -> Iterator[object]:
        value = make()
        with capturing(value)() as f:
            yield f
        getattr(value, close)()

    return maker


class _FakeTensor:
    device = "cuda:0"
    nbytes = 4


_FakeTensor.__module__ = "torch"
_FakeTensor.__qualname__ = "Tensor"


class _Holder:
    def __init__(self) -> None:
        self.lock = threading.Lock()


class _Abstract(abc.ABC):
    @abc.abstractmethod
    def __call__(self, x: object) -> object: ...


class _NeedsPath:
    def __init__(self, path: str) -> None: ...

    def __call__(self, x: object) -> object: ...


class _NeedsDevice:
    @stoker.enter
    def start(self, device: str) -> None: ...

    def __call__(self, x: object) -> object: ...


class _Nothing:
    def predict(self, x: object) -> object: ...


class _AsyncBatchGenerator:
    @stoker.method
    async def go(self, items: list[object]) -> object:
        for item in items:
            yield item


def _no_parameters() -> list[object]:
    return []


def _star(*items: object) -> list[object]:
    return list(items)


def _returns_text(items: list[str]) -> str:
    return "".join(items)


def _imports_local(x: object) -> object:
    from tests.functions.broken_functions import source_cases

    return source_cases, x


_SOURCE_WITH_RELATIVE_IMPORT = "def f(x):\n    from .model import go\n    return go(x)"


def _relative() -> AbstractContextManager[object]:
    names: dict[str, object] = {"__name__": "__main__"}
    exec(_SOURCE_WITH_RELATIVE_IMPORT, names)
    return nullcontext(names["f"])


async def _coroutine() -> None: ...


TARGET_CASES = [
    TargetCase("not-callable", "handler_not_callable", lambda: nullcontext(3)),
    TargetCase("captures-lock", "captured_unpicklable", capturing(threading.Lock())),
    TargetCase("captures-rlock", "captured_unpicklable", capturing(threading.RLock())),
    TargetCase("captures-event", "captured_unpicklable", capturing(threading.Event())),
    TargetCase("captures-socket", "captured_unpicklable", closing_capture(socket.socket)),
    TargetCase("captures-open-file", "captured_unpicklable", closing_capture(Path(__file__).open)),
    TargetCase("captures-binary-file", "captured_unpicklable", closing_capture(partial(Path(__file__).open, "rb"))),
    TargetCase("captures-generator", "captured_unpicklable", capturing(x for x in range(3))),
    TargetCase("captures-thread", "captured_unpicklable", capturing(threading.Thread())),
    TargetCase("captures-thread-local", "captured_unpicklable", capturing(threading.local())),
    TargetCase("captures-queue", "captured_unpicklable", capturing(queue.Queue())),
    TargetCase("captures-coroutine", "captured_unpicklable", closing_capture(_coroutine)),
    TargetCase("captures-pool", "captured_unpicklable", closing_capture(lambda: ThreadPoolExecutor(1), "shutdown")),
    TargetCase("captures-loop", "captured_unpicklable", closing_capture(asyncio.new_event_loop)),
    TargetCase("captures-database", "captured_unpicklable", closing_capture(lambda: sqlite3.connect(":memory:"))),
    TargetCase("captures-context-variable", "captured_unpicklable", capturing(contextvars.ContextVar("x"))),
    TargetCase("captures-gpu-tensor", "captured_unpicklable", capturing(_FakeTensor())),
    TargetCase("captures-lock-in-a-dict", "captured_unpicklable", capturing({"a": [threading.Lock()]})),
    TargetCase("captures-object-with-lock", "captured_unpicklable", capturing(_Holder())),
    TargetCase("captures-huge-bytes", "captured_huge", capturing(bytes(17 * 1024 * 1024))),
    TargetCase("captures-huge-list", "captured_huge", capturing([1000 + i for i in range(1_000_000)])),
    TargetCase("captures-aws-key", "captured_secret", capturing("AKIAIOSFODNN7EXAMPLE")),
    TargetCase("captures-private-key", "captured_secret", capturing("-----BEGIN PRIVATE KEY-----\nMII")),
    TargetCase("captures-key-in-bytes", "captured_secret", capturing(b"-----BEGIN EC PRIVATE KEY-----\nMII")),
    TargetCase("captures-api-key", "captured_secret", capturing({"openai": "sk-abcdefghijklmnopqrstuv"})),
    TargetCase("captures-password", "captured_secret", capturing({"password": "hunter22"})),
    TargetCase("imports-local-module-inside", "local_import", lambda: nullcontext(_imports_local)),
    TargetCase("relative-import-inside", "relative_import", _relative),
    TargetCase("abstract-class", "abstract_class", lambda: nullcontext(_Abstract)),
    TargetCase("init-with-arguments", "init_arguments", lambda: nullcontext(_NeedsPath)),
    TargetCase("enter-with-arguments", "hook_arguments", lambda: nullcontext(_NeedsDevice)),
    TargetCase("class-without-entry", "class_without_entry", lambda: nullcontext(_Nothing)),
    TargetCase("batch-without-parameters", "batch_no_parameters", lambda: nullcontext(_no_parameters), BATCHED),
    TargetCase("batch-of-star-args", "batch_variadic", lambda: nullcontext(_star), BATCHED),
    TargetCase("batch-returns-text", "batch_return_type", lambda: nullcontext(_returns_text), BATCHED),
    TargetCase("batch-async-generator", "batch_generator", lambda: nullcontext(_AsyncBatchGenerator), BATCHED),
]
