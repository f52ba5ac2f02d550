"""An exception of user code as data: type, message, plain arguments and a traceback that starts in user code.

The rule that must not break: describing an error never raises, whatever its ``__str__`` does.
"""

from __future__ import annotations

import traceback
from types import TracebackType
from typing import Final

import msgspec

from stoker.errors import InvalidArguments, PlatformError
from stoker_runtime.frames import ErrorBody

MAX_TRACEBACK_CHARS: Final = 64 * 1024
MAX_MESSAGE_CHARS: Final = 16 * 1024
_OUR_PACKAGE: Final = "stoker_runtime"
_PLAIN: Final = (str, int, float, bool, type(None), list, dict)
_encode: Final = msgspec.msgpack.Encoder().encode


def describe(error: BaseException) -> ErrorBody:
    """The error as it travels."""
    return ErrorBody(
        error_type=f"{type(error).__module__}.{type(error).__qualname__}",
        message=_text(error),
        args_json=_plain_args(error),
        traceback="" if isinstance(error, InvalidArguments) else _user_traceback(error),
        errors=list(error.errors) if isinstance(error, InvalidArguments) else [],
        hint=(error.hint or "") if isinstance(error, PlatformError) else "",
    )


def encode_error(error: BaseException) -> bytes:
    """The body of a failed result."""
    return _encode(describe(error))


def _text(error: BaseException) -> str:
    try:
        text = error.detail if isinstance(error, PlatformError) else str(error)
    except Exception as failure:
        text = f"(its __str__ raised {type(failure).__name__})"
    return text[:MAX_MESSAGE_CHARS].encode("utf-8", "replace").decode()


def _plain_args(error: BaseException) -> bytes:
    if not all(isinstance(argument, _PLAIN) for argument in error.args):
        return b""
    try:
        encoded = msgspec.json.encode(list(error.args))
    except Exception:
        return b""
    return encoded if len(encoded) <= MAX_MESSAGE_CHARS else b""


def _user_traceback(error: BaseException) -> str:
    try:
        lines = traceback.format_exception(type(error), error, _below_us(error.__traceback__))
    except Exception as failure:
        return f"(no traceback: {type(failure).__name__})"
    text = "".join(lines)
    if len(text) > MAX_TRACEBACK_CHARS:
        half = MAX_TRACEBACK_CHARS // 2
        text = f"{text[:half]}\n  ... {len(text) - 2 * half} characters left out ...\n{text[-half:]}"
    return text.encode("utf-8", "replace").decode()


def _below_us(trace: TracebackType | None) -> TracebackType | None:
    """Without our own frames at the top; whole where there are no others."""
    lowest = trace
    while lowest is not None:
        if not lowest.tb_frame.f_globals.get("__name__", "").startswith(_OUR_PACKAGE):
            return lowest
        lowest = lowest.tb_next
    return trace
