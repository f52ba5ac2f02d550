"""The data directory: the whole state of a platform, used by one platform at a time.

The rule that must not break: nobody but its owner can look inside, and a second platform on it is refused for as long
as the first one lives; the kernel drops the lock with its holder.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final

from stoker.connection import CONNECTION_FILE
from stoker.errors import Conflict
from stoker_api.key_files import write_private

_LOCK_FILE: Final = "platform.lock"
_OPEN_MODE: Final = 0o711  # workers of other users may pass through to their scratch directories, and list nothing


@dataclass(frozen=True, slots=True)
class DataDir:
    """Where everything is."""

    path: Path

    @property
    def database(self) -> Path:
        return self.path / "stoker.db"

    @property
    def work_database(self) -> Path:
        """Jobs, batches, schedules and the like: what is under way, beside what there is."""
        return self.path / "work.db"

    @property
    def payloads(self) -> Path:
        """Bodies and results of jobs that are too large for the database."""
        return self.path / "payloads"

    @property
    def batches(self) -> Path:
        """Inputs that callers sent, and what batch runs have done so far."""
        return self.path / "batches"

    @property
    def blobs(self) -> Path:
        return self.path / "blobs"

    @property
    def keys(self) -> Path:
        return self.path / "keys"

    @property
    def logs(self) -> Path:
        return self.path / "logs"

    @property
    def environments(self) -> Path:
        return self.path / "environments"

    @property
    def learned(self) -> Path:
        return self.path / "learned.json"

    @property
    def forecast(self) -> Path:
        """What was learned of when functions are called."""
        return self.path / "forecast.state"

    @property
    def history(self) -> Path:
        """When functions were called; rotated beside itself."""
        return self.path / "history" / "calls.csv"

    @property
    def work(self) -> Path:
        """Sockets and scratch directories: of no worth after a stop."""
        return self.path / "work"

    @property
    def connection(self) -> Path:
        return self.path / CONNECTION_FILE

    def read_connection(self) -> dict[str, object]:
        """What the last start wrote for the local CLI; empty where there is nothing to read."""
        try:
            found = json.loads(self.connection.read_text())
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def write_connection(self, url: str, token: str | None) -> None:
        """Tell the local CLI where the platform is."""
        write_private(self.connection, json.dumps({"url": url, "token": token}, indent=1).encode())


class DataDirLock:
    """Holds the directory for this process. Context manager."""

    def __init__(self, path: Path) -> None:
        self.dir = DataDir(path)
        self._descriptor = -1

    def __enter__(self) -> DataDir:
        root = self.dir.path
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._descriptor = os.open(root / _LOCK_FILE, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            holder = os.pread(self._descriptor, 32, 0).decode("ascii", "replace").strip()
            os.close(self._descriptor)
            raise Conflict(
                f"{root} is in use by another platform (process {holder or 'unknown'})",
                hint="Stop it, or give this one another --data-dir.",
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)
        self._prepare()
        return self.dir

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self.dir.work, ignore_errors=True)  # before the lock goes: the next holder makes its own
        os.close(self._descriptor)  # and with it the lock

    def _prepare(self) -> None:
        where = self.dir
        shutil.rmtree(where.work, ignore_errors=True)
        for folder in (where.blobs, where.payloads, where.keys, where.logs):
            folder.mkdir(exist_ok=True, mode=0o700)
            os.chmod(folder, 0o700)
        for folder in (where.path, where.environments, where.work):
            folder.mkdir(exist_ok=True)
            os.chmod(folder, _OPEN_MODE if os.geteuid() == 0 else 0o700)
