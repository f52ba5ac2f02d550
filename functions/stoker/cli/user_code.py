"""Runs user code on this side, and shows what it raises as Python would.

The rule that must not break: a traceback holds the user's frames and none of ours.
"""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

from stoker.errors import FunctionError, InvalidInput, PlatformError

_OURS = str(Path(__file__).resolve().parent.parent)


@contextlib.contextmanager
def user_code(place: object) -> Iterator[None]:
    """Turn an exception of user code into ``FunctionError`` with its traceback; a file that Python cannot read into
    ``InvalidInput``, since none of it ran."""
    try:
        yield
    except PlatformError as error:
        if _first_user_frame(error.__traceback__) is not None and not error.hint:
            error.hint = f"It was raised in {place}."
        raise
    except SyntaxError as error:
        if not error.filename or not Path(error.filename).is_file():  # of eval(), a template, …: the code's own affair
            raise _as_function_error(error) from error
        line = (error.text or "").strip()
        raise InvalidInput(
            f"{error.filename}:{error.lineno}: {type(error).__name__}: {error.msg}",
            hint=f"Correct the line: {line}" if line else "Correct the file; python -m py_compile checks it.",
        ) from error
    except SystemExit as error:
        raise FunctionError(f"{place} ended with sys.exit({error.code!r})", error_type="builtins.SystemExit") from error
    except Exception as error:
        raise _as_function_error(error) from error


def _as_function_error(error: Exception) -> FunctionError:
    trace = _first_user_frame(error.__traceback__)
    return FunctionError(
        f"{type(error).__name__}: {error}",
        error_type=f"{type(error).__module__}.{type(error).__qualname__}",
        error_message=str(error),
        remote_traceback="".join(traceback.format_exception(type(error), error, trace)),
    )


def _first_user_frame(trace: TracebackType | None) -> TracebackType | None:
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if not name.startswith((_OURS, "<frozen", sys.base_prefix)):
            return trace
        trace = trace.tb_next
    return None
