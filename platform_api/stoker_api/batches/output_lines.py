"""What the output says of one row, as one line of JSON.

The rule that must not break: the same answer gives the same bytes, and a line never holds a line's end.
"""

from __future__ import annotations

from typing import Final

import msgspec

from stoker.carried_bytes import carried
from stoker_api.batches.rows import RowProblem

_encode = msgspec.json.Encoder().encode
_JSON: Final = ("", "application/json")
_NEWLINE: Final = b"\n"


def result_line(key: bytes, body: bytes, content_type: str) -> bytes:
    """``{"key": …, "result": …}``; bytes as the SDK carries them."""
    media_type = content_type.partition(";")[0].strip().lower()
    if media_type in _JSON or media_type.endswith("+json"):
        result = body or b"null"
        if _NEWLINE in result:
            result = _encode(msgspec.json.decode(result))
    elif media_type.startswith("text/"):
        result = _encode(body.decode("utf-8", "replace"))
    else:
        result = _encode(carried(body))
    return b'{"key":%b,"result":%b}' % (key, result)


def error_line(key: bytes | None, number: int, where: str, problem: RowProblem) -> bytes:
    """What the error file says of a row."""
    document: dict[str, object] = {
        "key": None if key is None else msgspec.Raw(key),
        "row": number,
        "where": where,
        "code": problem.code,
        "message": problem.message,
    }
    if problem.error_type:
        document["error_type"] = problem.error_type
    return _encode(document)
