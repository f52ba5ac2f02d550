"""Rows of files: whole, damaged, misnamed, and read again from the middle."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import sys
from collections.abc import Callable
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from stoker.errors import InvalidInput, NotFound
from stoker_api.batches import text_rows
from stoker_api.batches.input_files import InputBroken, InputChanged, InputFiles, RowStream
from stoker_api.batches.items import take_sample
from stoker_api.batches.records import RowFormat
from stoker_api.batches.rows import Row

TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=12)
VALUES = st.one_of(
    st.integers(-(2**53), 2**53), TEXT, st.booleans(), st.none(), st.lists(st.integers(0, 9), max_size=3)
)


def zstd(data: bytes) -> bytes:
    out = pyarrow.BufferOutputStream()
    with pyarrow.CompressedOutputStream(out, "zstd") as packer:
        packer.write(data)
    return bytes(out.getvalue())


PACKERS = {"": bytes, ".gz": gzip.compress, ".bz2": bz2.compress, ".xz": lzma.compress, ".zst": zstd}


def read(folder: Path, name: str, data: bytes, start: int = 0, given_format: RowFormat | None = None) -> list[Row]:
    (folder / name).write_bytes(data)
    return read_all(folder, [str(folder / name)], start, given_format)


def read_all(folder: Path, urls: list[str], start: int = 0, given_format: RowFormat | None = None) -> list[Row]:
    files = InputFiles([str(folder)], folder)
    return list(RowStream(files, files.find(urls, given_format)).rows(start))


def values(rows: list[Row]) -> list[object]:
    return [row.values if row.problem is None else row.problem.code for row in rows]


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.dictionaries(TEXT, VALUES, max_size=3), max_size=20), packer=st.sampled_from(sorted(PACKERS)))
def test_jsonl_is_read_as_it_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, object]], packer: str
) -> None:
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    found = read(tmp_path_factory.mktemp("r"), f"a.jsonl{packer}", PACKERS[packer](data))
    assert values(found) == rows
    assert [row.number for row in found] == list(range(len(rows)))


@settings(max_examples=60, deadline=None)
@given(rows=st.lists(st.tuples(TEXT, TEXT), max_size=20), start=st.integers(0, 21))
def test_csv_is_read_as_it_was_written_from_any_row_on(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str]], start: int
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b"])
    writer.writerows(rows)
    found = read(tmp_path_factory.mktemp("r"), "a.csv", text.getvalue().encode(), start)
    assert values(found) == [{"a": a, "b": b} for a, b in rows][start:]
    assert [row.number for row in found] == list(range(len(rows)))[start:]


@settings(max_examples=30, deadline=None)
@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=4), start=st.integers(0, 130))
def test_parquet_is_read_from_any_row_on(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], start: int
) -> None:
    folder = tmp_path_factory.mktemp("r")
    for number, length in enumerate(lengths):
        table = pyarrow.table({"x": pyarrow.array(range(length), pyarrow.int64())})
        pyarrow.parquet.write_table(table, folder / f"{number}.parquet", row_group_size=7)
    found = read_all(folder, [f"{folder}/*.parquet"], start)
    assert values(found) == [{"x": x} for length in lengths for x in range(length)][start:]
    assert [row.number for row in found] == list(range(sum(lengths)))[start:]


@settings(max_examples=60, deadline=None)
@given(data=st.binary(max_size=200), name=st.sampled_from(["a.jsonl", "a.csv", "a.tsv"]))
def test_any_bytes_give_rows_or_a_refusal(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    folder = tmp_path_factory.mktemp("r")
    try:
        first = read(folder, name, data)
    except InvalidInput:
        return
    assert read(folder, name, data) == first
    assert [row.number for row in first] == list(range(len(first)))


def test_bad_lines_are_told_with_their_place_and_the_others_are_read(tmp_path: Path) -> None:
    data = b'{"x": 1}\n\n{"x": \nnull\n{"x": 2}\n\xff\xfe\n'
    found = read(tmp_path, "a.jsonl", data)
    assert values(found) == [{"x": 1}, "invalid_json", {"value": None}, {"x": 2}, "invalid_json"]
    assert found[1].where.endswith("a.jsonl:3")


def test_a_csv_row_with_a_column_too_many_or_too_few_is_told_with_its_line(tmp_path: Path) -> None:
    found = read(tmp_path, "a.csv", b'a,b\n1,2\n1,2,3\n"x\ny",4\n5\n6,\xff\n')
    assert values(found) == [
        {"a": "1", "b": "2"},
        "wrong_columns",
        {"a": "x\ny", "b": "4"},
        "wrong_columns",
        "invalid_text",
    ]
    assert [row.where.rpartition(":")[2] for row in found] == ["2", "3", "4", "6", "7"]


def test_a_line_beyond_the_limit_costs_itself_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_rows, "LONGEST_ROW_BYTES", 100)
    data = b'{"x": 1}\n"' + b"y" * 1000 + b'"\n{"x": 2}\n'
    assert values(read(tmp_path, "a.jsonl", data)) == [{"x": 1}, "row_too_large", {"x": 2}]


def test_a_corrupt_row_group_costs_its_own_rows(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    table = pyarrow.table({"x": [f"text {number} " * 20 for number in range(30)]})
    pyarrow.parquet.write_table(table, path, row_group_size=10, compression="snappy", use_dictionary=False)
    column = pyarrow.parquet.ParquetFile(path).metadata.row_group(1).column(0)
    data = bytearray(path.read_bytes())
    begin = column.data_page_offset
    data[begin : begin + column.total_compressed_size] = b"\xff" * column.total_compressed_size
    found = read(tmp_path, "b.parquet", bytes(data))
    problems = [row.problem.code if row.problem else "" for row in found]
    assert problems == [""] * 10 + ["corrupt_row_group"] * 10 + [""] * 10
    assert [row.number for row in found] == list(range(30))


@pytest.mark.parametrize(
    ("name", "data", "says"),
    [
        ("a.parquet", b'{"x": 1}\n', "no Parquet"),
        ("a.jsonl", b"PAR1" + b"\0" * 20, "is Parquet"),
        ("a.csv.gz", b"a,b\n1,2\n", "not gzip"),
        ("a.dat", b"1", "suffix"),
        ("a.csv", b"a,,b\n1,2,3\n", "every column once"),
        ("a.csv", b"a,a\n1,2\n", "every column once"),
        ("a.csv.zst", gzip.compress(b"a,b\n1,2\n"), "not Zstandard"),
    ],
    ids=["jsonl-as-parquet", "parquet-as-jsonl", "plain-as-gz", "unknown", "empty-head", "double-head", "gz-as-zst"],
)
def test_what_is_not_what_its_suffix_says_is_refused(tmp_path: Path, name: str, data: bytes, says: str) -> None:
    with pytest.raises(InvalidInput, match=says):
        read(tmp_path, name, data)


def test_the_format_may_be_given_where_the_suffix_says_nothing(tmp_path: Path) -> None:
    assert values(read(tmp_path, "a.dat", b'{"x": 1}', given_format=RowFormat.JSONL)) == [{"x": 1}]


def test_a_file_of_text_is_a_row(tmp_path: Path) -> None:
    for name, data in (("a.txt", "one\ntwo é".encode()), ("b.md", b"\xff"), ("c.txt.gz", gzip.compress(b"packed"))):
        (tmp_path / name).write_bytes(data)
    found = read_all(tmp_path, [f"{tmp_path}/*"])
    first = {"path": str(tmp_path / "a.txt"), "text": "one\ntwo é"}
    assert values(found) == [first, "invalid_text", {"path": str(tmp_path / "c.txt.gz"), "text": "packed"}]
    assert values(read_all(tmp_path, [f"{tmp_path}/*"], start=2)) == values(found)[2:]


@pytest.mark.parametrize("pack", [gzip.compress, zstd], ids=["gzip", "zstd"])
def test_a_file_that_is_compressed_without_saying_so_is_read(tmp_path: Path, pack: Callable[[bytes], bytes]) -> None:
    assert values(read(tmp_path, "a.jsonl", pack(b"1\n2\n"))) == [{"value": 1}, {"value": 2}]


def test_frames_behind_each_other_are_one_file(tmp_path: Path) -> None:
    found = read(tmp_path, "a.jsonl.zst", zstd(b"1\n2\n") + zstd(b"3\n"))
    assert values(found) == [{"value": 1}, {"value": 2}, {"value": 3}]


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_a_file_that_is_cut_short_says_after_which_row(tmp_path: Path, suffix: str) -> None:
    packed = PACKERS[suffix](b"".join(b'{"x": %d}\n' % (number * 7919) for number in range(5000)))
    with pytest.raises(InputBroken, match="after row"):
        read(tmp_path, f"a.jsonl{suffix}", packed[: len(packed) // 2])


def test_a_damaged_frame_says_after_which_row(tmp_path: Path) -> None:
    packed = bytearray(zstd(b"".join(b'{"x": %d}\n' % (number * 7919) for number in range(5000))))
    packed[len(packed) // 2 :] = b"\xff" * (len(packed) - len(packed) // 2)
    with pytest.raises(InputBroken, match="after row"):
        read(tmp_path, "a.jsonl.zst", bytes(packed))


def test_without_pyarrow_zstandard_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "stoker_api.batches.zstd_stream", None)
    with pytest.raises(InvalidInput, match="needs pyarrow") as raised:
        read(tmp_path, "a.jsonl.zst", zstd(b"1\n"))
    assert "stoker[batch]" in (raised.value.hint or "")


def test_a_csv_that_is_named_jsonl_is_found_out_by_its_first_rows(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text("id,text\n1,a\n2,b\n")
    files = InputFiles([str(tmp_path)], tmp_path)
    with pytest.raises(InvalidInput, match="not one of the first 3 rows"):
        take_sample(RowStream(files, files.find([f"{tmp_path}/a.jsonl"], None)))


def test_an_empty_input_has_no_rows(tmp_path: Path) -> None:
    assert read(tmp_path, "a.jsonl", b"") == []
    assert read(tmp_path, "a.csv", b"") == []
    assert read(tmp_path, "b.csv", b"a,b\n") == []


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    for url in (f"{tmp_path}/a.csv", f"{tmp_path}/*.csv"):
        with pytest.raises(NotFound):
            read_all(tmp_path, [url])
    with pytest.raises(InvalidInput, match="no file"):
        read_all(
            tmp_path, [str(tmp_path / "sub")] if (tmp_path / "sub").mkdir() is None else [], given_format=RowFormat.CSV
        )


def test_a_change_of_the_input_is_noticed_before_and_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b"1\n" * 300_000)
    files = InputFiles([str(tmp_path)], tmp_path)
    found = files.find([str(path)], None)
    prints = [file.fingerprint() for file in found]
    rows = RowStream(files, found).rows(0)
    next(rows)
    path.write_bytes(b"2\n" * 299_999)
    with pytest.raises(InputChanged, match="changed"):
        for _ in rows:
            pass
    with pytest.raises(InputChanged, match="changed"):
        files.check_unchanged(files.find([str(path)], None), prints)


def test_urls_are_read_through_fsspec(tmp_path: Path) -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe("/batch-in/a.jsonl.gz", gzip.compress(b'{"x": 1}\n'))
    memory.pipe("/batch-in/b.csv", b"x\n2\n")
    files = InputFiles(["memory://batch-in/"], tmp_path)
    found = files.find(["memory://batch-in/*"], None)
    assert values(list(RowStream(files, found).rows(0))) == [{"x": 1}, {"x": "2"}]
    memory.pipe("/batch-in/b.csv", b"x\n22\n")
    with pytest.raises(InputChanged):
        files.check_unchanged(files.find(["memory://batch-in/*"], None), [file.fingerprint() for file in found])
    memory.rm("/batch-in", recursive=True)
