"""Logs: their end, new lines as they come, and a reader that is too slow."""

from __future__ import annotations

import asyncio
import threading
from contextlib import aclosing
from pathlib import Path

from stoker_api.function_logs import FunctionLogs
from stoker_api.stores.records import FunctionKey
from stoker_runtime.rotating_log import LogLine, RotatingLog

KEY = FunctionKey("default", "talks")


def line(number: int, replica: str = "r1") -> LogLine:
    return LogLine(f"2026-01-01T00:00:00.{number:03}", replica, "", "stdout", f"line {number}")


def write(root: Path, revision: int, *lines: LogLine, max_bytes: int = 1 << 20) -> Path:
    path = root / "default" / "talks" / f"{revision}.log"
    log = RotatingLog(path, max_bytes)
    for each in lines:
        log.append([each])
    log.close()
    return path


async def test_the_end_is_read_over_revisions_and_rotations(tmp_path: Path) -> None:
    write(tmp_path, 1, line(1), line(3), line(5), max_bytes=200)
    write(tmp_path, 2, line(2), line(4), line(6))
    logs = FunctionLogs(tmp_path)
    assert [each.line for each in await logs.tail(KEY, 4, None)] == ["line 3", "line 4", "line 5", "line 6"]
    assert [each.line for each in await logs.tail(KEY, 2, 1)] == ["line 3", "line 5"]
    assert await logs.tail(KEY, 0, None) == []
    assert await logs.tail(FunctionKey("default", "silent"), 9, None) == []


async def test_a_line_that_was_cut_short_is_skipped(tmp_path: Path) -> None:
    path = write(tmp_path, 1, line(1))
    path.write_bytes(path.read_bytes() + b'{"time": "20')
    assert [each.line for each in await FunctionLogs(tmp_path).tail(KEY, 9, None)] == ["line 1"]


async def test_a_follower_gets_lines_of_its_function_from_another_thread(tmp_path: Path) -> None:
    logs = FunctionLogs(tmp_path)
    logs.start(asyncio.get_running_loop())
    async with logs.following(KEY, 2) as follower:
        for name, revision in (("talks", 1), ("other", 2), ("talks", 2)):
            path = tmp_path / "default" / name / f"{revision}.log"
            writer = threading.Thread(target=logs.on_lines, args=(path, [line(revision, name)]))
            writer.start()
            await asyncio.to_thread(writer.join)
        async with aclosing(follower.lines()) as lines:
            assert await anext(lines) == line(2, "talks")
            logs.close()
            assert [each async for each in lines] == []


async def test_a_slow_follower_is_told_what_it_missed(tmp_path: Path) -> None:
    logs = FunctionLogs(tmp_path)
    async with logs.following(KEY, None) as follower:
        for _ in range(3):
            follower.put([line(number) for number in range(5000)])
        follower.close()
        got = [each async for each in follower.lines()]
    assert got[0].line == "[5000 lines skipped: read slower than they came]"
    assert len(got) == 10_001
