"""The zygotes of a platform: one per environment and set of preloaded modules, started when first needed.

The rule that must not break: however many ask at once, one zygote starts; and one that workers live in is never
evicted.
"""

from __future__ import annotations

import asyncio
import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Final

import stoker
import stoker_runtime
from stoker.errors import EnvironmentBuildFailed, StartFailed
from stoker_runtime.environment_build import BuiltEnvironment
from stoker_runtime.log_collector import LogCollector
from stoker_runtime.sandbox import Fence
from stoker_runtime.zygote_client import ThreadedPreload, Zygote, ZygoteFailed, ZygoteKilled
from stoker_runtime.zygote_messages import Configure

log = logging.getLogger(__name__)

FIRST_USER_ID: Final = 60_000
_USER_BLOCKS: Final = 16
_USER_BLOCK_SIZE: Final = 64
ZYGOTE_LIMIT_S: Final = 180.0
ZYGOTES_TRIED: Final = 3
"""Before a start fails because its zygotes were killed, which is nobody's fault that we know."""
# What of the platform's own environment workers see: how to run, never what it knows. Values that a function needs
# are its `env` and its secrets.
_PASSED_ON: Final = frozenset(
    ("PATH", "LANG", "LANGUAGE", "TZ", "VIRTUAL_ENV", "HF_HOME", "HF_HUB_OFFLINE", "HF_HUB_CACHE", "XDG_CACHE_HOME")
)
_PASSED_ON_PREFIXES: Final = (
    *("LC_", "LD_", "PYTHON", "GLIBC_", "MALLOC_", "SSL_CERT_"),
    *("OMP_", "MKL_", "OPENBLAS_", "CUDA_", "NVIDIA_", "NCCL_", "TORCH_", "PYTORCH_", "VLLM_"),
)
_ZYGOTE_ENV: Final = {
    # numpy's OpenBLAS starts a thread at import otherwise, and a forked child would miss it
    "OPENBLAS_NUM_THREADS": "1",
    # two spinning threads on busy cores were up to 25 times slower than one
    "OMP_WAIT_POLICY": "passive",
    "TOKENIZERS_PARALLELISM": "false",
    # its telemetry thread would start at import and forbid every fork
    "ORT_DISABLE_TELEMETRY": "1",
    # large activations are reused, not mapped and unmapped on each call
    "MALLOC_MMAP_MAX_": "0",
    "MALLOC_TRIM_THRESHOLD_": "4294967296",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONSAFEPATH": "1",
    "PYTHONDONTWRITEBYTECODE": "1",
}

Key = tuple[str, tuple[str, ...], tuple[str, ...], tuple[tuple[str, str], ...]]


def is_passed_on(name: str) -> bool:
    """A variable of the platform's environment that workers see."""
    return name in _PASSED_ON or name.startswith(_PASSED_ON_PREFIXES)


class ZygotePool:
    """Starts, shares and evicts zygotes."""

    def __init__(
        self,
        work_dir: Path,
        base_env: Mapping[str, str],
        logs: LogCollector,
        *,
        max_idle: int,
        hidden_folder: Path | None = None,
        shown_folders: tuple[str, ...] = (),
    ) -> None:
        self._work_dir = work_dir
        self._hidden_folder = hidden_folder
        self._shown_folders = shown_folders
        self._base_env = {name: value for name, value in base_env.items() if is_passed_on(name)}
        self._logs = logs
        self._max_idle = max_idle
        self._starting: dict[Key, asyncio.Task[Zygote]] = {}
        self._ready: dict[Key, Zygote] = {}  # least recently used first
        self._closing: set[asyncio.Task[None]] = set()

    def is_warm(self, environment: BuiltEnvironment) -> bool:
        """Its zygote can fork at once."""
        zygote = self._ready.get(_key(environment))
        return zygote is not None and zygote.is_alive

    async def get(self, environment: BuiltEnvironment) -> Zygote:
        """The environment's zygote, started if need be; raises ``StartFailed`` or ``EnvironmentBuildFailed``."""
        key = _key(environment)
        zygote = self._ready.pop(key, None)
        if zygote is not None and zygote.is_alive:
            self._ready[key] = zygote
            return zygote
        task = self._starting.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._start(key, environment))
            self._starting[key] = task
            task.add_done_callback(lambda done: self._started(key, done))
        return await asyncio.shield(task)

    async def close(self) -> None:
        """End all zygotes and their workers."""
        for task in list(self._starting.values()):
            task.cancel()
        if self._starting:
            await asyncio.wait(set(self._starting.values()))
        zygotes = [*self._ready.values()]
        self._ready.clear()
        await asyncio.gather(*(zygote.close() for zygote in zygotes))
        if self._closing:
            await asyncio.wait(self._closing)

    def _started(self, key: Key, task: asyncio.Task[Zygote]) -> None:
        self._starting.pop(key, None)
        if not task.cancelled() and task.exception() is None:
            self._ready[key] = task.result()
            self._evict(spared=key)

    def _evict(self, spared: Key) -> None:
        idle = [key for key, zygote in self._ready.items() if not zygote.worker_count and key != spared]
        for key in idle[: max(len(idle) + 1 - self._max_idle, 0)]:
            task = asyncio.get_running_loop().create_task(self._ready.pop(key).close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def _start(self, key: Key, environment: BuiltEnvironment) -> Zygote:
        skipped: set[str] = set()
        tries_left = ZYGOTES_TRIED
        while True:
            tries_left -= 1
            try:
                return await self._start_without(environment, skipped, is_last_try=not tries_left)
            except ZygoteKilled as error:
                log.warning("a zygote was killed while it started", extra={"reason": str(error)})
            except ThreadedPreload as error:
                if error.module not in environment.inferred_preload:
                    raise EnvironmentBuildFailed(
                        str(error), hint=f"Remove {error.module!r} from environment.preload."
                    ) from error
                skipped.add(error.module)
                tries_left += 1

    async def _start_without(self, environment: BuiltEnvironment, skipped: set[str], *, is_last_try: bool) -> Zygote:
        folder = self._work_dir / "zygotes" / environment.digest
        folder.mkdir(parents=True, exist_ok=True)
        output, stdout, stderr = self._logs.capture("zygote", folder / "zygote.log")
        zygote = Zygote()
        configure = Configure(
            list(environment.preload),
            [module for module in environment.inferred_preload if module not in skipped],
            self._readable_paths(environment),
            user_id_for(0) if os.geteuid() == 0 else 0,
            "" if self._hidden_folder is None else str(self._hidden_folder.resolve()),
            list(self._shown_folders),
        )
        try:
            await zygote.start(
                environment.python_path, self._env_of(environment), folder, configure, (stdout, stderr), ZYGOTE_LIMIT_S
            )
        except ThreadedPreload:
            raise
        except ZygoteFailed as error:
            if isinstance(error, ZygoteKilled) and not is_last_try:
                raise
            detail = f"the environment's zygote did not start: {error}"
            raise StartFailed(detail, start_phase="zygote", log_tail=output.tail_text()) from error
        finally:
            os.close(stdout)
            os.close(stderr)
        named = [failure for failure in zygote.preload_failures if failure[0] in environment.preload]
        if named:
            await zygote.close()
            module, reason = named[0]
            raise EnvironmentBuildFailed(
                f"environment.preload names {module!r}, which does not import: {reason}",
                hint="Correct the name, or add its package to environment.python_packages.",
            )
        for module, reason in zygote.preload_failures:
            log.info("preload skipped", extra={"module_name": module, "reason": reason})
        if zygote.unhidden:
            log.warning("workers can read the data directory", extra={"reason": zygote.unhidden})
        if zygote.fence is Fence.ROOT:
            log.warning("workers stay root: no unprivileged user can read the interpreter here")
        return zygote

    def _readable_paths(self, environment: BuiltEnvironment) -> list[str]:
        candidates = [str(environment.python_path), sys.prefix, sys.base_prefix, *sys.path, *_our_folders()]
        return [path for path in dict.fromkeys(candidates) if path and os.path.exists(path)] + [str(self._work_dir)]

    def _env_of(self, environment: BuiltEnvironment) -> dict[str, str]:
        env = {**self._base_env, **_ZYGOTE_ENV, **dict(environment.env)}
        if not environment.is_own_interpreter:
            env.pop("PYTHONHOME", None)
            env["PYTHONPATH"] = str(self._import_folder())
        return env

    def _import_folder(self) -> Path:
        """A folder that shows another interpreter our two packages and nothing else of ours."""
        folder = self._work_dir / "worker-packages"
        folder.mkdir(parents=True, exist_ok=True)
        for package in (stoker, stoker_runtime):
            source = _folder_of(package)
            link = folder / source.name
            if not link.is_symlink() or Path(os.readlink(link)) != source:
                link.unlink(missing_ok=True)
                link.symlink_to(source)
        return folder


def user_id_for(slot: int) -> int:
    """The user of the replica in ``slot``; two platforms on one machine rarely share any."""
    return FIRST_USER_ID + os.getpid() % _USER_BLOCKS * _USER_BLOCK_SIZE + slot


def _key(environment: BuiltEnvironment) -> Key:
    return environment.digest, environment.preload, environment.inferred_preload, environment.env


def _our_folders() -> list[str]:
    return [str(_folder_of(package).parent) for package in (stoker, stoker_runtime)]


def _folder_of(package: ModuleType) -> Path:
    return Path(next(iter(package.__path__)))
