"""Fixed keep-alive, and Knative's window.

* Fixed: what AWS Lambda, Azure Functions, OpenWhisk and Modal's ``scaledown_window`` do, as Shahrad et al. (Serverless
  in the Wild, USENIX ATC '20, section 2 and 5.2) describe it.
* Knative: the KPA averages concurrency over ``stable-window`` (60 s) and, once the average is zero, waits
  ``scale-to-zero-grace-period`` (30 s) at most before the last pod goes
  (https://knative.dev/docs/serving/autoscaling/scale-to-zero/). The grace period is an upper bound for taking the pod
  out of the route, so both together are the longest that it stays; ``grace_s=0`` gives the shortest.
"""

from __future__ import annotations

from typing import Final

from stoker_pool.forecast.policy import Window, Windows

STABLE_WINDOW_S: Final = 60.0
GRACE_PERIOD_S: Final = 30.0


class FixedKeepAlive:
    """Loaded for so long after the last call; never comes back by itself."""

    def __init__(self, keep_alive_s: float) -> None:
        self.keep_alive_s = keep_alive_s
        self._last_s: dict[str, float] = {}

    def note_calls(self, function: str, at_s: float, count: int = 1) -> None:
        self._last_s[function] = at_s

    def note_idle(self, function: str, at_s: float) -> None:
        self._last_s[function] = at_s

    def windows(self, function: str, now_s: float) -> Windows:
        last_s = self._last_s.get(function)
        if last_s is None or now_s >= last_s + self.keep_alive_s:
            return ()
        return (Window(last_s, last_s + self.keep_alive_s),)

    def forget(self, function: str) -> None:
        self._last_s.pop(function, None)


def knative(grace_s: float = GRACE_PERIOD_S) -> FixedKeepAlive:
    """The KPA's windows at their defaults."""
    return FixedKeepAlive(STABLE_WINDOW_S + grace_s)
