"""Many calls at once, answered in order, with a bar on a terminal.

The rule that must not break: at most a window of items is taken ahead of the answers, so an endless iterable works;
and leaving the loop early cancels what has not begun.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Final, TypeVar

from stoker.errors import InvalidOption, PlatformError

_Item = TypeVar("_Item")
_MAX_TRIES: Final = 8
_MAX_WAIT_S: Final = 30.0


def ordered_map(
    call: Callable[[_Item], Any],
    items: Iterable[_Item],
    *,
    concurrency: int,
    return_exceptions: bool = False,
    title: str = "",
    progress: bool | None = None,
) -> Iterator[Any]:
    """``call`` for each item in up to ``concurrency`` threads. ``progress`` None: where stderr is a terminal."""
    if isinstance(concurrency, bool) or not isinstance(concurrency, int) or not 1 <= concurrency <= 256:
        raise InvalidOption(f"concurrency must be a whole number from 1 to 256, got {concurrency!r}")
    return _run(call, items, concurrency, return_exceptions, title, progress)


def _run(
    call: Callable[[_Item], Any],
    items: Iterable[_Item],
    concurrency: int,
    return_exceptions: bool,
    title: str,
    progress: bool | None,
) -> Iterator[Any]:
    waiting: deque[Future[Any]] = deque()
    stopped = threading.Event()
    total = len(items) if isinstance(items, Sized) else None
    source = iter(items)
    with _bar(title, total, sys.stderr.isatty() if progress is None else progress) as advance:
        executor = ThreadPoolExecutor(concurrency, thread_name_prefix=f"stoker-map-{title}")
        try:
            for item in source:
                waiting.append(executor.submit(_patiently, call, item, stopped))
                if len(waiting) >= 2 * concurrency:
                    yield _answer(waiting.popleft(), return_exceptions)
                    advance()
            while waiting:
                yield _answer(waiting.popleft(), return_exceptions)
                advance()
        finally:
            stopped.set()
            executor.shutdown(wait=True, cancel_futures=True)


def _patiently(call: Callable[[_Item], Any], item: _Item, stopped: threading.Event) -> Any:
    """A full queue or a cold function is waited for as long as the platform says; nothing ran, so it is safe."""
    for attempt in range(1, _MAX_TRIES + 1):
        try:
            return call(item)
        except PlatformError as error:
            is_safe = error.retryable and error.retry_after_s is not None
            if not is_safe or attempt == _MAX_TRIES or stopped.is_set():
                raise
            stopped.wait(min(error.retry_after_s or 0.0, _MAX_WAIT_S))
    raise AssertionError("unreachable")


def _answer(future: Future[Any], return_exceptions: bool) -> Any:
    try:
        return future.result()
    except Exception as error:
        if return_exceptions:
            return error
        raise


@contextmanager
def _bar(title: str, total: int | None, is_shown: bool) -> Iterator[Callable[[], None]]:
    if not is_shown:
        yield lambda: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(title, total=total)
        yield lambda: bar.advance(task)
