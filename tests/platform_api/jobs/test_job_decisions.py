"""The pure parts of jobs: legal moves, fair shares, verdicts, ids, what a request says."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from stoker.errors import Conflict, InvalidInput
from stoker.options import Batch, FunctionOptions, Retries
from stoker_api.control.job_requests import JobDocument, make_cursor, read_cursor, read_states, read_time
from stoker_api.gateway.async_request import AsyncRequest, read_idempotency_key, read_prefer
from stoker_api.gateway.refusals import BadRequest
from stoker_api.ids import ID, new_id
from stoker_api.jobs.functions import places_of
from stoker_api.jobs.settings import JobSettings
from stoker_api.jobs.shares import LaneDemand, shares
from stoker_api.jobs.states import DEAD, ENDED, MOVES, JobPriority, JobState, check_move
from stoker_api.jobs.verdicts import Allowance, RunOutcome, allowance, backoff_s, verdict

SETTINGS = JobSettings()
NOW_S = 1_800_000_000.0


def lane(number: int, namespace: str = "a", function: str = "f", *, priority: int = 1, limit: int = 100) -> LaneDemand:
    return LaneDemand(lane=number, namespace=namespace, function=function, priority=JobPriority(priority), limit=limit)


# ---- moves


def test_every_state_has_its_moves_and_what_has_ended_only_goes_back_into_the_queue() -> None:
    assert set(MOVES) == set(JobState)
    assert all(MOVES[state] <= {JobState.QUEUED} for state in ENDED)
    assert not MOVES[JobState.SUCCEEDED]
    assert DEAD < ENDED
    with pytest.raises(Conflict, match="succeeded, so it cannot become queued"):
        check_move("job_1", JobState.SUCCEEDED, JobState.QUEUED)


# ---- shares


def test_one_job_of_a_tenant_is_not_starved_by_a_million_of_another() -> None:
    running = {("big", "f"): 63}
    assert shares([lane(1, "big"), lane(2, "small")], running, 64) == {2: 1}


def test_no_tenant_takes_every_place() -> None:
    granted = shares([lane(1, "big", limit=10_000)], {}, 64)
    assert granted == {1: 56}


def test_places_are_shared_evenly_between_tenants_and_within_them_between_functions() -> None:
    lanes = [lane(1, "a", "f"), lane(2, "a", "g"), lane(3, "b", "h")]
    assert shares(lanes, {}, 8) == {1: 2, 2: 2, 3: 4}


def test_interactive_jobs_go_first_and_batches_last() -> None:
    lanes = [lane(1, priority=2), lane(2, "b", priority=1), lane(3, "c", priority=0, limit=3)]
    assert shares(lanes, {}, 8) == {3: 3, 2: 5}


def test_a_functions_limit_counts_all_its_lanes() -> None:
    lanes = [lane(1, priority=1, limit=4), lane(2, priority=2, limit=4)]
    assert shares(lanes, {("a", "f"): 1}, 64) == {1: 3}


@given(
    lanes=st.lists(
        st.builds(
            lambda n, f, p, limit: (f"n{n}", f"f{f}", p, limit),
            st.integers(0, 4),
            st.integers(0, 3),
            st.integers(0, 2),
            st.integers(1, 20),
        ),
        max_size=20,
        unique_by=lambda item: item[:3],
    ),
    running=st.dictionaries(
        st.tuples(st.sampled_from(["n0", "n1"]), st.sampled_from(["f0", "f1"])), st.integers(1, 30)
    ),
    places=st.integers(0, 64),
)
def test_shares_never_exceed_a_limit(
    lanes: list[tuple[str, str, int, int]], running: dict[tuple[str, str], int], places: int
) -> None:
    limits = {(namespace, function): limit for namespace, function, _, limit in lanes}
    demands = [
        lane(index, namespace, function, priority=priority, limit=limits[namespace, function])
        for index, (namespace, function, priority, _) in enumerate(lanes)
    ]
    granted = shares(demands, running, places)
    assert sum(granted.values()) <= max(0, places - sum(running.values()))
    for (namespace, function), limit in limits.items():
        own = sum(granted.get(d.lane, 0) for d in demands if (d.namespace, d.function) == (namespace, function))
        assert own == 0 or own + running.get((namespace, function), 0) <= limit


# ---- verdicts

REPEATABLE = Allowance(attempts=3, is_repeatable=True)
ONCE = Allowance(attempts=1, is_repeatable=False)
ASKED = Allowance(attempts=3, is_repeatable=True, retries_errors=True)


@pytest.mark.parametrize(
    ("outcome", "allowed", "attempts", "ends"),
    [
        pytest.param(RunOutcome(code=None), ONCE, 1, JobState.SUCCEEDED, id="answered"),
        pytest.param(RunOutcome(code="worker_lost"), REPEATABLE, 1, None, id="lost-and-repeatable"),
        pytest.param(RunOutcome(code="worker_lost"), ONCE, 1, JobState.FAILED, id="lost-and-not"),
        pytest.param(RunOutcome(code="worker_lost"), REPEATABLE, 3, JobState.FAILED, id="lost-too-often"),
        pytest.param(RunOutcome(code="function_error"), REPEATABLE, 1, JobState.FAILED, id="raised"),
        pytest.param(RunOutcome(code="function_error"), ASKED, 1, None, id="raised-and-asked-to-retry"),
        pytest.param(RunOutcome(code="invalid_arguments"), ASKED, 1, JobState.FAILED, id="wrong-arguments"),
        pytest.param(
            RunOutcome(code="deadline_exceeded", is_retryable=True), ONCE, 1, JobState.TIMED_OUT, id="timed-out"
        ),
        pytest.param(RunOutcome(code="overloaded", is_retryable=True, ran=False), ONCE, 1, None, id="nothing-ran"),
        pytest.param(RunOutcome(code="crash_looping", ran=False), ONCE, 1, JobState.FAILED, id="cannot-start"),
        pytest.param(RunOutcome(code="not_found", ran=False), ASKED, 1, JobState.FAILED, id="function-is-gone"),
        pytest.param(RunOutcome(code="canceled"), ONCE, 1, JobState.CANCELED, id="canceled"),
    ],
)
def test_a_run_is_judged(outcome: RunOutcome, allowed: Allowance, attempts: int, ends: JobState | None) -> None:
    decided = verdict(outcome, allowed, attempts=attempts, delays=0, settings=SETTINGS, jitter=1.0)
    assert decided.ends is ends
    assert decided.counts is outcome.ran or ends is not None


def test_the_wait_doubles_up_to_its_limit_and_is_spread() -> None:
    assert [backoff_s(step, SETTINGS, 1.0) for step in (0, 1, 2)] == [1.0, 2.0, 4.0]
    assert backoff_s(50, SETTINGS, 1.0) == SETTINGS.max_retry_delay_s
    assert backoff_s(3, SETTINGS, 0.0) == 4.0


def test_what_a_job_may_do_is_its_own_word_or_its_functions() -> None:
    options = FunctionOptions(name="f", idempotent=True, retries=Retries(max_attempts=5))
    assert allowance(None, options) == Allowance(attempts=5, is_repeatable=True)
    assert allowance(2, FunctionOptions(name="f")) == Allowance(attempts=2, is_repeatable=True, retries_errors=True)
    assert not allowance(1, options).is_repeatable
    assert not allowance(None, FunctionOptions(name="f")).is_repeatable
    assert not allowance(None, None).is_repeatable


def test_a_functions_places_keep_its_replicas_busy_within_its_own_limits() -> None:
    assert places_of(FunctionOptions(name="f"), 4) == 16
    assert places_of(FunctionOptions(name="f", batch=Batch(max_batch_size=32)), 4) == 256
    assert places_of(FunctionOptions(name="f", max_concurrent_jobs=2), 4) == 2
    assert places_of(FunctionOptions(name="f", max_queue_depth=10), 4) == 5
    assert places_of(FunctionOptions(name="f", max_queue_depth=1), 4) == 1


# ---- ids


def test_ids_sort_by_time_and_never_repeat() -> None:
    ids = [new_id("job", NOW_S + number // 100) for number in range(1000)]
    assert ids == sorted(ids)
    assert len(set(ids)) == 1000
    assert all(ID.fullmatch(item) for item in ids)
    assert new_id("job", 0.0) > ids[-1], "a clock that goes back makes no id twice"


# ---- what a request says


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        pytest.param(b"respond-async", AsyncRequest(), id="plain"),
        pytest.param(b"wait=5, respond-async", AsyncRequest(5.0), id="with-wait"),
        pytest.param(b'Respond-Async, wait="2.5"', AsyncRequest(2.5), id="quoted"),
        pytest.param(b"return=minimal", None, id="something-else"),
        pytest.param(b"wait=5", None, id="wait-alone"),
        pytest.param(b"", None, id="empty"),
    ],
)
def test_prefer_is_read(value: bytes, wanted: AsyncRequest | None) -> None:
    assert read_prefer(value) == wanted


@pytest.mark.parametrize("value", [b"respond-async, wait=-1", b"respond-async, wait=x", b"respond-async, wait=1e9"])
def test_a_wait_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(BadRequest, match="wait"):
        read_prefer(value)


def test_idempotency_keys_are_read() -> None:
    assert read_idempotency_key(b'"abc"') == read_idempotency_key(b"abc") == "abc"
    for bad in (b"", b"a b", b"x" * 256, "é".encode()):
        with pytest.raises(BadRequest, match="Idempotency-Key"):
            read_idempotency_key(bad)


@given(text=st.text(max_size=30))
def test_any_text_is_a_cursor_or_refused(text: str) -> None:
    try:
        assert isinstance(read_cursor(text), int)
    except BadRequest:
        pass
    assert read_cursor(make_cursor(17)) == 17


@given(text=st.text(max_size=30))
def test_any_text_is_a_time_or_refused(text: str) -> None:
    try:
        assert isinstance(read_time("since", text), float)
    except InvalidInput:
        pass


def test_states_are_read() -> None:
    assert read_states("dead,queued") == DEAD | {JobState.QUEUED}
    assert read_states(None) == frozenset()
    with pytest.raises(InvalidInput, match="state must be one of"):
        read_states("done")


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param({"function": "Bad Name"}, "function", id="function"),
        pytest.param({"function": "f", "namespace": "../x"}, "namespace", id="namespace"),
        pytest.param({"function": "f", "ref": "@"}, "ref", id="ref"),
        pytest.param({"function": "f", "method": "1x"}, "method", id="method"),
        pytest.param({"function": "f", "input": 1, "args": []}, "one of", id="two-inputs"),
        pytest.param({"function": "f", "base64": "!"}, "base64", id="base64"),
        pytest.param({"function": "f", "not_before": "tomorrow"}, "not_before", id="time"),
        pytest.param({"function": "f", "not_before": "2026-01-01T00:00:00"}, "not_before", id="time-without-zone"),
        pytest.param({"function": "f", "not_before": "9999-01-01T00:00:00Z"}, "within a year", id="too-far"),
        pytest.param({"function": "f", "delay_s": 1.0, "not_before": "2026-01-01T00:00:00Z"}, "not both", id="both"),
    ],
)
def test_a_document_that_is_wrong_is_told_what(document: dict[str, object], said: str) -> None:
    with pytest.raises(InvalidInput, match=said):
        JobDocument.model_validate(document).job("job_1", NOW_S, None)


def test_inputs_become_bodies() -> None:
    assert JobDocument(function="f", input={"x": 1}).body() == (b'{"x":1}', "")
    assert JobDocument(function="f", args=[1]).body() == (b"[[1],{}]", "application/vnd.stoker.args+json")
    assert JobDocument(function="f", base64="AAE=").body() == (b"\0\1", "application/octet-stream")
    assert JobDocument(function="f").body() == (b"{}", "")
