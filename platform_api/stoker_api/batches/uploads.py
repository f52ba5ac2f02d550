"""Input files that callers send, piece by piece.

The rule that must not break: a piece counts when it is whole and on disk, at the place that it was meant for; no file
grows beyond the limit, and no name of a caller's choice becomes a path.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from stoker.errors import Conflict, InvalidInput, NotFound, PayloadTooLarge
from stoker_api.batches.locations import UPLOAD_SCHEME, parse_location
from stoker_api.batches.outputs import told
from stoker_api.ids import new_id
from stoker_runtime.clock import Clock

_SUFFIX: Final = re.compile(r"(?:\.[A-Za-z0-9]{1,10}){1,2}$")
_OTHER: Final = re.compile(r"[^0-9A-Za-z_-]+")
_PIECE_BYTES: Final = 1024 * 1024


class Uploads:
    """A folder of files that belong to nobody but those who know their ids."""

    def __init__(self, folder: Path, max_bytes: int, clock: Clock) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._clock = clock

    def new(self, name: str) -> str:
        """The id of a new upload, with the suffix of ``name``, which says what is in it."""
        found = _SUFFIX.search(os.path.basename(name))
        if found is None:
            raise InvalidInput(f"the name of an upload must end in its suffix, got {name[:80]!r}", hint="e.g. a.jsonl")
        stem = _OTHER.sub("_", os.path.basename(name)[: found.start()])[:64].strip("-_")
        return new_id("upload", self._clock.now().timestamp()) + (f"-{stem}" if stem else "") + found[0].lower()

    async def add(self, upload_id: str, offset: int, pieces: AsyncIterator[bytes]) -> int:
        """Write a piece at ``offset``, which must be the file's end; the new size."""
        path = self._folder / parse_location(f"{UPLOAD_SCHEME}{upload_id}", ()).path
        with told(self._folder):
            descriptor = await asyncio.to_thread(self._open, path, offset)
        at, held = offset, bytearray()
        is_whole = False
        try:
            async for piece in pieces:
                held += piece
                if at + len(held) > self._max_bytes:
                    raise PayloadTooLarge(f"an upload may have {self._max_bytes} bytes at most")
                if len(held) >= _PIECE_BYTES:
                    at += await asyncio.to_thread(_write, descriptor, bytes(held), at)
                    held.clear()
            at += await asyncio.to_thread(_write, descriptor, bytes(held), at)
            with told(self._folder):
                await asyncio.to_thread(os.fsync, descriptor)
            is_whole = True
        finally:
            if not is_whole:
                os.ftruncate(descriptor, offset)
            os.close(descriptor)
        return at

    def _open(self, path: Path, offset: int) -> int:
        flags = os.O_WRONLY | os.O_CLOEXEC | (os.O_CREAT | os.O_EXCL if offset == 0 else 0)
        try:
            descriptor = os.open(path, flags, 0o600)
        except FileNotFoundError:
            raise NotFound(f"no upload {path.name}") from None
        except FileExistsError:
            raise Conflict(f"upload {path.name} has begun", hint="Go on at its end.") from None
        size_bytes = os.fstat(descriptor).st_size
        if size_bytes != offset:
            os.close(descriptor)
            raise Conflict(f"upload {path.name} has {size_bytes} bytes, and the piece is for {offset}")
        return descriptor


def _write(descriptor: int, data: bytes, at: int) -> int:
    with told(Path("the folder of uploads")):
        done = 0
        while done < len(data):
            done += os.pwrite(descriptor, data[done:], at + done)
    return done
