"""Runs from their start to their end, with everything that can come between."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest
from tests.support.batch_rig import LIMIT_S, BatchRig, doubled, refusal

from stoker.errors import Conflict, Forbidden, InvalidInput, NotFound
from stoker_api.batches.mapping import MappingFailed
from stoker_api.batches.outputs import OutputExists
from stoker_api.batches.preparation import Preparation
from stoker_api.batches.records import BatchRecord, NewBatch
from stoker_api.batches.states import BatchState
from stoker_api.internal_calls import CallResult
from stoker_runtime.invocation import Priority


@pytest.fixture
def rig(tmp_path: Path) -> BatchRig:
    found = BatchRig(tmp_path)
    found.write_input([{"id": f"k{number}", "x": number} for number in range(25)])
    return found


async def run(rig: BatchRig, **changes: object) -> BatchRecord:
    async with rig.running() as batches:
        document = await batches.create(rig.spec(**changes))
        return await rig.ended(batches, document["id"])


async def test_every_row_is_in_the_output_in_the_order_of_the_input(rig: BatchRig) -> None:
    record = await run(rig, key="id")
    assert record.state is BatchState.SUCCEEDED
    assert record.rows_total == 25
    assert rig.results() == [(f"k{number}", 2 * number) for number in range(25)]
    manifest = json.loads((rig.output / "manifest.json").read_text())
    assert [part["rows"] for part in manifest["parts"]] == [10, 10, 5]
    assert (manifest["rows"], manifest["failed"], manifest["function"]) == (25, 0, "default/double@3")
    assert set(rig.calls.priorities) == {Priority.BATCH}


async def test_without_a_key_rows_are_known_by_their_number(rig: BatchRig) -> None:
    await run(rig)
    assert [key for key, _ in rig.results()] == list(range(25))


async def test_rows_may_come_with_the_request(rig: BatchRig) -> None:
    record = await run(rig, input=(), items=({"x": 1}, {"x": 2}, 3))
    assert rig.failures() == [(2, "missing_column")]
    assert rig.results() == [(0, 2), (1, 4)]
    assert record.state is BatchState.SUCCEEDED


async def test_an_empty_input_gives_an_empty_output(rig: BatchRig) -> None:
    rig.write_input([])
    assert (await run(rig)).state is BatchState.SUCCEEDED
    assert json.loads((rig.output / "manifest.json").read_text())["rows"] == 0


async def test_bad_rows_go_to_the_error_file_and_the_others_to_the_output(rig: BatchRig) -> None:
    path = rig.write_input([{"id": 1, "x": 1}, {"id": 1, "x": 2}, {"id": 2}, {"x": 5}, {"id": 3, "x": "no"}])
    path.write_text(path.read_text() + "{broken\n" + '{"id": 4, "x": 4}\n' * 2)
    await run(rig, key="id", max_failed_fraction=1.0)
    assert rig.results() == [(1, 2), (4, 8)]
    assert rig.failures() == [
        (1, "duplicate_key"),
        (2, "missing_column"),
        (3, "missing_key"),
        (4, "invalid_arguments"),
        (5, "invalid_json"),
        (7, "duplicate_key"),
    ]


@pytest.mark.parametrize(
    ("changes", "refused", "says"),
    [
        ({"function": "other"}, NotFound, "no function"),
        ({"mapping": {"y": "x"}}, MappingFailed, "no column 'y'"),
        ({"key": "ID"}, MappingFailed, "did you mean 'id'"),
        ({"output": "/etc/out"}, Forbidden, "STOKER_BATCH_ROOTS"),
        ({"input": ("/etc/passwd",)}, Forbidden, "STOKER_BATCH_ROOTS"),
        ({"input": ("upload:upload_00000000000000000000000000.jsonl",)}, NotFound, "cannot be read"),
        ({"input": ()}, InvalidInput, "no input"),
    ],
    ids=["function", "mapping", "key", "output", "input", "upload", "nothing"],
)
async def test_what_cannot_work_is_refused_before_it_is_accepted(
    rig: BatchRig, changes: dict[str, object], refused: type[Exception], says: str
) -> None:
    async with rig.running() as batches:
        for attempt in (batches.create, batches.dry_run):
            with pytest.raises(refused, match=says):
                await attempt(rig.spec(**changes))
    assert not rig.store.records


async def test_an_output_that_exists_is_refused_and_replaced_where_asked(rig: BatchRig) -> None:
    await run(rig)
    with pytest.raises(OutputExists):
        await run(rig)
    rig.write_input([{"x": 100}])
    await run(rig, overwrite=True)
    assert rig.results() == [(0, 200)]


async def test_of_two_runs_to_one_output_the_slower_one_is_told(rig: BatchRig) -> None:
    rig.calls.gate.clear()
    async with rig.running() as batches:
        documents = [await batches.create(rig.spec()) for _ in range(2)]
        await asyncio.wait_for(rig.calls.came.wait(), LIMIT_S)
        rig.calls.gate.set()
        records = [await rig.ended(batches, document["id"]) for document in documents]
    assert sorted(record.state.value for record in records) == ["failed", "succeeded"]
    assert [record.problem["code"] for record in records if record.problem] == ["output_exists"]


async def test_a_dry_run_says_what_would_be_done_and_leaves_nothing(rig: BatchRig) -> None:
    async with rig.running() as batches:
        found = await batches.dry_run(rig.spec())
        inline = await batches.dry_run(rig.spec(input=(), items=({"x": 1},)))
    assert found["columns"] == ["id", "x"]
    assert found["mapping"] == {"x": "x"}
    assert found["estimate"]["rows"] == 25
    assert found["estimate"]["replica_seconds"] == pytest.approx(25 / 8 * 0.9, abs=0.01)
    assert inline["estimate"]["rows"] == 1
    assert not rig.calls.attempts
    assert not rig.output.exists()
    assert not list((rig.folder / "state" / "uploads").iterdir())


async def test_no_more_than_max_concurrency_are_in_the_platform_at_once(rig: BatchRig) -> None:
    await run(rig, max_concurrency=3)
    assert rig.calls.most_at_once == 3


async def test_a_run_behind_its_deadline_stands_beside_interactive_calls(rig: BatchRig) -> None:
    await run(rig, deadline_s=1.0)
    assert Priority.INTERACTIVE in rig.calls.priorities


async def test_what_did_not_run_is_called_again_and_what_may_have_run_a_few_times(rig: BatchRig) -> None:
    def answer(arguments: dict[str, object], attempt: int) -> CallResult:
        if arguments["x"] == 3 and attempt < 6:
            return refusal("overloaded")
        if arguments["x"] == 4 and attempt < 3:
            return refusal("worker_lost", ran=True, retryable=False)
        if arguments["x"] == 5:
            return refusal("worker_lost", ran=True, retryable=False)
        if arguments["x"] == 6:
            return refusal("function_error", ran=True, retryable=False, error_message="no luck")
        return doubled(arguments, attempt)

    rig.calls.answer = answer
    record = await run(rig)
    assert rig.failures() == [(5, "worker_lost"), (6, "function_error")]
    attempts = {int(request.partition(".")[2]): count for request, count in rig.calls.attempts.items()}
    assert (attempts[3], attempts[4], attempts[5], attempts[6]) == (6, 3, 3, 1)
    assert record.state is BatchState.SUCCEEDED


async def test_a_hopeless_run_stops_early_with_its_first_failures(rig: BatchRig) -> None:
    rig.write_input([{"x": "bad"}] * 5000)
    record = await run(rig)
    assert record.state is BatchState.FAILED
    assert record.problem is not None
    assert record.problem["code"] == "too_many_failures"
    assert len(record.problem["errors"]) == 10
    assert len(rig.calls.attempts) < 200
    assert not rig.output.exists()


async def test_a_failed_run_goes_on_where_it_was_when_more_failures_are_allowed(rig: BatchRig) -> None:
    rig.write_input([{"x": "bad"}] * 30 + [{"x": number} for number in range(30)])
    async with rig.running() as batches:
        document = await batches.create(rig.spec(max_failed_fraction=0.2))
        assert (await rig.ended(batches, document["id"])).state is BatchState.FAILED
        before = dict(rig.calls.attempts)
        await batches.runner.resume(document["id"], max_failed_fraction=1.0)
        assert (await rig.ended(batches, document["id"])).state is BatchState.SUCCEEDED
    assert all(rig.calls.attempts[request] <= 2 for request in before)
    assert len(rig.results()) == 30
    assert len(rig.failures()) == 30


async def test_a_function_that_cannot_start_pauses_the_run_instead_of_failing_its_rows(rig: BatchRig) -> None:
    rig.calls.answer = lambda arguments, attempt: refusal("crash_looping", retryable=False, hint="Look at the log.")
    async with rig.running() as batches:
        document = await batches.create(rig.spec())
        record = await rig.ended(batches, document["id"])
        assert record.state is BatchState.PAUSED
        assert record.problem is not None
        assert "Look at the log." in record.problem["hint"]
        rig.calls.answer = doubled
        await batches.runner.resume(document["id"])
        assert (await rig.ended(batches, document["id"])).state is BatchState.SUCCEEDED
    assert len(rig.results()) == 25


async def test_pause_lets_end_what_is_in_flight_and_resume_goes_on_behind_it(rig: BatchRig) -> None:
    rig.calls.gate.clear()
    async with rig.running() as batches:
        document = await batches.create(rig.spec())
        await asyncio.wait_for(rig.calls.came.wait(), LIMIT_S)
        pausing = asyncio.ensure_future(batches.runner.pause(document["id"]))
        await asyncio.sleep(0)
        rig.calls.gate.set()
        assert (await pausing).state is BatchState.PAUSED
        assert (await batches.runner.pause(document["id"])).state is BatchState.PAUSED
        await batches.runner.resume(document["id"])
        assert (await rig.ended(batches, document["id"])).state is BatchState.SUCCEEDED
    assert set(rig.calls.attempts.values()) == {1}
    assert len(rig.results()) == 25


async def test_cancel_ends_at_once_and_leaves_no_output(rig: BatchRig) -> None:
    rig.calls.gate.clear()
    async with rig.running() as batches:
        document = await batches.create(rig.spec())
        await asyncio.wait_for(rig.calls.came.wait(), LIMIT_S)
        assert (await batches.runner.cancel(document["id"])).state is BatchState.CANCELED
        with pytest.raises(Conflict):
            await batches.runner.resume(document["id"])
    assert sorted(path.name for path in rig.folder.iterdir()) == ["in.jsonl", "state"]
    assert not list((rig.folder / "state" / "runs").iterdir())


async def test_an_input_that_changed_is_refused_when_the_run_is_taken_up(rig: BatchRig) -> None:
    rig.calls.gate.clear()
    async with rig.running() as batches:
        document = await batches.create(rig.spec())
        await asyncio.wait_for(rig.calls.came.wait(), LIMIT_S)
    rig.write_input([{"x": 1}])
    rig.calls.gate.set()
    async with rig.running() as batches:
        record = await rig.ended(batches, document["id"])
    assert record.state is BatchState.FAILED
    assert record.problem is not None
    assert record.problem["code"] == "input_changed"
    assert not rig.output.exists()


async def test_runs_beyond_the_limit_wait_their_turn(rig: BatchRig) -> None:
    rig.settings = type(rig.settings)(roots=str(rig.folder), max_running=1)
    rig.calls.gate.clear()
    async with rig.running() as batches:
        first = await batches.create(rig.spec(output=None))
        second = await batches.create(rig.spec(output=None))
        await asyncio.wait_for(rig.calls.came.wait(), LIMIT_S)
        assert (await rig.store.find(second["id"])).state is BatchState.QUEUED
        rig.calls.gate.set()
        for document in (first, second):
            assert (await rig.ended(batches, document["id"])).state is BatchState.SUCCEEDED


async def test_runs_are_taken_up_whatever_becomes_of_cleaning_up(
    rig: BatchRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    def vanish(*_: object) -> None:
        raise OSError("stale file handle")

    monkeypatch.setattr(Preparation, "forget_uploads", vanish)
    for number in range(2):
        assert (await run(rig, output=str(rig.folder / f"out-{number}"))).state is BatchState.SUCCEEDED


async def test_an_upload_that_gets_its_name_meanwhile_is_no_fault(rig: BatchRig) -> None:
    async with rig.running() as batches:
        folder = rig.folder / "state" / "uploads"
        (folder / "gone").symlink_to(folder / "never-there")
        (folder / "old").write_bytes(b"")
        batches.runner._preparation.forget_uploads(math.inf, ())
        assert not (folder / "old").exists()


async def test_reading_ahead_leaves_errors_to_the_run(rig: BatchRig) -> None:
    async with rig.running() as batches:
        batches.read_ahead(rig.spec())
        batches.read_ahead(rig.spec(input=(str(rig.folder / "never.jsonl"),)))
        batches.read_ahead(rig.spec(input=("/etc/passwd",)))
    assert not rig.output.exists()


async def test_only_what_is_on_this_machine_is_read_ahead(rig: BatchRig, monkeypatch: pytest.MonkeyPatch) -> None:
    found: list[tuple[str, ...]] = []

    def find(_: Preparation, spec: NewBatch) -> list[object]:
        found.append(spec.input)
        raise NotFound("nothing")

    monkeypatch.setattr(Preparation, "_find", find)
    preparation = Preparation(rig.folder, ["https://data.example/", str(rig.folder)])
    for url in ("https://data.example/in.jsonl", str(rig.folder / "in.jsonl")):
        preparation.read_ahead(rig.spec(input=(url,)))
    assert found == [(str(rig.folder / "in.jsonl"),)]


async def test_an_upload_comes_in_pieces_and_only_at_its_end(rig: BatchRig) -> None:
    async def pieces(*data: bytes):  # type: ignore[no-untyped-def]  # an async generator of bytes
        for each in data:
            yield each

    async with rig.running() as batches:
        upload = batches.uploads.new("../My texts.JSONL.gz")
        assert upload.endswith("-My_texts.jsonl.gz")
        assert await batches.uploads.add(upload, 0, pieces(b"ab", b"c")) == 3
        with pytest.raises(Conflict, match="3 bytes"):
            await batches.uploads.add(upload, 2, pieces(b"x"))
        with pytest.raises(Conflict, match="begun"):
            await batches.uploads.add(upload, 0, pieces(b"x"))
        assert await batches.uploads.add(upload, 3, pieces(b"de")) == 5
        with pytest.raises(NotFound):
            await batches.uploads.add(batches.uploads.new("a.csv"), 5, pieces(b"x"))
        with pytest.raises(InvalidInput, match="suffix"):
            batches.uploads.new("texts")
    assert (rig.folder / "state" / "uploads" / upload).read_bytes() == b"abcde"
