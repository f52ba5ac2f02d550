"""Journals of unfinished parts, keys that were seen, and outputs that appear whole."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import InvalidInput
from stoker_api.batches.journal import PartJournal
from stoker_api.batches.outputs import FolderOutput, OutputExists, open_output
from stoker_api.batches.part_files import FAILURE, RESULT, PartFiles
from stoker_api.batches.records import RowFormat
from stoker_api.batches.seen_keys import SeenKeys
from stoker_api.stores.failures import StorageFailed

ROWS = st.lists(st.tuples(st.integers(0, 30), st.integers(0, 1), st.binary(max_size=20)), max_size=20)


@settings(max_examples=80, deadline=None)
@given(rows=ROWS, cut=st.integers(0, 1000), flip=st.none() | st.integers(0, 1000))
def test_a_journal_that_was_cut_or_damaged_anywhere_keeps_what_stands_before(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[int, int, bytes]], cut: int, flip: int | None
) -> None:
    path = tmp_path_factory.mktemp("j") / "part-0000000.journal"
    journal = PartJournal(path)
    for index, kind, payload in rows:
        journal.add(index, kind, payload)
    whole = {(entry.index, entry.kind, entry.payload) for entry in journal.entries()}
    journal.close()
    data = bytearray(path.read_bytes()[: max(0, path.stat().st_size - cut)])
    if flip is not None and data:
        data[flip % len(data)] ^= 0x40
    path.write_bytes(data)
    again = PartJournal(path)
    assert {(entry.index, entry.kind, entry.payload) for entry in again.entries()} <= whole
    for index, kind, payload in rows:
        again.add(index, kind, payload)
    assert {(entry.index, entry.kind, entry.payload) for entry in again.entries()} == whole or flip is not None
    assert len(again) == len(whole)
    again.remove()


@settings(max_examples=40, deadline=None)
@given(keys=st.lists(st.binary(max_size=2), max_size=30), first=st.integers(0, 30))
def test_the_first_row_owns_its_key_however_many_are_asked_at_once(
    tmp_path_factory: pytest.TempPathFactory, keys: list[bytes], first: int
) -> None:
    expected = [keys.index(key) for key in keys]
    path = tmp_path_factory.mktemp("k") / "keys.db"
    for _ in range(2):  # what an earlier process left is of no worth
        seen = SeenKeys(path)
        assert seen.owners(list(enumerate(keys[:first]))) == expected[:first]
        assert seen.owners(list(enumerate(keys))[first:]) == expected[first:]
    seen.close()
    assert not path.exists()


def write_part(output: FolderOutput, folder: Path, format: RowFormat = RowFormat.JSONL) -> list[str]:
    folder.mkdir(exist_ok=True)
    output.prepare()
    journal = PartJournal(folder / "part-0000000.journal")
    journal.add(1, RESULT, b'{"key":1,"result":2.5}')
    journal.add(0, RESULT, b'{"key":0,"result":null}')
    journal.add(2, FAILURE, b'{"key":2,"code":"x"}')
    part, errors = PartFiles(output, format, folder).write(0, journal)
    journal.close()
    assert part is not None
    assert errors is not None
    return [part["file"], errors["file"]]


def test_an_output_appears_whole_and_in_the_order_of_rows(tmp_path: Path) -> None:
    target = tmp_path / "out"
    output = FolderOutput(target, "batch_1", overwrite=False)
    output.check_free()
    names = write_part(output, tmp_path / "run")
    assert not target.exists()
    output.publish(b'{"batch": "batch_1"}', names)
    assert (target / "part-00000.jsonl").read_text() == '{"key":0,"result":null}\n{"key":1,"result":2.5}\n'
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]
    output.publish(b'{"batch": "batch_1"}', names)  # again, as after a crash
    assert json.loads((target / "manifest.json").read_text()) == {"batch": "batch_1"}


def test_an_output_that_exists_is_refused_and_overwritten_where_asked(tmp_path: Path) -> None:
    target = tmp_path / "out"
    target.mkdir()
    FolderOutput(target, "batch_1", overwrite=False).check_free()
    (target / "mine.txt").write_text("kept")
    with pytest.raises(OutputExists, match="overwrite"):
        FolderOutput(target, "batch_1", overwrite=False).check_free()
    output = FolderOutput(target, "batch_2", overwrite=True)
    names = write_part(output, tmp_path / "run")
    assert (target / "mine.txt").exists()
    output.publish(b'{"batch": "batch_2"}', names)
    assert sorted(path.name for path in target.iterdir()) == ["errors-00000.jsonl", "manifest.json", "part-00000.jsonl"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_an_overwrite_that_was_broken_off_half_way_is_carried_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out"
    target.mkdir()
    (target / "mine.txt").write_text("old")
    output = FolderOutput(target, "batch_3", overwrite=True)
    names = write_part(output, tmp_path / "run")
    real = os.rename

    def dies(source: Path, place: Path) -> None:
        if place == target:
            raise OSError(errno.EIO, "the power went")
        real(source, place)

    monkeypatch.setattr(os, "rename", dies)
    with pytest.raises(StorageFailed):
        output.publish(b'{"batch": "batch_3"}', names)
    monkeypatch.undo()
    again = FolderOutput(target, "batch_3", overwrite=True)
    again.prepare()
    again.publish(b'{"batch": "batch_3"}', names)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "run"]


def test_parquet_parts_share_the_types_of_the_first(tmp_path: Path) -> None:
    import pyarrow.parquet

    output = FolderOutput(tmp_path / "out", "batch_1", overwrite=False)
    write_part(output, tmp_path / "run", RowFormat.PARQUET)
    found = pyarrow.parquet.read_table(tmp_path / ".out.batch_1" / "part-00000.parquet")
    assert found.to_pylist() == [{"key": 0, "result": None}, {"key": 1, "result": 2.5}]
    journal = PartJournal(tmp_path / "run" / "part-0000001.journal")
    journal.add(0, RESULT, b'{"key":5,"result":"text"}')
    with pytest.raises(InvalidInput, match="do not share one type"):
        PartFiles(output, RowFormat.PARQUET, tmp_path / "run").write(1, journal)
    journal.close()


def test_an_object_store_gets_its_manifest_last(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    output = open_output("memory://batch-out/a", "batch_1", tmp_path, ["memory://batch-out"], overwrite=False)
    output.check_free()
    output.prepare()
    output.draft("part-00000.jsonl").write_bytes(b"1\n")
    output.put("part-00000.jsonl")
    assert not memory.exists("/batch-out/a/manifest.json")
    output.publish(b"{}", ["part-00000.jsonl"])
    assert memory.cat("/batch-out/a/manifest.json") == b"{}"
    with pytest.raises(OutputExists):
        output.check_free()
    memory.rm("/batch-out", recursive=True)


def test_a_root_itself_is_no_output(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="root itself"):
        open_output(str(tmp_path), "batch_1", tmp_path, [str(tmp_path)], overwrite=True)
