"""Builds Python environments with uv, each once, in a cache keyed by content.

The rule that must not break: a folder in the cache under its digest is complete (it is renamed there when it is), and
one digest is built by one builder at a time, also across processes.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Final

from stoker.errors import EnvironmentBuildFailed
from stoker.options import EnvironmentSpec

WORKER_PACKAGES: Final = ("cloudpickle", "msgspec", "pydantic", "cryptography", "python-multipart")
_TAIL_LINES: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltEnvironment:
    """An environment that is there: what a zygote of it runs and imports."""

    python_path: Path
    digest: str
    preload: tuple[str, ...] = ()
    """Modules the user named: one that does not import fails the start."""
    inferred_preload: tuple[str, ...] = ()
    """Modules the function imports: preloaded where that works."""
    env: tuple[tuple[str, str], ...] = ()

    @property
    def is_own_interpreter(self) -> bool:
        """The platform's own, with nothing built."""
        return self.python_path == Path(sys.executable)


class EnvironmentBuilder:
    """Makes environments below ``cache_dir``."""

    def __init__(self, cache_dir: Path) -> None:
        self._cache_dir = cache_dir
        self._building: dict[str, asyncio.Task[None]] = {}

    async def ensure(
        self,
        spec: EnvironmentSpec,
        *,
        inferred_preload: Sequence[str] = (),
        on_progress: Callable[[str], None] = lambda line: None,
    ) -> BuiltEnvironment:
        """The environment of ``spec``, built if need be; raises ``EnvironmentBuildFailed``."""
        digest = digest_of(spec)
        python_path = Path(sys.executable)
        if spec.python_packages:
            python_path = self._cache_dir / digest / "bin" / "python"
            if not python_path.exists():
                await self._build_once(digest, spec, on_progress)
        return BuiltEnvironment(
            python_path=python_path,
            digest=digest,
            preload=spec.preload,
            inferred_preload=tuple(name for name in inferred_preload if name not in spec.preload),
            env=spec.env,
        )

    def built(self) -> dict[str, Path]:
        """Digest and folder of every environment in the cache."""
        if not self._cache_dir.is_dir():
            return {}
        folders = (entry for entry in self._cache_dir.iterdir() if (entry / "bin" / "python").exists())
        return {folder.name: folder for folder in folders if not folder.name.startswith(".")}

    async def _build_once(self, digest: str, spec: EnvironmentSpec, on_progress: Callable[[str], None]) -> None:
        task = self._building.get(digest)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._build(digest, spec, on_progress))
            self._building[digest] = task
            task.add_done_callback(lambda _: self._building.pop(digest, None))
        await asyncio.shield(task)  # one caller that leaves does not stop the others' build

    async def _build(self, digest: str, spec: EnvironmentSpec, on_progress: Callable[[str], None]) -> None:
        self._cache_dir.mkdir(parents=True, exist_ok=True)
        lock = os.open(self._cache_dir / f".{digest}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o644)
        try:
            await asyncio.to_thread(fcntl.flock, lock, fcntl.LOCK_EX)
            final = self._cache_dir / digest
            if (final / "bin" / "python").exists():
                return
            partial = self._cache_dir / f".{digest}.building"
            shutil.rmtree(partial, ignore_errors=True)
            try:
                await self._install(partial, spec, on_progress)
                os.rename(partial, final)
            except BaseException:
                shutil.rmtree(partial, ignore_errors=True)
                raise
        finally:
            os.close(lock)  # and with it the lock

    async def _install(self, folder: Path, spec: EnvironmentSpec, on_progress: Callable[[str], None]) -> None:
        from uv import find_uv_bin

        uv = find_uv_bin()
        needed = [f"{package}=={version(package)}" for package in WORKER_PACKAGES]
        await _run([uv, "venv", "--quiet", "--relocatable", "--python", sys.executable, str(folder)], on_progress)
        python = str(folder / "bin" / "python")
        await _run([uv, "pip", "install", "--python", python, *needed, *spec.python_packages], on_progress)


def digest_of(spec: EnvironmentSpec) -> str:
    """The hash of all that decides which files an environment has."""
    needed = [f"{package}=={version(package)}" for package in WORKER_PACKAGES] if spec.python_packages else []
    content = {
        "python": sys.version,
        "interpreter": os.path.realpath(sys.executable),
        "packages": sorted(spec.python_packages),
        "needed": needed,
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:24]


async def _run(command: list[str], on_progress: Callable[[str], None]) -> None:
    process = await asyncio.create_subprocess_exec(
        *command,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    assert process.stdout is not None
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    try:
        async for raw in process.stdout:
            line = raw.decode("utf-8", "replace").rstrip()
            tail.append(line)
            on_progress(line)
        status = await process.wait()
    except BaseException:
        if process.returncode is None:
            process.kill()
            await process.wait()
        raise
    if status != 0:
        raise EnvironmentBuildFailed(
            "\n".join(tail) or f"{command[0]} exited with status {status}",
            hint="This is uv's own output: correct environment.python_packages.",
        )
