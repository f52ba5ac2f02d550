from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from stoker_runtime.invocation import Invocation
from stoker_runtime.receipt import COLD_PHASES, cold_share_ns, receipt, server_timing

PARTS = ("queue", "cold", "batch", "decode", "execute", "encode")


def ended(**stamps: int) -> Invocation:
    invocation = Invocation(b"", "", lambda _: None, accepted_ns=stamps.pop("accepted_ns", 1000))
    for name, value in stamps.items():
        setattr(invocation, name, value)
    return invocation


@given(
    waited=st.integers(0, 10**9),
    ran=st.integers(0, 10**9),
    spent=st.tuples(*[st.integers(0, 10**9)] * 3),
    cold=st.one_of(st.none(), st.dictionaries(st.sampled_from(COLD_PHASES), st.integers(0, 10**9))),
)
def test_the_phases_are_the_total(
    waited: int, ran: int, spent: tuple[int, int, int], cold: dict[str, int] | None
) -> None:
    invocation = ended(
        sent_ns=1000 + waited,
        done_ns=1000 + waited + ran,
        decode_ns=spent[0],
        execute_ns=spent[1],
        encode_ns=spent[2],
    )
    invocation.cold_phases_ns = cold
    phases = receipt(invocation).phases_ms
    assert round(sum(round(phases[name] * 1e6) for name in PARTS)) == waited + ran == round(phases["total"] * 1e6)
    assert min(phases.values()) >= 0
    assert abs(sum(phases.get(name, 0.0) for name in COLD_PHASES) - phases["cold"]) < 1e-6


def test_a_call_that_never_ran_was_all_queue() -> None:
    assert receipt(ended(done_ns=5_001_000)).phases_ms["queue"] == 5.0


def test_a_call_that_came_midway_counts_only_the_rest_of_the_start() -> None:
    phases = {"place": 10, "fork": 20, "enter": 30}
    assert cold_share_ns(phases, 1060, 900) == {name: phases.get(name, 0) for name in COLD_PHASES}
    late = cold_share_ns(phases, 1060, 1020)
    assert (late["place"], late["fork"], late["enter"]) == (0, 10, 30)


def test_server_timing_names_every_phase() -> None:
    warm = ended(sent_ns=1_001_000, done_ns=4_001_000, execute_ns=2_000_000)
    assert server_timing(warm) == (
        b"total;dur=4.000, queue;dur=1.000, cold;dur=0.000, batch;dur=1.000, decode;dur=0.000, "
        b"execute;dur=2.000, encode;dur=0.000"
    )
    warm.cold_phases_ns = {"fork": 1_000_000}
    assert b"cold;dur=1.000, fork;dur=1.000, batch" in server_timing(warm)
