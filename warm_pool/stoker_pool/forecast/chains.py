"""Functions that follow others: A is called, and B is called four seconds later.

The rule that must not break: bounded. Each function has at most ``_LEADERS`` candidates for a leader, each burst looks
back at no more than ``_LOOKED_BACK`` bursts of others, and a pair is believed only on what followed its discovery.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from stoker_pool.forecast.policy import Window

_LEADERS: Final = 2
_FOLLOWERS: Final = 16
_LOOKED_BACK: Final = 8
_WITHIN_S: Final = 120.0
_ENOUGH: Final = 4
_KEPT: Final = 0.95
_STALE: Final = 0.05
_ALWAYS: Final = 0.5
"""Of the times that the leader was called while the follower was away: what follows less often is no chain."""


@dataclass(slots=True)
class _Link:
    led: float = 0.0
    """Bursts of the leader since the pair was found, recent ones most; and those of them that were followed."""
    followed: float = 0.0
    seen: int = 0
    lag_s: float = 0.0
    spread_s: float = 0.0
    open_s: float = -math.inf
    """When the leader was last called and has not been followed since."""

    def lead(self, at_s: float) -> None:
        self.led = self.led * _KEPT + 1.0
        self.followed *= _KEPT
        self.open_s = at_s

    def follow(self, at_s: float) -> None:
        lag_s = at_s - self.open_s
        if not 0.0 <= lag_s <= _WITHIN_S:
            return
        self.open_s = -math.inf
        if abs(lag_s - self.lag_s) <= self.half_s:
            self.followed += 1.0  # where it was expected: what comes at another lag follows by chance
        step = 0.5 if self.seen == 0 else 0.2
        self.spread_s += step * (abs(lag_s - self.lag_s) - self.spread_s) if self.seen else 0.0
        self.lag_s = lag_s if self.seen == 0 else self.lag_s + step * (lag_s - self.lag_s)
        self.seen += 1

    @property
    def half_s(self) -> float:
        """Half the width of the window at the usual lag."""
        return max(3.0 * self.spread_s, 1.0, 0.1 * self.lag_s)


class Chains:
    """Over all functions of a platform."""

    def __init__(self) -> None:
        self._recent: deque[tuple[str, float]] = deque(maxlen=_LOOKED_BACK)
        self._links: dict[str, dict[str, _Link]] = {}
        self._followers: dict[str, list[str]] = {}

    def note_burst(self, function: str, at_s: float, is_away: Callable[[str, float], bool]) -> list[str]:
        """A burst of ``function`` began; answers those that may follow it soon, whose windows have changed.

        ``is_away(follower, at_s)``: it is not loaded anyway. Only then does its coming tell what a window is worth.
        """
        links = self._links.setdefault(function, {})
        for link in links.values():
            link.follow(at_s)
        for leader, led_s in self._recent:
            if leader == function or leader in links or not 0.0 < at_s - led_s <= _WITHIN_S:
                continue
            weakest = self._weakest(links) if len(links) >= _LEADERS else None
            if weakest is not None and not self._is_stale(links[weakest]):
                break  # nobody else can take its place
            self._propose(leader, function, links, weakest)
        self._recent.append((function, at_s))
        moved = []
        for follower in self._followers.get(function, ()):
            if not is_away(follower, at_s):
                continue
            link = self._links[follower][function]
            link.lead(at_s)
            if self._is_believed(link):
                moved.append(follower)
        return moved

    def window(self, function: str, price_s: float, now_s: float) -> Window | None:
        """When ``function`` is due after a leader's call, where that is worth being loaded."""
        best: Window | None = None
        for link in self._links.get(function, {}).values():
            if not self._is_believed(link):
                continue
            half_s = link.half_s
            due = Window(max(link.open_s + link.lag_s - half_s, link.open_s), link.open_s + link.lag_s + half_s)
            share = (link.followed - math.sqrt(link.followed)) / (link.led + 1.0)  # what is sure of it
            is_worth = share * price_s >= due.end_s - due.start_s
            if is_worth and due.end_s > now_s and (best is None or due.start_s < best.start_s):
                best = Window(max(due.start_s, now_s), due.end_s)
        return best

    def forget(self, function: str) -> None:
        """The function was deleted."""
        for leader in self._links.pop(function, {}):
            self._followers[leader].remove(function)
        for follower in self._followers.pop(function, ()):
            self._links[follower].pop(function, None)

    def _propose(self, leader: str, follower: str, links: dict[str, _Link], weakest: str | None) -> None:
        followers = self._followers.setdefault(leader, [])
        if len(followers) >= _FOLLOWERS:
            return
        if weakest is not None:
            del links[weakest]
            self._followers[weakest].remove(follower)
        links[leader] = _Link()
        followers.append(follower)

    @staticmethod
    def _weakest(links: dict[str, _Link]) -> str:
        return min(links, key=lambda name: links[name].followed / (links[name].led + 1.0))

    @staticmethod
    def _is_stale(link: _Link) -> bool:
        return link.led >= _ENOUGH and link.followed / link.led <= _STALE

    @staticmethod
    def _is_believed(link: _Link) -> bool:
        return link.followed >= _ENOUGH and link.followed >= _ALWAYS * link.led
