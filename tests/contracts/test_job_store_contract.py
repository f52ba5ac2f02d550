"""What every store of jobs keeps: one owner at a time, no job lost, no end recorded twice. SQLite now, others later."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import Conflict, NotFound
from stoker_api.jobs.ports import JobStore, NewEvent, RunStore
from stoker_api.jobs.records import ClaimedJob, EventKind, JobEnd, JobFilter, NewJob
from stoker_api.jobs.states import JobPriority, JobState
from stoker_api.stores.sqlite.database import WORK, Database
from stoker_api.stores.sqlite.job_store import SqliteJobStore
from stoker_api.stores.sqlite.jobs import JobExists

NOW_S = 1_800_000_000.0
DONE = JobEnd(state=JobState.SUCCEEDED, result=b"42", result_bytes=2, result_status=200)


class Store(JobStore, RunStore, Protocol):
    """Both sides of one store."""


@dataclass
class Open:
    """Opens a store again on the same data."""

    path: Path

    def __call__(self) -> Database:
        return Database(self.path, WORK)


@pytest.fixture
async def store(tmp_path: Path) -> AsyncIterator[Store]:
    async with Database(tmp_path / "work.db", WORK) as database:
        yield SqliteJobStore(database)


def new_job(number: int = 1, **more: object) -> NewJob:
    values: dict[str, object] = {"namespace": "default", "function": "double", "body": b'{"x": 1}'}
    return NewJob(id=f"job_{number}", **(values | more))  # type: ignore[arg-type]


async def claim_all(store: Store, runner: str, now_s: float = NOW_S, limit: int = 100) -> list[ClaimedJob]:
    lanes = await store.due_lanes(now_s)
    return await store.claim(runner, {lane.lane: limit for lane in lanes}, now_s)


# ---- submit


async def test_a_submitted_job_can_be_found(store: Store) -> None:
    record, is_new = await store.submit(new_job(), NOW_S)
    assert is_new
    assert record.state is JobState.QUEUED
    assert await store.find("job_1") == record
    assert await store.body("job_1") == (b'{"x": 1}', None)
    assert [event.data for event in await store.events("job_1", 0, 10)] == [{"state": "queued"}]


async def test_the_same_submit_again_is_the_same_job(store: Store) -> None:
    first, _ = await store.submit(new_job(1, idempotency_key="k"), NOW_S)
    again, is_new = await store.submit(new_job(1, idempotency_key="k"), NOW_S + 5)
    by_key, is_new_by_key = await store.submit(new_job(2, idempotency_key="k"), NOW_S + 5)
    assert not is_new
    assert not is_new_by_key
    assert first == again == by_key


@pytest.mark.parametrize(
    "other",
    [
        pytest.param(new_job(1, body=b"2"), id="another-body-under-the-id"),
        pytest.param(new_job(2, body=b"2", idempotency_key="k"), id="another-body-under-the-key"),
        pytest.param(new_job(2, function="triple", idempotency_key="k"), id="another-function-under-the-key"),
        pytest.param(new_job(1, namespace="other"), id="another-namespace-under-the-id"),
    ],
)
async def test_another_request_under_a_used_name_is_refused(store: Store, other: NewJob) -> None:
    await store.submit(new_job(1, idempotency_key="k"), NOW_S)
    with pytest.raises(JobExists):
        await store.submit(other, NOW_S)
    assert len(await store.find_all(JobFilter(), None, 10)) == 1


async def test_a_key_belongs_to_its_namespace(store: Store) -> None:
    await store.submit(new_job(1, idempotency_key="k"), NOW_S)
    _, is_new = await store.submit(new_job(2, namespace="other", idempotency_key="k"), NOW_S)
    assert is_new


async def test_many_at_once_under_one_key_are_one_job(store: Store) -> None:
    found = await asyncio.gather(*(store.submit(new_job(n, idempotency_key="k"), NOW_S) for n in range(50)))
    assert len({record.id for record, _ in found}) == 1
    assert sum(is_new for _, is_new in found) == 1


# ---- run


async def test_a_job_is_claimed_by_one_runner(store: Store) -> None:
    for number in range(100):
        await store.submit(new_job(number), NOW_S)
    claims = await asyncio.gather(*(claim_all(store, f"runner_{n}", limit=30) for n in range(5)))
    ids = [job.record.id for claim in claims for job in claim]
    assert len(ids) == len(set(ids)) == 100


async def test_jobs_are_claimed_oldest_first_and_not_before_their_time(store: Store) -> None:
    for number, not_before_s in ((1, NOW_S + 10), (2, None), (3, None)):
        await store.submit(new_job(number, not_before_s=not_before_s), NOW_S)
    assert [job.record.id for job in await claim_all(store, "runner")] == ["job_2", "job_3"]
    assert await store.upcoming(NOW_S) == {("default", "double"): NOW_S + 10}
    assert [job.record.id for job in await claim_all(store, "runner", NOW_S + 10)] == ["job_1"]


async def test_an_end_is_recorded_once(store: Store) -> None:
    await store.submit(new_job(), NOW_S)
    (job,) = await claim_all(store, "runner")
    first = await store.end("runner", "job_1", job.record.run, DONE, NOW_S + 1)
    again = await store.end("runner", "job_1", job.record.run, DONE, NOW_S + 2)
    assert first is not None
    assert first.state is JobState.SUCCEEDED
    assert again is None
    result = await store.result("job_1")
    assert result is not None
    assert result.body == b"42"


async def test_a_dead_runners_job_goes_to_another_and_its_late_answer_counts_no_more(store: Store) -> None:
    await store.submit(new_job(), NOW_S)
    await store.renew("old", NOW_S + 30)
    await store.renew("new", NOW_S + 300)
    (before,) = await claim_all(store, "old")
    assert await store.orphans("new", NOW_S + 29, 10) == []
    (orphan,) = await store.orphans("new", NOW_S + 31, 10)
    assert orphan.runner == "old"
    put_back = await store.put_back(
        "old", "job_1", orphan.run, not_before_s=NOW_S, now_s=NOW_S + 31, counts=False, reason_json="{}"
    )
    assert put_back is not None
    assert put_back.attempts == 0
    (after,) = await claim_all(store, "new", NOW_S + 32)
    late = await store.end("old", "job_1", before.record.run, DONE, NOW_S + 33)
    assert late is None
    ended = await store.end("new", "job_1", after.record.run, DONE, NOW_S + 34)
    assert ended is not None


async def test_a_renewed_lease_keeps_its_jobs(store: Store) -> None:
    await store.submit(new_job(), NOW_S)
    await store.renew("runner", NOW_S + 30)
    await claim_all(store, "runner")
    await store.renew("runner", NOW_S + 60)
    assert await store.orphans("other", NOW_S + 45, 10) == []
    assert await store.held("runner") == {"job_1": 1}


async def test_a_canceled_job_takes_no_end(store: Store) -> None:
    await store.submit(new_job(), NOW_S)
    (job,) = await claim_all(store, "runner")
    canceled = await store.cancel("job_1", NOW_S + 1)
    assert canceled.state is JobState.CANCELED
    assert await store.end("runner", "job_1", job.record.run, DONE, NOW_S + 2) is None
    with pytest.raises(Conflict, match="canceled"):
        await store.cancel("job_1", NOW_S + 3)
    with pytest.raises(NotFound):
        await store.cancel("job_2", NOW_S)


async def test_a_dead_letter_is_run_again_with_another_body(store: Store) -> None:
    await store.submit(new_job(), NOW_S)
    (job,) = await claim_all(store, "runner")
    failed = JobEnd(state=JobState.FAILED, problem_json='{"code": "function_error", "detail": "no"}')
    await store.end("runner", "job_1", job.record.run, failed, NOW_S + 1)
    revived = await store.revive("job_1", NOW_S + 2, new_job(1, body=b"7"))
    assert revived.state is JobState.QUEUED
    assert revived.attempts == 0
    assert revived.problem_json is None
    (again,) = await claim_all(store, "runner", NOW_S + 2)
    assert again.body == b"7"
    await store.end("runner", "job_1", again.record.run, DONE, NOW_S + 3)
    with pytest.raises(Conflict, match="succeeded"):
        await store.revive("job_1", NOW_S + 4, None)


async def test_a_job_that_waits_too_long_expires(store: Store) -> None:
    await store.submit(new_job(max_age_s=10.0), NOW_S)
    assert await store.expire(NOW_S + 9, "{}", 10) == []
    assert await claim_all(store, "runner", NOW_S + 11) == []
    (expired,) = await store.expire(NOW_S + 11, "{}", 10)
    assert expired.state is JobState.EXPIRED


# ---- events


async def test_events_are_numbered_without_gap_and_replayed_from_any(store: Store) -> None:
    await store.submit(new_job(), NOW_S)
    (job,) = await claim_all(store, "runner")
    await store.note_running("runner", "job_1", job.record.run, NOW_S)
    progress = [
        NewEvent(kind=EventKind.PROGRESS, at_s=NOW_S, data={"fraction": n / 4, "message": f"page {n}"})
        for n in range(4)
    ]
    await store.add_events("job_1", progress, kept=100)
    await store.end("runner", "job_1", job.record.run, DONE, NOW_S + 1)
    await store.add_events("job_1", progress, kept=100)
    events = await store.events("job_1", 0, 100)
    assert [event.number for event in events] == list(range(1, 9))
    assert events[-1].data["state"] == "succeeded"
    assert await store.events("job_1", 6, 100) == events[6:]
    record = await store.find("job_1")
    assert record is not None
    assert (record.progress, record.progress_message) == (0.75, "page 3")


async def test_of_many_lines_the_newest_stay(store: Store) -> None:
    await store.submit(new_job(), NOW_S)
    await claim_all(store, "runner")
    for _ in range(5):
        lines = [NewEvent(kind=EventKind.LOG, at_s=NOW_S, data={"line": str(n)}) for n in range(20)]
        await store.add_events("job_1", lines, kept=30)
    events = await store.events("job_1", 0, 1000)
    assert sum(event.kind is EventKind.LOG for event in events) == 30
    assert sum(event.kind is EventKind.STATE for event in events) == 2


# ---- list and purge


async def test_lists_are_filtered_and_paged(store: Store) -> None:
    for number in range(10):
        await store.submit(new_job(number, function="double" if number % 2 else "triple"), NOW_S + number)
    page = await store.find_all(JobFilter(function="double"), None, 3)
    rest = await store.find_all(JobFilter(function="double"), page[-1].seq, 3)
    assert [job.id for job in page + rest] == ["job_9", "job_7", "job_5", "job_3", "job_1"]
    assert await store.find_all(JobFilter(states=frozenset({JobState.FAILED})), None, 3) == []
    assert len(await store.find_all(JobFilter(since_s=NOW_S + 8), None, 30)) == 2
    assert await store.find_all(JobFilter(namespaces=("other",)), None, 30) == []
    assert await store.find_all(JobFilter(namespaces=()), None, 30) == []


async def test_purging_forgets_what_has_ended_and_names_its_files(store: Store) -> None:
    for number in (1, 2):
        await store.submit(new_job(number, body=b"", body_blob=f"body_{number}", body_sha256="x"), NOW_S)
    (job, _) = await claim_all(store, "runner")
    stored = JobEnd(state=JobState.SUCCEEDED, result_blob="result_1", result_bytes=100)
    await store.end("runner", job.record.id, job.record.run, stored, NOW_S + 1)
    assert await store.blobs() == {"body_1", "body_2", "result_1"}
    assert await store.kept_bytes() == 100
    assert await store.purge({JobState.SUCCEEDED: NOW_S}, 10) == []
    (purged,) = await store.purge({JobState.SUCCEEDED: NOW_S + 1}, 10)
    assert set(purged.blobs) == {"body_1", "result_1"}
    assert await store.find("job_1") is None
    assert await store.find("job_2") is not None


async def test_purging_by_size_forgets_the_oldest_first(store: Store) -> None:
    for number in range(5):
        await store.submit(new_job(number), NOW_S)
    for number, job in enumerate(await claim_all(store, "runner")):
        end = JobEnd(state=JobState.SUCCEEDED, result=b"x" * 10, result_bytes=10)
        await store.end("runner", job.record.id, job.record.run, end, NOW_S + number)
    purged = await store.purge_largest(15, 100)
    assert [job.id for job in purged] == ["job_0", "job_1"]


async def test_everything_is_there_after_a_reopen(tmp_path: Path) -> None:
    opens = Open(tmp_path / "work.db")
    async with opens() as database:
        await SqliteJobStore(database).submit(new_job(priority=JobPriority.BATCH, webhook_ids=("hook_1",)), NOW_S)
        before = await SqliteJobStore(database).find("job_1")
    async with opens() as database:
        assert await SqliteJobStore(database).find("job_1") == before


# ---- any order of things

STEPS = st.lists(
    st.tuples(
        st.sampled_from(["claim", "run", "end", "lose", "back", "cancel", "tick"]),
        st.integers(0, 1),
        st.integers(0, 3),
    ),
    max_size=40,
)


@settings(max_examples=40, deadline=None)
@given(steps=STEPS)
def test_two_runners_never_both_end_a_job(steps: list[tuple[str, int, int]], tmp_path_factory: object) -> None:
    path = tmp_path_factory.mktemp("jobs") / "work.db"  # type: ignore[attr-defined]
    asyncio.run(_two_runners(path, steps))


async def _two_runners(path: Path, steps: list[tuple[str, int, int]]) -> None:
    """Whatever two runners do and however long they are silent: a job ends at most once, and none is lost."""
    async with Database(path, WORK) as database:
        store = SqliteJobStore(database)
        now_s, ends = NOW_S, [0] * 4
        for number in range(4):
            await store.submit(new_job(number), now_s)
        held: dict[tuple[int, int], int] = {}
        for step, who, number in steps:
            runner, other, job_id = f"runner_{who}", f"runner_{1 - who}", f"job_{number}"
            if step == "tick":
                now_s += 20
                await store.renew(runner, now_s + 30)
            elif step == "claim":
                await store.renew(runner, now_s + 30)
                for job in await claim_all(store, runner, now_s, limit=1):
                    held[who, int(job.record.id[-1])] = job.record.run
            elif step == "lose":
                for orphan in await store.orphans(other, now_s, 10):
                    await store.put_back(
                        str(orphan.runner),
                        orphan.id,
                        orphan.run,
                        not_before_s=now_s,
                        now_s=now_s,
                        counts=False,
                        reason_json="{}",
                    )
            elif step == "cancel":
                record = await store.find(job_id)
                if record is not None and not record.has_ended:
                    await store.cancel(job_id, now_s)
                    ends[number] += 1
            elif (who, number) in held:
                run = held[who, number]
                if step == "run":
                    await store.note_running(runner, job_id, run, now_s)
                elif step == "end":
                    ends[number] += await store.end(runner, job_id, run, DONE, now_s) is not None
                else:
                    await store.put_back(
                        runner, job_id, run, not_before_s=now_s, now_s=now_s, counts=True, reason_json="{}"
                    )
        for number in range(4):
            record = await store.find(f"job_{number}")
            assert record is not None
            assert ends[number] == int(record.has_ended)
            owners = [await store.held(f"runner_{who}") for who in (0, 1)]
            assert sum(f"job_{number}" in owner for owner in owners) == int(
                record.state in (JobState.STARTING, JobState.RUNNING)
            )
            states = [event.data["state"] for event in await store.events(f"job_{number}", 0, 1000)]
            assert states[-1] == record.state.value
