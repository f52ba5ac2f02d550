"""From a live function to a revision: check, infer what to preload, pack, sign, register.

The rule that must not break: what cannot run is refused here, before anything is sent, with every reason at once.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from stoker import routes
from stoker.bundle import build_bundle, build_source_bundle
from stoker.client import Client
from stoker.connection import data_dir
from stoker.errors import PlatformError
from stoker.function import Function
from stoker.options import FunctionOptions
from stoker.preflight import UNKNOWN, Finding, check_source, check_target, raise_for_findings
from stoker.signing import deployer_key, public_key_of, sign
from stoker.spec import options_to_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployed:
    """What a deployment made."""

    name: str
    namespace: str
    revision: int
    url: str
    created: bool
    """False where the newest revision already had this content."""
    warnings: tuple[str, ...] = ()


def deploy(
    function: Function, *, client: Client | None = None, key_dir: Path | None = None, dry_run: bool = True
) -> Deployed:
    """Register a live function; raises ``PreflightFailed`` with every reason and its fix."""
    target = function.target
    findings = check_target(target, function.options)
    raise_for_findings(function.options.name, findings)
    options = function.options
    bundle = build_bundle(target, files=options.environment.files)
    handler = getattr(target, "__qualname__", type(target).__name__).rpartition(".")[2]
    return register(options, handler, bundle, findings, client=client, key_dir=key_dir, dry_run=dry_run)


def deploy_source(
    source: str,
    handler: str,
    options: FunctionOptions,
    *,
    client: Client | None = None,
    key_dir: Path | None = None,
    dry_run: bool = True,
) -> Deployed:
    """Register Python source under the deployer's own key, with the files that its environment names."""
    findings = check_source(source, handler, options, UNKNOWN)
    raise_for_findings(options.name, findings)
    bundle = build_source_bundle(source, files=options.environment.files)
    return register(options, handler, bundle, findings, client=client, key_dir=key_dir, dry_run=dry_run)


def register(
    options: FunctionOptions,
    handler: str,
    bundle: bytes,
    findings: Iterable[Finding] = (),
    *,
    client: Client | None = None,
    key_dir: Path | None = None,
    dry_run: bool = True,
) -> Deployed:
    """Sign a bundle and register it."""
    key = deployer_key(data_dir() if key_dir is None else key_dir)
    spec = routes.bundle_spec(
        options.name,
        options.namespace,
        handler,
        options_to_json(options),
        public_key=public_key_of(key),
        signature=sign(bundle, key),
    )
    route = routes.register_bundle(spec, bundle, dry_run=dry_run)
    if client is not None:
        return deployed_of(client.request(route), findings)
    with Client() as own:
        return deployed_of(own.request(route), findings)


def deployed_of(answer: object, findings: Iterable[Finding] = ()) -> Deployed:
    """Read the platform's answer to a registration."""
    if not isinstance(answer, dict) or not {"name", "revision", "url"} <= answer.keys():
        raise PlatformError(f"the platform's answer to a registration is not understood: {answer!r}")
    remote = [item if isinstance(item, str) else str(item.get("message", item)) for item in answer.get("warnings", ())]
    own = [finding.message for finding in findings if not finding.is_error]
    return Deployed(
        name=answer["name"],
        namespace=answer.get("namespace", "default"),
        revision=int(answer["revision"]),
        url=answer["url"],
        created=bool(answer.get("created", True)),
        warnings=tuple(dict.fromkeys([*own, *remote])),
    )
