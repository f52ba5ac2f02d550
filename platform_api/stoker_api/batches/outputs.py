"""Where an output's files go, and how they appear all at once.

The rules that must not break: a reader of a folder sees no output or a whole one; a reader of an object store goes by
``manifest.json``, which is written last; every step may be done again after a crash.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from stoker.errors import Conflict, InvalidInput
from stoker_api.batches.locations import Location, Place, check_resolved, parse_location
from stoker_api.stores.failures import StorageFailed

MANIFEST: Final = "manifest.json"
_ROOM_HINT: Final = "Free some space on its disk, then `stoker batch resume`. What is done is kept."


class OutputExists(Conflict):
    """The output is there already."""

    code = "output_exists"
    phase = "output"


class Output(Protocol):
    """One output. Used by one thread at a time."""

    def check_free(self) -> None:
        """Raise ``OutputExists`` where something is there that must not be overwritten."""
        ...

    def prepare(self) -> None:
        """Make what the parts are written to."""
        ...

    def draft(self, name: str) -> Path:
        """Where a file is written before it is put."""
        ...

    def put(self, name: str) -> None:
        """The draft is whole: keep it for good under its name, in place of what an earlier try left."""
        ...

    def publish(self, manifest: bytes, names: Sequence[str]) -> None:
        """All of ``names`` are put: show them."""
        ...

    def discard(self) -> None:
        """Remove what was not published."""
        ...


class FolderOutput:
    """A folder of this machine: made beside its place under another name, and renamed at the end."""

    def __init__(self, target: Path, batch_id: str, *, overwrite: bool) -> None:
        self._target = target
        self._staging = target.with_name(f".{target.name}.{batch_id}")
        self._old = target.with_name(f".{target.name}.{batch_id}.old")
        self._batch_id = batch_id
        self._overwrite = overwrite

    def check_free(self) -> None:
        target = self._target
        if self._overwrite or self._is_published():
            return
        if target.is_dir() and not any(target.iterdir()):
            return
        if target.exists() or target.is_symlink():
            raise _exists(str(target))

    def prepare(self) -> None:
        if self._is_published():
            return
        with told(self._staging):
            self._staging.mkdir(parents=True, exist_ok=True)

    def draft(self, name: str) -> Path:
        return self._staging / f".{name}.draft"

    def put(self, name: str) -> None:
        with told(self._staging):
            os.replace(self.draft(name), self._staging / name)
            sync_folder(self._staging)

    def publish(self, manifest: bytes, names: Sequence[str]) -> None:
        if self._is_published():
            self._drop_old()
            return
        self.check_free()  # another run may have been faster
        with told(self._staging):
            known = {*names, MANIFEST}
            for stray in self._staging.iterdir():
                if stray.name not in known:
                    stray.unlink()
            write_synced(self.draft(MANIFEST), manifest)
            self.put(MANIFEST)
            if self._overwrite and self._target.exists() and not self._old.exists():
                os.rename(self._target, self._old)
            self._show()
            sync_folder(self._target.parent)
        self._drop_old()

    def discard(self) -> None:
        shutil.rmtree(self._staging, ignore_errors=True)

    def _show(self) -> None:
        try:
            os.rename(self._staging, self._target)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOTDIR):  # another run was faster by a moment
                raise _exists(str(self._target)) from None
            raise

    def _is_published(self) -> bool:
        try:
            return bool(json.loads((self._target / MANIFEST).read_bytes()).get("batch") == self._batch_id)
        except (OSError, ValueError, AttributeError):
            return False

    def _drop_old(self) -> None:
        if self._old.is_dir():
            shutil.rmtree(self._old, ignore_errors=True)
        else:
            self._old.unlink(missing_ok=True)


class RemoteOutput:
    """A prefix of an object store: parts appear one by one, and the manifest says that they are all."""

    def __init__(self, url: str, drafts: Path, *, overwrite: bool, remote: Any) -> None:
        self._url = url.rstrip("/")
        self._drafts = drafts
        self._overwrite = overwrite
        self._remote = remote

    def check_free(self) -> None:
        if not self._overwrite and self._remote.listing(self._url):
            raise _exists(self._url)

    def prepare(self) -> None:
        self._drafts.mkdir(parents=True, exist_ok=True)
        self._remote.remove(f"{self._url}/{MANIFEST}")

    def draft(self, name: str) -> Path:
        return self._drafts / f".{name}.draft"

    def put(self, name: str) -> None:
        draft = self.draft(name)
        self._remote.put(str(draft), f"{self._url}/{name}")
        draft.unlink(missing_ok=True)

    def publish(self, manifest: bytes, names: Sequence[str]) -> None:
        known = {*names, MANIFEST}
        for stray in self._remote.listing(self._url):
            if stray not in known:
                self._remote.remove(f"{self._url}/{stray}")
        write_synced(self.draft(MANIFEST), manifest)
        self.put(MANIFEST)

    def discard(self) -> None:
        shutil.rmtree(self._drafts, ignore_errors=True)


def open_output(url: str | None, batch_id: str, folder: Path, roots: Sequence[str], *, overwrite: bool) -> Output:
    """The output of a run; ``folder`` is the run's own, where an output without a URL is kept."""
    if url is None:
        return FolderOutput(folder / "output", batch_id, overwrite=False)
    location: Location = parse_location(url, roots)
    if location.has_glob or location.place is Place.UPLOAD:
        raise InvalidInput(f"{url!r} is no place for an output", hint="Name one folder or URL prefix.")
    if location.place is Place.REMOTE:
        try:
            from stoker_api.batches import remote_files
        except ImportError as error:
            raise InvalidInput("URLs need fsspec", hint="Install stoker[batch].") from error
        return RemoteOutput(location.path, folder / "drafts", overwrite=overwrite, remote=remote_files)
    target = check_resolved(Path(location.path), roots)
    if target.parent == target or any(target == Path(os.path.realpath(root)) for root in roots if "://" not in root):
        raise InvalidInput(f"{url!r} is a root itself", hint="Name a folder beneath it.")
    return FolderOutput(target, batch_id, overwrite=overwrite)


def write_synced(path: Path, data: bytes) -> None:
    """Write a file and wait until it is on disk."""
    with told(path.parent), path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Wait until the folder's names are on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """What the disk refuses, as an error of ours."""
    try:
        yield
    except OSError as error:
        raise StorageFailed(f"{folder} cannot be written: {error.strerror}", hint=_ROOM_HINT) from error


def _exists(where: str) -> OutputExists:
    return OutputExists(f"the output {where} exists", hint="Name another one, or give overwrite (--overwrite).")
