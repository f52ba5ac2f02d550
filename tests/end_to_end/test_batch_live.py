"""Batch runs on a real platform, as users start them: command line, SDK and plain HTTP."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow.parquet
import pytest
from tests.support.platform_process import PlatformProcess, platform_process, register

from stoker.batch_run import BatchRun, BatchStopped
from stoker.client import Client
from stoker.function import Function

DOUBLE = """
def double(x: list[int]) -> list[int]:
    if any(each == 13 for each in x):
        raise ValueError("13 is not doubled here")
    return [2 * each for each in x]
"""
LENGTH = "def length(text: str, path: str = '') -> int:\n    return len(text)\n"


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PlatformProcess]:
    folder = tmp_path_factory.mktemp("batches")
    with platform_process(folder / "data", env={"STOKER_BATCH_ROOTS": str(folder / "shared")}) as found:
        (folder / "shared").mkdir()
        with found.client() as client:
            register(client, "double", DOUBLE, batch={"max_batch_size": 8}, idempotent=True)
            register(client, "length", LENGTH)
        yield found


@pytest.fixture
def connected(platform: PlatformProcess, monkeypatch: pytest.MonkeyPatch) -> Iterator[Client]:
    monkeypatch.setenv("STOKER_URL", platform.url)
    monkeypatch.setenv("STOKER_TOKEN", platform.token)
    with Client(platform.url, platform.token) as client:
        yield client


def rows_of(folder: Path, kind: str = "part") -> list[dict[str, object]]:
    return [
        json.loads(line) for path in sorted(folder.glob(f"{kind}-*.jsonl")) for line in path.read_text().splitlines()
    ]


def test_a_file_goes_in_and_a_folder_comes_out(platform: PlatformProcess, tmp_path: Path) -> None:
    text = "id,number\n" + "".join(f"k{number},{number}\n" for number in range(50)) + "k50,1,2\n"
    (tmp_path / "in.csv.gz").write_bytes(gzip.compress(text.encode()))
    out = tmp_path / "out"
    args = ("batch", "run", "double", str(tmp_path / "in.csv.gz"), "--output", str(out), "--map", "number=x")
    done = platform.cli(*args, "--key", "id", "--rows-per-part", "20")
    assert done.returncode == 0, done.stderr
    assert "49 results, 2 failures" not in done.stdout
    assert "49 results, 2 failures" in done.stderr
    assert {row["key"]: row["result"] for row in rows_of(out)} == {f"k{n}": 2 * n for n in range(50) if n != 13}
    assert [(row["where"], row["code"]) for row in rows_of(out, "errors")] == [
        ("in.csv.gz:15", "function_error"),
        ("in.csv.gz:52", "wrong_columns"),
    ]
    shown = platform.cli("batch", "show", done.stdout.strip(), "--json")
    assert json.loads(shown.stdout)["state"] == "succeeded"
    assert done.stdout.strip() in platform.cli("batch", "list", "double").stdout

    again = platform.cli(*args)
    assert again.returncode != 0
    assert "--overwrite" in again.stderr


def test_a_dry_run_starts_nothing_and_a_wrong_column_is_told_with_the_right_one(
    platform: PlatformProcess, tmp_path: Path
) -> None:
    (tmp_path / "in.jsonl").write_text('{"X": 1}\n')
    before = platform.cli("batch", "list", "--json").stdout
    wrong = platform.cli("batch", "run", "double", str(tmp_path / "in.jsonl"), "--dry-run")
    assert "did you mean 'X'" in wrong.stderr
    right = platform.cli("batch", "run", "double", str(tmp_path / "in.jsonl"), "--map", "X=x", "--dry-run", "--json")
    assert json.loads(right.stdout)["estimate"]["rows"] == 1
    assert platform.cli("batch", "list", "--json").stdout == before


def test_a_folder_of_texts_becomes_a_row_for_each(platform: PlatformProcess, tmp_path: Path) -> None:
    (tmp_path / "notes" / "deep").mkdir(parents=True)
    (tmp_path / "notes" / "a.md").write_text("four")
    (tmp_path / "notes" / "deep" / "b.txt").write_text("seven..")
    out = tmp_path / "out"
    done = platform.cli("batch", "run", "length", str(tmp_path / "notes"), "--output", str(out), "--key", "path")
    assert done.returncode == 0, done.stderr
    assert {row["key"]: row["result"] for row in rows_of(out)} == {"a.md": 4, "deep/b.txt": 7}


def test_the_sdk_takes_rows_and_gives_results(connected: Client) -> None:
    run = Function.from_name("double").batch(({"x": number} for number in range(30)), rows_per_part=7)
    assert run.wait(progress=False)["progress"]["failed"] == 1
    assert dict(run.results()) == {number: 2 * number for number in range(30) if number != 13}
    assert [error["message"] for error in run.errors()] == ["13 is not doubled here"]
    assert BatchRun.from_id(run.id, connected).status()["state"] == "succeeded"


def test_a_hopeless_run_raises_what_stopped_it(connected: Client) -> None:
    run = Function.from_name("double").batch([{"x": 13}] * 100, max_failed_fraction=0.1)
    with pytest.raises(BatchStopped, match="13 is not doubled here"):
        run.wait(progress=False)


def test_an_option_that_is_not_known_is_refused_by_name(connected: Client) -> None:
    with pytest.raises(TypeError, match="'dead_line'"):
        Function.from_name("double").batch([{"x": 1}], dead_line="1h")


def test_the_platform_reads_and_writes_beneath_its_roots_alone(platform: PlatformProcess) -> None:
    shared = platform.data_dir.parent / "shared"
    pyarrow.parquet.write_table(pyarrow.table({"x": list(range(10))}), shared / "in.parquet")
    spec = {"function": "double", "input": str(shared / "*.parquet"), "output": f"file://{shared}/out"}
    with platform.client() as client:
        made = client.post("/v1/batches", json=spec | {"output_format": "parquet"})
        assert made.status_code == 202, made.text
        assert _last(client, made.json()["id"])["state"] == "succeeded"
        found = pyarrow.parquet.read_table(shared / "out" / "part-00000.parquet").to_pylist()
        assert found == [{"key": number, "result": 2 * number} for number in range(10)]
        for change in ({"input": "/etc/passwd"}, {"output": "/etc/out"}, {"input": "http://127.0.0.1/x.csv"}):
            refused = client.post("/v1/batches", json=spec | change)
            assert refused.status_code == 403
            assert "STOKER_BATCH_ROOTS" in refused.json()["hint"]


def test_a_token_sees_the_runs_of_its_namespaces_alone(platform: PlatformProcess) -> None:
    with platform.client() as client:
        made = client.post("/v1/batches", json={"function": "double", "items": [{"x": 1}]}).json()
        _last(client, made["id"])
        token = client.post("/v1/tokens", json={"name": "b", "scopes": ["invoke"], "namespaces": ["other"]}).json()
    with platform.client(token["token"]) as stranger:
        assert stranger.get("/v1/batches").json()["batches"] == []
        for path in ("", "/events", "/output", "/output/manifest.json"):
            assert stranger.get(f"/v1/batches/{made['id']}{path}").status_code == 403
        assert stranger.post("/v1/batches", json={"function": "double", "items": [1]}).status_code == 403


@pytest.mark.parametrize(
    "body",
    [
        {"function": "double"},
        {"function": "double", "items": [1], "input": "upload:x"},
        {"function": "double", "items": [{"x": 1}], "output_format": "csv"},
        {"function": "double", "items": [{"x": 1}], "deadline": "tomorrow"},
        {"function": "double", "items": [{"x": 1}], "deadline": "2027-01-01T00:00:00"},
        {"function": "double", "items": [{"x": 1}], "max_failed_fraction": 2},
        {"function": "double", "items": [{"x": 1}], "rows_per_part": 0},
        {"function": "none", "items": [{"x": 1}]},
        {"function": "../x", "items": [{"x": 1}]},
    ],
    ids=["no-input", "two-inputs", "csv-out", "no-time", "no-zone", "fraction", "no-rows", "no-function", "path"],
)
def test_a_request_that_makes_no_sense_is_refused(platform: PlatformProcess, body: dict[str, object]) -> None:
    with platform.client() as client:
        answer = client.post("/v1/batches", json=body)
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]


def test_a_file_of_a_kept_output_is_no_path(platform: PlatformProcess) -> None:
    with platform.client() as client:
        made = client.post("/v1/batches", json={"function": "double", "items": [{"x": 1}]}).json()
        _last(client, made["id"])
        assert client.get(f"/v1/batches/{made['id']}/output").json()["files"] == ["manifest.json", "part-00000.jsonl"]
        for name in ("..%2F..%2Fkeys.db", "keys.db", "%2e%2e", "part-00001.jsonl"):
            assert client.get(f"/v1/batches/{made['id']}/output/{name}").status_code == 404
        assert "stoker_batch_rows_total" in client.get("/metrics").text


def _last(client: httpx.Client, batch_id: str) -> dict[str, object]:
    document: dict[str, object] = {}
    with client.stream("GET", f"/v1/batches/{batch_id}/events") as stream:
        for line in stream.iter_lines():
            if line.startswith("data: "):
                document = json.loads(line.removeprefix("data: "))
    return document
