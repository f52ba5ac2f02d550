"""Runs that stop half-way, whatever stops them, and are taken on."""

from __future__ import annotations

import asyncio
import errno
import os
import random
from pathlib import Path

import pytest
from tests.support.batch_rig import LIMIT_S, Answer, BatchRig, doubled

from stoker_api.batches.open_parts import OpenParts
from stoker_api.batches.states import BatchState
from stoker_api.internal_calls import CallResult


@pytest.fixture
def rig(tmp_path: Path) -> BatchRig:
    found = BatchRig(tmp_path)
    found.write_input([{"id": f"k{number}", "x": number} for number in range(25)])
    return found


async def test_a_full_disk_pauses_the_run_and_nothing_is_lost(rig: BatchRig, monkeypatch: pytest.MonkeyPatch) -> None:
    real, written = os.pwrite, [0]

    def full(descriptor: int, data: bytes, place: int) -> int:
        written[0] += 1
        if written[0] > 12:
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(descriptor, data, place)

    async with rig.running() as batches:
        monkeypatch.setattr(os, "pwrite", full)
        document = await batches.create(rig.spec())
        record = await rig.ended(batches, document["id"])
        assert record.state is BatchState.PAUSED
        assert record.problem is not None
        assert "No space left" in record.problem["detail"]
        monkeypatch.undo()
        await batches.runner.resume(document["id"])
        assert (await rig.ended(batches, document["id"])).state is BatchState.SUCCEEDED
    assert rig.results() == [(number, 2 * number) for number in range(25)]


async def test_a_run_whose_next_parts_were_all_whole_when_it_stopped_goes_on(
    rig: BatchRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.write_input([{"x": number} for number in range(70)])
    read_ahead = asyncio.Event()  # four parts of ten rows: nothing more is read until the first is committed
    rig.calls.answer = counting(40, read_ahead)
    async with rig.running() as batches:
        monkeypatch.setattr(OpenParts, "write_next", lambda _: None)
        document = await batches.create(rig.spec())
        await asyncio.wait_for(read_ahead.wait(), LIMIT_S)
        await batches.runner.pause(document["id"])
        monkeypatch.undo()
        await batches.runner.resume(document["id"])
        assert (await rig.ended(batches, document["id"])).state is BatchState.SUCCEEDED
    assert rig.results() == [(number, 2 * number) for number in range(70)]


def counting(budget: int, enough: asyncio.Event) -> Answer:
    """Says when so many calls were made."""
    left = [budget]

    def answer(arguments: dict[str, object], attempt: int) -> CallResult:
        left[0] -= 1
        if left[0] <= 0:
            enough.set()
        return doubled(arguments, attempt)

    return answer


@pytest.mark.parametrize("seed", range(6))
async def test_a_platform_that_ends_at_any_time_loses_and_doubles_nothing(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    rows = [{"id": chance.randrange(150), "x": number if chance.random() < 0.9 else "bad"} for number in range(200)]
    outputs = []
    for is_disturbed in (False, True):
        rig = BatchRig(tmp_path / str(is_disturbed))
        rig.folder.mkdir()
        rig.write_input(rows)
        lives = 8 if is_disturbed else 0
        document = None
        for life in range(lives + 1):
            enough = asyncio.Event()
            rig.calls.answer = counting(chance.randrange(1, 60) if life < lives else 10**9, enough)
            async with rig.running() as batches:
                if document is None:
                    document = await batches.create(rig.spec(key="id", max_failed_fraction=1.0))
                ended = asyncio.ensure_future(rig.ended(batches, document["id"]))
                dies = asyncio.ensure_future(enough.wait())
                await asyncio.wait({ended, dies}, return_when=asyncio.FIRST_COMPLETED)
                for task in (ended, dies):
                    task.cancel()
                await asyncio.wait({ended, dies})
            for path in (rig.folder / "state").glob("runs/*/part-*.journal"):
                path.write_bytes(path.read_bytes()[: path.stat().st_size - chance.randrange(0, 40)])
        names = [path.name for path in sorted(rig.output.iterdir()) if path.name != "manifest.json"]
        outputs.append({name: (rig.output / name).read_bytes().replace(b"/True/", b"/False/") for name in names})
    assert outputs[0] == outputs[1]
