"""Who made a bundle, and that nobody changed it since: ed25519 over the bundle's hash.

The rule that must not break: ``verify`` returns only when hash and signature both fit; whatever else happens is
``BundleTampered``. An absent key or signature never passes.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from stoker.errors import BundleTampered, Forbidden

KEY_BYTES: Final = 32
KEY_FILE: Final = "deploy.key"
_PREFIX: Final = b"stoker-bundle-v1:"


def new_private_key() -> bytes:
    """A fresh private key, 32 raw bytes."""
    return secrets.token_bytes(KEY_BYTES)


def public_key_of(private_key: bytes) -> bytes:
    """The public half, 32 raw bytes."""
    return Ed25519PrivateKey.from_private_bytes(private_key).public_key().public_bytes_raw()


def bundle_sha256(data: bytes) -> str:
    """The content hash by which a bundle is known."""
    return hashlib.sha256(data).hexdigest()


def sign(data: bytes, private_key: bytes) -> bytes:
    """A detached signature over the bundle's hash."""
    return Ed25519PrivateKey.from_private_bytes(private_key).sign(_PREFIX + bundle_sha256(data).encode())


def verify(data: bytes, signature: bytes, public_key: bytes, expected_sha256: str) -> None:
    """Raise ``BundleTampered`` unless ``data`` is what the holder of the key signed."""
    found = bundle_sha256(data)
    if not secrets.compare_digest(found.encode(), expected_sha256.encode()):
        raise BundleTampered(f"bundle hash must be {expected_sha256}, got {found}", hint="Deploy it again.")
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, _PREFIX + found.encode())
    except (InvalidSignature, ValueError) as error:
        raise BundleTampered(
            f"the signature of bundle {found[:12]} does not fit its deployer's key", hint="Deploy it again."
        ) from error


def deployer_key(config_dir: Path) -> bytes:
    """The deployer's private key in ``config_dir``; made on first use, readable by its owner alone."""
    path = config_dir / KEY_FILE
    if not path.exists():
        _write_once(path, new_private_key())
    if path.stat().st_mode & 0o077:
        raise Forbidden(f"{path} must be readable by its owner alone", hint=f"chmod 600 {path}")
    key = path.read_bytes()
    if len(key) != KEY_BYTES:
        raise Forbidden(f"{path} must hold {KEY_BYTES} bytes, got {len(key)}", hint="Remove it to get a new key.")
    return key


def _write_once(path: Path, key: bytes) -> None:
    """Whole or not at all, and the first of several writers wins."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    descriptor = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(key)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process made the key first: both use that one
    finally:
        draft.unlink()
