"""What comes of a batch that failed as a whole: its calls are told apart, so that none fails for another.

The rule that must not break: suspects that were parked behind a frame leave the parking when the frame is answered or
lost, whatever came of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from stoker.options import FunctionOptions
from stoker_runtime.frames import ResultHeader, Verdict
from stoker_runtime.invocation import Invocation
from stoker_runtime.replica_link import ReplicaLink
from stoker_runtime.reruns import Reruns
from stoker_runtime.sent_frame import SentFrame

_UNKNOWN: Final = int(Verdict.UNKNOWN)
_BAD: Final = int(Verdict.BAD)

OnResult = Callable[[ReplicaLink, Invocation, ResultHeader, "bytes | memoryview", int], None]


class Isolation:
    """Draws the conclusions from frames of batches, as ``narrowing.py`` has them."""

    def __init__(self, options: FunctionOptions, reruns: Reruns, on_result: OnResult) -> None:
        self._isolates = options.batch is not None and options.batch.isolate_errors
        self._reruns = reruns
        self._on_result = on_result

    def on_frame_answered(self, link: ReplicaLink, frame: SentFrame, now_ns: int) -> None:
        """A frame that failed, or that suspects wait for, is fully answered."""
        suspects: list[Invocation] = []
        accused = 0
        unknown: list[Invocation] = []
        for invocation, result, body in frame.failed or ():
            if result.verdict == _BAD or not self._isolates:
                self._on_result(link, invocation, result, body, now_ns)
            elif result.verdict == _UNKNOWN:
                unknown.append(invocation)
            else:
                accused += 1
                suspects.append(invocation)
        before = frame.suspects_below
        if frame.rest is not None and _passed(frame):
            self._reruns.accuse(frame.rest)
        elif frame.rest is not None:
            self._reruns.clear(frame.rest)
        self._reruns.put_back([call for call in unknown if call.outcome is None], before)
        suspects = [call for call in suspects if call.outcome is None]
        if suspects:
            is_whole = len(suspects) == accused  # else the bad one may have left
            self._reruns.narrow_down(suspects, before, are_suspects=is_whole)

    def take_back(self, link: ReplicaLink, now_ns: int) -> tuple[list[Invocation], list[Invocation]]:
        """What a lost replica held, as (may have started, not started)."""
        frames = list(link.frames)
        held = link.take_in_flight(now_ns)
        for frame in frames:
            if frame.rest is not None:
                self._reruns.clear(frame.rest)
        return held


def _passed(frame: SentFrame) -> bool:
    """The suspects of a frame are good, whatever came of the mates that filled it up."""
    if frame.size == 1:
        return frame.failed is None
    below = frame.suspects_below
    return all(invocation.call_id >= below for invocation, _, _ in frame.failed or ())
