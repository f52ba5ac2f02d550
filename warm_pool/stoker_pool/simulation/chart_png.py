"""The same chart as PNG; the only file that needs matplotlib (the extra ``simulate``)."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from stoker.errors import InvalidInput
from stoker_pool.simulation.chart import COLOURS, marked_ticks
from stoker_pool.simulation.pareto import Point

_MARKERS: Final = "os^DvPX"
_MOST_COLUMNS: Final = 5


def draw_png(title: str, curves: Mapping[str, Sequence[Point]]) -> bytes:
    """The chart; raises ``InvalidInput`` where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise InvalidInput(
            "a PNG needs matplotlib, which is not installed", hint="pip install 'stoker[simulate]', or name it .svg."
        ) from None
    figure = Figure(figsize=(8, 5), dpi=150, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.set(xscale="log", yscale="log")
    for place, (label, points) in enumerate(curves.items()):
        shown = [point for point in points if 0 < point.waste < math.inf and point.cold_share > 0]
        axes.plot(
            [point.waste for point in shown],
            [100 * point.cold_share for point in shown],
            color=COLOURS[place % len(COLOURS)],
            marker=_MARKERS[place % len(_MARKERS)],
            markersize=5,
            label=label,
        )
    axes.set_xlabel("idle loaded time (a fixed keep-alive of 10 minutes = 1)")
    axes.set_ylabel("cold starts, % of calls")
    for axis in (axes.xaxis, axes.yaxis):
        _mark(axis)
    axes.grid(which="major", alpha=0.4)
    figure.suptitle(title, fontsize=11)
    figure.legend(loc="outside lower center", ncols=min(max(len(curves), 1), _MOST_COLUMNS), frameon=False)
    drawn = io.BytesIO()
    figure.savefig(drawn, format="png")
    return drawn.getvalue()


def _mark(axis: Any) -> None:
    """Ticks at round values, written as people write them."""
    low, high = axis.get_view_interval()
    ticks = marked_ticks(low, high)
    axis.set_ticks(ticks, labels=[f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)
