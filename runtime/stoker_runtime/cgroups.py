"""Memory and process limits that the kernel itself holds, where this process may make control groups.

The rule that must not break: a limit that cannot be set is left out, never an error; the pool watches memory anyway.

Version 2 needs the two controllers enabled below the root of the hierarchy; version 1 has one hierarchy for each.
"""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from stoker_runtime.process_tree import tree_of

ROOT: Final = Path("/sys/fs/cgroup")
MAX_TASKS: Final = 1024
_GROUP: Final = "stoker"


@dataclass(frozen=True, slots=True)
class WorkerGroup:
    """The control groups of one worker."""

    folders: tuple[Path, ...] = ()
    procs: list[str] = field(default_factory=list)
    """Files into which a process is written to join."""

    def adopt(self, pid: int) -> None:
        """Bring a worker in, with whatever it has started by then.

        The kernel makes the first to join wait until every core has passed a quiet point: 10 to 25 ms.
        """
        seen: set[int] = set()
        while self.procs and (new := tree_of([pid]) - seen):
            for member in new:
                for procs in self.procs:
                    _write(Path(procs), str(member))
            seen |= new

    def was_out_of_memory(self) -> bool:
        """The kernel killed something in it for memory."""
        for folder in self.folders:
            for name in ("memory.events", "memory.oom_control"):
                try:
                    text = (folder / name).read_text()
                except OSError:
                    continue
                if any(line.startswith("oom_kill ") and not line.endswith(" 0") for line in text.splitlines()):
                    return True
        return False

    def kill_members(self) -> None:
        """End whatever still lives in it once its worker is dead: what a killed zygote could not sweep."""
        for procs in self.procs:
            try:
                for pid in Path(procs).read_text().split():
                    os.kill(int(pid), signal.SIGKILL)
            except OSError:
                continue

    def remove(self) -> None:
        """Take the groups away; they must be empty."""
        for folder in self.folders:
            try:
                folder.rmdir()
            except OSError:
                pass


def make_group(name: str, memory_limit_bytes: int | None, root: Path = ROOT) -> WorkerGroup:
    """Groups for one worker, as far as the machine allows; maybe none."""
    if (root / "cgroup.controllers").exists():
        limits = {"pids.max": str(MAX_TASKS)}
        if memory_limit_bytes is not None:
            limits |= {"memory.max": str(memory_limit_bytes), "memory.swap.max": "0"}
        return _group([(root / _GROUP, limits)], name)
    wanted: list[tuple[Path, dict[str, str]]] = [(root / "pids" / _GROUP, {"pids.max": str(MAX_TASKS)})]
    if memory_limit_bytes is not None:
        wanted.append((root / "memory" / _GROUP, {"memory.limit_in_bytes": str(memory_limit_bytes)}))
    return _group(wanted, name)


def remove_stale_groups(root: Path = ROOT) -> None:
    """Take away empty groups of platforms that died without doing so."""
    for parent in (root / _GROUP, root / "pids" / _GROUP, root / "memory" / _GROUP):
        if parent.is_dir():
            for folder in parent.iterdir():
                owner = folder.name.partition("-")[0]
                if owner.isdigit() and not Path(f"/proc/{owner}").exists():
                    WorkerGroup((folder,)).remove()


def _group(wanted: list[tuple[Path, dict[str, str]]], name: str) -> WorkerGroup:
    folders: list[Path] = []
    for parent, limits in wanted:
        if not os.access(parent.parent, os.W_OK):
            continue
        folder = parent / f"{os.getpid()}-{name}"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        applied = [_write(folder / file, value) for file, value in limits.items()]
        if any(applied):
            folders.append(folder)
        else:
            WorkerGroup((folder,)).remove()
    return WorkerGroup(tuple(folders), [str(folder / "cgroup.procs") for folder in folders])


def _write(file: Path, value: str) -> bool:
    try:
        file.write_text(value)
    except OSError:
        return False
    return True
