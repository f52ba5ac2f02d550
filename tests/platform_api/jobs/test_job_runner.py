"""The runner over a real store and calls that a test answers: one owner, every job ends, nothing is lost on the way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from stoker.errors import FunctionError, Overloaded, PlatformError, WorkerLost
from stoker.options import FunctionOptions
from stoker_api.gateway.problems import problem
from stoker_api.internal_calls import CallEvent, CallResult, CallTarget
from stoker_api.jobs.event_hub import EventHub
from stoker_api.jobs.functions import CalledFunction
from stoker_api.jobs.payloads import Payloads
from stoker_api.jobs.records import JobRecord, NewJob
from stoker_api.jobs.rooms import RunnerRooms
from stoker_api.jobs.run_lines import RunLines
from stoker_api.jobs.runner import JobRunner
from stoker_api.jobs.settings import JobSettings
from stoker_api.jobs.states import JobState
from stoker_api.jobs.tallies import JobTallies
from stoker_api.stores.failures import StorageFailed
from stoker_api.stores.sqlite.database import WORK, Database
from stoker_api.stores.sqlite.job_store import SqliteJobStore
from stoker_runtime.clock import VirtualClock
from stoker_runtime.rotating_log import LogLine

LIMIT_S = 20.0
Answer = Callable[[str], CallResult]


class FakeCalls:
    """Answers calls as told, or holds them until told."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.answer: Callable[[str], CallResult] = lambda job_id: CallResult(status=200, body=b"42")
        self.holds = False
        self.go = asyncio.Event()
        self.at_once = self.most_at_once = 0

    async def call(self, target: CallTarget, body: bytes, *, request_id: str, **rest: object) -> CallResult:
        self.called.append(request_id)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        on_event = rest["on_event"]
        assert callable(on_event)
        on_event(CallEvent.SENT)
        try:
            if self.holds:
                await self.go.wait()
            return self.answer(request_id)
        finally:
            self.at_once -= 1


class FakeFunctions:
    """Every function there is has these options."""

    def __init__(self) -> None:
        self.options = FunctionOptions(name="double", idempotent=True)
        self.places = 16

    def find(self, namespace: str, function: str, ref: str | None) -> CalledFunction | None:
        return None if function == "gone" else CalledFunction(options=self.options, places=self.places)


class FakeOracle:
    """Remembers what is expected now."""

    def __init__(self) -> None:
        self.expected: dict[str, float] = {}

    def expect(self, namespace: str, name: str, at_s: float, *, source: str) -> None:
        self.expected[f"{namespace}/{name}"] = at_s

    def unexpect(self, namespace: str, name: str, source: str) -> None:
        del self.expected[f"{namespace}/{name}"]


class Rig:
    """A store with as many runners as a test wants."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.clock = VirtualClock()
        self.store = SqliteJobStore(database)
        self.calls = FakeCalls()
        self.functions = FakeFunctions()
        self.hub = EventHub()
        self.tallies = JobTallies()
        self.oracle = FakeOracle()
        self.payloads = Payloads(folder)
        self.settings = JobSettings(lease_s=30.0, inline_bytes=100, max_result_bytes=1000, retry_delay_s=0.001)

    def runner(self, *, is_alone: bool = True, calls: FakeCalls | None = None) -> JobRunner:
        lines = RunLines(self.clock, lambda then: then())
        rooms = RunnerRooms(
            runs=self.store,
            jobs=self.store,
            calls=calls or self.calls,  # type: ignore[arg-type]
            functions=self.functions,
            payloads=self.payloads,
            hub=self.hub,
            lines=lines,
            tallies=self.tallies,
            oracle=self.oracle,
            clock=self.clock,
            settings=self.settings,
        )
        runner = JobRunner(rooms, is_alone=is_alone)
        lines.on_due = runner.flush_lines
        self.lines = lines
        return runner

    async def submit(self, *numbers: int, **more: object) -> None:
        for number in numbers:
            values: dict[str, object] = {"namespace": "default", "function": "double", "body": b"1"}
            job = NewJob(id=f"job_{number}", **(values | more))  # type: ignore[arg-type]
            await self.store.submit(job, self.clock.now().timestamp())

    async def until(self, job_id: str, *states: JobState) -> JobRecord:
        async with asyncio.timeout(LIMIT_S) if hasattr(asyncio, "timeout") else _unlimited():
            with self.hub.watching(job_id) as changed:
                while True:
                    changed.clear()
                    record = await self.store.find(job_id)
                    assert record is not None
                    if record.state in states:
                        return record
                    await changed.wait()


class _unlimited:
    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *_: object) -> None: ...


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    folder = tmp_path / "payloads"
    folder.mkdir()
    async with Database(tmp_path / "work.db", WORK) as database:
        yield Rig(database, folder)


def failing(error: PlatformError, *, ran: bool) -> Answer:
    return lambda job_id: CallResult(
        status=error.status, problem=problem(error, request_id=job_id), retryable=error.retryable, ran=ran
    )


async def test_jobs_run_to_their_end_and_tell_the_way(rig: Rig) -> None:
    await rig.submit(1)
    async with rig.runner():
        await rig.until("job_1", JobState.SUCCEEDED)
    states = [event.data["state"] for event in await rig.store.events("job_1", 0, 10)]
    assert states == ["queued", "starting", "running", "succeeded"]
    result = await rig.store.result("job_1")
    assert result is not None
    assert result.body == b"42"


async def test_what_becomes_of_jobs_is_counted(rig: Rig) -> None:
    await rig.submit(1, 2, 3, not_before_s=None)
    rig.tallies.open = await rig.store.open_jobs()
    assert rig.tallies.open == {("default", "double", "queued"): 3}
    async with rig.runner():
        for number in (1, 2, 3):
            await rig.until(f"job_{number}", JobState.SUCCEEDED)
    samples = {(s.name, s.labels.get("state")): s.value for family in rig.tallies.collect() for s in family.samples}
    assert samples["stoker_jobs_ended_total", "succeeded"] == 3


async def test_the_pool_is_told_when_a_job_will_come_and_when_it_will_not(rig: Rig) -> None:
    at_s = rig.clock.now().timestamp() + 600
    await rig.submit(1, not_before_s=at_s)
    async with rig.runner() as runner:
        while not rig.oracle.expected:
            await rig.store.find("job_1")
        assert rig.oracle.expected == {"default/double": at_s}
        await rig.store.cancel("job_1", 0.0)
        runner.wake()
        while rig.oracle.expected:
            await rig.store.find("job_1")


async def test_a_large_result_is_a_file_and_one_too_large_is_a_failure_that_says_so(rig: Rig) -> None:
    await rig.submit(1, 2)
    rig.calls.answer = lambda job_id: CallResult(status=200, body=b"x" * (500 if job_id == "job_1" else 2000))
    async with rig.runner():
        await rig.until("job_1", JobState.SUCCEEDED)
        failed = await rig.until("job_2", JobState.FAILED)
    result = await rig.store.result("job_1")
    assert result is not None
    assert result.blob is not None
    assert await rig.payloads.read(result.blob) == b"x" * 500
    assert "2000 bytes" in str(failed.problem_json)
    assert "MAX_RESULT_BYTES" in str(failed.problem_json)


async def test_a_lost_worker_costs_an_attempt_and_the_last_one_makes_a_dead_letter(rig: Rig) -> None:
    await rig.submit(1)
    rig.calls.answer = failing(WorkerLost("gone"), ran=True)
    async with rig.runner() as runner:
        record = await _until_ended(rig, runner, "job_1")
    assert record.state is JobState.FAILED
    assert record.attempts == len(rig.calls.called) == 3


async def test_what_did_not_run_is_put_back_without_costing_an_attempt(rig: Rig) -> None:
    await rig.submit(1)
    rig.calls.answer = failing(Overloaded("full"), ran=False)
    async with rig.runner() as runner:
        while len(rig.calls.called) < 5:
            rig.clock.advance(1)
            runner.wake()
            await rig.store.find("job_1")  # the runner gets its turn
        rig.calls.answer = lambda job_id: CallResult(status=200, body=b"42")
        record = await _until_ended(rig, runner, "job_1")
    assert record.state is JobState.SUCCEEDED
    assert record.attempts == 1
    assert record.delays >= 4


async def test_an_error_of_user_code_is_final_and_kept_whole(rig: Rig) -> None:
    await rig.submit(1)
    rig.calls.answer = failing(FunctionError("ValueError: no", error_type="builtins.ValueError"), ran=True)
    async with rig.runner():
        record = await rig.until("job_1", JobState.FAILED)
    assert "builtins.ValueError" in str(record.problem_json)
    assert rig.calls.called == ["job_1"]


async def test_a_functions_places_bound_how_many_run_at_once(rig: Rig) -> None:
    rig.functions.places = 3
    await rig.submit(*range(20))
    async with rig.runner():
        for number in range(20):
            await rig.until(f"job_{number}", JobState.SUCCEEDED)
    assert rig.calls.most_at_once <= 3


async def test_canceling_stops_a_running_job(rig: Rig) -> None:
    rig.calls.holds = True
    await rig.submit(1)
    async with rig.runner() as runner:
        await rig.until("job_1", JobState.RUNNING)
        await rig.store.cancel("job_1", 0.0)
        runner.drop("job_1")
        await _until_idle(rig, runner)
        assert rig.calls.at_once == 0
    record = await rig.store.find("job_1")
    assert record is not None
    assert record.state is JobState.CANCELED


async def test_a_runner_that_stops_puts_its_jobs_back(rig: Rig) -> None:
    rig.calls.holds = True
    await rig.submit(1)
    async with rig.runner():
        await rig.until("job_1", JobState.RUNNING)
    record = await rig.store.find("job_1")
    assert record is not None
    assert record.state is JobState.QUEUED


async def test_jobs_of_a_runner_that_is_known_dead_are_taken_over_at_once(rig: Rig) -> None:
    await rig.submit(1, 2)
    dead = JobRunnerThatDies(rig)
    await dead.claim_all()
    async with rig.runner():
        await rig.until("job_1", JobState.SUCCEEDED)
        await rig.until("job_2", JobState.SUCCEEDED)
    record = await rig.store.find("job_1")
    assert record is not None
    assert (record.attempts, record.run) == (1, 2)


async def test_an_interrupted_run_that_must_not_happen_twice_is_a_dead_letter(rig: Rig) -> None:
    rig.functions.options = FunctionOptions(name="double")
    await rig.submit(1, 2)
    dead = JobRunnerThatDies(rig)
    (first, _) = await dead.claim_all()
    await rig.store.note_running("dead", first, 1, 0.0)
    async with rig.runner():
        failed = await rig.until("job_1", JobState.FAILED)
        await rig.until("job_2", JobState.SUCCEEDED)
    assert "idempotent=True" in str(failed.problem_json)
    assert rig.calls.called == ["job_2"], "the one that may have run did not run again"


async def test_two_runners_on_one_store_share_the_work_and_double_none(rig: Rig) -> None:
    second = FakeCalls()
    await rig.submit(*range(60))
    async with rig.runner(is_alone=False), rig.runner(is_alone=False, calls=second) as other:
        other.wake()
        for number in range(60):
            await rig.until(f"job_{number}", JobState.SUCCEEDED)
    called = rig.calls.called + second.called
    assert sorted(called) == sorted(f"job_{number}" for number in range(60))


async def test_a_silent_runner_loses_its_jobs_and_finds_out(rig: Rig) -> None:
    rig.calls.holds = True
    await rig.submit(1)
    awake = FakeCalls()
    async with rig.runner(is_alone=False) as silent:
        await rig.until("job_1", JobState.RUNNING)
        rig.clock.advance(31)  # longer than its lease
        async with rig.runner(is_alone=False, calls=awake) as other:
            await other.look_after()
            await rig.until("job_1", JobState.SUCCEEDED)
            await silent.look_after()
            await _until_idle(rig, silent)
    assert awake.called == ["job_1"]
    states = [event.data["state"] for event in await rig.store.events("job_1", 0, 20)]
    assert states.count("succeeded") == 1


async def test_a_full_disk_holds_an_end_back_and_loses_nothing(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("stoker_api.jobs.job_run._STORE_AGAIN_S", 0.001)
    await rig.submit(1)
    whole_end, refusals = rig.store.end, iter(range(3))

    async def end(*args: object, **more: object) -> JobRecord | None:
        if next(refusals, None) is not None:
            raise StorageFailed("the disk is full")
        return await whole_end(*args, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(rig.store, "end", end)
    async with rig.runner():
        await rig.until("job_1", JobState.SUCCEEDED)
    assert rig.calls.called == ["job_1"]


async def test_what_a_job_said_is_among_its_events_before_its_end(rig: Rig) -> None:
    await rig.submit(1)
    async with rig.runner():
        lines = rig.lines

        def answer(job_id: str) -> CallResult:
            lines.on_lines(
                [
                    LogLine("", "replica", job_id, "stdout", "hello"),
                    LogLine("", "replica", job_id, "progress", "0.5 half way"),
                    LogLine("", "replica", "another", "stdout", "not mine"),
                    LogLine("", "replica", job_id, "progress", "forged"),
                ]
            )
            return CallResult(status=200, body=b"42")

        rig.calls.answer = answer
        await rig.until("job_1", JobState.SUCCEEDED)
    events = await rig.store.events("job_1", 0, 20)
    assert [event.kind.value for event in events][-3:] == ["log", "progress", "state"]
    assert events[-2].data == {"fraction": 0.5, "message": "half way"}


class JobRunnerThatDies:
    """A runner of which nothing is left but what it had claimed."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    async def claim_all(self) -> list[str]:
        now_s = self._rig.clock.now().timestamp()
        lanes = await self._rig.store.due_lanes(now_s)
        claimed = await self._rig.store.claim("dead", {lane.lane: 100 for lane in lanes}, now_s)
        return [job.record.id for job in claimed]


async def _until_ended(rig: Rig, runner: JobRunner, job_id: str) -> JobRecord:
    while True:
        record = await rig.store.find(job_id)
        assert record is not None
        if record.has_ended:
            return record
        rig.clock.advance(1)
        runner.wake()


async def _until_idle(rig: Rig, runner: JobRunner) -> None:
    while runner.running:
        await rig.store.find("job_1")
