"""Curves: what no other point beats, and what lies between points."""

from __future__ import annotations

import math
import sys
import xml.etree.ElementTree as ElementTree

import pytest

from stoker.errors import InvalidInput
from stoker_pool.simulation.chart import draw_svg, marked_ticks
from stoker_pool.simulation.chart_png import draw_png
from stoker_pool.simulation.pareto import Point, cold_at, curve, waste_at

front = curve([Point(2.0, 0.1), Point(1.0, 0.3), Point(1.5, 0.4), Point(4.0, 0.1), Point(math.nan, 0.0)])


def test_a_curve_keeps_what_no_other_point_beats_in_both() -> None:
    assert front == (Point(1.0, 0.3), Point(2.0, 0.1))


def test_between_points_it_is_the_mix_of_both_and_beyond_the_ends_nothing_better_is_claimed() -> None:
    assert cold_at(front, 1.5) == pytest.approx(0.2)
    assert cold_at(front, 9.0) == 0.1
    assert math.isnan(cold_at(front, 0.9))
    assert waste_at(front, 0.2) == pytest.approx(1.5)
    assert waste_at(front, 0.5) == 1.0
    assert math.isnan(waste_at(front, 0.05))


def test_a_chart_is_sound_whatever_the_points() -> None:
    for points in ((), (Point(0.0, 0.0),), (Point(1.0, 0.5),), front):
        drawn = draw_svg("a < b & c", {"x <y>": points})
        assert ElementTree.fromstring(drawn).attrib["aria-label"] == "a < b & c"


def test_every_axis_has_ticks_that_tell_its_scale() -> None:
    assert marked_ticks(0.09, 6.0) == pytest.approx([0.1, 0.2, 0.5, 1.0, 2.0, 5.0])
    assert marked_ticks(0.002, 6.0) == pytest.approx([0.01, 0.1, 1.0])
    narrow = marked_ticks(0.26, 0.345)
    assert len(narrow) == 3
    assert all(0.26 <= tick <= 0.345 for tick in narrow)


def test_no_legend_covers_a_point() -> None:
    curves = {f"a policy with a long name {number}": (Point(0.5 * number, 0.9 / number),) for number in range(1, 8)}
    drawn = ElementTree.fromstring(draw_svg("many", curves))
    svg = "{http://www.w3.org/2000/svg}"
    legend = [float(text.attrib["y"]) for text in drawn.iter(f"{svg}text") if (text.text or "").startswith("a policy")]
    plot = min(float(line.attrib["y1"]) for line in drawn.iter(f"{svg}line"))
    assert len(legend) == 7
    assert len(set(legend)) > 1
    assert max(legend) < plot


def test_a_picture_without_matplotlib_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(InvalidInput, match="needs matplotlib") as refusal:
        draw_png("a title", {"fixed": front})
    assert "stoker[simulate]" in str(refusal.value.hint)


@pytest.mark.parametrize(
    "points", [(), (Point(0.0, 0.0),), (Point(1.0, 0.5),), front], ids=["none", "zeros", "one", "a curve"]
)
def test_a_picture_is_sound_whatever_the_points(points: tuple[Point, ...]) -> None:
    pytest.importorskip("matplotlib")
    assert draw_png("a title", {"fixed": points, "adaptive": points}).startswith(b"\x89PNG")
