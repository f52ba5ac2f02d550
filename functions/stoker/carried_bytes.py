"""Bytes among the other arguments of an SDK call, inside its JSON: ``{"$stoker.bytes": "<base64>"}``.

The rule that must not break: only SDK calls are read so, and a call without bytes pays one search of its body.
"""

from __future__ import annotations

import base64
import re
from typing import Final

_MARK: Final = "$stoker.bytes"
_find_mark = re.compile(re.escape(_MARK).encode()).search


def carried(value: bytes | bytearray | memoryview) -> dict[str, str]:
    """As JSON can hold it."""
    return {_MARK: base64.b64encode(value).decode("ascii")}


def has_carried(body: bytes | bytearray | memoryview) -> bool:
    """Some bytes may be in there."""
    return _find_mark(body) is not None


def restored(value: object) -> object:
    """The same with its bytes back; raises ``ValueError`` for what ``carried`` never wrote."""
    if isinstance(value, list):
        return [restored(item) for item in value]
    if isinstance(value, dict):
        if len(value) == 1 and isinstance(text := value.get(_MARK), str):
            return base64.b64decode(text, validate=True)
        return {key: restored(item) for key, item in value.items()}
    return value
