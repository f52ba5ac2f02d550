"""A ZIP from a stranger, opened within bounds, and ours, packed so that equal content gives equal bytes.

The rule that must not break: an archive is refused before a byte of it is unpacked when it claims too much or names
a path outside of its folder.
"""

from __future__ import annotations

import io
import stat
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from stoker.errors import InvalidInput

MAX_UNPACKED_BYTES: Final = 512 * 1024 * 1024
MAX_RATIO: Final = 200
MAX_ENTRIES: Final = 10_000
_RATIO_MATTERS_BYTES: Final = 1024 * 1024
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)
_STORE_AS_IS: Final = (".so", ".png", ".jpg", ".gz", ".zip", ".safetensors", ".onnx", ".bin")


@dataclass(frozen=True)
class Archive:
    """An open archive whose directory was found sound."""

    zip_file: zipfile.ZipFile
    names: tuple[str, ...]

    def read(self, name: str) -> bytes:
        """One member's bytes; ``KeyError`` when absent."""
        try:
            return self.zip_file.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
            raise InvalidInput(f"the bundle's {name} is damaged: {error}") from error


@contextmanager
def open_archive(data: bytes) -> Iterator[Archive]:
    """Open within bounds; raises ``InvalidInput``."""
    try:
        zip_file = zipfile.ZipFile(io.BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise InvalidInput(f"the bundle is no ZIP archive: {error}", hint="Send what build_bundle returned.") from error
    with zip_file:
        infos = zip_file.infolist()
        _check(infos)
        yield Archive(zip_file, tuple(info.filename for info in infos))


def pack_archive(members: Mapping[str, bytes]) -> bytes:
    """A ZIP whose bytes depend on the content alone: no times, no order of a folder."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as zip_file:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            info.compress_type = zipfile.ZIP_STORED if name.endswith(_STORE_AS_IS) else zipfile.ZIP_DEFLATED
            if len(content) > _RATIO_MATTERS_BYTES and len(zlib.compress(content, 1)) * MAX_RATIO < len(content) * 2:
                info.compress_type = zipfile.ZIP_STORED  # what shrinks that far would look like a bomb to a reader
            zip_file.writestr(info, content)
    return out.getvalue()


def _check(infos: list[zipfile.ZipInfo]) -> None:
    if len(infos) > MAX_ENTRIES:
        raise InvalidInput(f"a bundle must hold at most {MAX_ENTRIES} files, got {len(infos)}")
    total = sum(info.file_size for info in infos)
    if total > MAX_UNPACKED_BYTES:
        raise InvalidInput(f"a bundle must unpack to at most {MAX_UNPACKED_BYTES} bytes, got {total}")
    seen: set[str] = set()
    for info in infos:
        _check_name(info)
        if info.filename in seen:
            raise InvalidInput(f"the bundle holds {info.filename!r} twice")
        seen.add(info.filename)
        ratio = info.file_size / max(info.compress_size, 1)
        if info.file_size > _RATIO_MATTERS_BYTES and ratio > MAX_RATIO:
            raise InvalidInput(f"{info.filename!r} in the bundle shrinks {ratio:.0f} times, more than {MAX_RATIO}")


def _check_name(info: zipfile.ZipInfo) -> None:
    path = PurePosixPath(info.filename)
    is_outside = (
        path.is_absolute() or ".." in path.parts or "\\" in info.filename or any(":" in part for part in path.parts[:1])
    )
    if is_outside or not path.parts or "\0" in info.orig_filename:
        raise InvalidInput(f"the bundle names a path outside of itself: {info.filename!r}")
    if stat.S_ISLNK(info.external_attr >> 16):
        raise InvalidInput(f"the bundle holds a symbolic link: {info.filename!r}")
    if info.flag_bits & 0x1:
        raise InvalidInput(f"{info.filename!r} in the bundle is encrypted")
