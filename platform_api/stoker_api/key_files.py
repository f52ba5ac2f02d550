"""The platform's own keys: made on first use, in its data directory.

The rule that must not break: a key file is readable by its owner alone, and it is never replaced.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import Final

from stoker.errors import Conflict

KEY_BYTES: Final = 32


def load_or_make_key(path: Path) -> bytes:
    """32 random bytes, the same at every start."""
    try:
        key = path.read_bytes()
    except FileNotFoundError:
        key = secrets.token_bytes(KEY_BYTES)
        _write(path, key)
    if len(key) != KEY_BYTES:
        raise Conflict(f"{path} must hold {KEY_BYTES} bytes, got {len(key)}", hint="Restore it from a copy.")
    if path.stat().st_mode & 0o077:
        os.chmod(path, 0o600)
    return key


def write_private(path: Path, data: bytes) -> None:
    """Replace a file that only its owner may read, whole or not at all."""
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    _write(draft, data)
    os.replace(draft, path)


def _write(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
