"""What functions printed: the end of their logs, and new lines as they come.

The rule that must not break: a follower that reads slowly loses the oldest lines and is told how many; it never holds
up the thread that writes logs.
"""

from __future__ import annotations

import asyncio
import shutil
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec

from stoker_api.stores.records import FunctionKey
from stoker_runtime.rotating_log import LogLine

MAX_LINES: Final = 10_000
_MAX_WAITING: Final = 10_000
_TAIL_BYTES: Final = 4 * 1024 * 1024
_decode: Final = msgspec.json.Decoder(LogLine).decode


class LogFollower:
    """One reader of a function's new lines."""

    def __init__(self, revision: int | None) -> None:
        self.revision = revision
        self._lines: deque[LogLine] = deque(maxlen=_MAX_WAITING)
        self._dropped = 0
        self._arrived = asyncio.Event()
        self._is_closed = False

    def put(self, lines: list[LogLine]) -> None:
        """New lines; on the loop's thread."""
        self._dropped += max(0, len(self._lines) + len(lines) - _MAX_WAITING)
        self._lines.extend(lines)
        self._arrived.set()

    def close(self) -> None:
        """Nothing more will come."""
        self._is_closed = True
        self._arrived.set()

    async def lines(self) -> AsyncGenerator[LogLine, None]:
        """Lines as they come, until closed."""
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            if self._dropped:
                notice = f"[{self._dropped} lines skipped: read slower than they came]"
                self._dropped = 0
                yield LogLine("", "", "", "platform", notice)
            while self._lines:
                yield self._lines.popleft()
            if self._is_closed:
                return


class FunctionLogs:
    """Reads ``<root>/<namespace>/<name>/<revision>.log``, and hands new lines to followers."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._followers: dict[FunctionKey, set[LogFollower]] = {}
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Followers live on ``loop``."""
        self._loop = loop

    def on_lines(self, path: Path, lines: list[LogLine]) -> None:
        """The log collector wrote lines; on its thread."""
        loop = self._loop
        if loop is None or not self._followers:
            return
        try:
            loop.call_soon_threadsafe(self._publish, path, lines)
        except RuntimeError:
            pass  # the loop has ended: so have its followers

    async def tail(self, key: FunctionKey, lines: int, revision: int | None) -> list[LogLine]:
        """The last lines, oldest first."""
        return await asyncio.to_thread(self._tail, key, lines, revision)

    @asynccontextmanager
    async def following(self, key: FunctionKey, revision: int | None) -> AsyncIterator[LogFollower]:
        """Follow while the block runs."""
        follower = LogFollower(revision)
        self._followers.setdefault(key, set()).add(follower)
        try:
            yield follower
        finally:
            followers = self._followers[key]
            followers.discard(follower)
            if not followers:
                del self._followers[key]

    async def forget(self, key: FunctionKey) -> None:
        """Remove what a deleted function has printed."""
        await asyncio.to_thread(shutil.rmtree, self._root / key.namespace / key.name, True)

    def close(self) -> None:
        """End every follower: the platform drains."""
        for followers in self._followers.values():
            for follower in followers:
                follower.close()

    def _publish(self, path: Path, lines: list[LogLine]) -> None:
        key = FunctionKey(path.parent.parent.name, path.parent.name)
        for follower in self._followers.get(key, ()):
            if follower.revision is None or path.stem == str(follower.revision):
                follower.put(lines)

    def _tail(self, key: FunctionKey, lines: int, revision: int | None) -> list[LogLine]:
        folder = self._root / key.namespace / key.name
        pattern = "*.log" if revision is None else f"{revision}.log"
        found: list[LogLine] = []
        for path in folder.glob(pattern):
            own: deque[LogLine] = deque(maxlen=lines)
            for part in (path.with_name(f"{path.name}.1"), path):
                own.extend(_read(part))
            found += own
        found.sort(key=lambda line: line.time)
        return found[-lines:] if lines else []


def _read(path: Path) -> Iterator[LogLine]:
    try:
        with open(path, "rb") as file:
            size = file.seek(0, 2)
            file.seek(max(0, size - _TAIL_BYTES))
            if size > _TAIL_BYTES:
                file.readline()
            data = file.read()
    except OSError:
        return
    for raw in data.splitlines():
        try:
            yield _decode(raw)
        except msgspec.DecodeError:
            continue  # a line that a kill cut short
