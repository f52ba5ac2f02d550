"""What a change of scaling at run time means."""

from __future__ import annotations

import pytest

from stoker.errors import InvalidOption
from stoker.options import Scaling
from stoker_api.control.scaling import changed_scaling

EAGER = Scaling(keep_alive_s="adaptive", warmth="eager", max_replicas=7)


def test_what_is_not_named_stays() -> None:
    assert changed_scaling(EAGER, {"min_replicas": 1}) == Scaling(
        keep_alive_s="adaptive", warmth="eager", max_replicas=7, min_replicas=1
    )


def test_saying_what_a_cold_start_is_worth_turns_the_forecast_on() -> None:
    assert changed_scaling(Scaling(), {"warmth": "frugal"}) == Scaling(keep_alive_s="adaptive", warmth="frugal")


def test_one_way_of_saying_it_replaces_another() -> None:
    changed = changed_scaling(EAGER, {"cold_start_target": 0.01})
    assert (changed.warmth, changed.cold_start_target, changed.max_replicas) == (None, 0.01, 7)
    priced = changed_scaling(changed, {"gpu_second_cost": 0.001, "cold_start_cost": 0.2})
    assert (priced.cold_start_target, priced.gpu_second_cost) == (None, 0.001)


def test_a_fixed_keep_alive_turns_the_forecast_off() -> None:
    assert changed_scaling(EAGER, {"keep_alive_s": 30}) == Scaling(keep_alive_s=30, max_replicas=7)


def test_null_takes_an_option_back() -> None:
    scaling = Scaling(warm=("09:00-10:00",), target_concurrency=2.0, prewarm_budget_s=60)
    taken = {"warm": None, "target_concurrency": None, "prewarm_budget_s": None}
    assert changed_scaling(scaling, taken) == Scaling()


def test_hours_come_as_a_list() -> None:
    assert changed_scaling(Scaling(), {"warm": ["09:00-10:00"]}).warm == ("09:00-10:00",)


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"warm": ["never"]}, id="hours"),
        pytest.param({"warmth": "hot"}, id="word"),
        pytest.param({"gpu_second_cost": 1.0}, id="half a price"),
        pytest.param({"warmth": "eager", "keep_alive_s": 60}, id="contradiction"),
        pytest.param({"cold_start_target": 2.0}, id="target"),
    ],
)
def test_a_wrong_change_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(InvalidOption):
        changed_scaling(Scaling(), changes)
