"""From an upload to a live revision: check, build, try in a real worker, commit, move ``latest``.

The rule that must not break: a revision is committed only when all checks passed, and traffic moves to it only once it
is committed. One registration of a function runs at a time, so identical uploads make one revision.
"""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass

from stoker.bundle import build_source_bundle, read_manifest, read_source
from stoker.environment import check_environment
from stoker.errors import (
    BundleTampered,
    InvalidInput,
    NoCapacity,
    PlatformError,
    PreflightFailed,
    ShuttingDown,
    StartFailed,
)
from stoker.finding import Finding, raise_for_findings
from stoker.manifest import Manifest
from stoker.options import FunctionOptions
from stoker.preflight import PlatformFacts, check_manifest, check_source
from stoker.signing import bundle_sha256, public_key_of, sign, verify
from stoker_api.blobs import BlobStore
from stoker_api.refusals import UploadTampered
from stoker_api.registry import Registry, stored_options
from stoker_api.secrets import Secrets
from stoker_api.stores.records import FunctionKey, RevisionRecord
from stoker_api.tokens import Grant, Tokens
from stoker_pool.plan import DryRun, RevisionPlan
from stoker_pool.pool import Pool
from stoker_runtime.clock import Clock
from stoker_runtime.environment_build import EnvironmentBuilder, digest_of

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """What is to be registered: a bundle signed by its deployer, or source."""

    options: FunctionOptions
    handler: str
    source: str | None = None
    bundle: bytes = b""
    signature: bytes = b""
    public_key: bytes = b""


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """What came of it."""

    revision: RevisionRecord
    is_created: bool
    warnings: tuple[Finding, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signed:
    """A bundle that is what its signer signed, and what was found in it."""

    bundle: bytes
    sha256: str
    signature: bytes
    public_key: bytes
    manifest: Manifest
    warnings: tuple[Finding, ...]


class Registration:
    """The pipeline."""

    def __init__(
        self,
        *,
        registry: Registry,
        blobs: BlobStore,
        tokens: Tokens,
        secrets: Secrets,
        environments: EnvironmentBuilder,
        pool: Pool,
        facts: PlatformFacts,
        private_key: bytes,
        clock: Clock,
        on_live: Callable[[FunctionKey], None],
    ) -> None:
        self._registry = registry
        self._blobs = blobs
        self._tokens = tokens
        self._secrets = secrets
        self._environments = environments
        self._pool = pool
        self._facts = facts
        self._private_key = private_key
        self._public_key = public_key_of(private_key)
        self._clock = clock
        self._on_live = on_live
        self._locks: dict[FunctionKey, asyncio.Lock] = {}

    async def register(self, upload: Upload, grant: Grant, *, dry_run: bool) -> Registered:
        """Make a revision, or find that nothing changed; raises what stands in the way."""
        key = FunctionKey(upload.options.namespace, upload.options.name)
        check_environment(upload.options.environment)
        signed = await asyncio.to_thread(self._check, upload)
        if upload.source is None:
            await self._tokens.trust(grant, signed.public_key)
        lock = self._locks.setdefault(key, asyncio.Lock())
        try:
            async with lock:
                return await self._register(key, upload, signed, dry_run)
        finally:
            if not lock.locked():
                self._locks.pop(key, None)

    def _check(self, upload: Upload) -> _Signed:
        """All that can be said without running anything. For a thread: it parses, hashes and unzips."""
        options = upload.options
        if upload.source is not None:
            findings = check_source(upload.source, upload.handler, options, self._facts)
            raise_for_findings(options.name, findings)
            bundle = build_source_bundle(upload.source)
            signature, public_key = sign(bundle, self._private_key), self._public_key
        else:
            findings, bundle = [], upload.bundle
            signature, public_key = upload.signature, upload.public_key
            _verify_upload(upload)
        manifest = read_manifest(bundle)
        if upload.source is None:
            source = read_source(bundle)
            if source is not None:
                findings += check_source(source, upload.handler, options, self._facts)
        findings += [item for item in check_manifest(manifest, options, self._facts) if item not in findings]
        missing = self._secrets.missing(options.namespace, options.secrets)
        findings += [
            Finding(
                "secret_missing", f"namespace {options.namespace} has no secret {name!r}", f"stoker secret set {name}"
            )
            for name in missing
        ]
        raise_for_findings(options.name, findings)
        return _Signed(
            bundle=bundle,
            sha256=bundle_sha256(bundle),
            signature=signature,
            public_key=public_key,
            manifest=manifest,
            warnings=tuple(item for item in findings if not item.is_error),
        )

    async def _register(self, key: FunctionKey, upload: Upload, signed: _Signed, dry_run: bool) -> Registered:
        options_json = json.dumps(stored_options(upload.options), sort_keys=True)
        content = hashlib.sha256(f"{signed.sha256}\n{upload.handler}\n{options_json}".encode()).hexdigest()
        entry = self._registry.find(key)
        if entry is not None and entry.newest.content_sha256 == content:
            newest = entry.newest
            await self._registry.follow(key, newest.number)
            self._on_live(key)
            return Registered(revision=newest, is_created=False, warnings=signed.warnings)
        await self._environments.ensure(upload.options.environment)
        await self._blobs.put(signed.bundle)
        number = self._registry.next_number(key)
        plan = RevisionPlan(
            key=f"{key}@{number}",
            namespace=key.namespace,
            name=key.name,
            number=number,
            handler=upload.handler,
            options=upload.options,
            bundle_sha256=signed.sha256,
            signature=signed.signature,
            public_key=signed.public_key,
        )
        tried = await self._try(plan, signed.bundle) if dry_run else None
        revision = RevisionRecord(
            key=key,
            number=number,
            created_at=self._clock.now().isoformat(timespec="seconds"),
            handler=upload.handler,
            options_json=options_json,
            bundle_sha256=signed.sha256,
            signature=signed.signature,
            public_key=signed.public_key,
            manifest_json=json.dumps({**signed.manifest.to_json(), "size_bytes": len(signed.bundle)}),
            schema_json=tried.schema_json.decode() if tried is not None else "",
            content_sha256=content,
            environment_digest=digest_of(upload.options.environment),
        )
        await self._hand_over(plan)
        try:
            await self._registry.add_revision(revision)
        except BaseException:
            self._pool.forget(key.namespace, key.name, {number})
            raise
        self._on_live(revision.key)
        return Registered(revision=revision, is_created=True, warnings=signed.warnings)

    async def _hand_over(self, plan: RevisionPlan) -> None:
        """Where the function is in use and there is room beside it, have a replica ready before traffic moves."""
        in_use = any(replica.state == "ready" for replica in self._pool.replicas(plan.namespace, plan.name))
        if not in_use or not self._pool.has_room(plan):
            return
        try:
            await self._pool.warm_up(plan)
        except PlatformError as error:
            log.warning("revision takes over cold", extra={"revision": plan.key, "reason": error.detail})

    async def _try(self, plan: RevisionPlan, bundle: bytes) -> DryRun:
        """Load it in a real worker; a function that does not start is refused with its own words."""
        try:
            return await self._pool.dry_run(plan, bundle)
        except (NoCapacity, ShuttingDown) as error:
            error.hint = error.hint or "Register it without the trial run: ?dry_run=false"
            raise
        except BundleTampered as error:
            raise UploadTampered(error.detail, hint=error.hint) from error
        except StartFailed as error:
            tail = f"\n{error.log_tail}" if error.log_tail else ""
            fix = f"It failed in {error.start_phase}; correct the code and register it again."
            raise PreflightFailed(
                f"{plan.name} does not start: {error.detail}{tail}",
                findings=(("dry_run_failed", f"{error.detail}{tail}", fix),),
                hint=error.hint or fix,
            ) from error


def _verify_upload(upload: Upload) -> None:
    if not upload.public_key or not upload.signature:
        raise InvalidInput("a bundle needs `signature` and `public_key` in its spec", hint="`stoker deploy` adds both.")
    try:
        verify(upload.bundle, upload.signature, upload.public_key, bundle_sha256(upload.bundle))
    except BundleTampered as error:
        raise UploadTampered(
            error.detail, hint="The bundle was changed after it was signed: deploy it again."
        ) from error


def with_namespace(options: FunctionOptions, namespace: str | None) -> FunctionOptions:
    """The options in the namespace that the request names, if it names one."""
    return options if namespace is None else dataclasses.replace(options, namespace=namespace)
