"""Where a run may read and write, and where not."""

from __future__ import annotations

from pathlib import Path

import pytest

from stoker.errors import Forbidden, InvalidInput, InvalidOption
from stoker_api.batches.locations import Place, check_resolved, parse_location
from stoker_api.batches.settings import BatchSettings

URLS = ("s3://bucket/texts", "https://data.example.com/sets/")


def test_by_default_nothing_but_uploads_is_read() -> None:
    assert parse_location("upload:upload_0123456789abc.jsonl.gz", ()).place is Place.UPLOAD
    for text in ("/etc/passwd", "file:///etc/passwd", "s3://bucket/x.csv", "http://169.254.169.254/latest"):
        with pytest.raises(Forbidden, match="STOKER_BATCH_ROOTS"):
            parse_location(text, ())


def test_files_beneath_a_root_are_taken(tmp_path: Path) -> None:
    file = tmp_path / "a.csv"
    assert parse_location(str(file), [str(tmp_path)]).path == str(file)
    assert parse_location(f"file://{file}", [str(tmp_path)]).place is Place.FILE
    assert parse_location(f"{tmp_path}/*.csv", [str(tmp_path)]).has_glob


@pytest.mark.parametrize("tail", ["../x", "a/../../x", "a/../../*"])
def test_a_path_cannot_climb_out(tmp_path: Path, tail: str) -> None:
    with pytest.raises(Forbidden):
        parse_location(f"{tmp_path}/root/{tail}", [f"{tmp_path}/root"])


def test_a_link_cannot_lead_out(tmp_path: Path) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to("/etc")
    with pytest.raises(Forbidden):
        parse_location(f"{root}/link/passwd", [str(root)])
    with pytest.raises(Forbidden):
        check_resolved(root / "link" / "passwd", [str(root)])


def test_a_sibling_that_begins_alike_is_not_the_root(tmp_path: Path) -> None:
    with pytest.raises(Forbidden):
        parse_location(f"{tmp_path}/roots/x.csv", [f"{tmp_path}/root"])
    with pytest.raises(Forbidden):
        parse_location("s3://bucket/texts-secret/x.csv", URLS)


@pytest.mark.parametrize("url", ["s3://bucket/texts/a.jsonl", "https://data.example.com/sets/a.csv"])
def test_urls_beneath_a_prefix_are_taken(url: str) -> None:
    assert parse_location(url, URLS).path == url


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a.csv",
        "upload:../../x",
        "upload:upload_x/../../etc",
        "simplecache::s3://bucket/texts/a.csv",
        "s3://bucket/texts/../secret/a.csv",
        "s3://bucket/texts/%2e%2e/secret/a.csv",
        "https://data.example.com@evil.example/sets/a.csv",
        "/data/a\0.csv",
    ],
)
def test_what_is_no_plain_location_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        parse_location(text, URLS)


def test_roots_must_be_absolute() -> None:
    with pytest.raises(InvalidOption, match="data"):
        BatchSettings(roots="data,s3://x/")
    assert BatchSettings(roots=" /data , s3://x/ ").prefixes == ("/data", "s3://x/")
