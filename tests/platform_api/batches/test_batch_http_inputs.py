"""Inputs behind a real web server: whole, compressed, slow, cut half way, gone; with ranges and without."""

from __future__ import annotations

import asyncio
import gzip
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from tests.support.batch_rig import LIMIT_S, BatchRig
from tests.support.data_server import DataServer, data_server

from stoker.errors import Forbidden, InvalidInput, NotFound
from stoker_api.batches import remote_files
from stoker_api.batches.input_files import InputFiles, RowStream
from stoker_api.batches.service import Batches
from stoker_api.batches.settings import BatchSettings
from stoker_api.batches.states import BatchState
from stoker_api.stores.failures import StorageFailed

ROWS = 1500
LARGE = b"".join(json.dumps({"x": number, "pad": "p" * 4096}).encode() + b"\n" for number in range(ROWS))
"""More than one block, so more than one request."""
SMALL = b"".join(json.dumps({"x": number}).encode() + b"\n" for number in range(25))
BLOCK = 4 * 1024 * 1024


@pytest.fixture
def server() -> Iterator[DataServer]:
    with data_server(SMALL) as found:
        yield found


@pytest.fixture
def rig(tmp_path: Path, server: DataServer) -> BatchRig:
    found = BatchRig(tmp_path)
    found.settings = BatchSettings(roots=f"{tmp_path},{server.url}")
    return found


def numbers(server: DataServer, folder: Path, name: str) -> list[object]:
    files = InputFiles([server.url], folder)
    return [row.values["x"] for row in RowStream(files, files.find([server.url + name], None)).rows(0)]


@pytest.mark.parametrize("has_ranges", [True, False], ids=["ranges", "no ranges"])
@pytest.mark.parametrize("has_length", [True, False], ids=["length", "no length"])
@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
def test_every_server_gives_every_row_once(
    server: DataServer, tmp_path: Path, name: str, has_length: bool, has_ranges: bool
) -> None:
    server.data = gzip.compress(LARGE, 0) if name.endswith(".gz") else LARGE
    server.has_length, server.has_ranges = has_length, has_ranges
    assert numbers(server, tmp_path, name) == list(range(ROWS))


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz"])
async def test_a_run_reads_from_a_web_server(rig: BatchRig, server: DataServer, name: str) -> None:
    server.data = gzip.compress(SMALL) if name.endswith(".gz") else SMALL
    async with rig.running() as batches:
        document = await batches.create(rig.spec(input=(server.url + name,)))
        record = await rig.ended(batches, document["id"])
    assert record.state is BatchState.SUCCEEDED
    assert rig.results() == [(number, 2 * number) for number in range(25)]


async def test_a_connection_that_breaks_pauses_the_run_and_resume_goes_on(rig: BatchRig, server: DataServer) -> None:
    server.data, server.cut_after = LARGE, BLOCK + 500_000
    async with rig.running() as batches:
        document = await batches.create(rig.spec(input=(f"{server.url}in.jsonl",), rows_per_part=200))
        record = await rig.ended(batches, document["id"])
        assert record.state is BatchState.PAUSED
        problem = record.problem or {}
        assert (problem["code"], "in.jsonl cannot be read" in problem["detail"]) == ("storage_failed", True)
        assert "resume" in problem["hint"]
        server.cut_after = None
        called = dict(rig.calls.attempts)
        await batches.runner.resume(document["id"])
        assert (await rig.ended(batches, document["id"])).state is BatchState.SUCCEEDED
    assert called
    assert rig.results() == [(number, 2 * number) for number in range(ROWS)]


async def test_a_stream_that_is_cut_is_no_shorter_input(rig: BatchRig, server: DataServer) -> None:
    server.data, server.cut_after, server.has_length = LARGE, BLOCK + 500_000, False
    async with rig.running() as batches:
        document = await batches.create(rig.spec(input=(f"{server.url}in.jsonl",), rows_per_part=200))
        record = await rig.ended(batches, document["id"])
    assert (record.state, (record.problem or {})["code"]) == (BatchState.PAUSED, "storage_failed")


async def held_run(rig: BatchRig, batches: Batches, server: DataServer) -> str:
    """A run that waits for the second block of its input."""
    server.data, server.hold_from = LARGE, BLOCK + 500_000
    server.gate.clear()
    document = await batches.create(rig.spec(input=(f"{server.url}in.jsonl",), rows_per_part=200))
    assert await asyncio.to_thread(server.stopped.wait, LIMIT_S)
    return str(document["id"])


async def test_a_slow_server_is_waited_for(rig: BatchRig, server: DataServer) -> None:
    async with rig.running() as batches:
        run = await held_run(rig, batches, server)
        assert (await rig.store.find(run)).state in (BatchState.QUEUED, BatchState.RUNNING)
        server.gate.set()
        assert (await rig.ended(batches, run)).state is BatchState.SUCCEEDED
    assert len(rig.results()) == ROWS


def test_a_server_that_falls_silent_is_given_up(
    server: DataServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_files, "_SILENT_S", 0.2)
    server.data = LARGE
    server.gate.clear()
    with pytest.raises(StorageFailed, match=r"in\.jsonl cannot be read") as raised:
        numbers(server, tmp_path, "in.jsonl")
    assert raised.value.hint


async def test_what_is_not_there_is_refused_when_the_run_is_made(rig: BatchRig, server: DataServer) -> None:
    server.status = 404
    async with rig.running() as batches:
        with pytest.raises(NotFound, match=r"there is no http://.*/in\.jsonl"):
            await batches.create(rig.spec(input=(f"{server.url}in.jsonl",)))


async def test_what_goes_away_ends_the_run(rig: BatchRig, server: DataServer) -> None:
    async with rig.running() as batches:
        run = await held_run(rig, batches, server)
        server.status = 404
        server.gate.set()
        record = await rig.ended(batches, run)
    assert (record.state, (record.problem or {})["code"]) == (BatchState.FAILED, "not_found")


async def test_a_file_that_has_another_etag_is_another_file(rig: BatchRig, server: DataServer) -> None:
    async with rig.running() as batches:
        run = await held_run(rig, batches, server)
        server.etag = '"2"'
        server.gate.set()
        record = await rig.ended(batches, run)
    assert (record.state, (record.problem or {})["code"]) == (BatchState.FAILED, "input_changed")


@pytest.mark.parametrize("status", [403, 500, 503])
def test_a_server_that_refuses_is_told_of(server: DataServer, tmp_path: Path, status: int) -> None:
    server.status = status
    with pytest.raises(StorageFailed, match=rf"in\.jsonl cannot be read.*{status}"):
        numbers(server, tmp_path, "in.jsonl")


async def test_a_server_that_goes_down_pauses_the_run(rig: BatchRig, server: DataServer) -> None:
    async with rig.running() as batches:
        run = await held_run(rig, batches, server)
        server.status = 503
        server.gate.set()
        record = await rig.ended(batches, run)
        assert (record.state, (record.problem or {})["code"]) == (BatchState.PAUSED, "storage_failed")
        server.status = 200
        await batches.runner.resume(run)
        assert (await rig.ended(batches, run)).state is BatchState.SUCCEEDED
    assert rig.results() == [(number, 2 * number) for number in range(ROWS)]


def test_nobody_at_the_address_is_told_of(tmp_path: Path) -> None:
    with data_server() as gone:
        pass
    with pytest.raises(StorageFailed, match="cannot be read: ClientConnectorError"):
        numbers(gone, tmp_path, "in.jsonl")


def test_parquet_needs_ranges_and_says_so(server: DataServer, tmp_path: Path) -> None:
    out = io.BytesIO()
    table = pyarrow.table({"x": list(range(ROWS)), "pad": [str(number) * 700 for number in range(ROWS)]})
    pyarrow.parquet.write_table(table, out, compression="none", use_dictionary=False)
    server.data = out.getvalue()
    assert numbers(server, tmp_path, "in.parquet") == list(range(ROWS))
    server.has_length = server.has_ranges = False
    with pytest.raises(InvalidInput, match="range requests"):
        numbers(server, tmp_path, "in.parquet")


async def test_the_loopback_is_read_only_where_the_operator_named_it(rig: BatchRig, server: DataServer) -> None:
    async with rig.running() as batches:
        with pytest.raises(Forbidden, match="under no folder or URL"):
            await batches.create(rig.spec(input=(server.url.replace("/data/", "/other/in.jsonl"),)))


def test_a_connection_that_breaks_costs_no_row_group_of_parquet(server: DataServer, tmp_path: Path) -> None:
    out = io.BytesIO()
    table = pyarrow.table({"x": list(range(ROWS)), "pad": ["p" * 6000 + str(number) for number in range(ROWS)]})
    pyarrow.parquet.write_table(table, out, compression="none", use_dictionary=False, row_group_size=ROWS // 3)
    server.data = out.getvalue()
    files = InputFiles([server.url], tmp_path)
    rows = RowStream(files, files.find([f"{server.url}in.parquet"], None)).rows(0)
    assert next(rows).problem is None
    server.cut_after = 0
    with pytest.raises(StorageFailed, match=r"in\.parquet cannot be read"):
        list(rows)


def test_a_connection_that_breaks_is_no_damage_of_what_is_compressed(server: DataServer, tmp_path: Path) -> None:
    packed = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(packed, "zstd") as packer:
        for number in range(ROWS):
            packer.write(json.dumps({"x": number, "pad": os.urandom(2048).hex()}).encode() + b"\n")
    server.data = bytes(packed.getvalue())
    assert len(server.data) < BLOCK
    server.cut_after = len(server.data) // 2
    with pytest.raises(StorageFailed, match=r"in\.jsonl\.zst cannot be read"):
        numbers(server, tmp_path, "in.jsonl.zst")
    server.cut_after = None
    assert numbers(server, tmp_path, "in.jsonl.zst") == list(range(ROWS))
