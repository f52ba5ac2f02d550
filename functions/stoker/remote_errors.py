"""Problem documents as exceptions: ours by their code, the user's own class where it can be had.

The rule that must not break: nothing that the platform sends makes us import a module or run code. A class is taken
from modules that are imported already, is an ``Exception``, and gets plain JSON arguments.
"""

from __future__ import annotations

import builtins
import inspect
import sys
from collections.abc import Iterator, Mapping
from typing import Final

from stoker.errors import (
    FunctionError,
    InvalidArguments,
    PlatformError,
    PreflightFailed,
    StartFailed,
)


class RemoteTraceback(Exception):
    """The traceback of the worker, as the cause of the exception that it raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return f"\n{self.text.rstrip()}"


def error_of_problem(problem: Mapping[str, object], *, retry_after_s: float | None = None) -> Exception:
    """The exception that a problem document stands for, ready to be raised."""
    code = str(problem.get("code", ""))
    if code == FunctionError.code:
        return _function_error(problem)
    cls = _CLASSES.get(code, PlatformError)
    detail = str(problem.get("detail") or problem.get("title") or "the platform gave no reason")
    error = _make(cls, detail, problem)
    hint = problem.get("hint")
    error.hint = str(hint) if hint else None
    error.phase = str(problem.get("phase") or cls.phase)
    error.retry_after_s = retry_after_s
    return error


def _make(cls: type[PlatformError], detail: str, problem: Mapping[str, object]) -> PlatformError:
    if issubclass(cls, InvalidArguments):
        return cls(detail, errors=tuple((_text(e, "path"), _text(e, "message")) for e in _objects(problem, "errors")))
    if issubclass(cls, PreflightFailed):
        return cls(
            detail,
            findings=tuple(
                (_text(f, "code"), _text(f, "message"), _text(f, "fix")) for f in _objects(problem, "findings")
            ),
        )
    if issubclass(cls, StartFailed):
        return cls(
            detail, start_phase=str(problem.get("start_phase") or "fork"), log_tail=str(problem.get("log_tail") or "")
        )
    return cls(detail)


def _function_error(problem: Mapping[str, object]) -> Exception:
    error_type = str(problem.get("error_type") or "builtins.Exception")
    message = str(problem.get("error_message") or "")
    given = problem.get("error_args")
    args = tuple(given) if isinstance(given, (list, tuple)) else ()
    trace = str(problem.get("traceback") or "")
    error = _own_class(error_type, message, args) or FunctionError(
        str(problem.get("detail") or f"{error_type}: {message}"),
        error_type=error_type,
        error_message=message,
        error_args=args,
        remote_traceback=trace,
    )
    if trace:
        error.__cause__ = RemoteTraceback(trace)
        if sys.version_info >= (3, 11):
            error.add_note(f"The remote traceback:\n{trace.rstrip()}")
    return error


def _own_class(error_type: str, message: str, args: tuple[object, ...]) -> Exception | None:
    cls = _find_class(error_type)
    if cls is None:
        return None
    try:
        error = cls(*args) if args else cls(message) if message else cls()
    except Exception:  # its __init__ wants something else; `except ItsClass` must still find it
        try:
            error = cls.__new__(cls, *(args or (message,)))
            str(error)  # may want what only __init__ sets
        except Exception:
            return None
    return error if isinstance(error, Exception) else None


def _find_class(error_type: str) -> type[Exception] | None:
    module_name, _, name = error_type.rpartition(".")
    for candidate in _modules(module_name):
        found = getattr(candidate, name, None)
        if inspect.isclass(found) and issubclass(found, Exception):
            return found
    return None


def _modules(name: str) -> Iterator[object]:
    if name in ("", "builtins"):
        yield builtins
        return
    if name in sys.modules:
        yield sys.modules[name]


def _objects(problem: Mapping[str, object], key: str) -> list[Mapping[str, object]]:
    value = problem.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def _text(item: Mapping[str, object], key: str) -> str:
    return str(item.get(key) or "")


def _tree(cls: type[PlatformError]) -> Iterator[type[PlatformError]]:
    yield cls
    for child in cls.__subclasses__():
        yield from _tree(child)


_CLASSES: Final[Mapping[str, type[PlatformError]]] = {
    cls.code: cls for cls in _tree(PlatformError) if "code" in vars(cls)
}
