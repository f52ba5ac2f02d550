"""Curves: what no other point beats, and what lies between points."""

from __future__ import annotations

import math
import xml.etree.ElementTree as ElementTree

import pytest

from stoker_pool.simulation.chart import draw_svg
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
