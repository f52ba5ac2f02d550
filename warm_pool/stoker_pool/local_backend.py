"""Replicas as worker processes on this machine.

The rule that must not break: secrets and bundles are read for the one start that needs them and kept nowhere here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Final

from stoker.bundle import read_manifest
from stoker_pool.backend import BundleSource, ReplicaOrder, SecretSource
from stoker_pool.devices import DeviceKind, DeviceReading, DeviceSource, device_environment
from stoker_pool.nvml import NvmlDevices
from stoker_pool.plan import RevisionPlan
from stoker_runtime.clock import monotonic_ns
from stoker_runtime.environment_build import BuiltEnvironment, EnvironmentBuilder
from stoker_runtime.replica_link import ReplicaLink
from stoker_runtime.replica_process import ReplicaProcess, StartOrder
from stoker_runtime.worker_factory import WorkerFactory

_REMEMBERED_MODULES: Final = 4096
MIB: Final = 1024 * 1024


class LocalReplica:
    """A worker process and the link to it."""

    def __init__(
        self, process: ReplicaProcess, link: ReplicaLink, phases_ns: dict[str, int], gpus: NvmlDevices | None
    ) -> None:
        self.link = link
        self.phases_ns = phases_ns
        self._process = process
        self._gpus = gpus
        self.pid = process.pid
        self.schema_json = process.schema_json
        self.streams = process.streams
        self.parks = process.parks
        self.memory_bytes = process.memory_bytes if gpus is None else gpus.used_bytes(process.pid)

    async def wait_exit(self) -> str:
        return (await self._process.wait_exit()).reason

    def kill(self) -> None:
        self._process.kill()

    async def stop(self, grace_s: float) -> None:
        self.link.stop()
        await self._process.stop(grace_s)

    def memory_now_bytes(self) -> int:
        return self._process.memory_now_bytes() if self._gpus is None else self._gpus.used_bytes(self.pid)


class LocalBackend:
    """Puts together what a start needs and hands it to the worker factory."""

    def __init__(
        self,
        factory: WorkerFactory,
        environments: EnvironmentBuilder,
        bundles: BundleSource,
        secrets: SecretSource,
        *,
        cpu: DeviceSource,
        gpus: NvmlDevices | None,
        scratch_root: Path,
        log_root: Path,
    ) -> None:
        self._factory = factory
        self._environments = environments
        self._bundles = bundles
        self._secrets = secrets
        self._cpu = cpu
        self._gpus = gpus
        self._scratch_root = scratch_root
        self._log_root = log_root
        self._modules: OrderedDict[str, tuple[str, ...]] = OrderedDict()

    def read_devices(self) -> DeviceReading:
        """GPUs first, then the CPU."""
        cpu = self._cpu.read()
        if self._gpus is None:
            return cpu
        gpus = self._gpus.read()
        return DeviceReading(devices=(*gpus.devices, *cpu.devices), problems=(*gpus.problems, *cpu.problems))

    async def start(self, order: ReplicaOrder, on_phase: Callable[[str], None]) -> LocalReplica:
        began_ns = monotonic_ns()
        on_phase("place")
        plan = order.plan
        bundle = order.bundle if order.bundle is not None else await self._bundles.read(plan.bundle_sha256)
        environment = await self._environment(plan, bundle)
        is_gpu = any(device.kind is not DeviceKind.CPU for device in order.devices)
        declared = plan.options.memory_mib
        start = StartOrder(
            revision_key=plan.key,
            replica_id=order.replica_id,
            handler=plan.handler,
            options=plan.options,
            bundle=bundle,
            bundle_sha256=plan.bundle_sha256,
            signature=plan.signature,
            public_key=plan.public_key,
            environment=environment,
            device_env=device_environment(order.devices),
            secret_env=self._secrets.values(plan.namespace, plan.options.secrets) if plan.options.secrets else {},
            memory_limit_bytes=declared * MIB if declared is not None and not is_gpu else None,
            scratch_root=self._scratch_root,
            log_path=log_path(self._log_root, plan.namespace, plan.name, plan.number),
        )
        phases_ns = {"place": monotonic_ns() - began_ns}
        process = await self._factory.start(start, on_phase)
        try:
            link = await ReplicaLink.open(
                process.socket, order.replica_id, concurrency=plan.options.concurrency, journal=process.journal
            )
        except BaseException:
            process.kill()
            raise
        link.interrupt = process.interrupt
        phases_ns.update(process.phases_ns)
        return LocalReplica(process, link, phases_ns, self._gpus if is_gpu else None)

    async def prewarm(self, plan: RevisionPlan) -> None:
        """Build the environment and start its zygote."""
        bundle = b"" if plan.bundle_sha256 in self._modules else await self._bundles.read(plan.bundle_sha256)
        await self._factory.prewarm_environment(await self._environment(plan, bundle))

    async def _environment(self, plan: RevisionPlan, bundle: bytes) -> BuiltEnvironment:
        modules = self._modules.get(plan.bundle_sha256)
        if modules is None:
            modules = self._modules[plan.bundle_sha256] = read_manifest(bundle).preload
            while len(self._modules) > _REMEMBERED_MODULES:
                self._modules.popitem(last=False)
        return await self._environments.ensure(plan.options.environment, inferred_preload=modules)


def log_path(log_root: Path, namespace: str, name: str, number: int) -> Path:
    """The log that all replicas of a revision write to."""
    return log_root / namespace / name / f"{number}.log"
