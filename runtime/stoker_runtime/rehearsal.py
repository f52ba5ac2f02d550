"""One start and one call, rehearsed in the zygote with a function of our own.

The rule that must not break: it leaves nothing behind but loaded modules and warm code, so that a worker's own start
does not pay for imports that libraries put off until their first use (pydantic's alone take 0.15 s).
"""

from __future__ import annotations

import sys
from typing import Final

from stoker.bundle import build_source_bundle, bundle_sha256, load_target, sign, verify
from stoker.signing import new_private_key, public_key_of
from stoker_runtime.entries import entries_of
from stoker_runtime.execution import run_call
from stoker_runtime.frames import CallHeader
from stoker_runtime.json_schema import function_schema

_SOURCE: Final = "def rehearse(x: int, y: list[str] | None = None) -> int:\n    return x\n"


def rehearse() -> None:
    """Verify, load and call a typed function."""
    loaded = set(sys.modules)
    key = new_private_key()
    data = build_source_bundle(_SOURCE)
    sha256 = bundle_sha256(data)
    verify(data, sign(data, key), public_key_of(key), sha256)
    entries = entries_of(load_target(data, "rehearse"), is_batched=False)
    entry = entries.by_name[""]
    function_schema({"": entry.binder}, "")
    run_call(entry, CallHeader(1, "", 10), b'{"x": "no"}')
    for name in set(sys.modules) - loaded:
        if name.startswith("stoker_user_"):
            del sys.modules[name]
