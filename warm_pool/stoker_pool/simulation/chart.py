"""The chart of cold starts against waste as SVG, without any package.

The rule that must not break: it reads on a light and on a dark page, and by those who do not tell colours apart: each
curve has its own mark.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final
from xml.sax.saxutils import escape

from stoker_pool.simulation.pareto import Point

_WIDTH: Final = 720
_HEIGHT: Final = 440
_LEFT: Final = 78
_RIGHT: Final = 18
_TOP: Final = 44
_BOTTOM: Final = 56
_LEGEND_ROW: Final = 20
_LEGEND_MARK: Final = 14
_LEGEND_GAP: Final = 22
_LETTER: Final = 6.8
"""About the width of a letter of the legend."""
COLOURS: Final = ("#d9480f", "#1971c2", "#2f9e44", "#9c36b5", "#e8a400", "#0c8599", "#868e96")
_MARKS: Final = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0 -8 0z",
    "M-4 -4h8v8h-8z",
    "M0 -5l5 9h-10z",
    "M0 -5l5 5l-5 5l-5 -5z",
    "M-5 -1.5h10v3h-10z",
    "M-1.5 -5h3v10h-3z",
    "M-4 4l4 -9l4 9z",
)


@dataclass(frozen=True, slots=True)
class _Axis:
    """One logarithmic axis."""

    low: float
    high: float
    start: float
    end: float

    def at(self, value: float) -> float:
        share = (math.log10(value) - math.log10(self.low)) / (math.log10(self.high) - math.log10(self.low))
        return self.start + share * (self.end - self.start)

    def ticks(self) -> list[float]:
        return marked_ticks(self.low, self.high)


def marked_ticks(low: float, high: float) -> list[float]:
    """Round values from ``low`` to ``high`` on a logarithmic axis."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1.0, 2.0, 5.0) if high / low < 1000 else (1.0,)
    found = [step * 10.0**power for power in powers for step in steps]
    inside = [value for value in found if low <= value * 1.0001 and value <= high * 1.0001]
    if len(inside) > 1:
        return inside
    return [float(f"{low * (high / low) ** share:.3g}") for share in (0.1, 0.5, 0.9)]


def draw_svg(title: str, curves: Mapping[str, Sequence[Point]]) -> str:
    """Cold share against waste, both on logarithmic scales; points of 0 have no place there and are left out."""
    shown = {
        label: [point for point in points if 0 < point.waste < math.inf and point.cold_share > 0]
        for label, points in curves.items()
    }
    legend, top = _legend(list(shown))
    points = [point for found in shown.values() for point in found] or [Point(1.0, 0.01)]
    across = _axis([point.waste for point in points], _LEFT, _WIDTH - _RIGHT)
    up = _axis([point.cold_share for point in points], _HEIGHT - _BOTTOM, top)
    parts = [_head(title), *legend, *_grid(across, up, top)]
    for place, found in enumerate(shown.values()):
        parts += _curve(place, found, across, up)
    return "\n".join([*parts, "</svg>", ""])


def _head(title: str) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{escape(title)}" font-family="system-ui, sans-serif" font-size="12">\n'
        "<style>text{fill:#343a40}.grid{stroke:#ced4da}.page{fill:#ffffff}"
        "@media (prefers-color-scheme:dark){text{fill:#dee2e6}.grid{stroke:#495057}.page{fill:#14171a}}</style>\n"
        f'<rect class="page" width="{_WIDTH}" height="{_HEIGHT}"/>\n'
        f'<text x="{_LEFT}" y="24" font-size="15" font-weight="600">{escape(title)}</text>'
    )


def _legend(labels: Sequence[str]) -> tuple[list[str], int]:
    """Rows above the plot, where no point can be, and where the plot begins."""
    parts, x, y = [], float(_LEFT), _TOP + 6
    for place, label in enumerate(labels):
        width = _LEGEND_MARK + _LETTER * len(label)
        if x > _LEFT and x + width > _WIDTH - _RIGHT:
            x, y = float(_LEFT), y + _LEGEND_ROW
        colour, mark = COLOURS[place % len(COLOURS)], _MARKS[place % len(_MARKS)]
        parts.append(f'<path fill="{colour}" transform="translate({x + 5:.1f} {y - 4})" d="{mark}"/>')
        parts.append(f'<text x="{x + _LEGEND_MARK:.1f}" y="{y}">{escape(label)}</text>')
        x += width + _LEGEND_GAP
    return parts, y + 14


def _grid(across: _Axis, up: _Axis, top: int) -> list[str]:
    parts = []
    for value in across.ticks():
        x = across.at(value)
        parts.append(f'<line class="grid" x1="{x:.1f}" y1="{top}" x2="{x:.1f}" y2="{_HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{x:.1f}" y="{_HEIGHT - _BOTTOM + 18}" text-anchor="middle">{value:g}</text>')
    for value in up.ticks():
        y = up.at(value)
        parts.append(f'<line class="grid" x1="{_LEFT}" y1="{y:.1f}" x2="{_WIDTH - _RIGHT}" y2="{y:.1f}"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * value:g} %</text>')
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    parts.append(
        f'<text x="{middle:.0f}" y="{_HEIGHT - 14}" text-anchor="middle">'
        "idle loaded time (a fixed keep-alive of 10 minutes = 1)</text>"
    )
    upright = (top + _HEIGHT - _BOTTOM) / 2
    parts.append(
        f'<text transform="translate(18 {upright:.0f}) rotate(-90)" text-anchor="middle">'
        "cold starts, share of calls</text>"
    )
    return parts


def _curve(place: int, points: Sequence[Point], across: _Axis, up: _Axis) -> list[str]:
    colour = COLOURS[place % len(COLOURS)]
    mark = _MARKS[place % len(_MARKS)]
    spots = [(across.at(point.waste), up.at(point.cold_share)) for point in points]
    parts = []
    if len(spots) > 1:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in spots)
        parts.append(f'<polyline fill="none" stroke="{colour}" stroke-width="2" points="{line}"/>')
    parts += [f'<path fill="{colour}" transform="translate({x:.1f} {y:.1f})" d="{mark}"/>' for x, y in spots]
    return parts


def _axis(values: Sequence[float], start: float, end: float) -> _Axis:
    low, high = min(values), max(values)
    return _Axis(low / 1.15, high * 1.15, start, end)
