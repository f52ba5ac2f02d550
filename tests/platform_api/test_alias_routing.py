"""Splits: exact over a run of calls, sticky by key, and moved only where weights moved."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import InvalidInput
from stoker_api.routing import checked_weights, choose, spread_point, sticky_point
from stoker_api.stores.records import Weights

weights_of_aliases = st.dictionaries(st.integers(1, 50), st.integers(1, 1000), min_size=1, max_size=5).map(
    lambda given: tuple(sorted(given.items()))
)


@given(weights=weights_of_aliases, point=st.floats(0, 1, exclude_max=True))
def test_a_choice_is_one_of_the_revisions(weights: Weights, point: float) -> None:
    assert choose(weights, point) in dict(weights)


@given(weights=weights_of_aliases, start=st.integers(0, 10_000))
def test_any_run_of_calls_is_split_close_to_the_weights(weights: Weights, start: int) -> None:
    seen = Counter(choose(weights, spread_point(turn)) for turn in range(start, start + 400))
    total = sum(weight for _, weight in weights)
    for number, weight in weights:
        assert abs(seen[number] - 400 * weight / total) <= 10


@given(weights=weights_of_aliases, key=st.binary(max_size=64))
def test_equal_keys_take_the_same_side(weights: Weights, key: bytes) -> None:
    first = choose(weights, sticky_point(key, "default/f@prod"))
    assert choose(weights, sticky_point(key, "default/f@prod")) == first


def test_keys_are_split_like_calls() -> None:
    seen = Counter(choose(((1, 90), (2, 10)), sticky_point(b"%d" % key, "default/f@prod")) for key in range(10_000))
    assert 850 <= seen[2] <= 1150


def test_a_growing_share_takes_keys_and_gives_none_back() -> None:
    keys = [b"%d" % key for key in range(2000)]
    points = [sticky_point(key, "default/f@prod") for key in keys]
    before = [choose(((1, 90), (2, 10)), point) for point in points]
    after = [choose(((1, 50), (2, 50)), point) for point in points]
    assert not [key for key, was, now in zip(keys, before, after, strict=True) if (was, now) == (2, 1)]


def test_a_revision_without_weight_is_left_out() -> None:
    assert checked_weights({2: 0, 1: 5}) == ((1, 5),)


@pytest.mark.parametrize("given", [{}, {1: 0}, {1: -1}, {1: 10**9}], ids=str)
def test_weights_that_split_nothing_are_refused(given: dict[int, int]) -> None:
    with pytest.raises(InvalidInput):
        checked_weights(given)
