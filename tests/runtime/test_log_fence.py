"""A fence in the log collector: what was written before it is handed on before it; progress is told from printing."""

from __future__ import annotations

import os
import threading
from pathlib import Path

from stoker_runtime.log_collector import LogCollector
from stoker_runtime.rotating_log import LogLine
from stoker_runtime.stdio import MARK, MARK_END, PROGRESS_MARK, PROGRESS_STREAM


def test_all_that_was_written_before_a_fence_is_handed_on_before_it(tmp_path: Path) -> None:
    seen: list[LogLine] = []
    collector = LogCollector(lambda _path, lines: seen.extend(lines))
    collector.start()
    _, stdout, stderr = collector.capture("replica", tmp_path / "1.log")
    counts = []
    for number in range(50):
        os.write(stdout, f"{MARK}job_1{MARK_END}line {number}\n".encode())
        passed = threading.Event()

        def then(passed: threading.Event = passed) -> None:
            counts.append(len(seen))
            passed.set()

        collector.fence(then)
        assert passed.wait(10)
    os.close(stdout)
    os.close(stderr)
    collector.close()
    assert counts == list(range(1, 51))
    assert {line.invocation for line in seen} == {"job_1"}


def test_progress_is_a_stream_of_its_own_and_only_inside_a_call(tmp_path: Path) -> None:
    seen: list[LogLine] = []
    collector = LogCollector(lambda _path, lines: seen.extend(lines))
    collector.start()
    _, stdout, stderr = collector.capture("replica", tmp_path / "1.log")
    os.write(stdout, f"{MARK}job_1{MARK_END}{PROGRESS_MARK}0.5 half\n{PROGRESS_MARK}0.9 forged\n".encode())
    os.close(stdout)
    os.close(stderr)
    collector.close()
    assert [(line.stream, line.invocation) for line in seen] == [(PROGRESS_STREAM, "job_1"), ("stdout", "")]
    assert seen[0].line == "0.5 half"
