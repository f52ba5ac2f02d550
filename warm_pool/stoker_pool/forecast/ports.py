"""What the pool asks of a forecast beyond its windows."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Protocol

from stoker.options import Scaling
from stoker_pool.forecast.policy import WarmthPolicy


class Forecast(WarmthPolicy, Protocol):
    """A warmth policy that learns, tells what it knows, and can be put away."""

    def set_scaling(self, function: str, scaling: Scaling) -> None:
        """What a cold start is worth to the function, in its own words."""

    def note_load(self, function: str, load_s: float, memory_bytes: int) -> None:
        """A start was measured."""

    def next_use_rate(self, function: str, now_s: float) -> float:
        """Expected calls per second in the time to come: what staying loaded is worth."""
        ...

    def hazard(self, function: str, at_s: float) -> float:
        """Calls per second expected at ``at_s``, given none until then."""
        ...

    def price_s(self, function: str) -> float:
        """Idle seconds that one cold start of the function is worth now."""
        ...

    def price_from(self, function: str) -> str:
        """In words: whose price it is, where it is not the function's own; else empty."""
        ...

    def status(self, function: str) -> str:
        """In words: what it goes by, or why it is turned off; empty where it knows nothing."""
        ...

    def is_off(self, function: str) -> bool:
        """It loses against a plain keep-alive here, and its windows are that keep-alive's."""
        ...

    def take_moved(self) -> frozenset[str]:
        """Functions whose windows have changed since this was last asked, because others were called."""
        ...

    def state_in_steps(self) -> Generator[None, None, Callable[[], bytes]]:
        """All that was learned, read in short steps with calls in between; what it returns packs it, in any thread."""
        ...

    def restore(self, state: bytes) -> None:
        """Go on from ``state``; raises ``ValueError`` where it is damaged or of another version."""


class ForecastStore(Protocol):
    """Where a forecast's state is kept between runs of the platform."""

    def load(self) -> bytes | None:
        """What was saved last; None where nothing was."""
        ...

    def save(self, state: bytes) -> None:
        """Replace it, whole or not at all. Called in a thread."""
