"""Compressed inputs, told by their first bytes.

The rule that must not break: what a suffix promises and the content does not keep is an error that says both.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
from typing import BinaryIO, Final, cast

from stoker.errors import InvalidInput

_MAGIC: Final = {"gz": b"\x1f\x8b", "bz2": b"BZh", "xz": b"\xfd7zXZ\x00", "zst": b"\x28\xb5\x2f\xfd"}
_SUFFIXES: Final = {".gz": "gz", ".bz2": "bz2", ".xz": "xz", ".zst": "zst"}
_BUFFER_BYTES: Final = 1024 * 1024
_CALLS: Final = {"gz": "gzip", "bz2": "bzip2", "xz": "xz", "zst": "Zstandard"}


def without_compression(name: str) -> tuple[str, str | None]:
    """A file's name without the suffix of a compression, and which that is."""
    for suffix, kind in _SUFFIXES.items():
        if name.lower().endswith(suffix):
            return name[: -len(suffix)], kind
    return name, None


def decompressed(file: io.BufferedReader, name: str) -> BinaryIO:
    """The plain content; ``file`` stands at its beginning."""
    _, promised = without_compression(name)
    head = file.peek(8)[:8]
    found = next((kind for kind, magic in _MAGIC.items() if head.startswith(magic)), None)
    if promised is not None and found != promised and head:
        raise InvalidInput(
            f"{name} is not {_CALLS[promised]}, as its suffix says: it begins with {head!r}",
            hint="Give the file the suffix of what is in it.",
        )
    if found == "gz":
        return cast(BinaryIO, gzip.GzipFile(fileobj=file))
    if found == "bz2":
        return cast(BinaryIO, bz2.BZ2File(file))
    if found == "xz":
        return cast(BinaryIO, lzma.LZMAFile(file))
    if found == "zst":
        return _zstandard(file, name)
    return file


def _zstandard(file: io.BufferedReader, name: str) -> BinaryIO:
    try:
        from stoker_api.batches.zstd_stream import ZstdStream
    except ImportError as error:
        raise InvalidInput(f"{name}: Zstandard needs pyarrow", hint="Install stoker[batch], or take gzip.") from error
    return io.BufferedReader(ZstdStream(file), _BUFFER_BYTES)


BROKEN: Final = (EOFError, gzip.BadGzipFile, lzma.LZMAError, OSError)
"""What reading a damaged one raises."""
