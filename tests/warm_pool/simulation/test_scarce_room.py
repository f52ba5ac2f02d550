"""Room that is scarce: who leaves, who waits, and what host memory is worth; worked by hand."""

from __future__ import annotations

from stoker_pool.simulation.capacity import Capacity
from stoker_pool.simulation.policies import parse_policy
from stoker_pool.simulation.results import Results
from stoker_pool.simulation.runs import Conditions, compare, replay
from stoker_pool.simulation.trace import Trace, trace_of


def with_slots(slots: int, *, host_slots: int = 0, load_s: float = 20.0) -> Conditions:
    capacity = Capacity.of_slots(slots, host_slots=host_slots, load_s=load_s, host_load_s=2.0)
    return Conditions(load_s=load_s, warm_up_share=0.0, capacity=capacity)


def calls(text: str, step_s: float = 100.0) -> Trace:
    """One call each ``step_s`` to the function named by a letter."""
    return trace_of([(name, step_s * place, 1, 1.0) for place, name in enumerate(text)], end_s=step_s * len(text))


def cold(trace: Trace, policy: str, conditions: Conditions) -> int:
    return sum(replay(trace, parse_policy(policy), conditions).cold_starts)


def test_with_room_for_all_only_first_calls_are_cold_whatever_the_pause() -> None:
    assert cold(calls("abcabc", 50_000.0), "lru", with_slots(3)) == 3


def test_a_cycle_one_longer_than_the_room_defeats_lru_and_not_belady() -> None:
    assert cold(calls("abcabcabc"), "lru", with_slots(2)) == 9
    # Belady keeps what comes back first: a b c(b leaves) a b(c or a leaves) ...
    assert cold(calls("abcabcabc"), "belady", with_slots(2)) == 6


def test_lfu_keeps_the_frequent_one_through_a_scan() -> None:
    trace = calls("aaaabcdea")
    assert cold(trace, "lfu", with_slots(2)) == 5
    assert cold(trace, "lru", with_slots(2)) == 6


def test_greedy_dual_ages_what_was_frequent_long_ago() -> None:
    trace = calls("a" * 10 + "bc" * 12)
    assert cold(trace, "greedy-dual", with_slots(2)) < cold(trace, "lfu", with_slots(2))


def test_a_busy_replica_never_leaves_and_the_call_waits_for_its_end() -> None:
    trace = trace_of([("a", 0.0, 1, 300.0), ("b", 50.0, 1, 10.0)], end_s=1000.0)
    tally = replay(trace, parse_policy("lru"), with_slots(1))
    # a runs from 20 to 320; b waits until then, and for its own load
    assert sorted(tally.waits) == [(20.0, 1), (290.0, 1)]


def test_who_waited_longest_gets_the_room() -> None:
    trace = trace_of([("a", 0.0, 1, 100.0), ("b", 10.0, 1, 0.0), ("c", 20.0, 1, 0.0)], end_s=1000.0)
    tally = replay(trace, parse_policy("lru"), with_slots(1))
    assert sorted(tally.waits) == [(20.0, 1), (130.0, 1), (140.0, 1)]


def test_a_start_from_host_memory_is_short_and_told_apart() -> None:
    trace = calls("abab")
    tally = replay(trace, parse_policy("lru"), with_slots(1, host_slots=1))
    assert (sum(tally.cold_starts), sum(tally.host_starts)) == (4, 2)
    assert sorted(tally.waits) == [(2.0, 1), (2.0, 1), (20.0, 1), (20.0, 1)]


def test_host_memory_forgets_who_is_worth_least() -> None:
    trace = calls("abcb")
    tally = replay(trace, parse_policy("lru"), with_slots(1, host_slots=1))
    # b takes a's place, c takes b's: host memory keeps b, the later used, and a is gone
    assert sum(tally.host_starts) == 1


def test_without_need_nothing_leaves_though_a_fixed_timer_would_let_it_go() -> None:
    trace = calls("aa", 5000.0)
    results: list[Results] = compare(trace, [parse_policy("lru"), parse_policy("fixed:600")], with_slots(2))
    assert [result.cold_starts for result in results] == [1, 2]
