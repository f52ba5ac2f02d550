"""The same chart as PNG; the only file that needs matplotlib (the extra ``simulate``)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from stoker.errors import InvalidInput
from stoker_pool.simulation.pareto import Point


def save_png(path: Path, title: str, curves: Mapping[str, Sequence[Point]]) -> None:
    """Write the chart; raises ``InvalidInput`` where matplotlib is missing."""
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
    for label, points in curves.items():
        shown = [point for point in points if point.waste > 0 and point.cold_share > 0]
        axes.plot(
            [point.waste for point in shown], [100 * point.cold_share for point in shown], marker="o", label=label
        )
    axes.set(
        title=title,
        xlabel="idle loaded time (fixed keep-alive of 10 minutes = 1)",
        ylabel="cold starts, % of calls",
        xscale="log",
        yscale="log",
    )
    axes.grid(which="both", alpha=0.3)
    axes.legend()
    figure.savefig(path)
