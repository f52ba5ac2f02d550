"""Pre-flight: can what a function captured travel, and should it?

The rule that must not break: values are looked at by type, size and pattern; nothing of the user's is called, and no
secret is repeated in a message.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Final

from stoker.captures import Captures
from stoker.finding import Finding
from stoker.local_modules import is_local
from stoker.pickling import approximate_size
from stoker.secret_patterns import looks_secret

HUGE_BYTES: Final = 16 * 1024 * 1024
LARGE_BYTES: Final = 1024 * 1024
_MAX_DEPTH: Final = 3
_MAX_ITEMS: Final = 200
_UNPICKLABLE: Final[Mapping[str, str]] = {
    "_asyncio.Future": "an asyncio future",
    "_asyncio.Task": "an asyncio task",
    "_contextvars.ContextVar": "a context variable",
    "_io.BufferedRandom": "an open file",
    "_io.BufferedReader": "an open file",
    "_io.BufferedWriter": "an open file",
    "_io.FileIO": "an open file",
    "_io.TextIOWrapper": "an open file",
    "_thread.RLock": "a lock",
    "_thread._local": "a thread-local",
    "_thread.lock": "a lock",
    "asyncio.locks.Lock": "a lock of an event loop",
    "builtins.async_generator": "a running generator",
    "builtins.coroutine": "a coroutine",
    "builtins.frame": "a stack frame",
    "builtins.generator": "a running generator",
    "builtins.memoryview": "a memoryview",
    "builtins.traceback": "a traceback",
    "concurrent.futures.process.ProcessPoolExecutor": "a process pool",
    "concurrent.futures.thread.ThreadPoolExecutor": "a thread pool",
    "contextvars.ContextVar": "a context variable",
    "mmap.mmap": "a memory map",
    "multiprocessing.pool.Pool": "a process pool",
    "queue.LifoQueue": "a queue",
    "queue.PriorityQueue": "a queue",
    "queue.Queue": "a queue",
    "_queue.SimpleQueue": "a queue",
    "select.epoll": "an epoll object",
    "socket.socket": "a socket",
    "sqlite3.Connection": "a database connection",
    "sqlite3.Cursor": "a database cursor",
    "ssl.SSLContext": "an SSL context",
    "ssl.SSLSocket": "a socket",
    "subprocess.Popen": "a running process",
    "tempfile._TemporaryFileWrapper": "an open file",
    "threading.Barrier": "a barrier",
    "threading.Condition": "a lock",
    "threading.Event": "an event",
    "threading.Semaphore": "a semaphore",
    "threading.BoundedSemaphore": "a semaphore",
    "threading.Thread": "a thread",
    "threading.Timer": "a thread",
    "threading._RLock": "a lock",
    "weakref.ReferenceType": "a weak reference",
}


def check_captures(found: Captures) -> Iterator[Finding]:
    """Findings for what a target refers to."""
    for name, value in sorted(found.values.items(), key=lambda item: item[0]):
        yield from check_value(name, value)
    for place, text in sorted(found.constants):
        kind = looks_secret("", text)
        if kind:
            yield secret_finding(f"a text in {place}", kind)
    for module in sorted(found.local_imports):
        yield Finding(
            "local_import",
            f"it imports the local module {module} inside of a function, and the worker will not have that module",
            f"Move `import {module}` to the top of the file: modules imported there travel along.",
        )
    for place in sorted(found.relative_imports):
        yield Finding(
            "relative_import",
            f"{place} has a relative import, and the worker will not have its package",
            "Import at the top of the file, by the absolute name.",
        )


def check_value(name: str, value: object) -> Iterator[Finding]:
    """Findings for one captured value."""
    size_bytes = approximate_size(value)
    if size_bytes >= LARGE_BYTES:
        yield Finding(
            "captured_huge",
            f"{name} is captured and takes {size_bytes / 1024 / 1024:.0f} MiB in the bundle",
            "Load it in an @stoker.enter hook, or send it as a file: Environment(files=[...]).",
            is_error=size_bytes >= HUGE_BYTES,
        )
    for path, item in _parts(name, value, _MAX_DEPTH):
        kind = unpicklable_kind(item)
        if kind:
            yield Finding(
                "captured_unpicklable",
                f"{path} is captured and is {kind}, which cannot travel to a worker",
                "Create it inside the function, or in an @stoker.enter hook.",
            )
        secret = looks_secret(path, item)
        if secret:
            yield secret_finding(path, secret)


def secret_finding(path: str, kind: str) -> Finding:
    """How a secret is reported: by its place, never by its value."""
    return Finding(
        "captured_secret",
        f"{path} looks like {kind} and would be stored in the bundle",
        "Store it with `stoker secret set NAME`, name it in secrets=[...], and read os.environ inside the function.",
    )


def unpicklable_kind(value: object) -> str | None:
    """What a value is that cannot travel ("a lock"), or None."""
    for cls in type(value).__mro__:
        kind = _UNPICKLABLE.get(f"{cls.__module__}.{cls.__qualname__}")
        if kind:
            return kind
    module = type(value).__module__
    if module.partition(".")[0] == "torch" and str(getattr(value, "device", "")).startswith(("cuda", "mps")):
        return "a tensor on a GPU"
    if module.startswith("asyncio.") and type(value).__name__.endswith("EventLoop"):
        return "an event loop"
    return None


def _parts(name: str, value: object, depth: int) -> Iterator[tuple[str, object]]:
    yield name, value
    if depth == 0:
        return
    inner: list[tuple[str, object]] = []
    if isinstance(value, dict):
        inner = [(f"{name}.{key}", item) for key, item in islice(value.items(), _MAX_ITEMS)]
    elif isinstance(value, (list, tuple, set, frozenset)):
        inner = [(f"{name}[{index}]", item) for index, item in enumerate(islice(value, _MAX_ITEMS))]
    elif is_local(type(value).__module__) and hasattr(value, "__dict__"):
        inner = [(f"{name}.{key}", item) for key, item in islice(vars(value).items(), _MAX_ITEMS)]
    for path, item in inner:
        yield from _parts(path, item, depth - 1)
