"""A light load that runs while faults are injected, and counts what came of every call.

The rule that must not break: a call that gets no answer, a wrong one, or one that is no clear problem, is kept as lost.
"""

from __future__ import annotations

import threading
from collections import Counter
from types import TracebackType

import httpx

from tests.support.running_platform import LIMIT_S, RunningPlatform

MAY_FAIL = frozenset({"worker_lost"})
"""What a call that must not run twice may be told."""


class Load:
    """Threads that call ``steady`` (may run twice, so none may be lost) and ``once``. Context manager."""

    def __init__(self, platform: RunningPlatform, callers: int = 3) -> None:
        self._platform = platform
        self._is_over = threading.Event()
        self._is_halted = threading.Event()
        self._callers = callers
        self.answered: Counter[str] = Counter()
        self.lost: list[str] = []

    def __enter__(self) -> Load:
        self._is_over.clear()
        functions = ["steady"] * self._callers + ["once"]
        self._threads = [
            threading.Thread(target=self._call, args=(function, number * 1_000_000), daemon=True)
            for number, function in enumerate(functions)
        ]
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(LIMIT_S)
        assert not [thread for thread in self._threads if thread.is_alive()], "a call never ended"

    def check(self) -> None:
        """Fails where a call was lost."""
        assert not self.lost, f"{len(self.lost)} calls lost of {self.answered}: {self.lost[:5]}"

    def _call(self, function: str, number: int) -> None:
        with self._platform.client() as client:
            while True:  # once at least, however short the fault
                number += 1
                self._note(function, number, client)
                if self._is_over.is_set():
                    return

    def _note(self, function: str, number: int, client: httpx.Client) -> None:
        try:
            answer = client.post(f"/f/{function}", json={"x": number})
        except httpx.HTTPError as error:
            self.lost.append(f"{function}({number}): {error!r}")
            return
        if answer.status_code == 200 and answer.json() == number * 2:
            self.answered[function] += 1
            return
        code = answer.json().get("code") if answer.status_code >= 400 else answer.text
        if function == "once" and code in MAY_FAIL and answer.json()["hint"]:
            self.answered[str(code)] += 1
        else:
            self.lost.append(f"{function}({number}): {answer.status_code} {answer.text[:300]}")
