"""Bundles on disk: whole, private, and what their name says."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

import pytest

from stoker.errors import BundleTampered, NotFound
from stoker_api.blobs import BlobStore
from stoker_api.stores.failures import StorageFailed


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file()]


async def test_a_blob_comes_back_by_its_hash(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    name = await blobs.put(b"content")
    assert name == hashlib.sha256(b"content").hexdigest()
    assert await blobs.read(name) == b"content"
    assert [stat.S_IMODE(path.stat().st_mode) for path in files(tmp_path)] == [0o600]


async def test_the_same_content_is_kept_once(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    assert await blobs.put(b"content") == await blobs.put(b"content")
    assert len(files(tmp_path)) == 1


async def test_a_blob_that_was_changed_on_disk_is_refused_and_can_be_put_again(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    name = await blobs.put(b"content")
    files(tmp_path)[0].write_bytes(b"c0ntent")
    with pytest.raises(BundleTampered):
        await blobs.read(name)
    await blobs.put(b"content")
    assert await blobs.read(name) == b"content"


@pytest.mark.parametrize("name", ["", "..", "../../etc/passwd", "a" * 64 + "/", "G" * 64, "0" * 64])
async def test_a_name_that_is_no_hash_leads_nowhere(tmp_path: Path, name: str) -> None:
    with pytest.raises(NotFound):
        await BlobStore(tmp_path).read(name)


async def test_a_write_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageFailed, match="No space"):
        await BlobStore(tmp_path).put(b"content")
    assert files(tmp_path) == []


async def test_a_sweep_removes_what_nobody_refers_to(tmp_path: Path) -> None:
    blobs = BlobStore(tmp_path)
    kept, dropped = await blobs.put(b"kept"), await blobs.put(b"dropped")
    (tmp_path / kept[:2] / f".{kept}.draft").write_bytes(b"broken off")
    assert await blobs.sweep({kept}) == 2
    assert await blobs.read(kept) == b"kept"
    with pytest.raises(NotFound):
        await blobs.read(dropped)
