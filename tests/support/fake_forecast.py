"""A forecast that says what a test tells it to."""

from __future__ import annotations

from collections.abc import Callable, Generator

from stoker.options import Scaling
from stoker_pool.forecast.policy import Window, Windows


class FakeForecast:
    """Windows and rates by function name, as set by the test; it remembers what it was told."""

    def __init__(self) -> None:
        self.planned: dict[str, Windows] = {}
        self.rates: dict[str, float] = {}
        self.calls: dict[str, list[tuple[float, int]]] = {}
        self.idle: dict[str, list[float]] = {}
        self.loads: dict[str, float] = {}
        self.forgotten: list[str] = []
        self.scalings: dict[str, Scaling] = {}
        self.asked = 0
        self.moved: set[str] = set()
        self.restored = b""
        self.is_broken = False
        self.off: set[str] = set()

    def plan(self, function: str, *spans: tuple[float, float]) -> None:
        """To be loaded in these spans, whatever happens."""
        self.planned[function] = tuple(Window(start_s, end_s) for start_s, end_s in spans)

    def note_calls(self, function: str, at_s: float, count: int = 1) -> None:
        self.calls.setdefault(function, []).append((at_s, count))

    def note_idle(self, function: str, at_s: float) -> None:
        self.idle.setdefault(function, []).append(at_s)

    def windows(self, function: str, now_s: float) -> Windows:
        self.asked += 1
        if self.is_broken:
            raise ArithmeticError("a singular matrix")
        return tuple(window for window in self.planned.get(function, ()) if window.end_s > now_s)

    def forget(self, function: str) -> None:
        self.forgotten.append(function)

    def set_scaling(self, function: str, scaling: Scaling) -> None:
        self.scalings[function] = scaling

    def note_load(self, function: str, load_s: float, memory_bytes: int) -> None:
        self.loads[function] = load_s

    def next_use_rate(self, function: str, now_s: float) -> float:
        if self.is_broken:
            raise ArithmeticError("a singular matrix")
        return self.rates.get(function, 0.0)

    def hazard(self, function: str, at_s: float) -> float:
        return self.rates.get(function, 0.0)

    def price_s(self, function: str) -> float:
        return 600.0

    def price_from(self, function: str) -> str:
        return ""

    def status(self, function: str) -> str:
        return "as a test says"

    def is_off(self, function: str) -> bool:
        return function in self.off

    def take_moved(self) -> frozenset[str]:
        moved, self.moved = frozenset(self.moved), set()
        return moved

    def state_in_steps(self) -> Generator[None, None, Callable[[], bytes]]:
        yield
        return lambda: b"learned"

    def restore(self, state: bytes) -> None:
        if state != b"learned":
            raise ValueError(f"the state is damaged: {state!r}")
        self.restored = state
