"""Ids of durable things: a word for the kind, then 26 characters that sort by the time at which they were made.

The rule that must not break: two ids are never equal, and of two made by one process the later one sorts behind.
"""

from __future__ import annotations

import os
import re
import threading
from typing import Final

_ALPHABET: Final = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's, so that no letter is taken for a digit
_RANDOM_BITS: Final = 80
_CHARS: Final = 26
ID: Final = re.compile(r"[a-z]+_[0-9a-hjkmnp-tv-z]{26}")

_lock = threading.Lock()
_last = [0]


def new_id(kind: str, now_s: float) -> str:
    """A new id such as ``job_01jd…``; ``now_s`` is Unix time."""
    fresh = int(max(now_s, 0.0) * 1000) << _RANDOM_BITS | int.from_bytes(os.urandom(_RANDOM_BITS // 8), "big")
    with _lock:
        if fresh <= _last[0]:  # the same millisecond, or a clock that went back: one more than the one before
            fresh = _last[0] + 1
        _last[0] = fresh
    return f"{kind}_{_text(fresh)}"


def _text(number: int) -> str:
    digits = []
    for _ in range(_CHARS):
        digits.append(_ALPHABET[number & 31])
        number >>= 5
    return "".join(reversed(digits))
